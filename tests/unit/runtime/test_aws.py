"""AWS clients and the threads they are called on."""

import asyncio
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from services.runtime.aws import BlockingCalls, aws_client


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.mark.usefixtures("_credentials")
def test_client_calls_where_it_is_told_to() -> None:
    """Region, endpoint and retries are the caller's, not the machine's."""
    client = aws_client("sqs", region="us-east-1", endpoint_url="http://127.0.0.1:1", max_attempts=1)
    assert client.meta.endpoint_url == "http://127.0.0.1:1"
    assert client.meta.region_name == "us-east-1"
    assert client.meta.config.retries["total_max_attempts"] == 1


class Emulator(BaseHTTPRequestHandler):
    """Answers as SQS would without queues; `asked` counts."""

    asked = 0

    def do_POST(self) -> None:
        Emulator.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@pytest.mark.usefixtures("_credentials")
def test_emulator_on_this_machine_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS itself is, as boto3 has it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with HTTPServer(("127.0.0.1", 0), Emulator) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        url = f"http://127.0.0.1:{server.server_port}"
        client = aws_client("sqs", region="us-east-1", endpoint_url=url, max_attempts=1)
        server.timeout = 10
        client.list_queues()
        answering.join()
    assert Emulator.asked == 1
    assert aws_client("sqs", region="us-east-1", endpoint_url="http://vpce.example").meta.config.proxies is None


def test_module_does_not_import_boto3() -> None:
    """Processes that call no AWS start without it."""
    script = "import sys, services.runtime.aws; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


async def test_blocking_call_runs_off_the_loop_and_answers() -> None:
    """Arguments go in, the result or the exception comes out."""
    calls = BlockingCalls(1, "sample")
    assert await calls.run(sorted, [1, 2], reverse=True) == [2, 1]
    assert (await calls.run(threading.current_thread)).name == "sample"
    with pytest.raises(ValueError, match="invalid literal"):
        await calls.run(int, "x")


async def test_loop_goes_on_while_a_call_blocks() -> None:
    """The call can only end after the loop has run."""
    calls, released = BlockingCalls(1, "sample"), threading.Event()
    call = asyncio.ensure_future(calls.run(released.wait, 10))
    asyncio.get_running_loop().call_soon(released.set)
    assert await call


async def test_no_more_calls_run_than_there_is_room_for() -> None:
    """The next begins when one has ended."""
    calls, released, begun = BlockingCalls(2, "sample"), threading.Event(), []
    loop, full = asyncio.get_running_loop(), asyncio.Event()

    def call() -> None:
        begun.append(1)
        loop.call_soon_threadsafe(full.set if len(begun) > 1 else lambda: None)
        released.wait(10)

    waiting = asyncio.gather(*(calls.run(call) for _ in range(5)))
    await full.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(begun) == 2
    released.set()
    await waiting
    assert len(begun) == 5
