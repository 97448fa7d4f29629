"""Which trace a delivery belongs to."""

import base64
import json
from collections.abc import Sequence

import pytest

from broker_bridge.fan_out import Attempt, FanOut
from broker_bridge.filtering import Destination
from broker_bridge.parcel import Parcel
from broker_bridge.settlement import Entry
from broker_bridge.target_specs import GrpcTarget
from broker_bridge.targets import ACCEPTED, Origin, Outcome, Targets
from broker_bridge.trace import client_context, delivery_trace
from services.runtime.telemetry import TraceContext, current_trace
from tests.unit.broker_bridge.builders import TARGET, parcel, string

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
OTHER = f"00-{'1' * 32}-{'2' * 16}-01"


def traced(number: int, traceparent: str) -> Parcel:
    """A message whose producer named a trace."""
    return parcel(number, attributes={"traceparent": string(traceparent)})


def test_a_message_hands_its_trace_to_the_delivery() -> None:
    """The delivery is a span of its own below the producer's."""
    trace = delivery_trace([traced(1, TRACEPARENT)])
    assert trace.trace_id == TRACE_ID
    assert trace.span_id != "b7ad6b7169203331"


def test_messages_of_one_trace_are_delivered_in_it() -> None:
    """A batch that one request of the producer's caused stays one trace."""
    assert delivery_trace([traced(1, TRACEPARENT), traced(2, TRACEPARENT)]).trace_id == TRACE_ID


@pytest.mark.parametrize(
    "parcels",
    [
        [parcel(1)],
        [traced(1, TRACEPARENT), traced(2, OTHER)],
        [traced(1, TRACEPARENT), parcel(2)],
        [traced(1, "not a traceparent")],
    ],
    ids=["none", "different", "one without", "malformed"],
)
def test_a_delivery_without_one_parent_begins_a_trace(parcels: Sequence[Parcel]) -> None:
    """A span has one parent: none of several is chosen at random."""
    trace = delivery_trace(parcels)
    assert trace.trace_id not in {TRACE_ID, "1" * 32}


async def test_every_destination_is_called_within_the_trace() -> None:
    """The targets find it where outgoing calls look for it; the caller's own context stays as it was."""
    seen: list[TraceContext | None] = []

    class Tracing:
        async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
            assert origin.route == "orders"
            seen.append(current_trace.get())
            return [ACCEPTED] * len(parcels)

        async def close(self) -> None:
            """Nothing to close."""

    given = traced(1, TRACEPARENT)
    entry = Entry(key="k", message=given.message, epoch=1, ack_id="1", received_at=0.0)
    other = GrpcTarget(address="127.0.0.1:2")
    destinations = [Destination(name="a", target=TARGET), Destination(name="b", target=other)]
    await FanOut("orders", Targets(lambda _spec: Tracing())).deliver(
        [Attempt(entry=entry, parcel=given, destinations=destinations)]
    )
    assert [trace and trace.trace_id for trace in seen] == [TRACE_ID, TRACE_ID]
    assert current_trace.get() is None


def test_a_function_finds_the_trace_in_its_client_context() -> None:
    """As API_Invoke wants it: base64 of JSON, custom values below `custom`."""
    token = current_trace.set(TraceContext(trace_id=TRACE_ID, span_id="b7ad6b7169203331"))
    try:
        assert json.loads(base64.b64decode(client_context())) == {"custom": {"traceparent": TRACEPARENT}}
    finally:
        current_trace.reset(token)
