"""The store of programs as the lookup wants it, and one in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from services.runtime.errors import UnavailableError
from services.tracking.program import Program


class ProgramWatcher(Protocol):
    """Hears of changes in the store, on the event loop."""

    def connected(self) -> None:
        """From now on every change is told; those before may have been missed."""

    def changed(self, program_id: str) -> None:
        """This program was put or deleted."""

    def lost(self, reason: str) -> None:
        """Changes are no longer told."""


class ProgramStore(Protocol):
    """Core data shared by all intakes. Each method raises UnavailableError while the store cannot be reached."""

    async def get_many(self, program_ids: Sequence[str]) -> Mapping[str, Program]:
        """The programs that exist among these ids, in one round trip.

        Raises:
            InternalError: what is stored under one of the ids is no program.
        """

    async def put(self, program: Program) -> Program:
        """Creates or replaces a program, tells every watcher, and returns it with its new version."""

    async def delete(self, program_id: str) -> bool:
        """Deletes a program and tells every watcher; False when there was none."""

    async def list_after(self, program_id: str, limit: int) -> Sequence[Program]:
        """Up to `limit` programs with ids greater than `program_id`, in the order of their bytes."""

    async def watch(self, watcher: ProgramWatcher) -> None:
        """Tells `watcher` of every change, reconnecting for ever. Runs until it is cancelled."""


class MemoryProgramStore:
    """Programs of one process, for demonstrations and tests; `outage()` makes it unreachable."""

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}
        self._watchers: list[ProgramWatcher] = []
        self._away = False
        self.reads: list[tuple[str, ...]] = []

    async def get_many(self, program_ids: Sequence[str]) -> Mapping[str, Program]:
        self._require_reachable()
        self.reads.append(tuple(program_ids))
        return {program_id: self._programs[program_id] for program_id in program_ids if program_id in self._programs}

    async def put(self, program: Program) -> Program:
        self._require_reachable()
        before = self._programs.get(program.program_id)
        stored = program.with_version(before.version + 1 if before else 1)
        self._programs[program.program_id] = stored
        self._tell(program.program_id)
        return stored

    async def delete(self, program_id: str) -> bool:
        self._require_reachable()
        existed = self._programs.pop(program_id, None) is not None
        self._tell(program_id)
        return existed

    async def list_after(self, program_id: str, limit: int) -> Sequence[Program]:
        self._require_reachable()
        return [self._programs[key] for key in sorted(self._programs) if key > program_id][:limit]

    async def watch(self, watcher: ProgramWatcher) -> None:
        self._watchers.append(watcher)
        try:
            watcher.connected()
            await asyncio.Event().wait()
        finally:
            self._watchers.remove(watcher)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """The store cannot be reached inside this block."""
        self._away = True
        for watcher in self._watchers:
            watcher.lost("the memory store is away")
        yield
        self._away = False
        for watcher in self._watchers:
            watcher.connected()

    def _require_reachable(self) -> None:
        if self._away:
            raise UnavailableError("the memory store is away", reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE")

    def _tell(self, program_id: str) -> None:
        for watcher in self._watchers:
            watcher.changed(program_id)
