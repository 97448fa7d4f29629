"""The ports of the stack and who holds them."""

import os
import socket
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from deploy.local.ports import PortTakenError, check_free, default_ports, free_port_numbers, free_ports, port_owner


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_default_ports_are_the_documented_ones() -> None:
    """Services from 50051, their metrics 1000 above, the parts at their usual ports."""
    ports = default_ports()
    assert (ports.config, ports.filtering, ports.tracking, ports.persistence, ports.bridge) == tuple(
        range(50051, 50056)
    )
    assert (ports.config_metrics, ports.bridge_metrics) == (51051, 51055)
    assert (ports.tracking_http, ports.stomp, ports.openwire) == (8080, 61613, 61616)
    assert (ports.valkey, ports.emulator, ports.lambda_endpoint) == (6379, 5000, 9001)


def test_one_offset_moves_every_port() -> None:
    """No port stays where it was."""
    moved, original = asdict(default_ports(100)), asdict(default_ports())
    assert moved == {name: port + 100 for name, port in original.items()}


@pytest.mark.parametrize("offset", [4000, -5000])
def test_offset_that_leaves_the_range_is_refused(offset: int) -> None:
    """The error names the offset and the ports that would not exist."""
    with pytest.raises(ValueError, match=rf"port offset {offset} moves .*outside 1-65535"):
        default_ports(offset)


def test_free_ports_are_all_different() -> None:
    """Every listener gets a port of its own."""
    numbers = list(asdict(free_ports()).values())
    assert len(set(numbers)) == len(numbers)


def test_free_port_can_be_bound() -> None:
    """What is handed out is not in use."""
    [port] = free_port_numbers(1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))


def test_free_ports_come_from_the_range_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes with ranges of their own cannot choose the same port; none is given out twice while others are left."""
    monkeypatch.setenv("PENSTOCK_FREE_PORTS", "21000-21499")
    numbers = [port for _ in range(40) for port in free_port_numbers(5)]
    assert set(numbers) <= set(range(21_000, 21_500))
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("wrong", ["21000", "21000-", "a-b", "0-4000", "65000-66000", "4000-3000", "21000-21010"])
def test_a_range_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """The error names the variable, its value and what to set."""
    monkeypatch.setenv("PENSTOCK_FREE_PORTS", wrong)
    with pytest.raises(ValueError, match=rf"PENSTOCK_FREE_PORTS='{wrong}' is no range .* such as 15000-19999"):
        free_port_numbers(1)


def test_a_range_without_enough_free_ports_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search ends after one turn through the range; the error names the range and what to do, and holds no port."""
    monkeypatch.setenv("PENSTOCK_FREE_PORTS", "14700-14799")
    with pytest.raises(OSError, match=r"of 101 ports .* in 14700-14799, each .* set PENSTOCK_FREE_PORTS"):
        free_port_numbers(101)
    assert free_port_numbers(1)[0] in range(14_700, 14_800)


def test_taken_port_is_reported_with_number_purpose_owner_and_advice(taken: int) -> None:
    """The message says all that is needed to do something about it."""
    [free] = free_port_numbers(1)
    with pytest.raises(PortTakenError) as caught:
        check_free({"stomp": taken, "config": free})
    message = str(caught.value)
    assert f"port {taken} (stomp) is taken by " in message
    assert f"(pid {os.getpid()})" in message
    assert "--port-offset" in message
    assert str(free) not in message


def test_every_taken_port_is_reported(taken: int) -> None:
    """Two conflicts come in one message."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"(?s){taken}.*{port}"):
            check_free({"stomp": taken, "config": port})


def test_free_ports_pass_the_check() -> None:
    """No error without a conflict."""
    check_free({str(port): port for port in free_port_numbers(3)})


def test_owner_of_a_port_nobody_listens_on_is_unknown() -> None:
    """A bound socket that does not listen is no owner."""
    [port] = free_port_numbers(1)
    assert port_owner(port) == "unknown owner"


def test_port_of_a_listener_on_all_addresses_is_taken() -> None:
    """A service bound to 0.0.0.0 holds the loopback port, too."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        with pytest.raises(PortTakenError):
            check_free({"config": listener.getsockname()[1]})
