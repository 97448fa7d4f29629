"""What callers can do with parameters, whatever protocol they speak."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.config.crypto import DataKey, SecretBox
from services.config.filters import Filter, holds, labels_in
from services.config.parameter import (
    MAX_LABELS,
    MAX_PARAMETERS,
    MAX_PATTERN_LENGTH,
    MAX_TAGS,
    Parameter,
    ParameterType,
    Sealed,
    Tier,
)
from services.config.path import Selector, parse_name, parse_path, parse_selector
from services.config.schemas import SchemaBook, is_schema
from services.config.store import ParameterStore, Tagged
from services.config.update import (
    ParameterUpdate,
    check_tags,
    check_update,
    is_label,
    may_change_tier,
    next_version,
    not_found,
    pattern_after,
    schema_after,
    type_after,
)
from services.runtime import paging
from services.runtime.errors import FieldViolation, InvalidArgumentError, invalid_field

Matches = Callable[[str, str], Awaitable[bool]]
"""Whether a whole value (second) matches a pattern (first), in bounded time.

Raises InvalidArgumentError when the pattern is no regular expression or takes too long.
"""

MAX_BATCH = 100
MAX_LIST_PAGE = 1000
MAX_VERSIONS_PAGE = 100
_DEFAULT_LIST_PAGE = 100
_DEFAULT_VERSIONS_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Parameters read at one revision, in the order asked for, and the selectors under which there is none."""

    parameters: Sequence[Parameter]
    missing: Sequence[str]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some parameters; `next_token` is empty on the last page."""

    parameters: Sequence[Parameter]
    next_token: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The version that carries the labels now, and those that were not attached because they are malformed.

    `revision`, here and below, is that of the change, 0 when it changed nothing.
    """

    version: int
    invalid_labels: Sequence[str]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """The labels that were removed, and those that the version did not carry."""

    removed: Sequence[str]
    invalid: Sequence[str]
    revision: int


class _ChangedError(Exception):
    """Between checking and writing another caller has changed the pattern, the schema or the type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What a value was checked against, and what is needed to write it."""

    pattern: str
    schema: str
    data_key: DataKey | None
    full: frozenset[Tier]
    principal: str


