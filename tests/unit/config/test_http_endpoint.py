"""HTTP/1.1 as the SSM endpoint speaks it, over real sockets on loopback."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop

from services.config.http_endpoint import MAX_BODY_BYTES, HttpEndpoint, HttpRequest, HttpResponse
from services.runtime.server import BindError

POST = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


class Place:
    """An endpoint that answers what it was asked, once `open` is set."""

    def __init__(self, *, request_seconds: float = 30.0) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.body = b""
        self.asked: list[HttpRequest] = []
        self.asked_first, self.asked_twice = asyncio.Event(), asyncio.Event()
        self.endpoint = HttpEndpoint(
            self.answer, host="127.0.0.1", port=0, setting="PORT", request_seconds=request_seconds
        )

    async def answer(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request)
        self.asked_first.set()
        if len(self.asked) > 1:
            self.asked_twice.set()
        await self.open.wait()
        body = self.body or request.body or b"-"
        return HttpResponse(status=200, headers=(("x-path", request.path),), body=body)


@asynccontextmanager
async def serving(*, request_seconds: float = 30.0) -> AsyncIterator[Place]:
    place = Place(request_seconds=request_seconds)
    running = asyncio.ensure_future(place.endpoint.run())
    await asyncio.sleep(0)
    try:
        yield place
    finally:
        await place.endpoint.stop()
        await running


async def connected(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", place.endpoint.port)


async def answered(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Status line with headers, and body, of one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = (line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    return head, await reader.readexactly(int(length))


async def test_requests_of_a_connection_are_answered_in_their_order() -> None:
    """Sent together or in pieces, with a length or in chunks; the query is no part of the path."""
    async with serving() as place:
        reader, writer = await connected(place)
        chunked = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        data = POST + chunked + b"GET /g HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
        for start in range(0, len(data), 7):
            writer.write(data[start : start + 7])
            await writer.drain()
        answers = [await answered(reader) for _ in range(3)]
        assert [body for _, body in answers] == [b"hi", b"abc", b"-"]
        assert [one.path for one in place.asked] == ["/a", "/c", "/g"]
        assert place.asked[2].headers == {"x-a": "1,2"}
        assert answers[0][0].startswith(b"HTTP/1.1 200 OK\r\nx-path: /a\r\ndate: ")
        writer.close()


async def test_many_requests_at_once_are_all_answered() -> None:
    """More than wait at a time: reading pauses and goes on."""
    async with serving() as place:
        reader, writer = await connected(place)
        writer.write(POST * 100)
        assert [(await answered(reader))[1] for _ in range(100)] == [b"hi"] * 100
        writer.write(POST)
        assert (await answered(reader))[1] == b"hi"
        writer.close()


async def test_a_client_that_waits_for_100_is_told_to_go_on() -> None:
    """RFC 9110, 10.1.1."""
    async with serving() as place:
        reader, writer = await connected(place)
        writer.write(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"x")
        assert (await answered(reader))[1] == b"x"
        writer.close()


@pytest.mark.parametrize("last", [b"Connection: close\r\n", b""], ids=["asked for", "HTTP/1.0"])
async def test_a_connection_ends_when_it_is_to(last: bytes) -> None:
    """After the answer, which says so."""
    async with serving() as place:
        reader, writer = await connected(place)
        writer.write(b"GET / HTTP/1.%d\r\n%s\r\n" % (bool(last), last))
        head, _ = await answered(reader)
        assert b"connection: close\r\n" in head
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"431"),
    ],
    ids=["no HTTP", "two lengths", "length and chunks", "long header", "long path"],
)
async def test_what_is_no_request_ends_the_connection(data: bytes, status: bytes) -> None:
    """With a status, and without asking anybody."""
    async with serving() as place:
        reader, writer = await connected(place)
        writer.write(data)
        assert (await reader.readline()).split()[1] == status
        assert place.asked == []
        writer.close()


async def test_a_large_body_is_told_and_not_kept() -> None:
    """The answer is the application's; what still comes is not read."""
    async with serving() as place:
        reader, writer = await connected(place)
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
        writer.write(b"x" * (MAX_BODY_BYTES + 1))
        head, _ = await answered(reader)
        assert b"connection: close" in head
        (asked,) = place.asked
        assert "above 1048576 bytes" in asked.fault
        writer.close()


async def test_half_a_request_does_not_hold_a_connection_for_ever() -> None:
    """Nor one on which nothing comes."""
    async with serving(request_seconds=0.1) as place:
        for begun in (b"", POST[:-1]):
            reader, writer = await connected(place)
            writer.write(begun)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 10)
            writer.close()
        assert place.asked == []


async def test_an_answer_in_progress_is_finished_before_the_end() -> None:
    """Idle connections are closed at once, and no other is taken."""
    async with serving() as place:
        place.open.clear()
        (busy, writer), (idle, other) = [await connected(place) for _ in range(2)]
        writer.write(POST)
        await place.asked_first.wait()
        stopping = asyncio.ensure_future(place.endpoint.stop())
        assert await idle.read() == b""
        assert not stopping.done()
        place.open.set()
        head, body = await answered(busy)
        assert (body, b"connection: close" in head) == (b"hi", True)
        await stopping
        with pytest.raises(ConnectionError):
            await connected(place)
        for one in (writer, other):
            one.close()


async def test_an_answer_that_is_slowly_taken_does_not_hold_up_the_end() -> None:
    """The endpoint was stopped while the client did not read; the connection ends when it has."""
    async with serving() as place:
        place.body = b"x" * 32 * 1024 * 1024  # beyond what the kernel takes in
        reader, writer = await connected(place)
        writer.write(POST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" not in head
        stopping = asyncio.ensure_future(place.endpoint.stop())
        await asyncio.sleep(0)
        assert place.endpoint.stopping
        assert await reader.readexactly(len(place.body)) == place.body
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await stopping
        writer.close()


async def test_an_answer_that_fails_breaks_off_the_connection() -> None:
    """At once; the failure is told to the loop, the next client is answered."""

    async def fail(_request: HttpRequest) -> HttpResponse:
        raise LookupError("a fault of the application")

    failures: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    async with serving() as place:
        reader, writer = await connected(place)
        place.endpoint.answer = fail
        writer.write(POST * 2)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()
        place.endpoint.answer = place.answer
        reader, writer = await connected(place)
        writer.write(POST)
        assert (await answered(reader))[1] == b"hi"
        writer.close()
    gc.collect()
    assert [str(failure) for failure in failures] == ["a fault of the application"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_client_that_goes_away_disturbs_nobody(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """What it asked for is done, and nothing is written to it; the next client is answered."""

    async def check() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
        async with serving() as place:
            place.open.clear()
            _, writer = await connected(place)
            writer.write(POST)
            await place.asked_first.wait()
            writer.transport.abort()
            reader, other = await connected(place)
            other.write(POST)
            await place.asked_twice.wait()
            place.open.set()
            assert (await answered(reader))[1] == b"hi"
            other.close()
        gc.collect()
        assert failures == []

    run(check())


async def test_a_taken_port_is_told_with_its_setting() -> None:
    """Before anything is served."""
    async with serving() as place:
        with pytest.raises(BindError, match="choose another port with OTHER"):
            HttpEndpoint(place.answer, host="127.0.0.1", port=place.endpoint.port, setting="OTHER")
