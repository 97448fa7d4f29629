"""The bound of every SSM server: one that has each answer in memory as bytes and looks at the body alone.

The first time it hears a request it asks the endpoint in BENCH_SSM_URL, whose answers it keeps. What boto3 makes of it
is boto3's own cost and that of a connection: no server can be faster by more than its share of the rest.
"""

import asyncio
import os
import sys
import urllib.request
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from deploy.local.part import PartNotReadyError, PartSpec


def canned_part(*, data_directory: Path, port: int, origin: str) -> PartSpec:
    """The process; it asks `origin`, the URL of an SSM endpoint, for what it does not know yet."""
    data_directory.mkdir(parents=True, exist_ok=True)
    return PartSpec(
        name="canned-ssm",
        argv=(sys.executable, "-m", "bench.canned_ssm"),
        environment={"BENCH_PORT": str(port), "BENCH_SSM_URL": origin},
        data_directory=data_directory,
        addresses={"http": f"127.0.0.1:{port}"},
        version="of this benchmark",
        is_real=True,
        ready=partial(_listens, port),
        clean_exit_codes=frozenset({0, -15}),
    )


async def _listens(port: int) -> None:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        raise PartNotReadyError(f"nothing listens on port {port} yet") from error
    writer.close()


class CannedAnswers(asyncio.Protocol):
    """A connection that stays open, one request after the other as boto3 sends them."""

    def __init__(self, origin: str, answers: dict[bytes, bytes]) -> None:
        self._origin = origin
        self._answers = answers
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        if body not in self._answers:
            self._answers[body] = _fetched(self._origin, _headers(head), body)
        self._transport.write(self._answers[body])


def _headers(head: bytes) -> Mapping[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _fetched(origin: str, headers: Mapping[str, str], body: bytes) -> bytes:
    request = urllib.request.Request(origin, data=body, headers=dict(headers))
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
        kind = answer.headers["Content-Type"]
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n".encode("latin-1") + content
    )


async def main(port: int, origin: str) -> None:
    answers: dict[bytes, bytes] = {}
    server = await asyncio.get_running_loop().create_server(
        lambda: CannedAnswers(origin, answers), "127.0.0.1", port, start_serving=True
    )
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(os.environ["BENCH_PORT"]), os.environ["BENCH_SSM_URL"]))
