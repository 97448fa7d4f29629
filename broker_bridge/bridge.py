"""The routes in force: each runs a session with the broker and a pump, and changes when its parameter changes."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from broker_bridge.route_runner import Parts, RouteState, RouteStatus, Runner
from broker_bridge.routes import ROUTES_PATH, InvalidRouteError, parse_route
from broker_bridge.stats import Snapshot

_PROGRESS_SECONDS = 5.0
_STALLED_SECONDS = 120.0


class Change(Protocol):
    """A parameter below `/penstock/routes` has a new value, or None when it was deleted."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str | None: ...
    @property
    def version(self) -> int | None: ...


class Bridge:
    """All routes.

    `report` hears after every change whether all of them flow, and what is wrong (empty when nothing is).
    """

    def __init__(self, parts: Parts, *, report: Callable[[bool, str], None]) -> None:
        self._parts = parts
        self._report = report
        self._runners: dict[str, Runner] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._stopped = False

    def apply(self, change: Change) -> None:
        """Puts a changed parameter into force as a whole.

        Raises:
            InvalidRouteError: it is no valid route; an earlier one stays in force.
        """
        name = change.name.removeprefix(f"{ROUTES_PATH}/")
        if self._stopped:
            return
        if change.value is None:
            self._remove(name)
            return
        runner = self._runners.setdefault(name, Runner(name, self._parts, self._tell))
        try:
            route = parse_route(name, change.value, version=change.version or 0)
        except InvalidRouteError as error:
            runner.state.fault = error.message
            if runner.state.route is None:
                runner.state.status, runner.state.detail = RouteStatus.INVALID, error.message
            self._tell()
            raise
        runner.want(route, change.value)

    def _remove(self, name: str) -> None:
        runner = self._runners.pop(name, None)
        if runner is not None:
            runner.want(None)
            # Kept until it has finished what it began: a stop waits for it too.
            ending = asyncio.ensure_future(runner.ended())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        self._tell()

    async def stop(self) -> None:
        """Ends all routes: nothing new is taken, what runs is finished and confirmed within the drain time."""
        self._stopped = True
        for runner in self._runners.values():
            runner.want(None)
        await asyncio.gather(*self._ending, *(runner.ended() for runner in self._runners.values()))

    def states(self) -> list[RouteState]:
        """All routes by name."""
        return [self._runners[name].state for name in sorted(self._runners)]

    def snapshots(self) -> list[Snapshot]:
        """The counts of all routes by name."""
        return [runner.snapshot() for _, runner in sorted(self._runners.items())]

    async def watch(self, every: float = _PROGRESS_SECONDS) -> None:
        """Tells of routes without progress, too, until cancelled."""
        while True:
            await asyncio.sleep(every)
            self._tell()

    def _stalled(self) -> list[str]:
        """Routes that hold messages and have settled none for long: an open connection alone is no sign of life."""
        wall = self._parts.clock.wall()
        return [
            f"{snapshot.route}: no message was settled for {_STALLED_SECONDS:g} s while some are in flight"
            for snapshot in self.snapshots()
            if snapshot.oldest_age > _STALLED_SECONDS
            and wall - snapshot.stats.last_settled_at > _STALLED_SECONDS * 1000
        ]

    def _tell(self) -> None:
        states = self.states()
        wrong = [f"{state.name}: {state.detail}" for state in states if state.status is RouteStatus.CONNECTING]
        impaired = [
            f"{state.name}: {state.detail}" for state in states if state.status is RouteStatus.ACTIVE and state.detail
        ]
        invalid = [state.fault for state in states if state.fault]
        self._report(not wrong, "; ".join(wrong + impaired + self._stalled() + invalid))
