"""The whole embedded stack: complete, kept alive, alone on its folder and its ports."""

import asyncio
import json
import socket
from pathlib import Path

import grpc.aio
import psutil
import pytest
from grpc_health.v1 import health_pb2

from deploy.local.home import Home, HomeInUseError
from deploy.local.part import PartNotReadyError
from deploy.local.ports import Ports, PortTakenError, free_ports
from deploy.local.services import answers_serving
from deploy.local.stack import DEPENDENCIES, EmbeddedStack
from deploy.local.supervisor import StartError

SERVICES = ("config", "filtering", "tracking", "persistence", "bridge")
SMALL = ("activemq", "aws-emulator", "config", "filtering", "tracking", "persistence", "bridge")  # all but two


async def test_everything_runs(stack: EmbeddedStack) -> None:
    """Every part and every service, each with its addresses and version."""
    state = stack.state()
    assert [process["name"] for process in state["processes"]][: len(DEPENDENCIES)] == list(DEPENDENCIES)
    assert {process["state"] for process in state["processes"]} == {"ready"}
    assert all(process["addresses"] and process["version"] for process in state["processes"])
    assert [process["name"] for process in state["processes"] if not process["is_real"]] == [
        "aws-emulator",
        "lambda-endpoint",
    ]


async def test_state_is_kept_in_the_home_folder(stack: EmbeddedStack) -> None:
    """What `penstock status` reads is what runs."""
    stored = json.loads(await asyncio.to_thread((stack.home.path / "stack.json").read_text))
    assert stored == stack.state()


@pytest.mark.parametrize("name", SERVICES)
async def test_killed_service_comes_back(stack: EmbeddedStack, name: str) -> None:
    """SIGKILL, then SERVING again at the same address under another pid."""
    pid = stack.kill(name)
    await stack.wait_ready(name)
    await answers_serving(stack.addresses[name]["grpc"], name)
    [status] = [process for process in stack.state()["processes"] if process["name"] == name]
    assert status["pid"] != pid
    assert status["restarts"] >= 1


@pytest.mark.parametrize("name", ["valkey", "lambda-endpoint", "aws-emulator", "activemq"])
async def test_killed_part_comes_back(stack: EmbeddedStack, name: str) -> None:
    """The parts are kept alive as the services are; the services outlive them."""
    stack.kill(name)
    await stack.wait_ready(name)
    for service in SERVICES:
        await stack.wait_ready(service)


async def test_every_listener_is_on_loopback(stack: EmbeddedStack) -> None:
    """No process of the stack can be reached from another machine."""
    processes = [psutil.Process(process["pid"]) for process in stack.state()["processes"]]
    listeners = [
        (process.name(), connection.laddr.ip, connection.laddr.port)
        for process in processes
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listeners) >= len(DEPENDENCIES)
    assert [listener for listener in listeners if listener[1] not in {"127.0.0.1", "::ffff:127.0.0.1"}] == []


async def test_second_intake_is_a_process_of_its_own(stack: EmbeddedStack) -> None:
    """Further processes of a kind get ports and data of their own."""
    addresses = await stack.start_extra("tracking-beside", like="tracking")
    try:
        assert set(addresses) == {"grpc", "metrics", "http"}
        assert not set(addresses.values()) & set(stack.addresses["tracking"].values())
        await answers_serving(addresses["grpc"], "tracking-beside")
    finally:
        await stack.stop("tracking-beside")


async def test_stopped_service_stays_away_until_it_is_started(stack: EmbeddedStack) -> None:
    """What a test takes away does not come back by itself."""
    await stack.stop("filtering")
    try:
        with pytest.raises(PartNotReadyError, match="UNAVAILABLE"):
            await answers_serving(stack.addresses["filtering"]["grpc"], "filtering")
    finally:
        await stack.start("filtering")
    await answers_serving(stack.addresses["filtering"]["grpc"], "filtering")


async def test_second_stack_on_the_same_folder_is_refused(stack: EmbeddedStack) -> None:
    """The error names the folder, the first one's pid and what to do; the first one is not disturbed."""
    with pytest.raises(HomeInUseError, match=r"already runs on .* --home .*--port-offset"):
        async with EmbeddedStack(home=stack.home.path, ports=free_ports()):
            pass
    assert {process["state"] for process in stack.state()["processes"][: len(DEPENDENCIES)]} == {"ready"}


async def test_second_stack_on_the_same_ports_is_refused(stack: EmbeddedStack, tmp_path: Path) -> None:
    """Every port is named with its owner, before anything is started; the folder is free again."""
    with pytest.raises(PortTakenError) as caught:
        async with EmbeddedStack(home=tmp_path, ports=stack.ports):
            pass
    for port in stack.ports.by_purpose().values():
        assert f"port {port} (" in str(caught.value)
    assert Home(tmp_path).owner() is None


async def test_taken_port_of_a_process_that_is_left_out_does_not_matter(tmp_path: Path) -> None:
    """Only what is started needs its ports."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        numbers = {**free_ports().by_purpose(), "stomp": taken.getsockname()[1]}
        async with EmbeddedStack(home=tmp_path, ports=Ports(**numbers), without=SMALL) as stack:
            assert list(stack.addresses) == ["valkey", "lambda-endpoint"]


async def test_start_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """A bad setting of one process ends the others again, and says what was wrong."""
    ports = free_ports()
    small = [name for name in SMALL if name != "config"]
    with pytest.raises(StartError, match=r"(?s)config ended before it was ready.*PENSTOCK_CONFIG_LOG_LEVEL"):
        async with EmbeddedStack(
            home=tmp_path,
            ports=ports,
            without=small,
            environment={"config": {"PENSTOCK_CONFIG_LOG_LEVEL": "deafening"}},
        ):
            pass
    assert Home(tmp_path).owner() is None
    state = Home(tmp_path).read_state()
    assert state is not None
    assert {process["state"] for process in state["processes"]} == {"stopped"}


def test_unknown_process_is_refused(tmp_path: Path) -> None:
    """A misspelt name of an override is no silent success."""
    with pytest.raises(ValueError, match="no process confg; there are activemq"):
        EmbeddedStack(home=tmp_path, ports=free_ports(), environment={"confg": {}})


async def test_process_that_does_not_serve_is_not_ready() -> None:
    """Readiness is the answer SERVING, not an open port."""

    async def not_serving(_request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING).SerializeToString()

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(not_serving)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with pytest.raises(PartNotReadyError, match="answers NOT_SERVING"):
            await answers_serving(f"127.0.0.1:{port}", "one")
    finally:
        await server.stop(None)


async def test_state_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    """A full disk keeps `stack.json` from being written, not the processes from being supervised."""

    class Steps:
        def __init__(self) -> None:
            self.told: list[str] = []

        def step(self, text: str) -> None:
            self.told.append(text)

    steps = Steps()
    (tmp_path / "stack.json.partial").mkdir()  # what it writes first
    only_config = [name for name in DEPENDENCIES if name != "config"]
    async with EmbeddedStack(home=tmp_path, ports=free_ports(), without=only_config, progress=steps) as stack:
        stack.kill("config")
        await stack.wait_ready("config")
    assert any("stack.json is not up to date" in text for text in steps.told)
