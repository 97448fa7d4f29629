"""Many connections to the HTTP intake on which nothing happens."""

import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.parts import RunningPart
from tests.integration.tracking_harness import intake

_IDLE = 1200
"""More than granian lets in by its own default, the length of its backlog."""


@pytest.mark.parametrize("begun", [b"", b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"])
async def test_idle_connections_do_not_keep_a_click_out(tmp_path: Path, valkey: RunningPart, begun: bytes) -> None:
    """Whether nothing was sent on them or half a request: browsers and load balancers leave many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _IDLE + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_IDLE + 500, hard))
    async with intake(tmp_path, redis=valkey.addresses["redis"], redis_prefix="idle") as running:
        await running.put_program("p")
        host, _, port = running.http_address.partition(":")
        with ExitStack() as stack:
            for _ in range(_IDLE):
                stack.enter_context(socket.create_connection((host, int(port)))).sendall(begun)
            answer = await running.http("GET", "/event/p")
        assert (answer.status, answer.json["outcome"]) == (200, "ACCEPTED")
