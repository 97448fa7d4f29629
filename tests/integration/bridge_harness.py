"""What the tests of the bridge stand on: a recording service, and the bridge in this process or its own."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from penstock.bridge.v1 import bridge_service_pb2
from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceStub
from penstock.delivery.v1 import broker_message_pb2, delivery_service_pb2, delivery_service_pb2_grpc
from penstock.filtering.v1 import filtering_service_pb2, filtering_service_pb2_grpc

from broker_bridge.bridge import Bridge
from broker_bridge.opening import open_parts
from broker_bridge.servicer import BridgeServicer
from broker_bridge.settings import BridgeSettings
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.ports import free_port_numbers
from services.runtime.channel import open_channel
from services.runtime.errors import PenstockError
from services.runtime.health import HealthBoard
from services.runtime.server import listening
from services.runtime.settings import ServiceSettings
from tests.integration.config_fake import FakeConfig
from tests.integration.parts import RunningPart

if TYPE_CHECKING:
    from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceAsyncStub

PATIENCE = 60.0
REPOSITORY = Path(__file__).parents[2]
Decide = Callable[[broker_message_pb2.BrokerMessage], delivery_service_pb2.DeliveryResult]
_Context = grpc.aio.ServicerContext[Any, Any]


def accepted(_message: broker_message_pb2.BrokerMessage | None = None) -> delivery_service_pb2.DeliveryResult:
    return delivery_service_pb2.DeliveryResult(outcome=delivery_service_pb2.DELIVERY_OUTCOME_ACCEPTED)


def rejected(reason: str) -> delivery_service_pb2.DeliveryResult:
    return delivery_service_pb2.DeliveryResult(outcome=delivery_service_pb2.DELIVERY_OUTCOME_REJECTED, reason=reason)


def retry(reason: str) -> delivery_service_pb2.DeliveryResult:
    return delivery_service_pb2.DeliveryResult(outcome=delivery_service_pb2.DELIVERY_OUTCOME_RETRY, reason=reason)


class RecordingService(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """A DeliveryService that keeps what it accepted, in order, and answers as `decide` and `failure` say."""

    def __init__(self) -> None:
        (self.port,) = free_port_numbers(1)
        self.decide: Decide = accepted
        self.failure: PenstockError | None = None
        self.before: Callable[[], Awaitable[None]] | None = None
        self.messages: list[broker_message_pb2.BrokerMessage] = []
        self.requests: list[delivery_service_pb2.DeliverMessagesRequest] = []
        self._running: AsyncExitStack | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.messages]

    @property
    def times_delivered(self) -> Counter[str]:
        return Counter(self.ids)

    async def start(self) -> None:
        self._running = AsyncExitStack()
        settings = ServiceSettings(port=self.port, drain_seconds=0)
        await self._running.enter_async_context(
            listening(settings=settings, register=self._register, health=HealthBoard())
        )

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.aclose()
            self._running = None

    def _register(self, server: grpc.aio.Server) -> Sequence[str]:
        delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server(self, server)
        return ("penstock.delivery.v1.DeliveryService",)

    async def DeliverMessages(  # noqa: N802
        self, request: delivery_service_pb2.DeliverMessagesRequest, _context: _Context
    ) -> delivery_service_pb2.DeliverMessagesResponse:
        self.requests.append(request)
        if self.before is not None:
            await self.before()
        if self.failure is not None:
            raise self.failure
        results = [self.decide(message) for message in request.messages]
        self.messages += [
            message
            for message, result in zip(request.messages, results, strict=True)
            if result.outcome == delivery_service_pb2.DELIVERY_OUTCOME_ACCEPTED
        ]
        return delivery_service_pb2.DeliverMessagesResponse(results=results)


class TableFilter(filtering_service_pb2_grpc.FilteringServiceServicer):
    """A FilteringService that answers from a function, one result per message."""

    def __init__(
        self,
        answer: Callable[
            [filtering_service_pb2.BatchMatchMessagesRequest], filtering_service_pb2.BatchMatchMessagesResponse
        ],
    ) -> None:
        (self.port,) = free_port_numbers(1)
        self.answer = answer
        self.requests: list[filtering_service_pb2.BatchMatchMessagesRequest] = []
        self._running: AsyncExitStack | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._running = AsyncExitStack()
        settings = ServiceSettings(port=self.port, drain_seconds=0)
        await self._running.enter_async_context(
            listening(settings=settings, register=self._register, health=HealthBoard())
        )

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.aclose()
            self._running = None

    def _register(self, server: grpc.aio.Server) -> Sequence[str]:
        filtering_service_pb2_grpc.add_FilteringServiceServicer_to_server(self, server)
        return ("penstock.filtering.v1.FilteringService",)

    async def BatchMatchMessages(  # noqa: N802
        self, request: filtering_service_pb2.BatchMatchMessagesRequest, _context: _Context
    ) -> filtering_service_pb2.BatchMatchMessagesResponse:
        self.requests.append(request)
        return self.answer(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A stored route, as the watcher tells it."""

    name: str
    value: str | None
    version: int | None = 1


def stored(name: str, route: Mapping[str, object] | None, *, version: int = 1) -> Stored:
    """The change that stores a route, or deletes it."""
    value = None if route is None else json.dumps(route)
    return Stored(name=f"/penstock/routes/{name}", value=value, version=None if route is None else version)


