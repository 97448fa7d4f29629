"""What is known about programs: an in-process cache in front of the shared store that holds the core data.

    find ──▶ known programs (LRU, minutes) ──▶ known absentees (LRU, seconds) ──▶ one load per id at a time ──▶ store

Nothing is kept while the store cannot tell of changes: an entry that nobody could invalidate would be stale unnoticed.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

import structlog

from services.runtime.errors import InternalError, UnavailableError
from services.tracking.program import Program
from services.tracking.program_store import ProgramStore

V = TypeVar("V")


class Unknown(Enum):
    """Why there is no program."""

    ABSENT = "absent"
    """The store says that no program has this id."""
    UNVERIFIED = "unverified"
    """The store cannot be asked, or what it holds under this id is no program."""


Finding: TypeAlias = Program | Unknown


class ProgramLookup:
    """Finds programs for the intake; safe for use by any number of tasks of one event loop.

    Args:
        store: asked for what the cache does not hold.
        size: programs kept; the least recently used goes first. As many absentees are kept at most.
        seconds: how long a program is kept without asking again.
        absent_seconds: how long the absence of a program is kept.
        pause_seconds: how long the store is left alone after it could not be reached; everything not cached is
            UNVERIFIED meanwhile.
        now: clock in seconds.
        on_state: hears what is wrong with the store in a few words, an empty text when nothing is.
    """

    def __init__(
        self,
        store: ProgramStore,
        *,
        size: int = 100_000,
        seconds: float = 600.0,
        absent_seconds: float = 5.0,
        pause_seconds: float = 1.0,
        now: Callable[[], float] = time.monotonic,
        on_state: Callable[[str], None] = lambda _detail: None,
    ) -> None:
        self._store = store
        self._known: _Cache[Program] = _Cache(size, seconds, now)
        self._absent: _Cache[Unknown] = _Cache(size, absent_seconds, now)
        self._loads: dict[str, asyncio.Task[Mapping[str, Finding]]] = {}
        self._pause_seconds = pause_seconds
        self._paused_until = float("-inf")
        self._following = False
        self._now = now
        self._on_state = on_state

    async def find(self, program_ids: Collection[str]) -> Mapping[str, Finding]:
        """What is known about each id. Ids must be well-formed."""
        found: dict[str, Finding] = {}
        for program_id in program_ids:
            finding = self._known.get(program_id) or self._absent.get(program_id)
            if finding is not None:
                found[program_id] = finding
        if len(found) < len(program_ids):
            found.update(await self._load([program_id for program_id in program_ids if program_id not in found]))
        return found

    def connected(self) -> None:
        """Starts keeping what is loaded, from nothing."""
        self._flush()
        self._following = True
        self._paused_until = float("-inf")
        self._on_state("")

    def changed(self, program_id: str) -> None:
        """Forgets a program; a load of it that is under way is answered to its waiters, but not kept."""
        self._known.discard(program_id)
        self._absent.discard(program_id)
        self._loads.pop(program_id, None)

    def lost(self, reason: str) -> None:
        """Forgets everything: changes can pass unnoticed from now on."""
        self._flush()
        self._following = False
        self._on_state(reason)

    async def follow(self) -> None:
        """Keeps the cache true to the store; a background task of the process."""
        await self._store.watch(self)

    def _flush(self) -> None:
        self._known.clear()
        self._absent.clear()
        self._loads.clear()

    async def _load(self, program_ids: Sequence[str]) -> Mapping[str, Finding]:
        """Asks the store, once for all tasks that want the same id."""
        wanted = [program_id for program_id in program_ids if program_id not in self._loads]
        if wanted:
            load = asyncio.create_task(self._ask(wanted))
            self._loads.update(dict.fromkeys(wanted, load))
            load.add_done_callback(lambda load: self._loaded(wanted, load))
        loads = {program_id: self._loads[program_id] for program_id in program_ids}
        await asyncio.wait(set(loads.values()))
        return {program_id: load.result()[program_id] for program_id, load in loads.items()}

    async def _ask(self, program_ids: Sequence[str]) -> Mapping[str, Finding]:
        if self._now() < self._paused_until:
            return dict.fromkeys(program_ids, Unknown.UNVERIFIED)
        try:
            programs = await self._store.get_many(program_ids)
        except UnavailableError as error:
            self._paused_until = self._now() + self._pause_seconds
            self._on_state(error.message)
            return dict.fromkeys(program_ids, Unknown.UNVERIFIED)
        except InternalError as error:
            return await self._ask_apart(program_ids, error)
        if self._paused_until > float("-inf") and self._following:
            self._paused_until = float("-inf")
            self._on_state("")
        return {program_id: programs.get(program_id, Unknown.ABSENT) for program_id in program_ids}

    async def _ask_apart(self, program_ids: Sequence[str], error: InternalError) -> Mapping[str, Finding]:
        """One entry that is no program must not harm the events of the others: halves until it stands alone."""
        if len(program_ids) == 1:
            structlog.get_logger(component="programs").error("a stored program is unreadable", reason=error.message)
            return {program_ids[0]: Unknown.UNVERIFIED}
        middle = len(program_ids) // 2
        return {**await self._ask(program_ids[:middle]), **await self._ask(program_ids[middle:])}

    def _loaded(self, program_ids: Sequence[str], load: asyncio.Task[Mapping[str, Finding]]) -> None:
        failed = load.cancelled() or load.exception() is not None
        for program_id in program_ids:
            # A load that was forgotten meanwhile may have read what was there before the change.
            if self._loads.get(program_id) is not load:
                continue
            del self._loads[program_id]
            if failed or not self._following:
                continue
            finding = load.result()[program_id]
            if isinstance(finding, Program):
                self._known.put(program_id, finding)
            elif finding is Unknown.ABSENT:
                self._absent.put(program_id, finding)


class _Cache(Generic[V]):
    """Least recently used goes first, and nothing stays longer than `seconds`.

    Written here because it is on the path of every event: cachetools' TTLCache takes three to five times as long.
    """

    def __init__(self, size: int, seconds: float, now: Callable[[], float]) -> None:
        self._entries: OrderedDict[str, tuple[float, V]] = OrderedDict()
        self._size = size
        self._seconds = seconds
        self._now = now

    def get(self, key: str) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._now():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: str, value: V) -> None:
        self._entries[key] = (self._now() + self._seconds, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def discard(self, key: str) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()
