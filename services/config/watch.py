"""Pushing changes: each watcher has a position in the order of revisions and reads on from there, at its own pace.

There is no queue per watcher. New events wait in one bounded list for all; a watcher that falls behind it reads the
store's history, and one that falls behind that is told so. So a slow watcher costs nothing, delays no commit, and can
miss nothing without hearing of it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from services.config.parameter import Parameter, ParameterEvent
from services.config.path import Selector, concerns
from services.config.store import EventPage, ParameterStore
from services.runtime.errors import UnavailableError

_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """Everything up to this revision was told: a point to resume from."""

    revision: int


class _Watcher:
    """Wakes up when something happens below its path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.wake = asyncio.Event()


class WatchHub:
    """The watchers of a store. Construct it before the first write.

    Args:
        store: whose events are told.
        recent_events: how many events are kept in memory for all watchers together.
        bookmark_seconds: after so long without an event a watcher gets a bookmark, if the store has moved on.
    """

    def __init__(self, store: ParameterStore, *, recent_events: int = 1000, bookmark_seconds: float = 10.0) -> None:
        self._store = store
        self._recent: deque[ParameterEvent] = deque(maxlen=recent_events)
        self._revision = store.revision
        self._bookmark_seconds = bookmark_seconds
        self._watchers: set[_Watcher] = set()
        self._closed = False
        store.on_commit(self._announce)

    @property
    def watchers(self) -> int:
        """How many follow now."""
        return len(self._watchers)

    async def close(self) -> None:
        """Ends every watch."""
        self._closed = True
        for watcher in self._watchers:
            watcher.wake.set()

    async def follow(self, path: str, from_revision: int) -> AsyncGenerator[ParameterEvent | Bookmark, None]:
        """Events of a path (the name itself and everything below) after a revision, then live ones, without a gap.

        From revision 0 on it first tells what exists, as the versions that are current. A bookmark marks the point at
        which everything of before has been told.

        Raises:
            OutOfRangeError: events after the position are no longer kept, at the start or because the watcher is slow.
            UnavailableError: the hub was closed.
        """
        watcher = _Watcher(path)
        self._watchers.add(watcher)
        try:
            if from_revision:
                position, told = from_revision, dict[str, int]()
            else:
                position, told = self._revision, {}
                async for parameter in self._existing(path):
                    if parameter.revision > position:
                        told[parameter.name] = parameter.revision
                    yield parameter
            async for event in self._live(watcher, position):
                # What was written while the list was read may be in both.
                if isinstance(event, Bookmark) or event.revision > told.get(event.name, 0):
                    yield event
        finally:
            self._watchers.discard(watcher)

    async def _existing(self, path: str) -> AsyncIterator[Parameter]:
        found = await self._store.get([Selector(name=path)])
        for itself in found.parameters:
            if itself is not None:
                yield itself
        after, more = "", True
        while more:
            page = await self._store.list_below(path, recursive=True, after=after, limit=_PAGE)
            for parameter in page.parameters:
                yield parameter
            more, after = page.more, page.parameters[-1].name if page.parameters else ""

    async def _live(self, watcher: _Watcher, position: int) -> AsyncIterator[ParameterEvent | Bookmark]:
        told, caught_up, idle = position, False, False
        while True:
            watcher.wake.clear()
            page = await self._after(watcher.path, position)
            for event in page.events:
                yield event
                told = event.revision
            position = page.revision
            if self._closed:
                raise UnavailableError("the service is shutting down", reason="ERROR_REASON_DRAINING")
            if position < self._revision:
                continue
            if not caught_up or (idle and position > told):
                yield Bookmark(revision=position)
                told, caught_up = position, True
            idle = not await self._woken(watcher)

    async def _woken(self, watcher: _Watcher) -> bool:
        """Waits for an event; False when none came in time for a bookmark."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bookmark_seconds):
                return await watcher.wake.wait()
        return False

    async def _after(self, path: str, position: int) -> EventPage:
        # Negative when the store was read after a commit that has not been announced yet.
        missing = self._revision - position
        if not 0 <= missing <= len(self._recent):
            return await self._store.events(path, after=position, limit=_PAGE)
        newest: Sequence[ParameterEvent] = list(islice(reversed(self._recent), missing))
        found = [event for event in reversed(newest) if concerns(path, event.name)]
        return EventPage(events=found, revision=self._revision)

    def _announce(self, events: Sequence[ParameterEvent]) -> None:
        self._recent.extend(events)
        self._revision = events[-1].revision
        for watcher in self._watchers:
            if any(concerns(watcher.path, event.name) for event in events):
                watcher.wake.set()
