"""Parameters in the memory of one process: the least that keeps the contract of a store, for tests and trials."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from services.config.parameter import (
    KEPT_VERSIONS,
    Deletion,
    MetadataChange,
    Parameter,
    ParameterEvent,
    Sealed,
    Tier,
)
from services.config.path import Selector, below, concerns, is_child
from services.config.policies import first_notice
from services.config.store import (
    Decide,
    EventPage,
    Found,
    LabelMove,
    Listener,
    Listing,
    Retag,
    StoredEnvelope,
    Tagged,
    check_expected_version,
    check_resumable,
    check_room_for_labels,
    check_room_for_version,
    due_events,
    not_found,
    stored_envelope,
)


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
