"""What the answers of Lambda, SQS, SNS and Kinesis mean for a message."""

import io
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
import structlog
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage

from broker_bridge.kinesis_target import KinesisDelivery
from broker_bridge.lambda_target import LambdaDelivery
from broker_bridge.sns_target import SnsDelivery
from broker_bridge.sqs_target import SqsDelivery
from broker_bridge.target_specs import KinesisTarget, LambdaTarget, SnsTarget, SqsTarget
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Outcome, Rejected, Retry, Target
from services.runtime.aws import BlockingCalls
from tests.contracts.delivery_target import ORIGIN
from tests.unit.broker_bridge.builders import parcel, string


def client_error(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "Operation",
    )


class FakeClient:
    """Answers every call with an exception or a response."""

    def __init__(self, answer: Exception | Mapping[str, Any]) -> None:
        self._answer = answer
        self.requests: list[Mapping[str, Any]] = []

    def __call__(self) -> "FakeClient":
        return self

    def _reply(self, **arguments: Any) -> Mapping[str, Any]:
        self.requests.append(arguments)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    invoke = send_message_batch = publish_batch = put_records = _reply


@pytest.fixture
def calls() -> BlockingCalls:
    return BlockingCalls(1, "test")


THROTTLED, UNAVAILABLE = ErrorClass.THROTTLED, ErrorClass.UNAVAILABLE
REFUSED, POISON = ErrorClass.REFUSED, ErrorClass.POISON


@pytest.mark.parametrize(
    ("error", "messages", "kind", "error_class"),
    [
        (client_error("TooManyRequestsException", 429), 2, Retry, THROTTLED),
        (client_error("ServiceException", 500), 2, Retry, UNAVAILABLE),
        (client_error("ResourceNotFoundException", 404), 2, Retry, REFUSED),
        (client_error("RequestTooLargeException", 413), 2, Retry, REFUSED),
        (client_error("RequestTooLargeException", 413), 1, Rejected, POISON),
        (client_error("InvalidRequestContentException", 400), 2, Retry, REFUSED),
        (client_error("InvalidRequestContentException", 400), 1, Rejected, POISON),
        (EndpointConnectionError(endpoint_url="http://x"), 2, Retry, UNAVAILABLE),
        (ReadTimeoutError(endpoint_url="http://x"), 2, Retry, UNAVAILABLE),
    ],
)
async def test_errors_of_the_lambda_api_are_told_apart(
    calls: BlockingCalls, error: Exception, messages: int, kind: type, error_class: ErrorClass
) -> None:
    """A throttle is no failure of the function, and a batch that is too large can be taken apart."""
    target = LambdaDelivery(
        LambdaTarget(function_name="f"), client=FakeClient(error), calls=calls, event_source_arn="arn:x"
    )
    outcomes = await target.deliver([parcel(n) for n in range(messages)], ORIGIN)
    assert_all(outcomes, kind, error_class)
    assert len(outcomes) == messages


@pytest.mark.parametrize(
    "target",
    [
        lambda client, calls: LambdaDelivery(
            LambdaTarget(function_name="f"), client=client, calls=calls, event_source_arn="arn:x"
        ),
        lambda client, calls: SqsDelivery(SqsTarget(queue_url="https://q"), client=client, calls=calls),
    ],
    ids=["Lambda", "SQS"],
)
async def test_what_is_no_answer_of_the_service_is_logged_with_its_place(
    calls: BlockingCalls, target: Callable[[FakeClient, BlockingCalls], Target]
) -> None:
    """It may be a fault of ours, which the reason alone would not tell; the messages wait."""
    fault = AttributeError("no such thing")
    with structlog.testing.capture_logs() as lines:
        outcomes = await target(FakeClient(fault), calls).deliver([parcel(1)], ORIGIN)
    assert_all(outcomes, Retry, UNAVAILABLE)
    assert [line["exc_info"] for line in lines] == [fault]


def assert_all(outcomes: Any, kind: type, error_class: ErrorClass) -> None:
    assert {type(outcome) for outcome in outcomes} == {kind}
    assert {outcome.error_class for outcome in outcomes} == {error_class}


