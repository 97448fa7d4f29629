"""What the targets of the bridge hand to their places: a gRPC server, Lambda, SQS, SNS, Kinesis, HTTP, a queue."""

import asyncio
import base64
from typing import Any

import pytest
from penstock.delivery.v1 import delivery_service_pb2

from broker_bridge.kinesis_target import KinesisDelivery
from broker_bridge.sns_target import SnsDelivery
from broker_bridge.sqs_target import SqsDelivery
from broker_bridge.target_specs import KinesisTarget, SnsTarget, SqsTarget
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Rejected, Reply, Retry, Target
from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from services.runtime.aws import BlockingCalls
from services.runtime.errors import InternalError, InvalidArgumentError, ResourceExhaustedError
from tests.contracts.delivery_target import ORIGIN, assert_all_wait
from tests.integration.bridge_harness import RecordingService, accepted, eventually, rejected, retry
from tests.integration.http_place import OtherPlace, Response
from tests.integration.target_places import ARN, client, grpc_delivery, invocations, lambda_delivery, sqs_messages
from tests.unit.broker_bridge.builders import number, parcel, string


async def test_a_service_sees_route_subscription_attempt_and_typed_properties(service: RecordingService) -> None:
    """As the proto says."""
    sent = parcel(1, attributes={"count": number("42"), "price": number("1.5"), "name": string("n")}, attempt=3)
    await grpc_delivery(service.address).deliver([sent], ORIGIN)
    (request,) = service.requests
    assert (request.route, request.subscription) == ("contract", "Topic/sub")
    (message,) = request.messages
    assert message.attempt == 3
    assert message.properties["count"].int_value == 42
    assert message.properties["price"].double_value == 1.5
    assert message.properties["name"].string_value == "n"
    assert message.sent_at.ToMilliseconds() == 1_700_000_000_123
    assert not message.HasField("expires_at")


async def test_a_service_decides_per_message(service: RecordingService) -> None:
    """With the earliest time of the next attempt."""
    later = retry("busy")
    later.retry_after.FromMilliseconds(1500)
    answers = {"a": accepted(), "b": rejected("bad"), "c": later, "d": delivery_service_pb2.DeliveryResult()}
    service.decide = lambda message: answers[message.text]
    outcomes = await grpc_delivery(service.address).deliver([parcel(n, text=t) for n, t in enumerate("abcd")], ORIGIN)
    assert list(outcomes) == [
        ACCEPTED,
        Rejected(reason="bad"),
        Retry(reason="busy", error_class=ErrorClass.UNAVAILABLE, after=1.5),
        Retry(reason="the service gave no reason", error_class=ErrorClass.REFUSED),
    ]


async def test_a_service_answers_the_sender(service: RecordingService) -> None:
    """With text or bytes, and properties."""
    answers = {"text": accepted(), "data": accepted(), "none": accepted()}
    answers["text"].reply.text = "done"
    answers["text"].reply.properties["status"] = "ok"
    answers["data"].reply.data = b"\x00"
    service.decide = lambda message: answers[message.text]
    outcomes = await grpc_delivery(service.address).deliver([parcel(n, text=t) for n, t in enumerate(answers)], ORIGIN)
    assert list(outcomes) == [
        Accepted(reply=Reply(body="done", properties={"status": "ok"})),
        Accepted(reply=Reply(body=b"\x00")),
        ACCEPTED,
    ]


@pytest.mark.parametrize(
    ("failure", "messages", "outcome"),
    [
        (
            ResourceExhaustedError("full", retry_after=2.0),
            2,
            Retry(reason="ResourceExhausted: full", error_class=ErrorClass.THROTTLED, after=2.0),
        ),
        (InvalidArgumentError("bad"), 2, Retry(reason="InvalidArgument: bad", error_class=ErrorClass.REFUSED)),
        (InvalidArgumentError("bad"), 1, Rejected(reason="InvalidArgument: bad")),
    ],
    ids=["throttled", "one-of-several", "alone"],
)
async def test_a_failed_call_means_what_its_status_says(
    service: RecordingService, failure: Any, messages: int, outcome: Any
) -> None:
    """A batch that is refused as a whole is taken apart by the route."""
    service.failure = failure
    outcomes = await grpc_delivery(service.address).deliver([parcel(n) for n in range(messages)], ORIGIN)
    assert list(outcomes) == [outcome] * messages


async def test_an_unexpected_failure_of_the_service_is_worth_another_attempt(service: RecordingService) -> None:
    """It is not known what it did."""
    service.failure = InternalError("oops")
    (outcome,) = await grpc_delivery(service.address).deliver([parcel(1)], ORIGIN)
    assert isinstance(outcome, Retry)
    assert outcome.error_class is ErrorClass.REFUSED


