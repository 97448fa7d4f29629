"""Connections to an HTTP endpoint, with servers that answer in every way of HTTP/1.1, and in some that are none."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from broker_bridge.http_endpoint import Answer, HttpEndpoint, NoAnswerError
from tests.integration.test_runtime_tls import Identity, authority

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
SHORT = 0.3  # seconds until a silent server is given up


class Server:
    """Answers each request with the next of `answers`; the last one counts for all that follow.

    An answer is what to write; `None` closes the connection instead. `closes` ends it after each answer.
    """

    def __init__(self, *answers: bytes | None, closes: bool = False) -> None:
        self.answers = list(answers)
        self.closes = closes
        self.requests: list[tuple[int, bytes]] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append((number, head + await reader.readexactly(length)))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def endpoint(
    server: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    limit: float = 5.0,
    room: int = 8,
    identity: Identity | None = None,
    trusted: Path | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[HttpEndpoint]:
    """An endpoint with this server behind it."""
    tls = None
    if identity is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(identity.cert, identity.key)
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    made = HttpEndpoint(
        f"http{'s' if tls else ''}://{host}:{port}/in?a=b",
        room=asyncio.Semaphore(room),
        timeout=limit,
        tls=ssl.create_default_context(cafile=trusted),
    )
    try:
        yield made
    finally:
        made.close()
        listening.close()


async def test_a_request_is_a_post_with_its_headers_and_body() -> None:
    """With the host and the length of the body."""
    server = Server(NO_CONTENT)
    async with endpoint(server) as made:
        assert await made.post({"Idempotency-Key": "ID:1"}, b"body") == Answer(status=204)
    ((_, request),) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert line == "POST /in?a=b HTTP/1.1"
    assert "Idempotency-Key: ID:1" in headers
    assert "Content-Length: 4" in headers
    assert any(header.startswith("Host: 127.0.0.1:") for header in headers)
    assert body == b"body"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(NO_CONTENT, Answer(status=204), id="no content"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone", Answer(status=200, body=b"done"), id="length"
        ),
        pytest.param(
            b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbro\r\n3;x=y\r\nken\r\n0\r\nX-Sum: 1\r\n\r\n",
            Answer(status=500, body=b"broken"),
            id="chunks with a trailer",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
            b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n",
            Answer(status=202),
            id="interim answers",
        ),
        pytest.param(
            b"HTTP/1.1 429 Slow\r\nretry-AFTER: 7\r\nContent-Length: 0\r\n\r\n",
            Answer(status=429, retry_after="7"),
            id="Retry-After",
        ),
    ],
)
async def test_answers_are_read_and_the_connection_stays_open(answer: bytes, told: Answer) -> None:
    """Two requests, one connection."""
    server = Server(answer)
    async with endpoint(server) as made:
        assert [await made.post({}, b"1"), await made.post({}, b"2")] == [told, told]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\nuntil the end", Answer(status=200, body=b"until the end"), id="no length"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer(status=200, body=b"ok"), id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            Answer(status=200, body=b"ok"),
            id="Connection: close",
        ),
    ],
)
async def test_a_connection_that_the_server_closes_is_not_used_again(answer: bytes, told: Answer) -> None:
    """Two requests, two connections."""
    server = Server(answer, closes=True)
    async with endpoint(server) as made:
        assert [await made.post({}, b"1"), await made.post({}, b"2")] == [told, told]
    assert server.connections == 2


@pytest.mark.parametrize(
    ("unasked", "then"),
    [
        pytest.param(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", NO_CONTENT, id="whole"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n", id="half a head"),
        pytest.param(b"H", b"TTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="a byte"),
    ],
)
async def test_an_answer_nobody_asked_for_costs_the_connection(unasked: bytes, then: bytes) -> None:
    """Nor must its rest be taken for that of the next request."""
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for left in (NO_CONTENT + unasked, then):
            if not await reader.read(1000):
                break
            writer.write(left if connections == 1 else NO_CONTENT)
        writer.close()

    async with endpoint(answer) as made:
        assert [await made.post({}, b"1"), await made.post({}, b"2")] == [Answer(status=204)] * 2
    assert connections == 2


@pytest.mark.parametrize("text", ["a\r\nContent-Length: 0\r\n\r\nPOST /admin HTTP/1.1", "a\n", "a\r", "a\0"])
async def test_a_header_that_ends_its_line_is_refused(text: str) -> None:
    """In its name and in its value: what follows would pass for a request of its own. Nothing is sent."""
    server = Server(NO_CONTENT)
    async with endpoint(server) as made:
        for headers in ({"tracestate": text}, {text: "a"}):
            with pytest.raises(ValueError, match="nothing was sent"):
                await made.post(headers, b"1")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "the connection was closed before the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "the connection was closed before the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "the connection was closed before the answer"),
        (b"220 mail.example ESMTP\r\n", "the answer is no HTTP/1.1"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "the answer is no HTTP/1.1"),
    ],
)
async def test_what_is_no_answer_says_why(answer: bytes | None, reason: str) -> None:
    """And the next request goes over a connection of its own."""
    server = Server(answer, NO_CONTENT, closes=True)
    async with endpoint(server) as made:
        with pytest.raises(NoAnswerError, match=reason):
            await made.post({}, b"1")
        assert await made.post({}, b"2") == Answer(status=204)


async def test_a_silent_server_is_given_up_and_its_late_answer_goes_to_nobody() -> None:
    """The connection ends with the time-out."""
    server = Server(b"", NO_CONTENT)
    async with endpoint(server, limit=SHORT) as made:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.3 s"):
            await made.post({}, b"1")
        assert await made.post({}, b"2") == Answer(status=204)
    assert server.connections == 2


async def test_a_body_without_end_costs_the_connection_only() -> None:
    """The status is known: by the limit of the body, or by the time-out."""
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"
    server = Server(endless + b"x" * 100_000, endless + b"y", NO_CONTENT)
    async with endpoint(server, limit=SHORT) as made:
        assert (await made.post({}, b"1")).status == 200
        assert await made.post({}, b"2") == Answer(status=200, body=b"y", is_whole=False)
        assert await made.post({}, b"3") == Answer(status=204)
    assert server.connections == 3


async def test_a_cancelled_request_leaves_no_answer_for_the_next_one() -> None:
    """Its connection ends."""
    server = Server(b"", NO_CONTENT)
    async with endpoint(server) as made:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.post({}, b"1"), SHORT)
        assert await made.post({}, b"2") == Answer(status=204)
    assert server.connections == 2


async def test_no_more_requests_run_than_there_is_room() -> None:
    """And every connection is used again."""
    server = Server(NO_CONTENT)
    async with endpoint(server, room=3) as made:
        answers = await asyncio.gather(*(made.post({}, b"x" * 100_000) for _ in range(50)))
    assert answers == [Answer(status=204)] * 50
    assert server.connections <= 3


async def test_nobody_listens() -> None:
    """Told apart from silence; so is a name that no host can have."""
    for host in ("127.0.0.1:1", f"{'a' * 64}.example"):
        made = HttpEndpoint(f"http://{host}/", room=asyncio.Semaphore(1), timeout=5.0)
        with pytest.raises(NoAnswerError, match="no connection"):
            await made.post({}, b"")


def host_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> str:
    """The name of a host with these addresses."""
    real = socket.getaddrinfo

    def looked_up(host: str, port: int, *args: object, **more: object) -> object:
        names = addresses if host == "several.example" else (host,)
        return [info for name in names for info in real(name, port, *args, **more)]  # type: ignore[arg-type]

    monkeypatch.setattr("socket.getaddrinfo", looked_up)
    return "several.example"


async def test_a_host_is_reached_at_the_first_address_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own time: a silent one before it leaves time for the next."""
    monkeypatch.setattr("broker_bridge.http_endpoint.CONNECT_SECONDS", SHORT)
    host = host_with(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.1")
    server = Server(NO_CONTENT)
    async with endpoint(server, host=host) as made:
        with socket.socket() as silent, socket.socket() as queued:
            silent.bind(("127.0.0.2", made._port))
            silent.listen(0)
            queued.connect(silent.getsockname())  # its queue is full: no connection is answered any more
            assert await made.post({}, b"1") == Answer(status=204)
    assert server.connections == 1


async def test_all_addresses_of_a_host_share_the_time_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are silent."""
    host = host_with(monkeypatch, *["127.0.0.2"] * 50)
    async with endpoint(Server(NO_CONTENT), host=host, limit=SHORT) as made:
        with socket.socket() as silent, socket.socket() as queued:
            silent.bind(("127.0.0.2", made._port))
            silent.listen(0)
            queued.connect(silent.getsockname())
            with pytest.raises(NoAnswerError, match="no answer within"):
                await made.post({}, b"1")


async def test_a_certificate_is_checked_for_the_name_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the address it was found at."""
    identity = authority(tmp_path, "endpoint")
    host = host_with(monkeypatch, "127.0.0.1")
    async with endpoint(Server(NO_CONTENT), identity=identity, trusted=identity.cert, host=host) as made:
        with pytest.raises(NoAnswerError, match=r"not valid for 'several\.example'"):
            await made.post({}, b"1")


async def test_https_is_verified(tmp_path: Path) -> None:
    """A certificate of an unknown authority is refused."""
    identity = authority(tmp_path, "endpoint")
    server = Server(NO_CONTENT)
    async with endpoint(server, identity=identity, trusted=identity.cert) as made:
        assert [await made.post({}, b"1"), await made.post({}, b"2")] == [Answer(status=204)] * 2
    async with endpoint(server, identity=identity) as made:
        with pytest.raises(NoAnswerError, match="certificate verify failed"):
            await made.post({}, b"1")
    assert server.connections == 1


def test_requests_run_on_the_loop_of_the_bridge() -> None:
    """uvloop, whose transports are of no class of asyncio."""

    async def main() -> list[Answer]:
        async with endpoint(server) as made:
            return [await made.post({}, b"1"), await made.post({}, b"2")]

    server = Server(NO_CONTENT)
    assert uvloop.run(main()) == [Answer(status=204)] * 2
    assert server.connections == 1