@pytest.mark.parametrize(
    ("error", "messages", "kind", "error_class"),
    [
        (client_error("RequestThrottled", 403), 2, Retry, THROTTLED),
        (client_error("InternalError", 500), 2, Retry, UNAVAILABLE),
        (client_error("AWS.SimpleQueueService.NonExistentQueue", 400), 2, Retry, REFUSED),
        (client_error("InvalidMessageContents", 400), 2, Retry, REFUSED),
        (client_error("InvalidMessageContents", 400), 1, Rejected, POISON),
        (EndpointConnectionError(endpoint_url="http://x"), 2, Retry, UNAVAILABLE),
    ],
)
async def test_errors_of_sqs_are_told_apart(
    calls: BlockingCalls, error: Exception, messages: int, kind: type, error_class: ErrorClass
) -> None:
    """As those of Lambda."""
    target = SqsDelivery(SqsTarget(queue_url="https://q"), client=FakeClient(error), calls=calls)
    assert_all(await target.deliver([parcel(n) for n in range(messages)], ORIGIN), kind, error_class)


async def test_a_partial_failure_concerns_only_its_messages(calls: BlockingCalls) -> None:
    """The sender's fault is final, the receiver's is not; a message without an answer is tried again."""
    response = {
        "Successful": [{"Id": "0"}],
        "Failed": [
            {"Id": "1", "SenderFault": True, "Code": "InvalidParameterValue", "Message": "bad"},
            {"Id": "2", "SenderFault": False, "Code": "InternalError", "Message": "oops"},
            {"Id": "3", "SenderFault": False, "Code": "ThrottlingException", "Message": "slow"},
        ],
    }
    target = SqsDelivery(SqsTarget(queue_url="https://q"), client=FakeClient(response), calls=calls)
    outcomes: list[Outcome] = list(await target.deliver([parcel(n) for n in range(5)], ORIGIN))
    assert outcomes == [
        ACCEPTED,
        Rejected(reason="SQS answered InvalidParameterValue: bad"),
        Retry(reason="SQS answered InternalError: oops", error_class=UNAVAILABLE),
        Retry(reason="SQS answered ThrottlingException: slow", error_class=THROTTLED),
        Retry(reason="SQS gave no result for the message", error_class=UNAVAILABLE),
    ]


async def test_sqs_requests_keep_to_its_limits(calls: BlockingCalls) -> None:
    """Ten messages and one mebibyte each."""
    fake = FakeClient({"Successful": [{"Id": str(position)} for position in range(15)]})
    target = SqsDelivery(SqsTarget(queue_url="https://q"), client=fake, calls=calls)
    sizes = [10] * 12 + [600_000, 600_000, 10]
    await target.deliver([parcel(n, text="x" * size) for n, size in enumerate(sizes)], ORIGIN)
    assert [len(request["Entries"]) for request in fake.requests] == [10, 3, 2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("a\x00b", "U\\+0000 at character 1"),
        ("\ufffe", "U\\+FFFE"),
        ("x" * 1_048_577, "SQS takes 1048576"),
    ],
    ids=["empty", "nul", "noncharacter", "large"],
)
async def test_a_body_sqs_never_takes_is_poison(calls: BlockingCalls, text: str, complaint: str) -> None:
    """It is found before it fails a whole batch."""
    fake = FakeClient({"Successful": []})
    target = SqsDelivery(SqsTarget(queue_url="https://q"), client=fake, calls=calls)
    (outcome,) = await target.deliver([parcel(1, text=text)], ORIGIN)
    assert isinstance(outcome, Rejected)
    assert outcome.error_class is POISON
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError(outcome.reason)
    assert fake.requests == []


TOPIC = SnsTarget(topic_arn="arn:aws:sns:us-east-1:123456789012:orders", group_property="customer")
FIFO_TOPIC = SnsTarget(topic_arn=f"{TOPIC.topic_arn}.fifo", group_property="customer")
STREAM = KinesisTarget(stream="orders", partition_key_property="customer")


@pytest.mark.parametrize(
    ("error", "messages", "kind", "error_class"),
    [
        (client_error("Throttled", 429), 2, Retry, THROTTLED),
        (client_error("InternalError", 500), 2, Retry, UNAVAILABLE),
        (client_error("NotFound", 404), 2, Retry, REFUSED),
        (client_error("InvalidParameter", 400), 2, Retry, REFUSED),
        (client_error("InvalidParameter", 400), 1, Rejected, POISON),
    ],
)
async def test_errors_of_sns_are_told_apart(
    calls: BlockingCalls, error: Exception, messages: int, kind: type, error_class: ErrorClass
) -> None:
    """As those of SQS."""
    target = SnsDelivery(TOPIC, client=FakeClient(error), calls=calls)
    assert_all(await target.deliver([parcel(n) for n in range(messages)], ORIGIN), kind, error_class)


