"""A request of the HTTP intake taken apart: headers, query, and a body that is bounded in bytes and in time."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_GZIP = 31  # wbits of zlib: a gzip header, the largest window
_MAX_MEMBERS = 100  # of a gzip file; each costs a copy of what follows
_INLINE_BYTES = 32 * 1024  # inflating less is not worth a thread


class RequestError(Exception):
    """A request that cannot be answered: status, reason, and headers of the answer."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


def headers_of(scope: Scope) -> Mapping[str, str]:
    """The headers by lower-case name; of repeated ones the last, but X-Forwarded-For joined as RFC 9110, 5.3, says."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]},{value}" if name == "x-forwarded-for" and name in found else value
    return found


def query_of(scope: Scope) -> dict[str, str]:
    """The parameters of the query.

    Raises:
        RequestError: 400.
    """
    try:
        return dict(parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError as error:
        raise RequestError(400, f"the query is malformed: {error}") from error


def require_method(scope: Scope, method: str) -> None:
    """Raises RequestError 405 for any other method."""
    if scope["method"] != method:
        raise RequestError(405, f"{scope['method']} is not allowed here: use {method}", {"allow": method})


async def body_of(headers: Mapping[str, str], receive: Receive, *, max_bytes: int, seconds: float) -> bytes:
    """The whole body, inflated when it is gzip; neither form may have more than `max_bytes`.

    Raises:
        RequestError: 400, 408, 413 or 415.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise RequestError(415, f"Content-Encoding {encoding} is not taken: send gzip or the JSON as it is")
    try:
        async with asyncio.timeout(seconds):
            body = await _received(receive, max_bytes)
    except TimeoutError:
        raise RequestError(408, f"the body was not sent within {seconds:g} s") from None
    if encoding == "identity":
        return body
    if len(body) <= _INLINE_BYTES:
        return inflated(body, max_bytes)
    return await asyncio.to_thread(inflated, body, max_bytes)


def inflated(data: bytes, max_bytes: int) -> bytes:
    """What was compressed by gzip; never more than `max_bytes` are inflated, however much the data promises.

    Raises:
        RequestError: 400 or 413.
    """
    parts: list[bytes] = []
    size = 0
    while data or not parts:
        member = zlib.decompressobj(_GZIP)
        try:
            parts.append(member.decompress(data, max_bytes - size + 1))
        except zlib.error as error:
            raise RequestError(400, f"the body is not gzip: {error}") from error
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not member.eof or len(parts) > _MAX_MEMBERS:
            raise RequestError(
                400, "the gzip body is cut off" if not member.eof else "the gzip body has too many parts"
            )
        data = member.unused_data
    return b"".join(parts)


async def _received(receive: Receive, max_bytes: int) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "the client went away")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body is larger than {max_bytes} bytes: send smaller batches")
