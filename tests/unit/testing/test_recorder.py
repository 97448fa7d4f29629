"""The recorder, called over a real channel as the bridge calls it."""

from collections.abc import Iterator

import grpc
import pytest
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage, PropertyValue
from penstock.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from penstock.testing import Decision, Recorder, RecorderError, WaitError, accept, reject, retry
from penstock.testing.parts import Listening

LOOPBACK = Listening(bind_host="127.0.0.1", reached_as="127.0.0.1")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder(LOOPBACK) as serving:
        yield serving


@pytest.fixture
def bridge(recorder: Recorder) -> Iterator[DeliveryServiceStub]:
    with grpc.insecure_channel(recorder.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield DeliveryServiceStub(channel)


def batch(*texts: str) -> pb.DeliverMessagesRequest:
    messages = [
        BrokerMessage(id=f"ID:{text}", text=text, attempt=1, properties={"total": PropertyValue(int_value=7)})
        for text in texts
    ]
    return pb.DeliverMessagesRequest(messages=messages, route="orders", subscription="Orders/stock")


def test_everything_is_accepted_unless_told_otherwise(recorder: Recorder, bridge: DeliveryServiceStub) -> None:
    """And kept, in order, with where it came from."""
    results = bridge.DeliverMessages(batch("one", "two")).results
    assert [result.outcome for result in results] == [pb.DELIVERY_OUTCOME_ACCEPTED] * 2
    one, two = recorder.await_deliveries(2)
    assert (one.text, two.text, one.data, one.id) == ("one", "two", None, "ID:one")
    assert (one.route, one.subscription, one.attempt, dict(one.properties)) == (
        "orders",
        "Orders/stock",
        1,
        {"total": 7},
    )


def test_scripted_answers_go_to_the_next_messages_one_each(recorder: Recorder, bridge: DeliveryServiceStub) -> None:
    """Whichever call brings them; afterwards everything is accepted again."""
    recorder.answers(retry("busy", after_seconds=1.5), reject("no such article"))
    (first,) = bridge.DeliverMessages(batch("one")).results
    second, third = bridge.DeliverMessages(batch("two", "three")).results
    assert (first.outcome, first.reason, first.retry_after.ToMilliseconds()) == (
        pb.DELIVERY_OUTCOME_RETRY,
        "busy",
        1500,
    )
    assert (second.outcome, second.reason) == (pb.DELIVERY_OUTCOME_REJECTED, "no such article")
    assert third.outcome == pb.DELIVERY_OUTCOME_ACCEPTED
    assert [delivery.text for delivery in recorder.await_deliveries(1, where=lambda d: d.accepted)] == ["three"]


def test_a_retry_without_a_time_leaves_the_wait_to_the_route(recorder: Recorder, bridge: DeliveryServiceStub) -> None:
    """So the attempt counts."""
    recorder.answers(retry("busy"))
    (result,) = bridge.DeliverMessages(batch("one")).results
    assert not result.HasField("retry_after")


def test_a_function_decides_message_by_message(recorder: Recorder, bridge: DeliveryServiceStub) -> None:
    """By what is in them."""
    recorder.decides(lambda message: reject("odd") if message.text == "odd" else accept())
    results = bridge.DeliverMessages(batch("even", "odd")).results
    assert [result.outcome for result in results] == [pb.DELIVERY_OUTCOME_ACCEPTED, pb.DELIVERY_OUTCOME_REJECTED]


def test_a_decision_that_raises_fails_the_delivery_and_the_test(
    recorder: Recorder, bridge: DeliveryServiceStub
) -> None:
    """Nobody has to guess why nothing arrives."""

    def decide(message: BrokerMessage) -> Decision:
        raise KeyError(message.id)

    recorder.decides(decide)
    with pytest.raises(grpc.RpcError):
        bridge.DeliverMessages(batch("one"))
    with pytest.raises(RecorderError, match="KeyError"):
        recorder.await_deliveries(1)
    assert recorder.deliveries == []


def test_a_wait_that_ends_lists_what_came(recorder: Recorder, bridge: DeliveryServiceStub) -> None:
    """With the answers."""
    recorder.answers(retry("busy"))
    bridge.DeliverMessages(batch("one"))
    with pytest.raises(WaitError, match=r"1 of 2 deliveries after 0 s(.|\n)*ID:one by route orders.*'one': RETRY"):
        recorder.await_deliveries(2, timeout=0)


def test_a_host_that_is_not_ours_is_refused_with_what_may_be_the_reason() -> None:
    """TEST-NET-1 belongs to no machine (RFC 5737)."""
    elsewhere = Listening(bind_host="192.0.2.1", reached_as="192.0.2.1")
    with pytest.raises(RecorderError, match=r"cannot listen on 192\.0\.2\.1"):
        Recorder(elsewhere).__enter__()