@pytest.mark.parametrize(
    ("error", "messages", "kind", "error_class"),
    [
        (client_error("ProvisionedThroughputExceededException", 400), 2, Retry, THROTTLED),
        (client_error("InternalFailure", 500), 2, Retry, UNAVAILABLE),
        (client_error("ResourceNotFoundException", 400), 1, Retry, REFUSED),
        (client_error("ValidationException", 400), 2, Retry, REFUSED),
        (client_error("ValidationException", 400), 1, Rejected, POISON),
    ],
)
async def test_errors_of_kinesis_are_told_apart(
    calls: BlockingCalls, error: Exception, messages: int, kind: type, error_class: ErrorClass
) -> None:
    """A stream that does not exist may be made a moment later."""
    target = KinesisDelivery(STREAM, client=FakeClient(error), calls=calls)
    assert_all(await target.deliver([parcel(n) for n in range(messages)], ORIGIN), kind, error_class)


async def test_a_failed_record_is_known_by_its_place(calls: BlockingCalls) -> None:
    """PutRecords answers in the order of the request."""
    throttle = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow"}
    response = {"Records": [{"ShardId": "s"}, throttle, {"ErrorCode": "InternalFailure"}]}
    target = KinesisDelivery(STREAM, client=FakeClient(response), calls=calls)
    outcomes = list(await target.deliver([parcel(n) for n in range(4)], ORIGIN))
    assert outcomes == [
        ACCEPTED,
        Retry(reason="Kinesis answered ProvisionedThroughputExceededException: slow", error_class=THROTTLED),
        Retry(reason="Kinesis answered InternalFailure: ", error_class=UNAVAILABLE),
        Retry(reason="Kinesis gave no result for the message", error_class=UNAVAILABLE),
    ]


async def test_the_partition_key_is_the_declared_property_or_the_message_id(calls: BlockingCalls) -> None:
    """A key that is too long is replaced by its hash."""
    fake = FakeClient({"Records": []})
    parcels = [parcel(1, attributes={"customer": string("c-7")}), parcel(2), parcel(3)]
    parcels[2] = parcel(3, attributes={"customer": string("x" * 257)})
    await KinesisDelivery(STREAM, client=fake, calls=calls).deliver(parcels, ORIGIN)
    ((first, second, third),) = [request["Records"] for request in fake.requests]
    assert (first["PartitionKey"], second["PartitionKey"]) == ("c-7", "ID:test-2")
    assert len(third["PartitionKey"]) == 64


async def test_a_whole_record_is_a_serialized_broker_message(calls: BlockingCalls) -> None:
    """With id and properties."""
    fake = FakeClient({"Records": []})
    spec = KinesisTarget(stream="orders", whole=True)
    await KinesisDelivery(spec, client=fake, calls=calls).deliver(
        [parcel(1, attributes={"customer": string("c-7")})], ORIGIN
    )
    found = BrokerMessage.FromString(fake.requests[0]["Records"][0]["Data"])
    assert (found.id, found.text, found.properties["customer"].string_value) == ("ID:test-1", "hello", "c-7")


async def test_kinesis_requests_keep_to_its_limits(calls: BlockingCalls) -> None:
    """500 records and five mebibytes each; one of more than a mebibyte goes alone, and the stream decides."""
    fake = FakeClient({"Records": []})
    target = KinesisDelivery(STREAM, client=fake, calls=calls)
    sizes = [10] * 501 + [2 * 1024 * 1024, 10]
    await target.deliver([parcel(n, text="x" * size) for n, size in enumerate(sizes)], ORIGIN)
    assert sorted(len(request["Records"]) for request in fake.requests) == [1, 1, 1, 500]


async def test_sns_requests_keep_to_its_limits(calls: BlockingCalls) -> None:
    """Ten messages and 256 KiB each; a larger message is poison."""
    fake = FakeClient({"Successful": []})
    target = SnsDelivery(TOPIC, client=fake, calls=calls)
    sizes = [10] * 11 + [200_000, 200_000]
    (*_, last) = await target.deliver([parcel(n, text="x" * size) for n, size in enumerate([*sizes, 262_145])], ORIGIN)
    entries = [len(request["PublishBatchRequestEntries"]) for request in fake.requests]
    assert sorted(entries) == [1, 2, 10]
    assert isinstance(last, Rejected)
    assert last.error_class is POISON


