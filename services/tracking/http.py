"""The intake over HTTP: a plain ASGI application.

GET  /event/{program_id}?message_id=&checksum=&cookie_id=&click_id=&transaction_id=    one click
GET  /pixel.gif?program_id=&...                                                        one impression; a 1x1 GIF
GET  /r/{program_id}?url=&...                                                          one click; 302 to the URL
POST /v1/events   {"events": [{"program_id": ...}, ...]}, gzip or not                  a batch, a result per event
GET  /health/check                                                                     200 or 503

outcome of one event              status        trouble                      status
ACCEPTED, DUPLICATE               200           log full                     503 + Retry-After
UNVERIFIED (stored)               202           body too large, not JSON     413, 400
UNKNOWN_PROGRAM                   404           no such path, method         404, 405
EXPIRED_PROGRAM                   410           body slower than 30 s        408
INVALID, WRONG_CHECKSUM           400           anything unexpected          500

A redirect is 302 whatever becomes of its event, which the header X-Penstock-Outcome tells: a visitor is not the one to
suffer from a program that ended. Only a full log holds him up, since nobody else could send the click again.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from penstock.tracking.v1.tracking_event_pb2 import EVENT_TYPE_IMPRESSION
from penstock.tracking.v1.tracking_service_pb2 import TrackEventRequest, TrackEventResponse, TrackResult

from services.runtime.errors import InvalidArgumentError, PenstockError, RetryableError
from services.tracking.browsers import BrowserRules, Visitor, cors_headers, preflight_headers, visitor_of
from services.tracking.event import MAX_ATTRIBUTE_VALUE, MAX_BATCH, TrackingEvent, uuid7
from services.tracking.http_request import (
    Receive,
    RequestError,
    Scope,
    body_of,
    headers_of,
    query_of,
    require_method,
)
from services.tracking.intake import Intake, Source
from services.tracking.json_event import event_from_json
from services.tracking.redirects import require_allowed
from services.tracking.results import (
    ACCEPTED,
    DUPLICATE,
    EXPIRED_PROGRAM,
    INVALID,
    UNKNOWN_PROGRAM,
    UNVERIFIED,
    WRONG_CHECKSUM,
    Outcome,
)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STATUS = {
    ACCEPTED: 200,
    DUPLICATE: 200,
    UNVERIFIED: 202,
    UNKNOWN_PROGRAM: 404,
    EXPIRED_PROGRAM: 410,
    INVALID: 400,
    WRONG_CHECKSUM: 400,
}
_NAMES = {outcome: Outcome.Name(outcome).removeprefix("TRACK_OUTCOME_") for outcome in _STATUS}
_PARAMETERS = ("message_id", "checksum", "cookie_id", "click_id", "transaction_id")
_BREATH = 100  # JSON events decoded before other calls get a turn: 10 ms or so
_JSON, _GIF = "application/json", "image/gif"
_PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b"  # 1x1, transparent
)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpIntake:
    """The ASGI application.

    Args:
        intake: decides about events.
        healthy: answers `GET /health/check`.
        rules: about browsers.
        max_body_bytes: bounds a request, compressed and inflated.
        body_seconds: how long a client may take to send a body.
        new_id: an id for a visitor without a cookie.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        healthy: Callable[[], bool],
        rules: BrowserRules | None = None,
        max_body_bytes: int = 4 * 1024 * 1024,
        body_seconds: float = 30.0,
        new_id: Callable[[], str] = uuid7,
    ) -> None:
        self._intake = intake
        self._healthy = healthy
        self._rules = rules or BrowserRules()
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"this application speaks HTTP, not {scope['type']}")
        headers = headers_of(scope)
        try:
            answer = await self._answer(scope, headers, receive)
        except RequestError as error:
            answer = _json(error.status, {"reason": error.reason}, error.headers)
        except RetryableError as error:
            retry_after = str(max(1, math.ceil(error.retry_after or 1)))
            answer = _json(503, {"reason": error.message}, {"retry-after": retry_after})
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            structlog.get_logger(component="http").error("unexpected error", path=scope["path"], exc_info=error)
            reason = error.message if isinstance(error, PenstockError) else "an unexpected error"
            answer = _json(500, {"reason": reason})
        await _send(answer, cors_headers(headers, self._rules), send)

    async def _answer(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> _Answer:
        path: str = scope["path"]
        if scope["method"] == "OPTIONS":
            return _Answer(204, headers=preflight_headers(headers, self._rules))
        if path.startswith("/event/"):
            return await self._click(path.removeprefix("/event/"), scope, headers)
        if path == "/pixel.gif":
            return await self._pixel(scope, headers)
        if path.startswith("/r/"):
            return await self._redirect(path.removeprefix("/r/"), scope, headers)
        if path == "/v1/events":
            require_method(scope, "POST")
            body = await body_of(headers, receive, max_bytes=self._max_body_bytes, seconds=self._body_seconds)
            return await self._batch(body, self._page_visitor(scope, headers))
        if path == "/health/check":
            require_method(scope, "GET")
            healthy = self._healthy()
            return _json(200 if healthy else 503, {"healthy": healthy})
        raise RequestError(
            404,
            f"there is no {path}: GET /event/{{program_id}}, GET /pixel.gif, GET /r/{{program_id}} and POST /v1/events "
            "take events",
        )

    async def _click(self, program_id: str, scope: Scope, headers: Mapping[str, str]) -> _Answer:
        require_method(scope, "GET")
        visitor = self._visitor(scope, headers)
        result = await self._track(_event(program_id, query_of(scope), visitor))
        return _json(_STATUS[result.outcome], _result(result), _cookie(visitor))

    async def _pixel(self, scope: Scope, headers: Mapping[str, str]) -> _Answer:
        require_method(scope, "GET")
        query = query_of(scope)
        visitor = self._visitor(scope, headers)
        event = _event(query.pop("program_id", ""), query, visitor)
        event.event_type = EVENT_TYPE_IMPRESSION
        result = await self._track(event)
        return _Answer(_STATUS[result.outcome], _PIXEL, _GIF, {**_told(result), **_cookie(visitor)})

    async def _redirect(self, program_id: str, scope: Scope, headers: Mapping[str, str]) -> _Answer:
        require_method(scope, "GET")
        query = query_of(scope)
        url = query.pop("url", "")
        try:
            require_allowed(url, self._rules.redirect_hosts)
        except InvalidArgumentError as error:
            raise RequestError(400, error.message) from error
        visitor = self._visitor(scope, headers)
        event = _event(program_id, query, visitor)
        event.attributes["url"] = url[:MAX_ATTRIBUTE_VALUE]
        result = await self._track(event)
        return _Answer(302, headers={"location": url, **_told(result), **_cookie(visitor)})

    async def _track(self, event: TrackingEvent) -> TrackResult:
        if not event.message_id:
            event.message_id = uuid7()
        address, event.ip_address = event.ip_address, ""
        request = TrackEventRequest(event=event).SerializeToString()  # the bytes of a batch of one
        answer = await self._intake.track_encoded(request, Source.EVENT_SOURCE_HTTP, address)
        return TrackEventResponse.FromString(answer).result

    async def _batch(self, body: bytes, visitor: Visitor | None) -> _Answer:
        items = _items(body)
        decoded: list[TrackingEvent | Mapping[str, str]] = []
        for start in range(0, len(items), _BREATH):
            decoded += map(_decoded, items[start : start + _BREATH])
            await asyncio.sleep(0)
        events = [item for item in decoded if isinstance(item, TrackingEvent)]
        if visitor is not None:
            for event in events:
                visitor.describe(event)
        response = await self._intake.track(events, Source.EVENT_SOURCE_HTTP) if events else None
        results = iter(response.results if response else ())
        answers = [_result(next(results)) if isinstance(item, TrackingEvent) else item for item in decoded]
        return _json(200, {"results": answers}, _cookie(visitor) if visitor else {})

    def _visitor(self, scope: Scope, headers: Mapping[str, str]) -> Visitor:
        peer = scope.get("client") or ("", 0)
        return visitor_of(headers, peer[0], self._rules, self._new_id)

    def _page_visitor(self, scope: Scope, headers: Mapping[str, str]) -> Visitor | None:
        # Pages name their origin with every POST. Without one a server speaks, about visitors it describes itself.
        return self._visitor(scope, headers) if "origin" in headers else None


def _event(program_id: str, query: Mapping[str, str], visitor: Visitor) -> TrackingEvent:
    event = TrackingEvent(program_id=program_id)
    for name, value in query.items():
        if name in _PARAMETERS:
            setattr(event, name, value)
        else:
            event.attributes[name] = value
    visitor.describe(event)
    return event


def _items(body: bytes) -> list[object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error
    items = value.get("events") if isinstance(value, dict) else None
    if not isinstance(items, list) or not 0 < len(items) <= MAX_BATCH:
        raise RequestError(400, f'the body must be {{"events": [...]}} with 1 to {MAX_BATCH} events')
    return items


def _decoded(item: object) -> TrackingEvent | Mapping[str, str]:
    try:
        return event_from_json(item)
    except InvalidArgumentError as error:
        return {"outcome": _NAMES[INVALID], "message_id": "", "reason": error.message}


def _result(result: TrackResult) -> Mapping[str, str]:
    answer = {"outcome": _NAMES[result.outcome], "message_id": result.message_id}
    if result.outcome == UNKNOWN_PROGRAM:
        answer["reason"] = "ProgramId not found"  # the text of the architecture this service follows
    elif result.reason:
        answer["reason"] = result.reason
    return answer


def _told(result: TrackResult) -> Mapping[str, str]:
    return {"x-penstock-outcome": _NAMES[result.outcome]}


def _cookie(visitor: Visitor) -> Mapping[str, str]:
    return {"set-cookie": visitor.set_cookie} if visitor.set_cookie else {}


def _json(status: int, body: object, headers: Mapping[str, str] | None = None) -> _Answer:
    return _Answer(status, orjson.dumps(body), _JSON, headers or {})


async def _send(answer: _Answer, more: Mapping[str, str], send: Send) -> None:
    headers = {"cache-control": "no-store", "content-length": str(len(answer.body))}
    if answer.body:
        headers["content-type"] = answer.content_type
    encoded = [(name.encode(), value.encode()) for name, value in {**headers, **more, **answer.headers}.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})
