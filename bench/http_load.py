"""An HTTP/1.1 load client that costs little: prepared requests over kept connections, one at a time on each."""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.load import LoadError, LoadResult

_STATUS = re.compile(rb"HTTP/1\.1 (\d+) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def get(target: str, host: str) -> bytes:
    """A GET as a browser's keep-alive connection sends it."""
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\r\n".encode()


async def drive_http(address: str, requests: Sequence[bytes], *, connections: int) -> LoadResult:
    """Sends the requests, one after the other on each connection; the responses are their bodies.

    Raises:
        LoadError: a response has another status than 200, or a connection ended.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    responses: list[bytes] = [b""] * len(requests)
    work = iter(enumerate(requests))
    opened = [
        (await loop.create_connection(lambda: _Connection(work, responses), host, int(port)))[1]
        for _ in range(connections)
    ]
    try:
        started = time.perf_counter()
        for connection in opened:
            connection.next()
        await asyncio.gather(*(connection.finished for connection in opened))
        return LoadResult(responses=responses, seconds=time.perf_counter() - started)
    finally:
        for connection in opened:
            connection.close()


@dataclass(eq=False)
class _Connection(asyncio.Protocol):
    work: Iterator[tuple[int, bytes]]
    responses: list[bytes]
    finished: "asyncio.Future[None]" = field(init=False)
    _received: bytes = b""
    _index: int = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.finished = asyncio.get_running_loop().create_future()

    def next(self) -> None:
        """Sends the next request, if there is one."""
        found = next(self.work, None)
        if found is None:
            self.finished.set_result(None)
            return
        self._index, request = found
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        status, length = _STATUS.match(head), _LENGTH.search(head + b"\r\n")
        if status is None or length is None or status[1] != b"200":
            self._fail(f"request {self._index} was answered {head[:200]!r} {body[:200]!r}")
        elif len(body) >= int(length[1]):
            self.responses[self._index], self._received = body, b""
            self.next()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection ended: {error}")

    def _fail(self, reason: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(LoadError(reason))
