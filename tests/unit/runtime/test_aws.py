"""AWS clients and the threads they are called on."""

import asyncio
import subprocess
import sys
import threading

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


def test_module_does_not_import_boto3() -> None:
    """Processes that call no AWS start without it."""
    script = "import sys, services.runtime.aws; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


async def test_blocking_call_runs_off_the_loop_and_answers() -> None:
    """Arguments go in, the result or the exception comes out."""
    calls = BlockingCalls(1, "sample")
    try:
        assert await calls.run(sorted, [1, 2], reverse=True) == [2, 1]
        assert (await calls.run(threading.current_thread)).name == "sample_0"
        with pytest.raises(ValueError, match="invalid literal"):
            await calls.run(int, "x")
    finally:
        calls.close()


async def test_loop_goes_on_while_a_call_blocks() -> None:
    """The call can only end after the loop has run."""
    calls, released = BlockingCalls(1, "sample"), threading.Event()
    try:
        call = asyncio.ensure_future(calls.run(released.wait, 10))
        asyncio.get_running_loop().call_soon(released.set)
        assert await call
    finally:
        calls.close()