@dataclass(slots=True, kw_only=True)
class RunningBridge:
    """A bridge in this process with its API."""

    bridge: Bridge
    api: "BridgeServiceAsyncStub"
    health: HealthBoard
    _names: list[str] = field(default_factory=list)

    async def put(self, name: str, route: Mapping[str, object]) -> None:
        """Puts a route into force and waits until the broker has confirmed its subscription."""
        self.bridge.apply(stored(name, route))

        async def is_active() -> bool:
            return await self.status(name) == bridge_service_pb2.ROUTE_STATUS_ACTIVE

        await eventually(is_active, f"route {name} active")

    async def status(self, name: str) -> int:
        response = await self.api.ListRoutes(bridge_service_pb2.ListRoutesRequest())
        return next((state.status for state in response.routes if state.route.name == name), 0)

    async def stats(self, name: str) -> bridge_service_pb2.RouteStats:
        response = await self.api.GetStats(bridge_service_pb2.GetStatsRequest())
        return next(stats for stats in response.routes if stats.route == name)

    async def dead_letters(self, queue: str) -> list[bridge_service_pb2.DeadLetter]:
        request = bridge_service_pb2.ListDeadLettersRequest(source=f"queue://{queue}")
        return list((await self.api.ListDeadLetters(request)).dead_letters)


def bridge_settings(activemq: RunningPart, valkey: RunningPart | None = None, **changes: object) -> BridgeSettings:
    """Settings for the parts that run; without Valkey nobody listens at its address."""
    redis = valkey.addresses["redis"] if valkey else f"127.0.0.1:{free_port_numbers(1)[0]}"
    given: dict[str, object] = {
        "port": 0,
        "metrics_port": 0,
        "broker_urls": (f"stomp://{activemq.addresses['stomp'].removeprefix('stomp://')}",),
        "broker_user": BROKER_USER,
        "broker_password": BROKER_PASSWORD,
        "redis_url": f"redis://{redis.removeprefix('redis://')}/0",
        "instance": "test-bridge",
        "drain_seconds": 10.0,
    }
    return BridgeSettings.model_validate(given | changes)


@asynccontextmanager
async def running_bridge(settings: BridgeSettings) -> AsyncIterator[RunningBridge]:
    """The bridge in this process, on real parts, with its API on a free port."""
    health = HealthBoard()
    async with open_parts(settings, health) as parts:
        bridge = Bridge(parts, report=lambda serving, detail: health.set("routes", serving, detail))
        servicer = BridgeServicer(bridge, parts=parts, health=health)
        async with (
            listening(settings=settings, register=servicer.register, health=health) as address,
            open_channel(address) as channel,
        ):
            try:
                yield RunningBridge(bridge=bridge, api=BridgeServiceStub(channel), health=health)
            finally:
                await bridge.stop()


def process_settings(activemq: RunningPart, valkey: RunningPart) -> dict[str, str]:
    """Settings of a bridge in a process of its own, for the parts that run."""
    return {
        "broker_urls": f"stomp://{activemq.addresses['stomp']}",
        "redis_url": f"redis://{valkey.addresses['redis']}/0",
    }


class BridgeProcess:
    """`python -m broker_bridge` as a child, told its routes by a config service of the test."""

    def __init__(
        self, settings: Mapping[str, str], config: FakeConfig, log: Path, *, module: str = "broker_bridge"
    ) -> None:
        self._module = module
        (self.port,) = free_port_numbers(1)
        self._settings = settings
        self._config = config
        self._log = log
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Starts it, without waiting until it works."""
        variables = {
            "PORT": str(self.port),
            "METRICS_PORT": "0",
            "CONFIG_TARGET": self._config.address,
            "BROKER_USER": BROKER_USER,
            "BROKER_PASSWORD": BROKER_PASSWORD,
        } | {name.upper(): value for name, value in self._settings.items()}
        environment = {**os.environ, **{f"PENSTOCK_BRIDGE_{name}": value for name, value in variables.items()}}
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, cwd=REPOSITORY, env=environment, stderr=log, stdout=log
            )

    async def is_active(self, route: str) -> bool:
        """Whether the broker has confirmed the subscription of a route; not while nobody answers."""
        async with open_channel(self.address) as channel:
            try:
                response = await BridgeServiceStub(channel).ListRoutes(bridge_service_pb2.ListRoutesRequest())
            except grpc.aio.AioRpcError:
                return False
        active = bridge_service_pb2.ROUTE_STATUS_ACTIVE
        return any(state.route.name == route and state.status == active for state in response.routes)

    async def stats(self, route: str) -> bridge_service_pb2.RouteStats | None:
        """What happened on a route; None while nobody answers."""
        async with open_channel(self.address) as channel:
            try:
                response = await BridgeServiceStub(channel).GetStats(bridge_service_pb2.GetStatsRequest())
            except grpc.aio.AioRpcError:
                return None
        return next((stats for stats in response.routes if stats.route == route), None)

    def send_signal(self, number: int) -> None:
        """Sends a signal, when it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Kill -9."""
        await self.end(signal.SIGKILL)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal; its exit code."""
        if self.process is None or self.process.returncode is not None:
            return 0 if self.process is None else self.process.returncode or 0
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


async def eventually(condition: Callable[[], bool | Awaitable[bool]], what: str, patience: float = PATIENCE) -> None:
    """Waits until something holds; the limit only ends a test that would never end."""
    limit = time.monotonic() + patience
    while True:
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        if time.monotonic() > limit:
            raise AssertionError(f"waited {patience:g} s in vain: {what}")
        await asyncio.sleep(0.02)