async def test_a_wrong_number_of_results_is_no_success() -> None:
    """Nobody knows which message is meant."""

    async def one_result(_request: object, _context: object) -> delivery_service_pb2.DeliverMessagesResponse:
        return delivery_service_pb2.DeliverMessagesResponse(results=[accepted()])

    other = RecordingService()
    other.DeliverMessages = one_result  # type: ignore[assignment, method-assign]
    await other.start()
    outcomes = await grpc_delivery(other.address).deliver([parcel(1), parcel(2)], ORIGIN)
    await other.stop()
    assert all(isinstance(outcome, Retry) and "1 results for 2" in outcome.reason for outcome in outcomes)


async def test_a_message_beyond_the_services_limit_is_given_up_only_when_alone() -> None:
    """17 MiB do not pass; its neighbours do."""
    recording = RecordingService()
    await recording.start()
    target = grpc_delivery(recording.address)
    large = parcel(1, text="x" * 17 * 1024 * 1024)
    together = await target.deliver([large, parcel(2)], ORIGIN)
    assert all(isinstance(outcome, Retry) and outcome.error_class is ErrorClass.REFUSED for outcome in together)
    (alone,) = await target.deliver([large], ORIGIN)
    assert isinstance(alone, Rejected)
    assert "larger than max" in alone.reason
    await recording.stop()


@pytest.mark.usefixtures("aws_login")
async def test_a_function_receives_the_amazon_mq_event(endpoint: LambdaEndpoint, calls: BlockingCalls) -> None:
    """One invocation per batch."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls)
    await target.deliver([parcel(1, text="zażółć"), parcel(2, text=None, data=b"\x00\xff")], ORIGIN)
    (record,) = await invocations(endpoint, "accept")
    event = record["payload"]
    assert (event["eventSource"], event["eventSourceArn"]) == ("aws:mq", ARN)
    first, second = event["messages"]
    assert (first["messageType"], base64.b64decode(first["data"]).decode()) == ("jms/text-message", "zażółć")
    assert (second["messageType"], base64.b64decode(second["data"])) == ("jms/bytes-message", b"\x00\xff")


@pytest.mark.usefixtures("aws_login")
async def test_a_failing_function_gives_its_error_as_the_reason(endpoint: LambdaEndpoint, calls: BlockingCalls) -> None:
    """Type and message."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls)
    (outcome,) = await target.deliver([parcel(1, text="refuse")], ORIGIN)
    assert outcome == Retry(reason="the function failed: ValueError: refused ID:test-1", error_class=ErrorClass.REFUSED)


@pytest.mark.usefixtures("aws_login")
async def test_a_function_that_does_not_exist_is_a_refusal(endpoint: LambdaEndpoint, calls: BlockingCalls) -> None:
    """It may be deployed a moment later."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls, function_name="nobody")
    (outcome,) = await target.deliver([parcel(1)], ORIGIN)
    assert isinstance(outcome, Retry)
    assert outcome.error_class is ErrorClass.REFUSED
    assert "ResourceNotFoundException" in outcome.reason


@pytest.mark.usefixtures("aws_login")
async def test_too_many_invocations_are_a_throttle(endpoint: LambdaEndpoint, calls: BlockingCalls) -> None:
    """Not a failure of the function."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls, function_name="slow")
    answers = await asyncio.gather(*(target.deliver([parcel(n)], ORIGIN) for n in range(3)))
    outcomes = [outcome for (outcome,) in answers]
    throttled = [outcome for outcome in outcomes if isinstance(outcome, Retry)]
    assert throttled
    assert {outcome.error_class for outcome in throttled} == {ErrorClass.THROTTLED}
    assert ACCEPTED in outcomes


@pytest.mark.usefixtures("aws_login")
async def test_an_asynchronous_function_is_accepted_when_lambda_has_queued_it(
    endpoint: LambdaEndpoint, calls: BlockingCalls
) -> None:
    """Whatever the function makes of it."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls, asynchronous=True)
    assert list(await target.deliver([parcel(1)], ORIGIN)) == [ACCEPTED]

    async def invoked() -> bool:
        return bool(await invocations(endpoint, "accept"))

    await eventually(invoked, "the event was worked on")


@pytest.mark.usefixtures("aws_login")
async def test_the_simple_event_is_one_message_an_invocation(endpoint: LambdaEndpoint, calls: BlockingCalls) -> None:
    """As the aws-samples bridge sends it."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls, function_name="simple", simple=True)
    assert list(await target.deliver([parcel(1, text="a"), parcel(2, text="b")], ORIGIN)) == [ACCEPTED] * 2
    records = await invocations(endpoint, "simple")
    assert sorted(record["payload"]["message"] for record in records) == ["a", "b"]
    assert {record["payload"]["timestamp"] for record in records} == {"2023-11-14T22:13:20.123+00:00"}


