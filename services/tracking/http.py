"""The intake over HTTP: a plain ASGI application.

GET  /event/{program_id}?message_id=&checksum=&cookie_id=&click_id=&transaction_id=    one click
POST /v1/events   {"events": [{"program_id": ...}, ...]}                                a batch, a result per event
GET  /health/check                                                                     200 or 503

outcome of one event              status        trouble                      status
ACCEPTED, DUPLICATE               200           log full                     503 + Retry-After
UNVERIFIED (stored)               202           body too large, not JSON     413, 400
UNKNOWN_PROGRAM                   404           no such path, method         404, 405
EXPIRED_PROGRAM                   410           body slower than 30 s        408
INVALID, WRONG_CHECKSUM           400           anything unexpected          500
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from penstock.tracking.v1.tracking_service_pb2 import TrackResult

from services.runtime.errors import InvalidArgumentError, PenstockError, RetryableError
from services.tracking.event import MAX_USER_AGENT, TrackingEvent
from services.tracking.intake import (
    ACCEPTED,
    DUPLICATE,
    EXPIRED_PROGRAM,
    INVALID,
    MAX_BATCH,
    UNKNOWN_PROGRAM,
    UNVERIFIED,
    WRONG_CHECKSUM,
    Intake,
    Outcome,
    Source,
)
from services.tracking.json_event import event_from_json

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
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
_OK, _BAD_REQUEST, _UNAVAILABLE = 200, 400, 503
_BREATH = 100  # JSON events decoded before other calls get a turn: 10 ms or so


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


class _HttpError(Exception):
    """Ends a request with a status and a text."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.answer = _Answer(status, {"reason": reason}, {name.replace("_", "-"): headers[name] for name in headers})


class HttpIntake:
    """The ASGI application.

    Args:
        intake: decides about events.
        healthy: answers `GET /health/check`.
        max_body_bytes: bounds a request.
        body_seconds: how long a client may take to send a body.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        healthy: Callable[[], bool],
        max_body_bytes: int = 4 * 1024 * 1024,
        body_seconds: float = 30.0,
    ) -> None:
        self._intake = intake
        self._healthy = healthy
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"this application speaks HTTP, not {scope['type']}")
        try:
            answer = await self._answer(scope, receive)
        except _HttpError as error:
            answer = error.answer
        except RetryableError as error:
            retry_after = str(max(1, math.ceil(error.retry_after or 1)))
            answer = _Answer(_UNAVAILABLE, {"reason": error.message}, {"retry-after": retry_after})
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            structlog.get_logger(component="http").error("unexpected error", path=scope["path"], exc_info=error)
            reason = error.message if isinstance(error, PenstockError) else "an unexpected error"
            answer = _Answer(500, {"reason": reason})
        await _send(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        path: str = scope["path"]
        if path.startswith("/event/"):
            _require_method(scope, "GET")
            return await self._one(_event(path.removeprefix("/event/"), scope))
        if path == "/v1/events":
            _require_method(scope, "POST")
            return await self._batch(await self._body(scope, receive))
        if path == "/health/check":
            _require_method(scope, "GET")
            return _Answer(_OK, {"healthy": True}) if self._healthy() else _Answer(_UNAVAILABLE, {"healthy": False})
        raise _HttpError(404, f"there is no {path}: GET /event/{{program_id}} and POST /v1/events take events")

    async def _one(self, event: TrackingEvent) -> _Answer:
        response = await self._intake.track([event], Source.EVENT_SOURCE_HTTP)
        result = response.results[0]
        return _Answer(_STATUS[result.outcome], _result(result))

    async def _batch(self, body: bytes) -> _Answer:
        items = _items(body)
        decoded: list[TrackingEvent | Mapping[str, str]] = []
        for start in range(0, len(items), _BREATH):
            decoded += map(_decoded, items[start : start + _BREATH])
            await asyncio.sleep(0)
        events = [item for item in decoded if isinstance(item, TrackingEvent)]
        response = await self._intake.track(events, Source.EVENT_SOURCE_HTTP) if events else None
        results = iter(response.results if response else ())
        answers = [_result(next(results)) if isinstance(item, TrackingEvent) else item for item in decoded]
        return _Answer(_OK, {"results": answers})

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if encoding := _header(scope, b"content-encoding"):
            raise _HttpError(415, f"Content-Encoding {encoding} is not taken: send the JSON as it is")
        try:
            async with asyncio.timeout(self._body_seconds):
                return await self._received(receive)
        except TimeoutError:
            raise _HttpError(408, f"the body was not sent within {self._body_seconds:g} s") from None

    async def _received(self, receive: Receive) -> bytes:
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _HttpError(_BAD_REQUEST, "the client went away")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_body_bytes:
                raise _HttpError(413, f"the body is larger than {self._max_body_bytes} bytes: send smaller batches")
            if not message.get("more_body", False):
                return b"".join(chunks)


def _event(program_id: str, scope: Scope) -> TrackingEvent:
    try:
        query = dict(parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise _HttpError(_BAD_REQUEST, f"the query is malformed: {error}") from error
    # A missing User-Agent is normal, and a long one no reason to lose the click.
    event = TrackingEvent(program_id=program_id, user_agent=_header(scope, b"user-agent")[:MAX_USER_AGENT])
    for name, value in query.items():
        if name in _PARAMETERS:
            setattr(event, name, value)
        else:
            event.attributes[name] = value
    return event


def _items(body: bytes) -> list[object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _HttpError(_BAD_REQUEST, f"the body is not JSON: {error}") from error
    items = value.get("events") if isinstance(value, dict) else None
    if not isinstance(items, list) or not 0 < len(items) <= MAX_BATCH:
        raise _HttpError(_BAD_REQUEST, f'the body must be {{"events": [...]}} with 1 to {MAX_BATCH} events')
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


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _require_method(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise _HttpError(405, f"{scope['method']} is not allowed here: use {method}", allow=method)


async def _send(answer: _Answer, send: Send) -> None:
    body = orjson.dumps(answer.body)
    headers = {"content-type": "application/json", "cache-control": "no-store", "content-length": str(len(body))}
    encoded = [(name.encode(), value.encode()) for name, value in {**headers, **answer.headers}.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
