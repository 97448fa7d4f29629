"""What the answers of Lambda and SQS mean for a message."""

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from broker_bridge.lambda_target import LambdaDelivery
from broker_bridge.sqs_target import SqsDelivery
from broker_bridge.targets import ACCEPTED, ErrorClass, LambdaTarget, Outcome, Rejected, Retry, SqsTarget
from services.runtime.aws import BlockingCalls
from tests.contracts.delivery_target import ORIGIN
from tests.unit.broker_bridge.builders import parcel


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

    invoke = send_message_batch = _reply


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
        (client_error("InvalidRequestContentException", 400), 1, Rejected, REFUSED),
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
    """Ten messages and one mebibyte each, in order."""
    fake = FakeClient({"Successful": []})
    target = SqsDelivery(SqsTarget(queue_url="https://q.fifo"), client=fake, calls=calls)
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
