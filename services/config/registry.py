"""What callers can do with parameters, whatever protocol they speak."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.config.crypto import SecretBox
from services.config.filters import Filter, holds, labels_in
from services.config.parameter import MAX_LABELS, MAX_TAGS, Parameter, Sealed
from services.config.path import Selector, parse_name, parse_path, parse_selector
from services.config.putting import Matches, Putting
from services.config.schemas import SchemaBook
from services.config.store import ParameterStore, Tagged, not_found
from services.config.update import ParameterUpdate, check_tags, is_label
from services.runtime import paging
from services.runtime.errors import FieldViolation, InvalidArgumentError, invalid_field

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
        self._putting = Putting(store, secrets, matches, schemas, now=now)

    async def put(self, update: ParameterUpdate, *, principal: str = "", dry_run: bool = False) -> Parameter:
        """Writes a new version, or tells what it would be; raises what `Putting.put` raises."""
        return await self._putting.put(update, principal=principal, dry_run=dry_run)

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
