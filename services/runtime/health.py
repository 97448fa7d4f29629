"""Health of a process: per gRPC service and per part it depends on, with a word on what is wrong.

The board answers `grpc.health.v1` and Prometheus (`penstock_health`); every change is logged once.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from textwrap import shorten

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_LONGEST_DETAIL = 300
OVERALL = ""
"""The name by which `grpc.health.v1` asks for the process as a whole."""

_Status = health_pb2.HealthCheckResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """`serving` with a non-empty `detail` means degraded: it works, but not with all it should have."""

    serving: bool
    detail: str = ""


class HealthBoard(Collector):
    """What works and what does not, by name: gRPC services, and parts such as `valkey` or `config`.

    The process as a whole serves when every name does. Use it on the event loop only; Prometheus reads from a thread.
    """

    def __init__(self) -> None:
        self._states: dict[str, HealthState] = {}
        self._draining = False
        self._changed = asyncio.Event()
        self._log = structlog.get_logger(component="health")

    def set(self, service_name: str, serving: bool, detail: str = "") -> None:  # noqa: FBT001
        """Sets the state of a service or part; `detail` says in a few words what is wrong, empty when nothing is.

        A longer detail (some servers answer with a page) is cut: it is the label of a metric.
        """
        state = HealthState(serving=serving, detail=shorten(detail, _LONGEST_DETAIL, placeholder=" …"))
        before = self._states.get(service_name)
        if before == state:
            return
        self._states[service_name] = state
        self._announce()
        if before is not None or not serving or detail:
            log = self._log.info if serving and not detail else self._log.warning
            log("health", part=service_name, serving=serving, detail=detail)

    def add(self, service_name: str) -> None:
        """A service that serves unless something already said otherwise."""
        if service_name not in self._states:
            self.set(service_name, True)

    def drain(self) -> None:
        """Everything is NOT_SERVING from now on, and the streams of `Watch` end."""
        self._draining = True
        self._announce()

    def get(self, service_name: str = OVERALL) -> HealthState | None:
        """The state of a name, of the whole process by default; None for a name nobody has set."""
        if service_name == OVERALL:
            details = [f"{name}: {state.detail}" for name, state in self.states() if state.detail]
            serving = not self._draining and all(state.serving for state in self._states.values())
            return HealthState(serving=serving, detail="; ".join(["draining"] * self._draining + details))
        state = self._states.get(service_name)
        return HealthState(serving=False, detail="draining") if state and self._draining else state

    def states(self) -> list[tuple[str, HealthState]]:
        """Every name with its state, by name."""
        return sorted(self._states.items())

    async def watch(self, service_name: str) -> AsyncIterator[HealthState | None]:
        """The state now and after every change of it, until the process drains."""
        first, last = True, None
        while True:
            changed, draining, state = self._changed, self._draining, self.get(service_name)
            if first or state != last:
                first, last = False, state
                yield state
            if draining:
                return
            await changed.wait()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The states for Prometheus; 1 serves, 0 does not. The process as a whole is `service=""`."""
        family = GaugeMetricFamily(
            "penstock_health", "1 when the service or part works, 0 when not.", labels=("service", "detail")
        )
        for name, state in [(OVERALL, self.get()), *((name, self.get(name)) for name in list(self._states))]:
            if state is not None:
                family.add_metric((name, state.detail), float(state.serving))
        yield family

    def _announce(self) -> None:
        # Waiters hold the old event, so none can miss a change that happens while it sends.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class HealthServicer(health_pb2_grpc.HealthServicer):
    """`grpc.health.v1.Health` over a board: `Check` fails with NOT_FOUND, `Watch` tells SERVICE_UNKNOWN."""

    def __init__(self, board: HealthBoard) -> None:
        self._board = board

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> health_pb2.HealthCheckResponse:
        state = self._board.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service or part is named {request.service!r}")
        return _response(state)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, _context: grpc.aio.ServicerContext[object, object]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        last = None
        async for state in self._board.watch(request.service):
            response = _response(state)
            if response != last:
                last = response
                yield response


def _response(state: HealthState | None) -> health_pb2.HealthCheckResponse:
    if state is None:
        return _Status(status=_Status.SERVICE_UNKNOWN)
    return _Status(status=_Status.SERVING if state.serving else _Status.NOT_SERVING)
