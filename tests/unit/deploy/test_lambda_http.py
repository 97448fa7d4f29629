"""The HTTP server of the Lambda endpoint, byte by byte."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from deploy.local.lambda_endpoint.http_server import BODY_LIMIT_BYTES, HttpRequest, HttpResponse, HttpServer


class Conversation:
    """A connection to a server that remembers its requests and answers each with its body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[HttpRequest]) -> None:
        self.requests = requests
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[str, dict[str, str], bytes]:
        """Status line, headers and body of the next response."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.rstrip("\r\n").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self._reader.readexactly(int(headers.get("Content-Length", "0")))
        return status, headers, body

    async def is_closed(self) -> bool:
        return await self._reader.read() == b""


@pytest.fixture
async def conversation() -> AsyncIterator[Conversation]:
    requests: list[HttpRequest] = []

    async def echo(request: HttpRequest) -> HttpResponse:
        requests.append(request)
        return HttpResponse(status=204 if request.path == "/nothing" else 200, body=request.body)

    server = HttpServer(echo)
    port = await server.start(host="127.0.0.1", port=0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Conversation(reader, writer, requests)
    writer.close()
    await server.close()


async def test_request_is_parsed(conversation: Conversation) -> None:
    """Decoded path, first query values, lower-case header names, body by its length."""
    conversation.send(b"POST /a%3Ab?x=1&x=2&y= HTTP/1.1\r\nX-Amz-Log-Type: Tail\r\nContent-Length: 3\r\n\r\nabc")
    assert (await conversation.answer())[2] == b"abc"
    [request] = conversation.requests
    assert (request.method, request.path, request.query) == ("POST", "/a:b", {"x": "1", "y": ""})
    assert request.headers["x-amz-log-type"] == "Tail"


async def test_connection_serves_several_requests(conversation: Conversation) -> None:
    """Keep-alive, also when the second request was sent before the first answer."""
    conversation.send(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    await conversation.answer()
    await conversation.answer()
    assert [request.path for request in conversation.requests] == ["/1", "/2"]


async def test_connection_is_closed_when_asked_for(conversation: Conversation) -> None:
    """Connection: close is honoured."""
    conversation.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    _, headers, _ = await conversation.answer()
    assert headers["Connection"] == "close"
    assert await conversation.is_closed()


async def test_chunked_body_is_put_together(conversation: Conversation) -> None:
    """Chunk extensions and trailers are passed over; the next request starts where the last one ended."""
    conversation.send(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
        b"GET /next HTTP/1.1\r\n\r\n"
    )
    assert (await conversation.answer())[2] == b"abc0123456789"
    await conversation.answer()
    assert conversation.requests[1].path == "/next"


async def test_body_is_asked_for_when_the_client_expects_it(conversation: Conversation) -> None:
    """Expect: 100-continue gets its interim response before the body is sent."""
    conversation.send(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    status, _, _ = await conversation.answer()
    assert status == "HTTP/1.1 100 Continue"
    conversation.send(b"ok")
    assert (await conversation.answer())[2] == b"ok"


async def test_response_without_content_has_no_length(conversation: Conversation) -> None:
    """RFC 9110, 8.6: no Content-Length with 204."""
    conversation.send(b"GET /nothing HTTP/1.1\r\n\r\n")
    status, headers, _ = await conversation.answer()
    assert status == "HTTP/1.1 204 No Content"
    assert "Content-Length" not in headers


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", "400 Bad Request"),
        (b"GET / SPDY/3\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400 Bad Request"),
        (f"POST / HTTP/1.1\r\nContent-Length: {BODY_LIMIT_BYTES + 1}\r\n\r\n".encode(), "413 "),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "431 "),
    ],
    ids=["line", "version", "header", "length", "negative", "chunk", "body-size", "head-size"],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(
    conversation: Conversation, request_bytes: bytes, status: str
) -> None:
    """The handler never sees it."""
    conversation.send(request_bytes)
    line, headers, _ = await conversation.answer()
    assert line.startswith(f"HTTP/1.1 {status}")
    assert headers["Connection"] == "close"
    assert conversation.requests == []


async def test_client_that_leaves_within_a_request_does_no_harm(conversation: Conversation) -> None:
    """Half a body is no request."""
    conversation.send(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
    conversation._writer.close()
    await conversation._writer.wait_closed()
    assert conversation.requests == []
