"""A process of the runtime from the outside: exit codes, signals, log lines."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc

from deploy.local.ports import free_port_numbers

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "127.0.0.1:1"
ALONE = {  # the settings with which a process meets no other one
    "services.config": {},
    "services.filtering": {"CONFIG_TARGET": NOWHERE},
    "services.tracking": {"HTTP_PORT": "0", "REDIS_URL": f"redis://{NOWHERE}", "PERSISTENCE_TARGET": NOWHERE},
    "services.persistence": {},
    "broker_bridge": {
        "CONFIG_TARGET": NOWHERE,
        "FILTERING_TARGET": NOWHERE,
        "BROKER_URLS": f"stomp://{NOWHERE}",
        "REDIS_URL": f"redis://{NOWHERE}",
    },
}
Start = Callable[..., "Process"]


class Process:
    """The sample as a child process; every log line read is kept in `lines`."""

    def __init__(self, **variables: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
        environment |= {f"PENSTOCK_SAMPLE_{key.upper()}": value for key, value in variables.items()}
        environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'protos' / 'gen'}"
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.sample_service"],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        """The next log line of this event."""
        assert self.child.stderr
        for text in self.child.stderr:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"the process ended without {event!r}; it said {self.lines}")

    def end(self) -> tuple[int, str]:
        """The exit code, and what was still on stderr."""
        assert self.child.stderr
        text = self.child.stderr.read()  # communicate() would lose what `until` has read ahead
        return self.child.wait(timeout=30), text


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the sample with settings; none outlives the test."""
    started: list[Process] = []

    def begin(**variables: str) -> Process:
        started.append(Process(**variables))
        return started[-1]

    yield begin
    for process in started:
        if process.child.poll() is None:
            process.child.kill()
        process.child.communicate()


def get(name: str) -> config_service_pb2.GetParameterRequest:
    """A request for a behaviour of the sample."""
    return config_service_pb2.GetParameterRequest(name=name)


async def test_sigterm_turns_health_finishes_calls_and_exits_with_0(start: Start) -> None:
    """What a container runtime and a load balancer need from every process."""
    process = start()
    address = process.until("serving")["address"]
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = aiter(health.Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        stub = config_service_pb2_grpc.ConfigServiceStub(channel)
        call = asyncio.ensure_future(stub.GetParameter(get("wait")))
        # The one connection carries calls in order: when the second is answered, the first has arrived.
        await stub.GetParameter(get("echo"))
        process.child.send_signal(signal.SIGTERM)
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await call).parameter.value == "waited"
    assert process.until("draining")["reason"] == "signal"
    process.until("stopped")
    assert process.end() == (0, "")


async def test_stream_that_does_not_end_is_cut_after_the_drain_time(start: Start) -> None:
    """A watcher cannot keep a process alive."""
    process = start(hold_stream="true", drain_seconds="0.1")
    address = process.until("serving")["address"]
    async with grpc.aio.insecure_channel(address) as channel:
        stub = config_service_pb2_grpc.ConfigServiceStub(channel)
        watch = aiter(stub.WatchParameters(config_service_pb2.WatchParametersRequest(path="/")))
        await anext(watch)
        process.child.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(watch)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert process.end()[0] == 0


async def test_hooks_and_calls_share_the_drain_time(start: Start) -> None:
    """A hook that never ends is left behind; the others still run, and calls in flight get what is left: nothing."""
    process = start(hang_hook="true", hold_stream="true", drain_seconds="0.1")
    address = process.until("serving")["address"]
    async with grpc.aio.insecure_channel(address) as channel:
        stub = config_service_pb2_grpc.ConfigServiceStub(channel)
        watch = aiter(stub.WatchParameters(config_service_pb2.WatchParametersRequest(path="/")))
        await anext(watch)
        process.child.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError):
            await asyncio.wait_for(anext(watch), 30)
    assert process.child.wait(timeout=30) == 0
    assert "hang" in process.until("a step of the shutdown did not end in time")["step"]
    process.until("the last hook ran")
    process.until("stopped")


def test_failed_hook_does_not_keep_the_others_from_running(start: Start) -> None:
    """It is logged with its name."""
    process = start(fail_hook="true")
    process.until("serving")
    process.child.send_signal(signal.SIGTERM)
    line = process.until("a step of the shutdown failed")
    assert "fail" in line["step"]
    assert "OSError: the file is gone" in line["exception"]
    process.until("the last hook ran")
    assert process.end()[0] == 0


def test_crash_ends_the_process_with_1_and_a_json_line(start: Start) -> None:
    """Also what nobody thought of reaches the log collector whole."""
    process = start(crash="true")
    assert "KeyError: 'nobody thought of this'" in process.until("crashed")["exception"]
    assert process.end() == (1, "")


def test_failed_background_task_ends_the_process_with_1(start: Start) -> None:
    """A pump that died must not leave a healthy-looking shell."""
    process = start(fail_task="true")
    line = process.until("a background task failed")
    code, text = process.end()
    assert code == 1
    assert "OSError: the disk is gone" in line["exception"]
    assert "the disk is gone" in text


def test_bad_settings_end_the_process_with_2_and_all_problems(start: Start) -> None:
    """Before anything is bound or opened, in plain text."""
    code, text = start(port="x", host="0.0.0.0", colour="red").end()
    assert code == 2
    for part in ("PENSTOCK_SAMPLE_PORT", "PENSTOCK_SAMPLE_HOST", "PENSTOCK_SAMPLE_COLOUR"):
        assert part in text
    assert "Traceback" not in text


def test_taken_port_ends_the_process_with_1_and_its_number(start: Start) -> None:
    """The first process keeps it."""
    (port,) = free_port_numbers(1)
    first = start(port=str(port))
    first.until("serving")
    code, text = start(port=str(port)).end()
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}: the port is taken" in text
    assert "Traceback" not in text
    assert first.child.poll() is None


def test_every_log_line_is_json_of_the_service(start: Start) -> None:
    """One collector rule for the whole suite."""
    process = start()
    process.until("serving")
    process.child.send_signal(signal.SIGINT)
    process.until("stopped")
    assert {line["service"] for line in process.lines} == {"sample"}
    assert [line["event"] for line in process.lines] == ["serving", "draining", "the last hook ran", "stopped"]


@pytest.mark.parametrize("module", ALONE)
def test_every_process_logs_json_from_its_first_line_on(module: str, tmp_path: Path) -> None:
    """Also what is said before the server listens, because the parts it depends on are away."""
    prefix = f"PENSTOCK_{module.rpartition('.')[2].removeprefix('broker_').upper()}_"
    settings = {"PORT": "0", "METRICS_PORT": "0", **ALONE[module]}
    environment = {f"{prefix}{key}": value for key, value in settings.items()}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'protos' / 'gen'}"
    child = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout
    events = []
    try:
        for line in child.stdout:
            events.append(json.loads(line)["event"])
            if events[-1] == "serving":
                child.send_signal(signal.SIGTERM)
    finally:
        child.kill()
        child.communicate()
    assert events[-1] == "stopped"
