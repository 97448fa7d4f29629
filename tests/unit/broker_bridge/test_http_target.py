"""What an HTTP endpoint is told of a message, and what its answers mean."""

from dataclasses import replace

import pytest

from broker_bridge.http_endpoint import Answer
from broker_bridge.http_target import judge, replied, request_headers, retry_after_seconds
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Origin, Rejected, Reply, Retry
from tests.unit.broker_bridge.builders import parcel, string

NOW = 1_700_000_000.0
ORIGIN = Origin(route="orders", subscription="Orders/all")
THROTTLED, UNAVAILABLE, REFUSED = ErrorClass.THROTTLED, ErrorClass.UNAVAILABLE, ErrorClass.REFUSED


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_settles_the_message(status: int) -> None:
    """Whatever the body says."""
    assert judge(Answer(status=status, body=b"no"), now=NOW) == ACCEPTED


@pytest.mark.parametrize("status", [400, 402, 405, 410, 413, 415, 422, 431])
def test_a_request_that_is_wrong_is_refused_for_good(status: int) -> None:
    """Repeating it would not help."""
    assert judge(Answer(status=status, body=b"bad"), now=NOW) == Rejected(reason=f"HTTP {status}: bad")


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(429, THROTTLED), (408, UNAVAILABLE), (502, UNAVAILABLE), (503, UNAVAILABLE), (504, UNAVAILABLE)]
    + [(status, REFUSED) for status in (301, 302, 401, 403, 404, 407, 409, 425, 500, 501)],
)
def test_other_answers_let_the_message_be_tried_again(status: int, error_class: ErrorClass) -> None:
    """Throttles, outages, and what an operator may set right."""
    assert judge(Answer(status=status), now=NOW) == Retry(reason=f"HTTP {status}", error_class=error_class)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("120", 120.0),
        (" 3 ", 3.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str, seconds: float | None) -> None:
    """RFC 9110; what is neither is as good as nothing."""
    assert retry_after_seconds(value, now=NOW) == seconds
    assert judge(Answer(status=503, retry_after=value), now=NOW) == Retry(
        reason="HTTP 503", error_class=UNAVAILABLE, after=seconds
    )


@pytest.mark.parametrize(
    ("content_type", "body", "reply"),
    [
        ("text/plain; charset=utf-8", "zażółć".encode(), "zażółć"),
        ("application/json", b'{"a": 1}', '{"a": 1}'),
        ("application/problem+json", b"{}", "{}"),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
        ("", b"a", b"a"),
        ("application/jsonlines", b"a", b"a"),
    ],
)
def test_the_body_of_an_answer_is_the_reply(content_type: str, body: bytes, reply: str | bytes) -> None:
    """Text where it says so, else bytes."""
    assert replied(Answer(status=200, content_type=content_type, body=body)) == Accepted(reply=Reply(body=reply))


def test_an_answer_without_a_body_is_no_reply() -> None:
    """There is nothing to send."""
    assert replied(Answer(status=204, content_type="text/plain")) == ACCEPTED


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Answer(status=200, content_type="text/plain", body=b"\xff"), "no UTF-8"),
        (Answer(status=200, body=b"a", is_whole=False), "longer than the 1 bytes"),
    ],
)
def test_an_answer_that_cannot_be_sent_is_told_and_its_message_accepted(answer: Answer, complaint: str) -> None:
    """The endpoint has done its work."""
    outcome = replied(answer)
    assert outcome.reply is None
    assert complaint in outcome.unread[0]


def test_the_idempotency_key_is_the_message_id_at_every_attempt() -> None:
    """And the attempt is told beside it."""
    first, second = (request_headers(parcel(1, attempt=attempt), ORIGIN, "") for attempt in (1, 2))
    assert first["Idempotency-Key"] == second["Idempotency-Key"] == "ID:test-1"
    assert (first["Penstock-Attempt"], second["Penstock-Attempt"]) == ("1", "2")


def test_headers_tell_route_destination_and_properties() -> None:
    """Percent-encoded where they are not printable ASCII; a name that HTTP does not take is left out."""
    sent = parcel(1, attributes={"colour": string("zażółć\r\n100%"), "a b": string("x"), "empty": string("")})
    sent = replace(sent, message=replace(sent.message, type="order", correlation_id="c-1"))
    headers = request_headers(sent, ORIGIN, "")
    assert headers["Penstock-Route"] == "orders"
    assert headers["Penstock-Subscription"] == "Orders/all"
    assert headers["Penstock-Destination"] == "queue://orders"
    assert headers["Penstock-Type"] == "order"
    assert headers["Penstock-Correlation-Id"] == "c-1"
    assert headers["Penstock-Property-colour"] == "za%C5%BC%C3%B3%C5%82%C4%87%0D%0A100%25"
    assert {name for name in headers if name.startswith("Penstock-Property-")} == {"Penstock-Property-colour"}


def test_the_content_type_follows_from_the_body_unless_the_target_names_one() -> None:
    """Text, bytes, declared."""
    assert request_headers(parcel(1), ORIGIN, "")["Content-Type"] == "text/plain; charset=utf-8"
    assert request_headers(parcel(1, text=None), ORIGIN, "")["Content-Type"] == "application/octet-stream"
    assert request_headers(parcel(1), ORIGIN, "application/json")["Content-Type"] == "application/json"