@pytest.mark.usefixtures("aws_login")
async def test_a_batch_beyond_six_megabytes_is_several_invocations(
    endpoint: LambdaEndpoint, calls: BlockingCalls
) -> None:
    """Lambda would refuse it as a whole."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls)
    parcels = [parcel(n, text="x" * 2_000_000) for n in range(1, 5)]
    assert list(await target.deliver(parcels, ORIGIN)) == [ACCEPTED] * 4
    assert len(await invocations(endpoint, "accept")) == 2


@pytest.mark.usefixtures("aws_login")
async def test_a_message_no_event_can_hold_is_poison(endpoint: LambdaEndpoint, calls: BlockingCalls) -> None:
    """With its size; its neighbours are delivered."""
    target = lambda_delivery(f"127.0.0.1:{endpoint.port}", calls)
    large, small = await target.deliver([parcel(1, text="x" * 10 * 1024 * 1024), parcel(2)], ORIGIN)
    assert small == ACCEPTED
    assert isinstance(large, Rejected)
    assert large.error_class is ErrorClass.POISON
    assert "Lambda takes 6000000" in large.reason


async def test_properties_become_message_attributes(emulator: str, sqs_queue: str, calls: BlockingCalls) -> None:
    """With the types the route declares."""
    target = SqsDelivery(SqsTarget(queue_url=sqs_queue), client=client("sqs", emulator), calls=calls)
    attributes = {"price": number("15700"), "location": string("Europe-West")}
    assert list(await target.deliver([parcel(1, text="{}", attributes=attributes)], ORIGIN)) == [ACCEPTED]
    (found,) = await sqs_messages(emulator, sqs_queue)
    assert found["Body"] == "{}"
    shown = {
        name: (attribute["DataType"], attribute["StringValue"])
        for name, attribute in found["MessageAttributes"].items()
    }
    assert shown == {
        "jms_message_id": ("String", "ID:test-1"),
        "price": ("Number", "15700"),
        "location": ("String", "Europe-West"),
    }


async def test_a_queue_that_does_not_exist_is_a_refusal(emulator: str, sqs_queue: str, calls: BlockingCalls) -> None:
    """With the words of SQS."""
    target = SqsDelivery(SqsTarget(queue_url=f"{sqs_queue}-gone"), client=client("sqs", emulator), calls=calls)
    (outcome,) = await target.deliver([parcel(1)], ORIGIN)
    assert isinstance(outcome, Retry)
    assert outcome.error_class is ErrorClass.REFUSED
    assert "NonExistentQueue" in outcome.reason


PAGE = ("Content-Type", "text/html; charset=utf-8")
JSON = ("Content-Type", "application/x-amz-json-1.0")
OTHERS = {
    "page": Response(headers=(PAGE,), body=b"<!DOCTYPE html><p>Log in to the network"),
    "bad gateway": Response(status=502, headers=(PAGE,), body=b"<!DOCTYPE html><p>bad gateway"),
    "list": Response(headers=(JSON,), body=b"[]"),
    "other results": Response(headers=(JSON,), body=b'{"Successful": [{"Id": "x"}], "Records": [7]}'),
    "other types": Response(headers=(JSON,), body=b'{"Successful": 7, "Failed": {"a": 1}, "Records": {"a": 1}}'),
    "binary": Response(headers=(JSON,), body=bytes(range(256))),
    "nothing": Response(headers=(("Content-Type", "text/xml"),)),
}


def aws_targets(address: str, calls: BlockingCalls) -> dict[str, Target]:
    """Every target of AWS, at an address."""
    topic = SnsTarget(topic_arn="arn:aws:sns:us-east-1:123456789012:orders")
    sqs, sns, kinesis = (client(service, address) for service in ("sqs", "sns", "kinesis"))
    return {
        "SQS": SqsDelivery(SqsTarget(queue_url=f"http://{address}/1/q"), client=sqs, calls=calls),
        "SNS": SnsDelivery(topic, client=sns, calls=calls),
        "Kinesis": KinesisDelivery(KinesisTarget(stream="orders"), client=kinesis, calls=calls),
        "Lambda": lambda_delivery(address, calls),
    }


@pytest.mark.usefixtures("aws_login")
@pytest.mark.parametrize("other", OTHERS)
async def test_what_answers_in_place_of_a_service_of_aws_takes_no_message(calls: BlockingCalls, other: str) -> None:
    """It counts as away: a proxy's page, a wrong endpoint. Any other answer in place of Lambda may be a function's."""
    with OtherPlace(OTHERS[other]) as place:
        targets = aws_targets(place.address, calls)
        if other not in ("page", "bad gateway"):
            del targets["Lambda"]
        for service, target in targets.items():
            outcomes = await target.deliver([parcel(1), parcel(2)], ORIGIN)
            assert_all_wait(outcomes, ErrorClass.UNAVAILABLE)
            assert all(isinstance(outcome, Retry) and service in outcome.reason for outcome in outcomes)


async def test_what_answers_in_place_of_a_service_takes_no_message() -> None:
    """Whatever it is that listens there."""
    with OtherPlace(OTHERS["page"]) as place:
        assert_all_wait(await grpc_delivery(place.address).deliver([parcel(1)], ORIGIN), ErrorClass.UNAVAILABLE)
