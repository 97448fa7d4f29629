"""A watcher of parameters together with what it told, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from penstock.client import ParameterChange, ParameterWatcher, SnapshotFile

from services.runtime.channel import open_channel
from services.runtime.errors import InvalidArgumentError
from services.runtime.health import HealthBoard, HealthState
from services.runtime.retry import Backoff

PATH = "/penstock/routes"
QUICK = Backoff(initial=0.005, maximum=0.02)


class Follower:
    """A watcher with what it told; values named `bad` are refused, as a service refuses a malformed route."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.health = HealthBoard()
        self.watcher: ParameterWatcher
        self._moved = asyncio.Event()

    def on_change(self, change: ParameterChange) -> None:
        """The callback under test."""
        self.told.append((change.name.removeprefix(f"{PATH}/"), change.value))
        self._move()
        if change.value == "bad":
            raise InvalidArgumentError("it is bad")
        if change.value == "crash":
            raise KeyError("crash")

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def follow_health(self) -> None:
        """Wakes who waits for a health state."""
        async for _state in self.health.watch("config"):
            self._move()

    def state(self) -> HealthState:
        """The part's health."""
        state = self.health.get("config")
        assert state
        return state

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits for a condition that a change or the part's health brings about."""
        async with asyncio.timeout(10):
            while not holds():
                moved = self._moved
                await moved.wait()


@asynccontextmanager
async def following(address: str, snapshot: Path | None = None) -> AsyncIterator[Follower]:
    """A running watcher of the config service."""
    follower = Follower()
    async with open_channel(address) as channel:
        follower.watcher = ParameterWatcher(
            channel,
            PATH,
            on_change=follower.on_change,
            snapshot=SnapshotFile(snapshot, PATH) if snapshot else None,
            report=partial(follower.health.set, "config"),
            backoff=QUICK,
        )
        tasks = [asyncio.ensure_future(run()) for run in (follower.watcher.run, follower.follow_health)]
        try:
            yield follower
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def ready(follower: Follower) -> None:
    """Waits until the first values are there."""
    await asyncio.wait_for(follower.watcher.ready.wait(), 10)
