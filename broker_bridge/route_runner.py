"""One route: the sessions and pumps that serve it, and how it is doing."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

import structlog

from broker_bridge.broker import BrokerAddress, Connect
from broker_bridge.clock import Clock
from broker_bridge.dedup import Dedup
from broker_bridge.filtering import MessageFilter
from broker_bridge.guard import Guard
from broker_bridge.pump import Pump
from broker_bridge.replies import Answers
from broker_bridge.routes import Route
from broker_bridge.session import Session, SessionState
from broker_bridge.stats import RouteStats, Snapshot
from broker_bridge.targets import Targets

_RESTART_SECONDS = 1.0


class RouteStatus(Enum):
    """Whether messages flow."""

    ACTIVE = auto()
    CONNECTING = auto()
    PAUSED = auto()
    INVALID = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every route works with. `drain_seconds` bounds how long a route that ends may finish what it began."""

    connect: Connect
    addresses: Sequence[BrokerAddress]
    message_filter: MessageFilter
    targets: Targets
    answers: Answers
    dedup: Callable[[str], Dedup]
    dedup_ended: Callable[[str], None]
    clock: Clock
    drain_seconds: float
    prefer_first: bool = False


@dataclass(slots=True, kw_only=True)
class RouteState:
    """A route as operators see it.

    `document` is its stored JSON; `fault` tells why the newest change is not in force.
    """

    name: str
    route: Route | None = None
    document: str = "{}"
    status: RouteStatus = RouteStatus.CONNECTING
    detail: str = "starting"
    fault: str = ""
    server: str = ""
    stats: RouteStats = field(default_factory=RouteStats)


@dataclass(frozen=True, slots=True)
class _Lane:
    """A subscription and the loop that works on it."""

    session: Session
    pump: Pump

    def tasks(self) -> Sequence[Coroutine[None, None, None]]:
        return (self.pump.run(), self.session.run(self.pump))


class Runner:
    """One route by name: what it shall be, and the task that makes it so."""

    def __init__(self, name: str, parts: Parts, report: Callable[[], None]) -> None:
        self.state = RouteState(name=name)
        self._lanes: list[_Lane] = []
        self._guard: Guard | None = None
        self._sessions: list[SessionState] = []
        self._parts = parts
        self._report = report
        self._changed = asyncio.Event()
        self._wanted: Route | None = None
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("bridge").bind(route=name)

    def want(self, route: Route | None, document: str = "{}") -> None:
        """The route to run from now on; None ends it. What runs is finished first."""
        self._wanted = route
        if route is not None:
            self.state.route, self.state.document, self.state.fault = route, document, ""
            self.state.status, self.state.detail = RouteStatus.CONNECTING, "changing"
        self._changed.set()
        if self._task is None and route is not None:
            self._task = asyncio.ensure_future(self._run())
        self._report()

    async def ended(self) -> None:
        """Waits until the route runs no more, after `want(None)`."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while (route := self._wanted) is not None:
            self._changed.clear()
            if route.paused:
                self._set(RouteStatus.PAUSED, "")
                await self._changed.wait()
                continue
            try:
                await self._serve(route)
            except Exception:  # noqa: BLE001 - a fault of ours in one route must not end the others
                self._log.exception("the route failed and begins anew")
                self._set(RouteStatus.CONNECTING, "failed unexpectedly, begins anew; see the log")
                await asyncio.sleep(_RESTART_SECONDS)
        self._task = None

    async def _serve(self, route: Route) -> None:
        """Runs the route until it shall change."""
        self._guard = Guard(
            route,
            self._parts.targets,
            stats=self.state.stats,
            monotonic=self._parts.clock.monotonic,
            changed=self._on_circuit,
        )
        self._lanes = self._open_lanes(route, self._guard.targets)
        self._sessions = [SessionState(active=False, detail="connecting")] * len(self._lanes)
        self._set(RouteStatus.CONNECTING, "connecting")
        changed = asyncio.ensure_future(self._changed.wait())
        working = [asyncio.ensure_future(task) for lane in self._lanes for task in lane.tasks()]
        try:
            await asyncio.wait([changed, *working], return_when=asyncio.FIRST_COMPLETED)
            if changed.done():
                self._guard.stop()
                await asyncio.gather(*(self._finish(lane) for lane in self._lanes))
        finally:
            for task in (changed, *working):
                task.cancel()
            results = await asyncio.gather(*working, return_exceptions=True)
            self._lanes = []
            self._parts.dedup_ended(self.state.name)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _open_lanes(self, route: Route, targets: Targets) -> list[_Lane]:
        """A route without lanes has one, which delivers side by side."""
        parts = self._parts
        dedup, delivering = parts.dedup(route.name), set[str]()
        lanes = []
        for index in range(route.lanes or 1):
            session = Session(
                route,
                connect=parts.connect,
                addresses=parts.addresses,
                report=partial(self._on_session, index),
                prefer_first=parts.prefer_first,
            )
            pump = Pump(
                route,
                broker=session,
                message_filter=parts.message_filter,
                targets=targets,
                answers=parts.answers,
                dedup=dedup,
                clock=parts.clock,
                stats=self.state.stats,
                delivering=delivering,
            )
            lanes.append(_Lane(session, pump))
        return lanes

    async def _finish(self, lane: _Lane) -> None:
        try:
            async with asyncio.timeout(self._parts.drain_seconds):
                await lane.pump.drain()
        except TimeoutError:
            # They are not acknowledged: the broker gives them to the next consumer.
            self._log.warning("not everything begun was finished in time", in_flight=lane.pump.snapshot().in_flight)
            await lane.pump.abandon()
        await lane.session.close()

    def snapshot(self) -> Snapshot:
        """The counts of the route and what is in flight on all of its lanes."""
        parts = [lane.pump.snapshot() for lane in self._lanes]
        return Snapshot(
            route=self.state.name,
            stats=self.state.stats,
            in_flight=sum(part.in_flight for part in parts),
            in_flight_bytes=sum(part.in_flight_bytes for part in parts),
            oldest_age=max((part.oldest_age for part in parts), default=0.0),
            open_circuits=len(self._guard.open_circuits()) if self._guard else 0,
        )

    def _on_session(self, lane: int, state: SessionState) -> None:
        """The route flows when every lane does."""
        if state.active:
            self.state.stats.connections += 1
        else:
            self.state.stats.connections_lost += self._sessions[lane].active
        self._sessions[lane] = state
        inactive = next((state for state in self._sessions if not state.active), None)
        self.state.server = next((state.server for state in self._sessions if state.server), "")
        if inactive is None:
            self._set(RouteStatus.ACTIVE, self._circuits())
        else:
            self._set(RouteStatus.CONNECTING, inactive.detail)

    def _on_circuit(self) -> None:
        if self.state.status is RouteStatus.ACTIVE:
            self._set(RouteStatus.ACTIVE, self._circuits())
        self._log.warning("the circuit of a target changed", open=self._guard.open_circuits() if self._guard else [])

    def _circuits(self) -> str:
        """Which targets are not called now; empty when all are."""
        circuits = self._guard.open_circuits() if self._guard else []
        return f"circuit open: {'; '.join(circuits)}" if circuits else ""

    def _set(self, status: RouteStatus, detail: str) -> None:
        self.state.status, self.state.detail = status, detail
        self._report()
