"""The clients a story uses, opened once on the addresses of a running stack."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import json_format
from penstock.bridge.v1 import bridge_service_pb2 as bridge_pb
from penstock.bridge.v1 import route_pb2
from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceStub
from penstock.config.v1 import config_service_pb2 as config_pb
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub
from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceStub
from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub
from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

from deploy.local.jms import JmsClient
from deploy.local.ports import Addresses
from services.runtime.channel import open_channel

if TYPE_CHECKING:
    # The generator declares the asynchronous stubs for type checkers only.
    from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceAsyncStub
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub
    from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceAsyncStub
    from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceAsyncStub
    from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

PATIENCE_SECONDS = 60.0
"""How long a story waits for something that must happen; far above what a loaded laptop needs."""
_PAUSE_SECONDS = 0.02
WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of the stack, which the machine's HTTP proxy cannot reach."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Clients of every API of the stack. boto3 clients and `jms` block: call them through `asyncio.to_thread`.

    `ports` is where this process reaches the stack, `inside` where the stack's processes reach each other.
    """

    ports: Addresses
    inside: Addresses
    config: "ConfigServiceAsyncStub"
    filtering: "FilteringServiceAsyncStub"
    tracking: "TrackingServiceAsyncStub"
    persistence: "PersistenceServiceAsyncStub"
    bridge: "BridgeServiceAsyncStub"
    sqs: Any
    jms: JmsClient

    @property
    def aws_url(self) -> str:
        """Where the AWS emulator answers."""
        return f"http://{self.ports.address('emulator')}"

    async def put_route(self, name: str, route: route_pb2.Route) -> None:
        """Store a route and wait until the broker has confirmed its subscription."""
        value = json_format.MessageToJson(route, preserving_proto_field_name=True)
        await self.config.PutParameter(config_pb.PutParameterRequest(name=f"/penstock/routes/{name}", value=value))
        await self.route_active(name)

    async def route_active(self, name: str) -> None:
        """Wait until messages flow on a route."""

        async def active() -> bool:
            response = await self.bridge.ListRoutes(bridge_pb.ListRoutesRequest(), wait_for_ready=True)
            return any(
                state.route.name == name and state.status == bridge_pb.ROUTE_STATUS_ACTIVE for state in response.routes
            )

        await eventually(active, f"route {name} to be active")

    async def settled(self, route: str, count: int) -> bridge_pb.RouteStats:
        """Wait until the broker has confirmed `count` settled messages of a route, dead letters included."""

        async def stats() -> bridge_pb.RouteStats | None:
            response = await self.bridge.GetStats(bridge_pb.GetStatsRequest())
            found = next((stats for stats in response.routes if stats.route == route), None)
            return found if found and found.settled >= count else None

        return await eventually(stats, f"{count} settled messages on route {route}")

    async def dead_letters(self, source: str) -> Sequence[bridge_pb.DeadLetter]:
        """What lies in the dead letter queue of `source`."""
        response = await self.bridge.ListDeadLetters(bridge_pb.ListDeadLettersRequest(source=source))
        return response.dead_letters

    async def invocations(self, function: str) -> Sequence[dict[str, Any]]:
        """The recorded invocations of a function, oldest first."""
        url = f"http://{self.ports.address('lambda_endpoint')}/_penstock/invocations?function={function}"
        return (await asyncio.to_thread(_get_json, url))["invocations"]  # type: ignore[no-any-return]


def _get_json(url: str) -> Any:
    with WITHOUT_PROXY.open(url, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)


async def eventually(
    probe: Callable[[], Awaitable[T | None]],
    what: str,
    patience: float = PATIENCE_SECONDS,
    pause: float = _PAUSE_SECONDS,
) -> T:
    """The first true answer of `probe`, asked after pauses. Raises TimeoutError saying `what` did not come to be."""
    try:
        async with asyncio.timeout(patience):
            while True:
                if answer := await probe():
                    return answer
                await asyncio.sleep(pause)
    except TimeoutError:
        raise TimeoutError(f"waited {patience:.0f} s for {what}") from None


@asynccontextmanager
async def open_session(ports: Addresses, jms: JmsClient, *, inside: Addresses | None = None) -> AsyncIterator[Session]:
    """Clients of the stack that listens on `ports`; its processes reach each other there too, or at `inside`."""
    import boto3  # noqa: PLC0415 - slow to import, and only a running story needs it
    from botocore.config import Config  # noqa: PLC0415

    channels = {
        name: open_channel(ports.address(name)) for name in ("config", "filtering", "tracking", "persistence", "bridge")
    }
    try:
        yield Session(
            ports=ports,
            inside=inside or ports,
            config=ConfigServiceStub(channels["config"]),
            filtering=FilteringServiceStub(channels["filtering"]),
            tracking=TrackingServiceStub(channels["tracking"]),
            persistence=PersistenceServiceStub(channels["persistence"]),
            bridge=BridgeServiceStub(channels["bridge"]),
            sqs=boto3.client(
                "sqs",
                endpoint_url=f"http://{ports.address('emulator')}",
                config=Config(region_name="us-east-1", proxies={}),
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106 - the emulator checks none
            ),
            jms=jms,
        )
    finally:
        for channel in channels.values():
            await channel.close()
