"""The routes in force, and how they change."""

import asyncio
import json
from collections.abc import Callable, Sequence

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from broker_bridge.bridge import Bridge
from broker_bridge.broker import BrokerAddress
from broker_bridge.dedup import MemoryDedup
from broker_bridge.filtering import MemoryFilter
from broker_bridge.parcel import Parcel
from broker_bridge.replies import MemoryAnswers
from broker_bridge.route_runner import Parts, RouteStatus
from broker_bridge.routes import InvalidRouteError
from broker_bridge.stats import BridgeMetrics
from broker_bridge.targets import ErrorClass, MemoryTarget, Origin, Outcome, Retry, Targets
from tests.integration.bridge_harness import stored
from tests.unit.broker_bridge.builders import ManualClock, frame
from tests.unit.broker_bridge.fake_broker import FakeBroker

ROUTE: dict[str, object] = {"source": "queue://orders", "targets": [{"grpc": {"address": "127.0.0.1:1"}}]}


class Rig:
    """A bridge on a fake broker."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.target = MemoryTarget()
        self.clock = ManualClock()
        self.reports: list[tuple[bool, str]] = []
        self.dedup_ended: list[str] = []
        parts = Parts(
            connect=self.broker,
            addresses=(BrokerAddress("a", 1),),
            message_filter=MemoryFilter(lambda _topic, _parcel: []),
            targets=Targets(lambda _spec: self.target),
            answers=MemoryAnswers(),
            dedup=lambda _route: MemoryDedup(),
            dedup_ended=self.dedup_ended.append,
            clock=self.clock.clock(),
            drain_seconds=5.0,
        )
        self.bridge = Bridge(parts, report=lambda serving, detail: self.reports.append((serving, detail)))

    def put(self, name: str, route: dict[str, object] | None, version: int = 1) -> None:
        self.bridge.apply(stored(name, route, version=version))

    async def status(self, name: str, status: RouteStatus) -> None:
        await until(lambda: any(s.name == name and s.status is status for s in self.bridge.states()))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("never held")


async def test_a_stored_route_begins_to_flow() -> None:
    """And the bridge serves when its subscription is confirmed."""
    rig = Rig()
    rig.put("orders", ROUTE)
    assert rig.reports[-1] == (False, "orders: changing")
    await rig.status("orders", RouteStatus.ACTIVE)
    assert rig.reports[-1] == (True, "")
    await rig.bridge.stop()


async def test_a_route_that_holds_messages_and_settles_none_says_so() -> None:
    """An open connection is no sign of progress; it goes on serving, as its target may be away."""
    rig = Rig()
    rig.target = MemoryTarget(lambda _parcel: Retry(reason="away", error_class=ErrorClass.UNAVAILABLE))
    rig.put("orders", ROUTE)
    await rig.status("orders", RouteStatus.ACTIVE)
    (connection,) = rig.broker.connections
    connection.handler.on_messages([frame(1)])
    await until(lambda: rig.bridge.snapshots()[0].stats.retried == 1)
    watching = asyncio.ensure_future(rig.bridge.watch(0))
    rig.clock.seconds += 119
    for _ in range(5):
        await asyncio.sleep(0)
    assert rig.reports[-1] == (True, "")
    rig.clock.seconds += 2
    await until(lambda: rig.reports[-1][1] != "")
    assert rig.reports[-1] == (True, "orders: no message was settled for 120 s while some are in flight")
    watching.cancel()
    await rig.bridge.stop()


async def test_a_route_with_lanes_flows_when_all_of_them_do() -> None:
    """Each has a connection of its own."""
    rig = Rig()
    rig.put("orders", ROUTE | {"lanes": 3})
    await rig.status("orders", RouteStatus.ACTIVE)
    assert len(rig.broker.connections) == 3
    rig.broker.connections[1].abort("broken pipe")
    await until(lambda: (False, "orders: broken pipe") in rig.reports)
    assert rig.bridge.states()[0].stats.connections_lost == 1
    await rig.bridge.stop()


async def test_a_changed_route_begins_a_new_subscription() -> None:
    """The old one has ended in order."""
    rig = Rig()
    rig.put("orders", ROUTE)
    await rig.status("orders", RouteStatus.ACTIVE)
    rig.put("orders", ROUTE | {"prefetch": 5}, version=2)
    await until(lambda: len(rig.broker.connections) == 2)
    await rig.status("orders", RouteStatus.ACTIVE)
    first, second = rig.broker.connections
    assert first.commands[-1] == "DISCONNECT"
    assert second.headers("SUBSCRIBE")[0]["activemq.prefetchSize"] == "5"
    await rig.bridge.stop()


async def test_an_invalid_change_leaves_the_route_in_force() -> None:
    """With its faults in the detail, until a valid one comes."""
    rig = Rig()
    rig.put("orders", ROUTE)
    await rig.status("orders", RouteStatus.ACTIVE)
    with pytest.raises(InvalidRouteError):
        rig.put("orders", {"source": "nonsense"}, version=2)
    (state,) = rig.bridge.states()
    assert state.status is RouteStatus.ACTIVE
    assert "nonsense" in state.fault
    assert rig.reports[-1][0]
    assert "nonsense" in rig.reports[-1][1]
    rig.put("orders", ROUTE, version=3)
    assert not state.fault
    await rig.bridge.stop()


async def test_an_invalid_route_without_an_earlier_one_is_shown_and_stops_nobody_else() -> None:
    """The bridge goes on serving the others."""
    rig = Rig()
    with pytest.raises(InvalidRouteError):
        rig.put("bad", {"source": "nonsense"})
    rig.put("good", ROUTE)
    await rig.status("good", RouteStatus.ACTIVE)
    bad, _ = rig.bridge.states()
    assert (bad.status, bad.route) == (RouteStatus.INVALID, None)
    assert rig.reports[-1][0]
    assert "nonsense" in rig.reports[-1][1]
    await rig.bridge.stop()


async def test_a_route_whose_subscription_is_refused_is_not_serving() -> None:
    """The broker's reason is the detail."""
    rig = Rig()
    rig.broker.refusals["SUBSCRIBE"] = "not authorized"
    rig.put("orders", ROUTE)
    await until(lambda: "not authorized" in rig.reports[-1][1])
    assert not rig.reports[-1][0]
    await rig.bridge.stop()


