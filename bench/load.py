"""A gRPC load client that costs little, so that on a small machine the server is what limits the rate.

grpc.aio's own client takes about as much CPU per call as its server does, which would pull every ratio towards one.
This one writes prepared HTTP/2 frames (RFC 9113) and reads back no more than it needs: the response message and the
grpc-status, which has to be 0.
"""

import asyncio
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_FRAME_HEADER = struct.Struct(">HBBBI")  # length (24 bits in two fields), type, flags, stream
_MAX_FRAME, _DEFAULT_WINDOW, _LARGEST_WINDOW = 16_384, 65_535, 2**31 - 1
# The server must not use a header table (RFC 7541), which this client does not keep, nor wait for its windows.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_OUR_SETTINGS = struct.pack(">HIHI", 0x1, 0, 0x4, _LARGEST_WINDOW)
_STATUS_OK = b"grpc-status\x010"
_MESSAGE_PREFIX = 5  # compressed flag and length, before each gRPC message
_LARGEST_REQUEST = _DEFAULT_WINDOW - _MESSAGE_PREFIX  # the window of a stream, which this client does not follow


class LoadError(Exception):
    """A call failed, or the connection did; the run measures nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadResult:
    """The response messages in the order of the requests, and the seconds from first byte out to last byte in."""

    responses: Sequence[bytes]
    seconds: float


async def drive(address: str, method: str, requests: Sequence[bytes], *, connections: int, streams: int) -> LoadResult:
    """Send serialized `requests` to `/package.Service/Method`, `connections` x `streams` of them at a time.

    Raises:
        LoadError: a call ended with another status than OK.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    responses: list[bytes] = [b""] * len(requests)
    work = iter(enumerate(requests))
    headers = _headers(method, address)
    opened = [
        (await loop.create_connection(lambda: _Connection(headers, work, responses), host, int(port)))[1]
        for _ in range(connections)
    ]
    try:
        started = time.perf_counter()
        for connection in opened:
            connection.begin(streams)
        await asyncio.gather(*(connection.finished for connection in opened))
        return LoadResult(responses=responses, seconds=time.perf_counter() - started)
    finally:
        for connection in opened:
            connection.close()


def _headers(method: str, authority: str) -> bytes:
    """The request headers as literals without indexing, so that every call sends the same bytes."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"60S"),
    ]
    return b"".join(bytes([0, len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _FRAME_HEADER.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


@dataclass(eq=False)
class _Connection(asyncio.Protocol):
    """One connection; the calls it makes are taken from `work`, which all connections share."""

    headers: bytes
    work: Iterator[tuple[int, bytes]]
    responses: list[bytes]
    finished: "asyncio.Future[None]" = field(init=False)
    _transport: asyncio.Transport = field(init=False)
    _received: bytearray = field(default_factory=bytearray)
    _calls: dict[int, tuple[int, bytearray]] = field(default_factory=dict)
    _waiting: deque[bytes] = field(default_factory=deque)
    _out: list[bytes] = field(default_factory=list)
    _window: int = _DEFAULT_WINDOW
    _next_stream: int = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.finished = asyncio.get_running_loop().create_future()
        grown = struct.pack(">I", _LARGEST_WINDOW - _DEFAULT_WINDOW)
        transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, _OUR_SETTINGS) + _frame(_WINDOW_UPDATE, 0, 0, grown))

    def begin(self, streams: int) -> None:
        """Start as many calls at a time."""
        for _ in range(streams):
            self._call_next()
        self._flush()

    def close(self) -> None:
        self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self._fail("the server closed the connection")

    def data_received(self, data: bytes) -> None:
        self._received += data
        at, received = 0, self._received
        while len(received) - at >= _FRAME_HEADER.size:
            high, low, kind, flags, stream = _FRAME_HEADER.unpack_from(received, at)
            end = at + _FRAME_HEADER.size + (high << 8 | low)
            if end > len(received):
                break
            self._take(kind, flags, stream, bytes(received[at + _FRAME_HEADER.size : end]))
            at = end
        del received[:at]
        self._flush()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._calls[stream][1].extend(payload)
        elif kind == _HEADERS:
            if flags & _END_STREAM:
                self._complete(stream, payload)
        elif kind == _WINDOW_UPDATE:
            if stream == 0:
                self._window += int.from_bytes(payload, "big")
        elif kind == _PING and not flags & _ACK:
            self._out.append(_frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self._out.append(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind in (_RST_STREAM, _GOAWAY):
            self._fail(f"the server ended {'a call' if kind == _RST_STREAM else 'the connection'}: {payload!r}")

    def _complete(self, stream: int, trailers: bytes) -> None:
        index, message = self._calls.pop(stream)
        if _STATUS_OK not in trailers:
            self._fail(f"call {index} was not answered OK: {trailers!r}")
            return
        self.responses[index] = bytes(message[_MESSAGE_PREFIX:])
        self._call_next()
        if not self._calls and not self.finished.done():
            self.finished.set_result(None)

    def _call_next(self) -> None:
        found = next(self.work, None)
        if found is None:
            if not self._calls and not self.finished.done():
                self.finished.set_result(None)
            return
        index, request = found
        if len(request) > _LARGEST_REQUEST:
            raise LoadError(f"request {index} has {len(request)} bytes; at most {_LARGEST_REQUEST} are sent unasked")
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._calls[stream] = (index, bytearray())
        self._out.append(_frame(_HEADERS, _END_HEADERS, stream, self.headers))
        message = struct.pack(">BI", 0, len(request)) + request
        for start in range(0, len(message), _MAX_FRAME):
            part = message[start : start + _MAX_FRAME]
            last = _END_STREAM if start + _MAX_FRAME >= len(message) else 0
            self._waiting.append(_frame(_DATA, last, stream, part))

    def _flush(self) -> None:
        """Write what may be written: frames other than DATA always, DATA as far as the connection's window goes."""
        while self._waiting and self._window >= len(self._waiting[0]):
            frame = self._waiting.popleft()
            self._window -= len(frame) - _FRAME_HEADER.size
            self._out.append(frame)
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _fail(self, reason: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(LoadError(reason))
