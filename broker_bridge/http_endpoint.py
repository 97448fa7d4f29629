"""An HTTP/1.1 endpoint on the event loop: connections that stay open, answers read by httptools (the parser of Node).

One request at a time on each connection; no redirects, cookies or proxies. The answer's status is what counts, so its
body is read to a limit and no further.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from services.runtime.aws import BlockingCalls

CONNECT_SECONDS = 2.0
"""For each address of a host."""
_READ_BYTES = 64 * 1024
_SHOWN_BYTES = 500
_LOOK_UPS = 4  # of a host at the same time
_KEPT_OPEN = 64  # connections without a request
_INTERIM = range(100, 200)
_ENDS_A_LINE = re.compile(r"[\r\n\0]")  # RFC 9110 section 5.5: what follows would pass for a header, or a request


class NoAnswerError(Exception):
    """The endpoint did not answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an endpoint said: the headers of these names, and of the body at most 64 KiB; `is_whole` if that is all."""

    status: int
    retry_after: str = ""
    content_type: str = ""
    body: bytes = b""
    is_whole: bool = True

    @property
    def text(self) -> str:
        """The beginning of the body, for people."""
        return self.body[:_SHOWN_BYTES].decode(errors="replace").strip()


class HttpEndpoint:
    """The connections to one URL. `room` bounds the requests in progress, of all endpoints that share it.

    `timeout` is in seconds per request, connecting included; waiting for `room` is not.
    """

    def __init__(self, url: str, *, room: asyncio.Semaphore, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.url = url
        self._host = parts.hostname or ""
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._request_line = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        self._look_ups = BlockingCalls(_LOOK_UPS, "look-up")  # the log-ins at a broker wait for no name server
        self._room = room
        self._timeout = timeout
        self._idle: list[_Connection] = []
        self._closed = False

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to a POST.

        Raises:
            NoAnswerError: there was none.
            ValueError: a header holds the end of a line; nothing was sent.
        """
        for name, value in headers.items():
            if _ENDS_A_LINE.search(name) or _ENDS_A_LINE.search(value):
                raise ValueError(f"the header {name[:_SHOWN_BYTES]!r} holds a CR, LF or NUL; nothing was sent")
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{self._request_line}{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1", "replace")
        async with self._room:
            connection: _Connection | None = None
            try:
                async with asyncio.timeout(self._timeout):
                    connection = self._open_connection() or await self._connect()
                    return await connection.exchange(head + body)
            except TimeoutError:
                if connection is not None and (answer := connection.answer_so_far()):
                    return answer
                raise NoAnswerError(f"no answer within {self._timeout:g} s") from None
            finally:
                if connection is not None:
                    self._put_back(connection)

    def _open_connection(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_free:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        """To the first address of the host that takes it."""
        try:
            found = await self._look_ups.run(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
            raise NoAnswerError(f"no connection: {error}") from error
        failures: list[str] = []
        for *_, (address, *_) in found:
            try:
                return await self._connect_to(str(address))
            except TimeoutError:
                failures.append(f"{address} does not answer within {CONNECT_SECONDS:g} s")
            except OSError as error:
                failures.append(f"{address}: {error}")
        raise NoAnswerError(f"no connection: {'; '.join(failures)}")

    async def _connect_to(self, address: str) -> "_Connection":
        loop = asyncio.get_running_loop()
        name = self._host if self._tls else None  # what the certificate must be for
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await loop.create_connection(
                _Connection, address, self._port, ssl=self._tls, server_hostname=name
            )
        return connection

    def _put_back(self, connection: "_Connection") -> None:
        if connection.is_free and not self._closed and len(self._idle) < _KEPT_OPEN:
            self._idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        """Ends the connections without a request at once, the others after their answers."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()


class _Connection(asyncio.Protocol):
    """One request after the other. httptools calls the methods that its documentation names `on_...`."""

    def __init__(self) -> None:
        self.is_free = False
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self._body = b""
        self._retry_after = self._content_type = ""
        self._has_head = self._has_length = False

    def exchange(self, request: bytes) -> "asyncio.Future[Answer]":
        """Sends a request on a connection that is free; the future raises NoAnswerError."""
        assert self._transport is not None
        self.is_free = False
        self._begin()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def answer_so_far(self, *, is_whole: bool = False) -> Answer | None:
        """What is known while the body is still coming; None before the end of the headers."""
        if not self._has_head:
            return None
        return Answer(
            status=self._parser.get_status_code(),
            retry_after=self._retry_after,
            content_type=self._content_type,
            body=self._body,
            is_whole=is_whole,
        )

    def abort(self) -> None:
        self.is_free = False
        if self._transport is not None:
            self._transport.abort()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is of no class of asyncio
        self.is_free = True

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:  # nobody asked
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the answer is no HTTP/1.1: {error}")
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_free = False
        if self._has_head and not self._has_length:  # RFC 9112 section 6.3: such a body ends with the connection
            self._tell(self.answer_so_far(is_whole=error is None))
        self._fail(f"the connection was lost: {error}" if error else "the connection was closed before the answer")

    # What httptools tells.

    def on_message_begin(self) -> None:
        if self._waiting is None:  # nobody asked: its rest would pass for the next answer
            self.is_free = False

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"retry-after":
                self._retry_after = value.decode("latin-1")
            case b"content-type":
                self._content_type = value.decode("latin-1")
            case b"content-length" | b"transfer-encoding":
                self._has_length = True

    def on_headers_complete(self) -> None:
        self._has_head = self._parser.get_status_code() not in _INTERIM

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > _READ_BYTES:  # a body without end costs the connection only
            self._tell(self.answer_so_far())
            self.abort()

    def on_message_complete(self) -> None:
        if not self._has_head:
            self._begin()
            return
        self.is_free = self._waiting is not None and self._parser.should_keep_alive()
        self._tell(self.answer_so_far(is_whole=True))

    def _tell(self, answer: Answer | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done() and answer is not None:
            waiting.set_result(answer)

    def _fail(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(NoAnswerError(reason))