class ParameterRegistry:
    """Reads and changes parameters. Arguments are checked here; errors name the fields of the caller's request."""

    def __init__(
        self,
        store: ParameterStore,
        secrets: SecretBox,
        matches: Matches,
        schemas: SchemaBook,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._matches = matches
        self._schemas = schemas
        self._now = now

    async def put(self, update: ParameterUpdate, *, principal: str = "", dry_run: bool = False) -> Parameter:
        """Writes a new version, durable when this returns. A dry run checks all and answers the version it would be.

        Raises:
            InvalidArgumentError, AlreadyExistsError, AbortedError, FailedPreconditionError: see `check_update` and
                `next_version`; also when the value does not match the parameter's pattern or a JSON Schema.
            ResourceExhaustedError: no room to write.
        """
        name = check_update(update, now=self._now(), found=await self._pattern_violations(update))
        while True:
            found = await self._store.get([Selector(name=name)])
            current = found.parameters[0]
            decide = self._decision(update, name, await self._checked(update, name, current, principal))
            try:
                return decide(current, found.revision + 1) if dry_run else await self._store.put(name, decide)
            except _ChangedError:
                continue

    async def delete(self, text: str, *, expected_version: int | None) -> int:
        """Deletes a parameter with its versions; answers the revision."""
        return await self._store.delete(parse_name(text), expected_version=expected_version)

    async def get(self, text: str) -> Parameter:
        """The parameter named by `name`, `name:version` or `name:label`."""
        found = await self._store.get([parse_selector(text)])
        parameter = found.parameters[0]
        if parameter is None:
            raise not_found(text.strip())
        return parameter

    async def get_batch(self, texts: Sequence[str]) -> Batch:
        """Several parameters of one revision, a result per name; duplicates once."""
        if not 1 <= len(texts) <= MAX_BATCH:
            raise invalid_field("names", f"{len(texts)} names are given, 1 to {MAX_BATCH} are allowed")
        selectors = _selectors(texts)
        found = await self._store.get(list(selectors.values()))
        pairs = list(zip(selectors, found.parameters, strict=True))
        return Batch(
            parameters=[parameter for _, parameter in pairs if parameter is not None],
            missing=[text for text, parameter in pairs if parameter is None],
            revision=found.revision,
        )

    async def list_page(
        self,
        path: str,
        *,
        recursive: bool,
        page_size: int,
        token: str,
        filters: Sequence[Filter] = (),
        visible: Callable[[str], bool] = lambda _name: True,
    ) -> Page:
        """A page of the current versions below a path, ordered by name; it may be shorter than asked for.

        With a filter on labels it is the version that carries the label. A name that is not `visible` is as if it were
        not there, in the token too.
        """
        parsed = parse_path(path)
        limit = paging.page_size(page_size, default=_DEFAULT_LIST_PAGE, largest=MAX_LIST_PAGE)
        query = f"list {recursive} {parsed} {' '.join(map(repr, filters))}".rstrip()
        after = paging.position_in(token, query, str) or ""
        found: list[Parameter] = []
        while True:
            # One more than wanted: whether there is another page is known without reading it.
            listing = await self._store.list_below(parsed, recursive=recursive, after=after, limit=limit + 1)
            seen = [parameter for parameter in listing.parameters if visible(parameter.name)]
            found += await self._filtered(seen, filters)
            if len(found) > limit or not listing.more:
                break
            after = listing.parameters[-1].name
        shown = paging.fitting(found[:limit], _size)
        return Page(
            parameters=shown,
            next_token=paging.page_token(query, shown[-1].name) if len(shown) < len(found) else "",
            revision=listing.revision,
        )

    async def versions_page(self, text: str, *, page_size: int, token: str) -> Page:
        """A page of the kept versions of a parameter, newest first; it may be shorter than asked for."""
        name = parse_name(text)
        limit = paging.page_size(page_size, default=_DEFAULT_VERSIONS_PAGE, largest=MAX_VERSIONS_PAGE)
        query = f"versions {name}"
        before = paging.position_in(token, query, int)
        found = await self._store.versions(name, before=before, limit=limit + 1)
        if not found and not before:
            raise not_found(name)
        shown = paging.fitting(found[:limit], _size)
        more = len(found) > len(shown)
        return Page(
            parameters=shown,
            next_token=paging.page_token(query, str(shown[-1].version)) if more else "",
            revision=self._store.revision,
        )

    async def label(self, text: str, labels: Sequence[str], *, version: int | None) -> Labelled:
        """Moves labels to a version, the newest by default. Malformed labels are named, the others attached."""
        name = parse_name(text)
        if not 1 <= len(labels) <= MAX_LABELS:
            raise invalid_field("labels", f"{len(labels)} labels are given, 1 to {MAX_LABELS} are allowed")
        wanted = list(dict.fromkeys(labels))
        good = [label for label in wanted if is_label(label)]
        moved = await self._store.label(name, good, version=version)
        invalid = [label for label in wanted if label not in good]
        return Labelled(version=moved.version, invalid_labels=invalid, revision=moved.revision)

    async def unlabel(self, text: str, labels: Sequence[str], *, version: int) -> Unlabelled:
        """Takes labels from a version."""
        name = parse_name(text)
        if not 1 <= len(labels) <= MAX_LABELS:
            raise invalid_field("labels", f"{len(labels)} labels are given, 1 to {MAX_LABELS} are allowed")
        wanted = list(dict.fromkeys(labels))
        moved = await self._store.unlabel(name, wanted, version=version)
        invalid = [label for label in wanted if label not in moved.labels]
        return Unlabelled(removed=moved.labels, invalid=invalid, revision=moved.revision)

    async def tag(self, text: str, tags: Mapping[str, str], *, removed: Sequence[str] = ()) -> Tagged:
        """Sets and removes tags of a parameter, without a new version."""
        name = parse_name(text)
        check_tags(tags)

        def retag(current: Parameter) -> Mapping[str, str]:
            kept = {key: value for key, value in current.tags.items() if key not in removed}
            after = {**kept, **tags}
            if len(after) > MAX_TAGS:
                check_tags(after)
            return after

        return await self._store.retag(name, retag)

    async def open(self, parameter: Parameter) -> Parameter:
        """The parameter with its secret decrypted; others as they are.

        Raises:
            FailedPreconditionError: the secret cannot be decrypted.
            UnavailableError: the key service is away.
        """
        if not isinstance(parameter.value, Sealed):
            return parameter
        value = await self._secrets.open(parameter.value, parameter.name, parameter.version)
        return replace(parameter, value=value)

    async def _pattern_violations(self, update: ParameterUpdate) -> Sequence[FieldViolation]:
        if not update.allowed_pattern or len(update.allowed_pattern) > MAX_PATTERN_LENGTH:
            return ()
        try:
            await self._matches(update.allowed_pattern, "")
        except InvalidArgumentError as error:
            return error.violations
        return ()

    async def _checked(self, update: ParameterUpdate, name: str, current: Parameter | None, principal: str) -> _Checked:
        """What a write needs, after the value was checked against the pattern and the schemas that hold now."""
        pattern, schema = pattern_after(update, current), schema_after(update, current)
        kind = type_after(update, current)
        if is_schema(name) and kind is ParameterType.SECURE_STRING:
            raise invalid_field("type", f"{name} holds the JSON Schema of a path: it cannot be a {kind}")
        if pattern and not await self._matches(pattern, update.value):
            raise _mismatch(name, pattern)
        await self._schemas.check(name, update.value, schema)
        key_id = update.key_id if update.key_id is not None else (current.key_id if current else "")
        is_secret = kind is ParameterType.SECURE_STRING
        return _Checked(
            pattern=pattern,
            schema=schema,
            data_key=await self._secrets.data_key(name, key_id) if is_secret else None,
            full=await self._full_tiers() if may_change_tier(update, current) else frozenset(),
            principal=principal,
        )

    async def _full_tiers(self) -> frozenset[Tier]:
        return frozenset([tier for tier, most in MAX_PARAMETERS.items() if await self._store.count(tier) >= most])

    def _decision(
        self, update: ParameterUpdate, name: str, checked: _Checked
    ) -> Callable[[Parameter | None, int], Parameter]:
        def seal(value: str, name: str, version: int) -> Sealed:
            if checked.data_key is None:  # another caller made it a SecureString meanwhile
                raise _ChangedError
            return self._secrets.seal(value, name, version, checked.data_key)

        def decide(current: Parameter | None, revision: int) -> Parameter:
            if pattern_after(update, current) not in ("", checked.pattern):
                raise _ChangedError
            if schema_after(update, current) not in ("", checked.schema):
                raise _ChangedError
            return next_version(
                update,
                current,
                name=name,
                revision=revision,
                now=self._now(),
                seal=seal,
                principal=checked.principal,
                full=checked.full,
            )

        return decide

    async def _filtered(self, parameters: Sequence[Parameter], filters: Sequence[Filter]) -> Sequence[Parameter]:
        """Those for which all filters hold; with labels asked for, the versions that carry one of them."""
        kept = [parameter for parameter in parameters if all(holds(one, parameter) for one in filters)]
        for labels in labels_in(filters):
            selectors = [Selector(name=parameter.name, label=label) for parameter in kept for label in labels]
            found = (await self._store.get(selectors)).parameters
            kept = list({one.name: one for one in found if one is not None}.values())
        return kept


def _selectors(texts: Sequence[str]) -> dict[str, Selector]:
    selectors: dict[str, Selector] = {}
    violations: list[FieldViolation] = []
    for index, text in enumerate(texts):
        try:
            selectors[text] = parse_selector(text, field=f"names[{index}]")
        except InvalidArgumentError as error:
            violations.extend(error.violations)
    if violations:
        raise InvalidArgumentError(f"{len(violations)} of {len(texts)} names are malformed", violations=violations)
    return selectors


def _size(parameter: Parameter) -> int:
    value = parameter.value.envelope if isinstance(parameter.value, Sealed) else parameter.value.encode()
    texts = (
        parameter.name,
        parameter.description,
        parameter.allowed_pattern,
        *parameter.tags,
        *parameter.tags.values(),
    )
    return len(value) + 200 + 4 * sum(map(len, texts))


def _mismatch(name: str, pattern: str) -> InvalidArgumentError:
    fault = f"does not match the parameter's allowed pattern {pattern!r} as a whole"
    return InvalidArgumentError(
        f"parameter {name} is refused: value: {fault}",
        violations=[FieldViolation(field="value", description=fault)],
        reason="ERROR_REASON_PATTERN_MISMATCH",
        metadata={"name": name, "ssm_error": "ParameterPatternMismatchException"},
    )
