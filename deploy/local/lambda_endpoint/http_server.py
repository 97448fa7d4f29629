"""As much of HTTP/1.1 (RFC 9112) as boto3 and awslambdaric speak: one handler, keep-alive, chunked request bodies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 64 * 1024 * 1024  # held in memory; above the APIs' own limits, so that these answer in their words


class BadRequestError(Exception):
    """The peer does not speak HTTP/1.1 as used here; the connection is closed after the answer."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpRequest:
    """One request: `path` percent-decoded, header names in lower case, first value of each query parameter."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpResponse:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class HttpServer:
    """Answers every request on a port with one handler, from `start` to `close`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, *, host: str, port: int) -> int:
        """Listen, on a free port when `port` is 0; the port. Raises OSError when it is taken.

        asyncio sets TCP_NODELAY on each connection.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=HEAD_LIMIT_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening and drop all connections, those within a request too."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _serve_connection(self._handler, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the peer went away or stopped speaking HTTP within a body: nobody is left to be told
        finally:
            writer.close()


async def _serve_connection(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    keep_alive = True
    while keep_alive:
        try:
            request = await _read_request(reader, writer)
        except BadRequestError as error:
            response, keep_alive = HttpResponse(status=error.status, body=str(error).encode()), False
        else:
            if request is None:
                return
            keep_alive = request.headers.get("connection", "").lower() != "close"
            response = await handler(request)
        writer.write(_encode(response, keep_alive=keep_alive))
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpRequest | None:
    """The next request, or None when the peer has closed the connection between two of them."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    except asyncio.LimitOverrunError as error:
        limit = f"request line and headers exceed {HEAD_LIMIT_BYTES} bytes"
        raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, limit) from error
    method, target, headers = _parse_head(head)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _read_body(reader, headers)
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return HttpRequest(method=method, path=unquote(parts.path), query=query, headers=headers, body=body)


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    words = request_line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version
        raise BadRequestError(HTTPStatus.BAD_REQUEST, f"not an HTTP/1.1 request line: {request_line[:80]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError(HTTPStatus.BAD_REQUEST, f"not a header line: {line[:80]!r}")
        headers[name.lower()] = value.strip()
    return words[0], words[1], headers


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = _length(headers.get("content-length", "0"), base=10)
    return await reader.readexactly(length)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := _length((await reader.readuntil(b"\r\n")).split(b";")[0].strip().decode("latin-1"), base=16):
        body += await reader.readexactly(_within_limit(size + len(body)) - len(body))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailer fields carry nothing that is used here
    return bytes(body)


def _length(text: str, *, base: int) -> int:
    try:
        length = int(text, base)
    except ValueError as error:
        raise BadRequestError(HTTPStatus.BAD_REQUEST, f"not a body length: {text[:80]!r}") from error
    if length < 0:
        raise BadRequestError(HTTPStatus.BAD_REQUEST, f"not a body length: {text[:80]!r}")
    return _within_limit(length)


def _within_limit(length: int) -> int:
    if length > BODY_LIMIT_BYTES:
        limit = f"body of {length} bytes exceeds {BODY_LIMIT_BYTES} bytes"
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
    return length


def _encode(response: HttpResponse, *, keep_alive: bool) -> bytes:
    status = HTTPStatus(response.status)
    headers = dict(response.headers)
    if status != HTTPStatus.NO_CONTENT:
        headers["Content-Length"] = str(len(response.body))
    headers["Connection"] = "keep-alive" if keep_alive else "close"
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body