class FifoPlace(FakeClient):
    """A FIFO queue or topic that takes what it is sent, except what is in `failing` at its first time."""

    def __init__(self, failing: Collection[str]) -> None:
        super().__init__({})
        self._failing = set(failing)
        self.arrived: list[str] = []
        self.most_of_a_group = 0

    def _reply(self, **arguments: Any) -> Mapping[str, Any]:
        entries = arguments.get("Entries") or arguments["PublishBatchRequestEntries"]
        groups = [entry["MessageGroupId"] for entry in entries]
        self.most_of_a_group = max(self.most_of_a_group, *map(groups.count, groups))
        answer: dict[str, list[Mapping[str, object]]] = {"Successful": [], "Failed": []}
        for entry in entries:
            text = entry.get("MessageBody") or entry["Message"]
            if text in self._failing:
                self._failing.discard(text)
                failure = {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "oops"}
                answer["Failed"].append(failure)
            else:
                self.arrived.append(text)
                answer["Successful"].append({"Id": entry["Id"]})
        return answer

    send_message_batch = publish_batch = _reply


def fifo_target(kind: str, place: FifoPlace, calls: BlockingCalls) -> Target:
    if kind == "SNS":
        return SnsDelivery(FIFO_TOPIC, client=place, calls=calls)
    return SqsDelivery(SqsTarget(queue_url="https://q.fifo", group_property="customer"), client=place, calls=calls)


@pytest.mark.parametrize("kind", ["SQS", "SNS"])
async def test_a_message_that_failed_is_not_overtaken_by_a_later_one_of_its_group(
    calls: BlockingCalls, kind: str
) -> None:
    """Though the service would have taken it; other groups go on, and what is sent again arrives in order."""
    place = FifoPlace(["a1", "a3", "c0"])
    target = fifo_target(kind, place, calls)
    texts = [f"{group}{number}" for number in range(5) for group in "abc"]
    waiting = [parcel(n, text=text, attributes={"customer": string(text[0])}) for n, text in enumerate(texts)]
    rounds = 0
    while waiting:
        outcomes = await target.deliver(waiting, ORIGIN)
        waiting = [item for item, outcome in zip(waiting, outcomes, strict=True) if not isinstance(outcome, Accepted)]
        rounds += 1
    for group in "abc":
        assert [text for text in place.arrived if text[0] == group] == [f"{group}{number}" for number in range(5)]
    assert (place.most_of_a_group, rounds) == (1, 3)


async def test_a_message_a_fifo_queue_never_takes_does_not_hold_its_group(calls: BlockingCalls) -> None:
    """It becomes a dead letter, and those behind it are sent."""
    place = FifoPlace([])
    target = fifo_target("SQS", place, calls)
    outcomes = await target.deliver([parcel(0, text="a0"), parcel(1, text="\x00"), parcel(2, text="a2")], ORIGIN)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Accepted]
    assert place.arrived == ["a0", "a2"]


def answered(payload: bytes) -> Mapping[str, Any]:
    return {"Payload": io.BytesIO(payload)}


@pytest.mark.parametrize(
    ("payload", "kinds"),
    [
        (b"", [Accepted, Accepted]),
        (b"null", [Accepted, Accepted]),
        (b"no json", [Accepted, Accepted]),
        (b'[{"batchItemFailures": 1}]', [Accepted, Accepted]),
        (b'{"batchItemFailures": null}', [Accepted, Accepted]),
        (b'{"batchItemFailures": []}', [Accepted, Accepted]),
        (b'{"batchItemFailures": [{"itemIdentifier": "ID:test-1"}]}', [Accepted, Retry]),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', [Retry, Retry]),
        (b'{"batchItemFailures": [{"itemIdentifier": ["x"]}]}', [Retry, Retry]),
        (b'{"batchItemFailures": [{"id": "ID:test-1"}]}', [Retry, Retry]),
        (b'{"batchItemFailures": [{"itemIdentifier": "ID:other"}]}', [Retry, Retry]),
        (b'{"batchItemFailures": "ID:test-1"}', [Retry, Retry]),
    ],
)
async def test_batch_item_failures_decide_message_by_message(
    calls: BlockingCalls, payload: bytes, kinds: list[type]
) -> None:
    """As for SQS event sources: what cannot be read fails the batch, any other answer is a success."""
    target = LambdaDelivery(
        LambdaTarget(function_name="f"), client=FakeClient(answered(payload)), calls=calls, event_source_arn="arn:x"
    )
    outcomes = await target.deliver([parcel(0), parcel(1)], ORIGIN)
    assert [type(outcome) for outcome in outcomes] == kinds
    assert {outcome.error_class for outcome in outcomes if isinstance(outcome, Retry)} <= {REFUSED}
