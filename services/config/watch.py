"""Pushing changes: each watcher has a position in the order of revisions and reads on from there, at its own pace.

There is no queue per watcher. New events wait in one bounded list for all; a watcher that falls behind it reads the
store's history, and one that falls behind that is told so. So a slow watcher costs nothing, delays no commit, and can
miss nothing without hearing of it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
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
    """Sleeps until something happens below its path, `seconds` at most. With many watchers each step counts.

    One timer, looked at when it rings, is cheaper than one for each sleep: mostly something happens long before.
    """

    __slots__ = ("_asleep", "_due", "_loop", "_seconds", "_timer", "_woken")

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._asleep: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False

    def wake(self) -> None:
        """Ends the sleep, or the next one."""
        self._woken = True
        self._rouse()

    def look(self) -> None:
        """Notes that the watcher is about to see all that has happened."""
        self._woken = False

    async def sleep(self) -> bool:
        """Waits for `wake` since the last `look`; False when it did not come in time."""
        if not self._woken:
            self._asleep = self._loop.create_future()
            self._due = self._loop.time() + self._seconds
            if self._timer is None:
                self._timer = self._loop.call_at(self._due, self._ring)
            try:
                await self._asleep
            finally:
                self._asleep = None
        return self._woken

    def leave(self) -> None:
        """Ends the timer."""
        if self._timer:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        if self._asleep and self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._ring)
        else:
            self._rouse()

    def _rouse(self) -> None:
        if self._asleep and not self._asleep.done():
            self._asleep.set_result(None)


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
        self._watchers: defaultdict[str, set[_Watcher]] = defaultdict(set)  # by path
        self._closed = False
        self._last_asked = ("", 0, 0)
        self._last_page = EventPage(events=(), revision=0)
        store.on_commit(self._announce)

    @property
    def watchers(self) -> int:
        """How many follow now."""
        return sum(map(len, self._watchers.values()))

    async def close(self) -> None:
        """Ends every watch."""
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.wake()

    async def follow(
        self, path: str, from_revision: int, *, visible: Callable[[str], bool] = lambda _name: True
    ) -> AsyncGenerator[ParameterEvent | Bookmark, None]:
        """Events of a path (the name itself and everything below) after a revision, then live ones, without a gap.

        From revision 0 on it first tells what exists, as the versions that are current. A bookmark marks the point at
        which everything of before has been told. A name that is not `visible` when its event is to be told is as if it
        lay elsewhere.

        Raises:
            OutOfRangeError: events after the position are no longer kept, at the start or because the watcher is slow.
            UnavailableError: the hub was closed.
        """
        watcher = _Watcher(self._bookmark_seconds)
        self._watchers[path].add(watcher)
        listed: dict[str, int] = {}  # what was written while the list was read: it comes again as an event
        try:
            position = from_revision
            if not from_revision:
                position = self._revision
                async for parameter in self._existing(path, visible):
                    if parameter.revision > position:
                        listed[parameter.name] = parameter.revision
                    yield parameter
            # No generator of its own for what follows: with many watchers each step counts.
            told, caught_up, idle = position, False, False
            while True:
                watcher.look()
                page = await self._after(path, position)
                for event in page.events:
                    if (not listed or event.revision > listed.get(event.name, 0)) and visible(event.name):
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
                idle = not await watcher.sleep()
        finally:
            self._leave(path, watcher)

    def _leave(self, path: str, watcher: _Watcher) -> None:
        watcher.leave()
        self._watchers[path].discard(watcher)
        if not self._watchers[path]:
            del self._watchers[path]

    async def _existing(self, path: str, visible: Callable[[str], bool]) -> AsyncIterator[Parameter]:
        found = await self._store.get([Selector(name=path)])
        for itself in found.parameters:
            if itself is not None and visible(itself.name):
                yield itself
        after, more = "", True
        while more:
            page = await self._store.list_below(path, recursive=True, after=after, limit=_PAGE)
            for parameter in page.parameters:
                if visible(parameter.name):
                    yield parameter
            more, after = page.more, page.parameters[-1].name if page.parameters else ""

    async def _after(self, path: str, position: int) -> EventPage:
        # Negative when the store was read after a commit that has not been announced yet.
        missing = self._revision - position
        if not 0 <= missing <= len(self._recent):
            return await self._store.events(path, after=position, limit=_PAGE)
        asked = (path, position, self._revision)
        if asked != self._last_asked:  # watchers of a path that have all caught up ask the same
            newest: Sequence[ParameterEvent] = list(islice(reversed(self._recent), missing))
            found = [event for event in reversed(newest) if concerns(path, event.name)]
            self._last_asked, self._last_page = asked, EventPage(events=found, revision=self._revision)
        return self._last_page

    def _announce(self, events: Sequence[ParameterEvent]) -> None:
        self._recent.extend(events)
        self._revision = events[-1].revision
        for path, watchers in self._watchers.items():
            if any(concerns(path, event.name) for event in events):
                for watcher in watchers:
                    watcher.wake()