async def test_a_paused_route_takes_nothing_and_goes_on_later() -> None:
    """It has no subscription meanwhile, and does not make the bridge unhealthy."""
    rig = Rig()
    rig.put("orders", ROUTE | {"paused": True})
    await rig.status("orders", RouteStatus.PAUSED)
    assert rig.broker.connections == []
    assert rig.reports[-1] == (True, "")
    rig.put("orders", ROUTE, version=2)
    await rig.status("orders", RouteStatus.ACTIVE)
    await rig.bridge.stop()


async def test_a_deleted_route_ends() -> None:
    """With DISCONNECT."""
    rig = Rig()
    rig.put("orders", ROUTE)
    await rig.status("orders", RouteStatus.ACTIVE)
    rig.put("orders", None)
    assert rig.bridge.states() == []
    await until(lambda: rig.broker.connections[0].commands[-1] == "DISCONNECT")
    rig.put("never there", None)


async def test_a_stop_waits_for_a_deleted_route_too() -> None:
    """What it delivers is finished and acknowledged."""
    rig, answer = Rig(), asyncio.Event()

    class Slow(MemoryTarget):
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            await answer.wait()
            return await super().deliver(parcels, origin)

    rig.target = Slow()
    rig.put("orders", ROUTE)
    await rig.status("orders", RouteStatus.ACTIVE)
    connection = rig.broker.connections[0]
    connection.handler.on_messages([frame(1)])
    await until(lambda: rig.bridge.snapshots()[0].in_flight == 1)
    for _ in range(100):
        await asyncio.sleep(0)
    rig.put("orders", None)
    stopping = asyncio.ensure_future(rig.bridge.stop())
    for _ in range(100):
        await asyncio.sleep(0)
    answer.set()
    await stopping
    assert "ACK" in connection.commands
    assert connection.commands[-1] == "DISCONNECT"


async def test_counts_survive_a_change_of_the_route() -> None:
    """They are since the start of the bridge, for operators and Prometheus."""
    rig = Rig()
    rig.put("orders", ROUTE)
    await rig.status("orders", RouteStatus.ACTIVE)
    connection = rig.broker.connections[0]
    connection.handler.on_messages([frame(1)])
    await until(lambda: rig.bridge.snapshots()[0].stats.settled == 1)
    rig.put("orders", ROUTE, version=2)
    await until(lambda: len(rig.broker.connections) == 2)
    await rig.status("orders", RouteStatus.ACTIVE)
    registry = CollectorRegistry()
    registry.register(BridgeMetrics(rig.bridge.snapshots))
    shown = generate_latest(registry).decode()
    assert 'penstock_bridge_settled_total{route="orders"} 1.0' in shown
    assert 'penstock_bridge_connections_total{route="orders"} 2.0' in shown
    assert 'penstock_bridge_in_flight{route="orders"} 0.0' in shown
    await rig.bridge.stop()


async def test_after_stop_no_route_begins() -> None:
    """A late push of the config service changes nothing."""
    rig = Rig()
    rig.put("orders", ROUTE)
    await rig.status("orders", RouteStatus.ACTIVE)
    await rig.bridge.stop()
    rig.put("late", ROUTE)
    assert [state.name for state in rig.bridge.states()] == ["orders"]
    assert rig.broker.connections[0].commands[-1] == "DISCONNECT"


def test_a_stored_change_is_what_the_watcher_tells() -> None:
    """The helper of these tests writes routes as they are stored."""
    assert json.loads(stored("orders", ROUTE).value or "") == ROUTE


async def test_the_dedup_records_of_a_deleted_route_are_told_to_be_out_of_use() -> None:
    """What they said of the store must not stay in the health."""
    rig = Rig()
    rig.put("a", ROUTE)
    await rig.status("a", RouteStatus.ACTIVE)
    assert rig.dedup_ended == []
    rig.put("a", None)
    await until(lambda: rig.dedup_ended == ["a"])
    await rig.bridge.stop()
