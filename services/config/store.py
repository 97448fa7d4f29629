"""The port to the parameters at rest, and the store in memory.

Every write has a revision, one more than the write before. A store keeps the current version and the newest versions of
each parameter, and the events of its newest revisions, so that a watcher can resume.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from services.config.parameter import (
    KEPT_VERSIONS,
    MAX_LABELS,
    Deletion,
    MetadataChange,
    Notice,
    Parameter,
    ParameterEvent,
    Sealed,
    Tier,
)
from services.config.path import Selector, below, concerns, is_child
from services.config.policies import first_notice, notices
from services.config.update import check_expected_version, not_found
from services.runtime.errors import FailedPreconditionError, OutOfRangeError

Decide = Callable[[Parameter | None, int], Parameter]
"""The next version of a parameter from its current one (None when there is none) and the revision it will have."""

Retag = Callable[[Parameter], Mapping[str, str]]
"""The tags that a parameter shall have; it gets the current version."""

Listener = Callable[[Sequence[ParameterEvent]], None]
"""Hears of committed events, once each and in the order of their revisions, on the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read of the store at one revision; None where nothing was found."""

    parameters: Sequence[Parameter | None]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Current versions in the order of their names, read at one revision; `more` when the limit cut them."""

    parameters: Sequence[Parameter]
    revision: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events in the order of their revisions. All up to `revision` are there."""

    events: Sequence[ParameterEvent]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMove:
    """The version whose labels were asked to change, those that were moved to it or taken from it, and the revision.

    The revision is 0 when nothing changed.
    """

    version: int
    labels: Sequence[str]
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """All tags of a parameter now, and the revision since when; 0 when nothing changed."""

    tags: Mapping[str, str]
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEnvelope:
    """The sealed value of one version; `replacement` is what shall take its place."""

    revision: int
    name: str
    version: int
    key_id: str
    sealed: Sealed
    replacement: Sealed | None = None


class ParameterStore(Protocol):
    """Parameters at rest. A write has returned when it is durable, and listeners have heard of it by then.

    Every write may raise ResourceExhaustedError (no room to write) and UnavailableError (closing, or failed for good).
    """

    @property
    def revision(self) -> int:
        """The newest committed revision; 0 in an empty store."""

    def on_commit(self, listener: Listener) -> None:
        """Adds a listener. Call it before the first write."""

    async def put(self, name: str, decide: Decide) -> Parameter:
        """Writes what `decide` makes of the current version; what it raises is raised, and nothing written.

        `decide` may run on another thread; no other write comes between it and the commit.

        Raises:
            FailedPreconditionError: the version to drop carries a label.
        """

    async def delete(self, name: str, *, expected_version: int | None = None) -> int:
        """Deletes a parameter with its versions and labels; answers the revision.

        Raises:
            NotFoundError, AbortedError: see `check_expected_version`.
        """

    async def act_on_due(self, now: float) -> int:
        """Deletes every parameter whose `expires_at` has come and writes the notices that are due; answers how many."""

    async def next_due(self) -> float | None:
        """When there is something for `act_on_due` to do; None when there never is."""

    async def label(self, name: str, labels: Sequence[str], *, version: int | None = None) -> LabelMove:
        """Moves well-formed labels to a version, the newest by default.

        It is a revision, as are `unlabel` and `retag`, unless nothing changes by it.

        Raises:
            NotFoundError: no such version.
            FailedPreconditionError: the version would carry more labels than it may.
        """

    async def unlabel(self, name: str, labels: Sequence[str], *, version: int) -> LabelMove:
        """Takes labels from a version; answers those it carried.

        Raises:
            NotFoundError: no such version.
        """

    async def retag(self, name: str, retag: Retag) -> Tagged:
        """Gives a parameter the tags that `retag` decides on, without a new version.

        Raises:
            NotFoundError: no such parameter; and what `retag` raises.
        """

    async def count(self, tier: Tier) -> int:
        """How many parameters of a tier there are."""

    async def envelopes(self, *, after: int, limit: int) -> Sequence[StoredEnvelope]:
        """Sealed values with revisions after `after`, in their order, up to `limit`; history included."""

    async def replace_envelopes(self, envelopes: Sequence[StoredEnvelope]) -> int:
        """Puts replacements in the place of envelopes that are still there; answers how many. It is no revision."""

    async def get(self, selectors: Sequence[Selector]) -> Found:
        """What each selector names, all from one revision."""

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        """Current versions below a path, up to `limit`, whose names come after `after`."""

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> Sequence[Parameter]:
        """Kept versions older than `before`, newest first, up to `limit`; none of an unknown parameter."""

    async def events(self, path: str, *, after: int, limit: int) -> EventPage:
        """Up to `limit` events of a path (the name itself, everything below) with revisions after `after`.

        Raises:
            OutOfRangeError: events after that revision are no longer kept, or the revision does not exist yet.
        """

    async def holds_secrets(self) -> bool:
        """Whether a sealed value is stored."""

    async def failed(self) -> None:
        """Waits for a failure that only opening the store again can mend, and raises it; ends when none can come."""

    async def close(self) -> None:
        """Finishes the writes that wait and refuses others."""


def check_room_for_version(name: str, version: int, *, dropped_has_label: bool) -> None:
    """Nothing, when the oldest kept version may be dropped for a new one.

    Raises:
        FailedPreconditionError: it carries a label.
    """
    if dropped_has_label:
        raise FailedPreconditionError(
            f"{name} has {KEPT_VERSIONS} versions and the oldest, {version - KEPT_VERSIONS}, carries a label: "
            "move the label to a newer version first",
            reason="ERROR_REASON_PARAMETER_LIMIT",
            metadata={"name": name, "limit": str(KEPT_VERSIONS), "ssm_error": "ParameterMaxVersionLimitExceeded"},
        )


def check_room_for_labels(name: str, version: int, labels: set[str]) -> None:
    """Nothing, when a version may carry all of `labels`.

    Raises:
        FailedPreconditionError: they are too many.
    """
    if len(labels) > MAX_LABELS:
        raise FailedPreconditionError(
            f"version {version} of {name} would carry {len(labels)} labels, at most {MAX_LABELS} are allowed",
            reason="ERROR_REASON_PARAMETER_LIMIT",
            metadata={"name": name, "limit": str(MAX_LABELS), "ssm_error": "ParameterVersionLabelLimitExceeded"},
        )


def check_resumable(after: int, *, floor: int, revision: int) -> None:
    """Nothing, when all events after a revision are kept.

    Raises:
        OutOfRangeError: they are not, or the revision lies in the future (a store restored from a backup).
    """
    if floor <= after <= revision:
        return
    fault = (
        f"events up to revision {floor} are no longer kept" if after < floor else f"the newest revision is {revision}"
    )
    raise OutOfRangeError(
        f"cannot resume from revision {after}: {fault}; list again and watch from the listed revision",
        reason="ERROR_REASON_COMPACTED",
        metadata={"oldest_revision": str(floor)},
    )


def stored_envelope(parameter: Parameter) -> StoredEnvelope | None:
    """The sealed value of a version; None when it is not sealed."""
    if not isinstance(parameter.value, Sealed):
        return None
    return StoredEnvelope(
        revision=parameter.revision,
        name=parameter.name,
        version=parameter.version,
        key_id=parameter.key_id,
        sealed=parameter.value,
    )


def due_events(
    parameter: Parameter, notice_at: float | None, now: float, revision: int
) -> tuple[list[Notice | Deletion], float | None]:
    """What becomes of a parameter at `now`, from `revision` + 1 on, and when its next notice after that is due.

    `notice_at` is when its first notice that was not given yet is due.
    """
    events: list[Notice | Deletion] = []
    ahead: float | None = None
    for due, kind in notices(parameter) if notice_at is not None else ():
        if due > now:
            ahead = due
            break
        if notice_at is not None and due >= notice_at:
            revision += 1
            events.append(Notice(name=parameter.name, revision=revision, policy_type=kind, due_at=due))
    if parameter.expires_at is not None and parameter.expires_at <= now:
        events.append(Deletion(name=parameter.name, revision=revision + 1))
    return events, ahead


class _History:
    """One parameter: its kept versions, oldest first, and which version each label names."""

    __slots__ = ("labels", "notice_at", "versions")

    def __init__(self) -> None:
        self.versions: list[Parameter] = []
        self.labels: dict[str, int] = {}
        self.notice_at: float | None = None

    def due_at(self) -> float | None:
        """When something is to be done about it."""
        dues = (self.notice_at, self.versions[-1].expires_at)
        return min((due for due in dues if due is not None), default=None)

    def labelled(self, parameter: Parameter) -> Parameter:
        names = tuple(sorted(label for label, version in self.labels.items() if version == parameter.version))
        return replace(parameter, labels=names) if names else parameter

    def find(self, *, version: int | None = None, label: str | None = None) -> Parameter | None:
        if label is not None:
            version = self.labels.get(label, 0)
        if version is None:
            return self.labelled(self.versions[-1])
        return next((self.labelled(kept) for kept in self.versions if kept.version == version), None)


class MemoryStore:
    """A ParameterStore that ends with its process. `kept_revisions` is how many events a watcher can resume over."""

    def __init__(self, *, kept_revisions: int = 10_000) -> None:
        self._kept_revisions = kept_revisions
        self._histories: dict[str, _History] = {}
        self._events: list[ParameterEvent] = []
        self._revision = 0
        self._listeners: list[Listener] = []

    @property
    def revision(self) -> int:
        return self._revision

    def on_commit(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def put(self, name: str, decide: Decide) -> Parameter:
        history = self._histories.get(name)
        parameter = decide(history.versions[-1] if history else None, self._revision + 1)
        history = history or _History()
        if len(history.versions) == KEPT_VERSIONS:
            oldest = history.versions[0].version
            check_room_for_version(name, parameter.version, dropped_has_label=oldest in history.labels.values())
            del history.versions[0]
        history.versions.append(parameter)
        history.notice_at = first_notice(parameter)
        self._histories[name] = history
        self._commit(parameter)
        return parameter

    async def delete(self, name: str, *, expected_version: int | None = None) -> int:
        history = self._histories.get(name)
        if history is None:
            raise not_found(name)
        check_expected_version(name, expected_version, history.versions[-1])
        del self._histories[name]
        self._commit(Deletion(name=name, revision=self._revision + 1))
        return self._revision

    async def act_on_due(self, now: float) -> int:
        before = self._revision
        for _, history in sorted(self._due_histories(now), key=lambda found: found[0]):
            events, ahead = due_events(history.versions[-1], history.notice_at, now, self._revision)
            history.notice_at = ahead
            for event in events:
                if isinstance(event, Deletion):
                    del self._histories[event.name]
                self._commit(event)
        return self._revision - before

    async def next_due(self) -> float | None:
        dues = (history.due_at() for history in self._histories.values())
        return min((due for due in dues if due is not None), default=None)

    async def label(self, name: str, labels: Sequence[str], *, version: int | None = None) -> LabelMove:
        history = self._histories.get(name)
        found = history.find(version=version) if history else None
        if history is None or found is None:
            raise not_found(name if version is None else f"{name}:{version}")
        check_room_for_labels(name, found.version, {*found.labels, *labels})
        revision = self._relabel(name, history, {**history.labels, **dict.fromkeys(labels, found.version)})
        return LabelMove(version=found.version, labels=labels, revision=revision)

    async def unlabel(self, name: str, labels: Sequence[str], *, version: int) -> LabelMove:
        history = self._histories.get(name)
        if history is None or history.find(version=version) is None:
            raise not_found(f"{name}:{version}")
        removed = [label for label in labels if history.labels.get(label) == version]
        left = {label: labelled for label, labelled in history.labels.items() if label not in removed}
        return LabelMove(version=version, labels=removed, revision=self._relabel(name, history, left))

    async def retag(self, name: str, retag: Retag) -> Tagged:
        history = self._histories.get(name)
        if history is None:
            raise not_found(name)
        before = history.versions[-1]
        tags = retag(before)
        if tags == before.tags:
            return Tagged(tags=tags)
        history.versions[-1] = replace(before, tags=tags)
        return Tagged(tags=tags, revision=self._tell_metadata(name, history))

    async def count(self, tier: Tier) -> int:
        return sum(history.versions[-1].tier is tier for history in self._histories.values())

    async def envelopes(self, *, after: int, limit: int) -> Sequence[StoredEnvelope]:
        found = [event for event in self._events if isinstance(event, Parameter) and event.revision > after]
        return [envelope for event in found if (envelope := stored_envelope(event))][:limit]

    async def replace_envelopes(self, envelopes: Sequence[StoredEnvelope]) -> int:
        wanted = {one.sealed: one.replacement for one in envelopes if one.replacement is not None}

        def changed(event: ParameterEvent) -> ParameterEvent:
            known = isinstance(event, Parameter) and isinstance(event.value, Sealed) and wanted.get(event.value)
            return replace(event, value=known) if known and isinstance(event, Parameter) else event

        before, self._events = self._events, [changed(event) for event in self._events]
        for history in self._histories.values():
            history.versions = [kept for kept in map(changed, history.versions) if isinstance(kept, Parameter)]
        return sum(old is not new for old, new in zip(before, self._events, strict=True))

    async def get(self, selectors: Sequence[Selector]) -> Found:
        histories = [(selector, self._histories.get(selector.name)) for selector in selectors]
        found = [
            history.find(version=selector.version, label=selector.label) if history else None
            for selector, history in histories
        ]
        return Found(parameters=found, revision=self._revision)

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        wanted = below(path)
        names = sorted(
            name
            for name in self._histories
            if wanted.first <= name < wanted.last and name > after and (recursive or is_child(path, name))
        )
        parameters = [self._histories[name] for name in names[:limit]]
        return Listing(
            parameters=[history.labelled(history.versions[-1]) for history in parameters],
            revision=self._revision,
            more=len(names) > limit,
        )

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> Sequence[Parameter]:
        history = self._histories.get(name)
        if history is None:
            return ()
        older = [kept for kept in reversed(history.versions) if before is None or kept.version < before]
        return [history.labelled(kept) for kept in older[:limit]]

    async def events(self, path: str, *, after: int, limit: int) -> EventPage:
        check_resumable(after, floor=self._revision - len(self._events), revision=self._revision)
        start = bisect_right(self._events, after, key=lambda event: event.revision)
        found = [event for event in self._events[start:] if concerns(path, event.name)]
        cut = len(found) > limit
        return EventPage(events=found[:limit], revision=found[limit - 1].revision if cut else self._revision)

    async def holds_secrets(self) -> bool:
        return False

    async def failed(self) -> None:
        """Ends: memory does not fail."""

    async def close(self) -> None:
        """Nothing to finish: what is written is there."""

    def _due_histories(self, now: float) -> list[tuple[tuple[float, str], _History]]:
        dues = ((history.due_at(), name, history) for name, history in self._histories.items())
        return [((due, name), history) for due, name, history in dues if due is not None and due <= now]

    def _relabel(self, name: str, history: _History, labels: dict[str, int]) -> int:
        if labels == history.labels:
            return 0
        history.labels = labels
        return self._tell_metadata(name, history)

    def _tell_metadata(self, name: str, history: _History) -> int:
        revision = self._revision + 1
        tags = history.versions[-1].tags
        self._commit(MetadataChange(name=name, revision=revision, labels=dict(history.labels), tags=tags))
        return revision

    def _commit(self, event: ParameterEvent) -> None:
        self._revision = event.revision
        self._events.append(event)
        if len(self._events) > self._kept_revisions:
            del self._events[0]
        for listener in self._listeners:
            listener([event])
