"""An HTTP endpoint that accepts everything and costs little: what is measured is who calls it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(slots=True)
class HttpSink:
    """The idempotency keys that came, and when the first and the last new one did."""

    keys: set[str] = field(default_factory=set)
    started: float = 0.0
    ended: float = 0.0

    def clear(self) -> None:
        self.keys.clear()

    def take(self, key: str) -> None:
        now = time.perf_counter()
        if not self.keys:
            self.started = now
        self.keys.add(key)
        self.ended = now


class _Connection(asyncio.Protocol):
    """Reads requests with a Content-Length, one after the other."""

    def __init__(self, sink: HttpSink) -> None:
        self._sink = sink
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            lines = self._buffer[:end].decode("latin-1").split("\r\n")[1:]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = end + 4 + int(headers.get("content-length", "0"))
            if len(self._buffer) < length:
                return
            self._buffer = self._buffer[length:]
            self._sink.take(headers["idempotency-key"])
            if self._transport is not None:
                self._transport.write(_ANSWER)


@asynccontextmanager
async def http_served(sink: HttpSink) -> AsyncIterator[str]:
    """The URL at which the sink is served."""
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(sink), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/messages"
    finally:
        server.close()
