"""Delivery to an HTTP endpoint: one POST per message.

The body of the request is the body of the message. Headers tell the rest: `Idempotency-Key` is the message id,
`Penstock-...` hold route, subscription, attempt, destination and the JMS headers that are set,
`Penstock-Property-<name>` the properties whose names HTTP takes. Values are percent-encoded where they are not
printable ASCII.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from broker_bridge.amazon_mq_event import body_bytes
from broker_bridge.http_endpoint import Answer, HttpEndpoint, NoAnswerError
from broker_bridge.parcel import Parcel
from broker_bridge.target_specs import HttpTarget
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Origin, Outcome, Rejected, Reply, Retry
from services.runtime.telemetry import inject_trace

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2
_TEXT = re.compile(r"text/|application/([^;]*\+)?json\b", re.IGNORECASE)
_SHOWN_CHARACTERS = 500
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_OK = range(200, 300)
_THROTTLED = frozenset({429})
_AWAY = frozenset({408, 502, 503, 504})
# Also what an operator may set right: no access, nothing there yet; 409 and 425 come for a key that is being worked on.
_MAY_PASS = frozenset({401, 403, 404, 407, 409, 425})
_CLIENT_ERROR = range(400, 500)


class HttpDelivery:
    """A `broker_bridge.targets.Target`. `now` is the time in seconds since 1970; the endpoint is closed with it."""

    def __init__(self, spec: HttpTarget, *, endpoint: HttpEndpoint, now: Callable[[], float]) -> None:
        self._spec = spec
        self._endpoint = endpoint
        self._now = now

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
        return await asyncio.gather(*(self._deliver_one(parcel, origin) for parcel in parcels))

    async def _deliver_one(self, parcel: Parcel, origin: Origin) -> Outcome:
        headers = request_headers(parcel, origin, self._spec.content_type)
        try:
            answer = await self._endpoint.post(headers, body_bytes(parcel))
        except NoAnswerError as error:
            return Retry(reason=f"{self._spec.url} does not answer: {error}", error_class=ErrorClass.UNAVAILABLE)
        outcome = judge(answer, now=self._now())
        if outcome is ACCEPTED and self._spec.replies and parcel.message.reply_to:
            return replied(answer)
        return outcome

    async def close(self) -> None:
        self._endpoint.close()


def judge(answer: Answer, *, now: float) -> Outcome:
    """What an answer means for the message; `now` in seconds since 1970."""
    status = answer.status
    if status in _OK:
        return ACCEPTED
    reason = f"HTTP {status}: {answer.text}" if answer.text else f"HTTP {status}"
    after = retry_after_seconds(answer.retry_after, now=now)
    if status in _THROTTLED:
        return Retry(reason=reason, error_class=ErrorClass.THROTTLED, after=after)
    if status in _AWAY:
        return Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE, after=after)
    if status in _CLIENT_ERROR and status not in _MAY_PASS:
        return Rejected(reason=reason)
    return Retry(reason=reason, error_class=ErrorClass.REFUSED, after=after)


def replied(answer: Answer) -> Accepted:
    """A success whose body is the reply to the sender; without a body there is none."""
    if not answer.is_whole:
        return Accepted(unread=(f"the answer is longer than the {len(answer.body)} bytes that were read of it",))
    if not answer.body:
        return ACCEPTED
    if not _TEXT.match(answer.content_type):
        return Accepted(reply=Reply(body=answer.body))
    try:
        return Accepted(reply=Reply(body=answer.body.decode()))
    except UnicodeDecodeError as error:
        return Accepted(unread=(f"the answer is {answer.content_type!r} and no UTF-8: {error}"[:_SHOWN_CHARACTERS],))


def retry_after_seconds(value: str, *, now: float) -> float | None:
    """Seconds of a Retry-After (RFC 9110 section 10.2.3): a number, or a date after `now`; None when there is none."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - now, 0.0)
    except ValueError:
        return None


def request_headers(parcel: Parcel, origin: Origin, content_type: str) -> dict[str, str]:
    """The headers of the request for a message."""
    message = parcel.message
    by_body = "application/octet-stream" if parcel.text is None else "text/plain; charset=utf-8"
    told = {
        "Route": origin.route,
        "Subscription": origin.subscription,
        "Destination": message.destination,
        "Correlation-Id": message.correlation_id,
        "Reply-To": message.reply_to,
        "Type": message.type,
        "Group": parcel.group,
        "Timestamp": str(message.sent_at or ""),
        "Attempt": str(parcel.attempt),
    } | {f"Property-{name}": value for name, value in message.properties.items() if _TOKEN.fullmatch(name)}
    headers = {"Content-Type": content_type or by_body, "Idempotency-Key": _encoded(message.id)}
    headers |= {f"Penstock-{name}": _encoded(value) for name, value in told.items() if value}
    inject_trace(headers)
    return headers


def _encoded(value: str) -> str:
    if value.isascii() and value.isprintable() and "%" not in value:
        return value.strip(" ")
    return quote(value.strip(" "), safe=_PRINTABLE)
