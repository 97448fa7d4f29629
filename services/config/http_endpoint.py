"""HTTP/1.1 on the event loop of the process, parsed by httptools.

Calls here take a few hundred microseconds: a server on threads of its own would spend more on handing them over.
"""

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import cast

import httptools

from services.runtime.open_files import connections_allowed
from services.runtime.server import BindError

MAX_BODY_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024
REQUEST_SECONDS = 30.0
"""From an answer, or the beginning, until the whole of the next request has come, and until an answer is taken."""

_MAX_CONNECTIONS = 8192
_MAX_PIPELINED = 16
_BACKLOG = 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request; headers by their lower-case names. `fault` tells why its body is not whole, empty when it is."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    fault: str = ""
    keep_alive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer; its length, the date and whether the connection ends are added."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = field(default=b"", repr=False)


Answer = Callable[[HttpRequest], Awaitable[HttpResponse]]
"""Must not raise: the connection is broken off where it does."""


class HttpEndpoint:
    """Serves `answer` on `host:port`; `run` is a background task of the process, `stop` ends it.

    The requests of a connection are answered one after the other. A head above 64 KiB, or what is no HTTP, ends the
    connection; a body above 1 MiB is told to `answer` and ends it too. `setting` is the variable that chooses another
    port, for messages; `port` then is the real one, when 0 was asked for.

    Raises:
        BindError: the address is taken or not one of this machine's.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        host: str,
        port: int,
        setting: str,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.answer = answer
        self.request_seconds = request_seconds
        self.stopping = False
        self._allowed = connections_allowed(_MAX_CONNECTIONS)
        self._connections: set[_Connection] = set()
        self._stopped, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._tls: ssl.SSLContext | None = None
        if tls_cert and tls_key:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls_cert, tls_key)
        self._socket = _bound(host, port, setting)
        self.port: int = self._socket.getsockname()[1]

    async def run(self) -> None:
        """Serves until `stop`."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Connection(self, loop), sock=self._socket, ssl=self._tls, backlog=_BACKLOG
        )
        try:
            await self._stopped.wait()
            server.close()
            for connection in list(self._connections):
                connection.finish()
            await self._empty.wait()
        finally:
            server.close()
            for connection in list(self._connections):
                connection.abort()

    async def stop(self) -> None:
        """Takes no more requests and returns when those in progress are answered."""
        self.stopping = True
        self._stopped.set()
        await self._empty.wait()

    def opened(self, connection: "_Connection") -> bool:
        """Counts a connection; False when there are too many."""
        self._connections.add(connection)
        self._empty.clear()
        return len(self._connections) <= self._allowed and not self.stopping

    def closed(self, connection: "_Connection") -> None:
        """Forgets a connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()


class _Connection(asyncio.Protocol):
    """One connection: what comes is parsed into requests, which a task answers in their order."""

    def __init__(self, endpoint: HttpEndpoint, loop: asyncio.AbstractEventLoop) -> None:
        self._endpoint, self._loop = endpoint, loop
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[HttpRequest] = deque()
        self._answering: asyncio.Task[None] | None = None
        self._taken: asyncio.Future[None] | None = None  # while the peer does not read
        self._ended = self._paused = False
        self._begin()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being of the class
        self._due = self._loop.time() + self._endpoint.request_seconds
        self._timer = self._loop.call_at(self._due, self._look)
        if not self._endpoint.opened(self):
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self._ended = True
        self._timer.cancel()
        self.resume_writing()
        self._endpoint.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(HTTPStatus.BAD_REQUEST)

    def pause_writing(self) -> None:
        self._taken = self._loop.create_future()
        self._due = self._loop.time() + self._endpoint.request_seconds

    def resume_writing(self) -> None:
        taken, self._taken = self._taken, None
        if taken and not taken.done():
            taken.set_result(None)

    # httptools calls these

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._counted(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._counted(name + value)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()  # asked later, it says no
        if self._headers.get("expect", "").lower() == "100-continue" and not self._ended:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._chunks.append(body)
        elif not self._ended:
            self._take(fault=f"the body is above {MAX_BODY_BYTES} bytes", keep_alive=False)
            self._ended = True

    def on_message_complete(self) -> None:
        if not self._ended:
            self._take(keep_alive=self._keep_alive)

    # the endpoint calls these

    def finish(self) -> None:
        """Closes the connection when what it has asked is answered."""
        if self._answering is None:
            self._transport.close()

    def abort(self) -> None:
        """Closes it at once."""
        self._transport.abort()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = self._head_size = 0
        self._keep_alive = False

    def _counted(self, part: bytes) -> None:
        self._head_size += len(part)
        if self._head_size > MAX_HEAD_BYTES and not self._ended:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse(self, status: HTTPStatus) -> None:
        self._ended = True
        if self._answering is None:
            self._transport.write(_encoded(HttpResponse(status=status.value), keep_alive=False))
        self._transport.close()

    def _take(self, *, keep_alive: bool, fault: str = "") -> None:
        path = self._url.partition(b"?")[0].decode("latin-1")
        request = HttpRequest(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            headers=self._headers,
            body=b"".join(self._chunks),
            fault=fault,
            keep_alive=keep_alive,
        )
        self._waiting.append(request)
        if len(self._waiting) >= _MAX_PIPELINED and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if self._answering is None:
            self._answering = self._loop.create_task(self._answer_waiting())

    async def _answer_waiting(self) -> None:
        try:
            while self._waiting and not self._transport.is_closing():
                request = self._waiting.popleft()
                response = await self._endpoint.answer(request)
                if self._transport.is_closing():  # the peer went away meanwhile
                    return
                keep_alive = request.keep_alive and not self._endpoint.stopping
                self._transport.write(_encoded(response, keep_alive=keep_alive))
                if self._taken:
                    await self._taken
                if not keep_alive:
                    self._transport.close()
        except BaseException:
            self._transport.abort()
            raise
        finally:
            self._answering = None
            self._due = self._loop.time() + self._endpoint.request_seconds
            if self._endpoint.stopping:  # perhaps only since the last answer was written
                self._transport.close()
            if self._paused and not self._transport.is_closing():
                self._paused = False
                self._transport.resume_reading()

    def _look(self) -> None:
        """Ends a connection that keeps us waiting; one timer, looked at when it rings, is cheaper than many."""
        now = self._loop.time()
        waits_for_us = self._answering is not None and self._taken is None
        if now >= self._due and not waits_for_us:
            self._transport.abort()
            return
        self._timer = self._loop.call_at(max(self._due, now + 1.0), self._look)


def _bound(host: str, port: int, setting: str) -> socket.socket:
    # Without SO_REUSEPORT: a second process would silently take half of the calls.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise BindError(
            f"cannot listen on {host}:{port} for HTTP: {error.strerror}; choose another port with {setting}, or 0 for "
            "none"
        ) from error


class _Date:
    """The time as HTTP writes it, made once a second."""

    def __init__(self) -> None:
        self._second, self._text = 0, ""

    def text(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


_DATE = _Date()


def _encoded(response: HttpResponse, *, keep_alive: bool) -> bytes:
    """The whole of an answer, so that it leaves in one segment."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
    end = "" if keep_alive else "connection: close\r\n"
    head = (
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\n{headers}date: {_DATE.text()}\r\n"
        f"content-length: {len(response.body)}\r\n{end}\r\n"
    )
    return head.encode("latin-1") + response.body
