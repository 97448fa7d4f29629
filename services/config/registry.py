"""What callers can do with parameters, whatever protocol they speak."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.config.crypto import SecretBox
from services.config.parameter import MAX_LABELS, MAX_PATTERN_LENGTH, Parameter, Sealed
from services.config.path import Selector, parse_name, parse_path, parse_selector
from services.config.store import ParameterStore
from services.config.update import ParameterUpdate, check_update, is_label, next_version, not_found, pattern_after
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
    """The version that carries the labels now, and those that were not attached because they are malformed."""

    version: int
    invalid_labels: Sequence[str]


class _PatternChangedError(Exception):
    """Between matching and writing another caller has changed the pattern."""


class ParameterRegistry:
    """Reads and changes parameters. Arguments are checked here; errors name the fields of the caller's request."""

    def __init__(
        self, store: ParameterStore, secrets: SecretBox, matches: Matches, *, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._matches = matches
        self._now = now

    async def put(self, update: ParameterUpdate) -> Parameter:
        """Writes a new version, durable when this returns.

        Raises:
            InvalidArgumentError, AlreadyExistsError, AbortedError, FailedPreconditionError: see `check_update` and
                `next_version`; also when the value does not match the parameter's pattern.
            ResourceExhaustedError: no room to write.
        """
        name = check_update(update, now=self._now(), found=await self._pattern_violations(update))
        while True:
            found = await self._store.get([Selector(name=name)])
            pattern = pattern_after(update, found.parameters[0])
            if pattern and not await self._matches(pattern, update.value):
                raise _mismatch(name, pattern)
            try:
                return await self._store.put(name, self._decision(update, name, pattern))
            except _PatternChangedError:
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

    async def list_page(self, path: str, *, recursive: bool, page_size: int, token: str) -> Page:
        """A page of the current versions below a path, ordered by name; it may be shorter than asked for."""
        parsed = parse_path(path)
        limit = paging.page_size(page_size, default=_DEFAULT_LIST_PAGE, largest=MAX_LIST_PAGE)
        query = f"list {recursive} {parsed}"
        after = paging.position_in(token, query, str) or ""
        listing = await self._store.list_below(parsed, recursive=recursive, after=after, limit=limit)
        shown = paging.fitting(listing.parameters, _size)
        more = listing.more or len(shown) < len(listing.parameters)
        return Page(
            parameters=shown,
            next_token=paging.page_token(query, shown[-1].name) if more else "",
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
        labelled = await self._store.label(name, good, version=version)
        return Labelled(version=labelled, invalid_labels=[label for label in wanted if label not in good])

    def reveal(self, parameter: Parameter, *, decrypt: bool) -> str:
        """The value as a caller sees it: empty for a secret unless it is to be decrypted.

        Raises:
            FailedPreconditionError: the secret cannot be decrypted.
        """
        if not isinstance(parameter.value, Sealed):
            return parameter.value
        return self._secrets.open(parameter.value, parameter.name, parameter.version) if decrypt else ""

    async def _pattern_violations(self, update: ParameterUpdate) -> Sequence[FieldViolation]:
        if not update.allowed_pattern or len(update.allowed_pattern) > MAX_PATTERN_LENGTH:
            return ()
        try:
            await self._matches(update.allowed_pattern, "")
        except InvalidArgumentError as error:
            return error.violations
        return ()

    def _decision(
        self, update: ParameterUpdate, name: str, matched: str
    ) -> Callable[[Parameter | None, int], Parameter]:
        def decide(current: Parameter | None, revision: int) -> Parameter:
            if pattern_after(update, current) not in ("", matched):
                raise _PatternChangedError
            return next_version(update, current, name=name, revision=revision, now=self._now(), seal=self._secrets.seal)

        return decide


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
        metadata={"name": name},
    )
