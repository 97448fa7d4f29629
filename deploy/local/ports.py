"""The ports of the stack: fixed defaults moved by one offset, or free ones for tests; and who holds a taken one."""

import os
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol

LOOPBACK = "127.0.0.1"
# Above the registered services most machines run, below the range Linux takes outgoing ports from (32768).
_FREE_RANGE = "15000-31999"
_FEWEST_PORTS = 100  # enough for several stacks, so that free ones are found
_TCP_LISTEN = "0A"  # state column of /proc/net/tcp, proc_pid_net(5)


class PortTakenError(Exception):
    """Ports the stack needs are in use; the message names each with its owner and what to do."""


class Addresses(Protocol):
    """Where each listener of a stack is reached: `host:port` by the names of `Ports`."""

    def address(self, name: str) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """One TCP port per listener, all on loopback; the gRPC services' Prometheus metrics are 1000 above by default."""

    config: int = 50051
    filtering: int = 50052
    tracking: int = 50053
    persistence: int = 50054
    bridge: int = 50055
    config_metrics: int = 51051
    filtering_metrics: int = 51052
    tracking_metrics: int = 51053
    persistence_metrics: int = 51054
    bridge_metrics: int = 51055
    tracking_http: int = 8080
    config_ssm: int = 8081
    stomp: int = 61613
    openwire: int = 61616
    valkey: int = 6379
    emulator: int = 5000
    lambda_endpoint: int = 9001

    def by_purpose(self) -> Mapping[str, int]:
        return asdict(self)

    def address(self, name: str) -> str:
        return f"{LOOPBACK}:{getattr(self, name)}"


class ContainerAddresses:
    """The listeners of the stack in containers, each by its service's name in compose, on the documented ports."""

    _HOSTS: Mapping[str, str] = {"stomp": "activemq", "openwire": "activemq", "emulator": "aws"}

    def address(self, name: str) -> str:
        """`host:port` inside the network of the containers; `tracking_http` is a port of `tracking`."""
        host = self._HOSTS.get(name, name.partition("_")[0])
        return f"{host}:{getattr(default_ports(), name)}"


def default_ports(offset: int = 0) -> Ports:
    """The documented ports, each moved by `offset`. Raises ValueError when one leaves 1-65535."""
    moved = {field.name: field.default + offset for field in fields(Ports) if isinstance(field.default, int)}
    outside = [f"{name} {port}" for name, port in moved.items() if not 1 <= port <= 65535]  # noqa: PLR2004 - TCP
    if outside:
        raise ValueError(f"port offset {offset} moves {', '.join(outside)} outside 1-65535: choose another offset")
    return Ports(**moved)


def free_ports() -> Ports:
    """Ports nobody listens on now, for tests that run beside each other."""
    return Ports(
        **dict(zip([field.name for field in fields(Ports)], free_port_numbers(len(fields(Ports))), strict=True))
    )


def free_port_numbers(count: int) -> list[int]:
    """`count` different ports that can be bound now; each is held while the others are looked for.

    They come from 15000 to 31999, or from what PENSTOCK_FREE_PORTS names (`15000-19999`): two processes with ranges of
    their own never choose the same port before either has bound it.

    Raises:
        ValueError: PENSTOCK_FREE_PORTS is no range of ports.
        OSError: every port of the range was tried, and fewer than `count` of them can be bound.
    """
    between = os.environ.get("PENSTOCK_FREE_PORTS", _FREE_RANGE)
    candidates = islice(_candidates(between), len(_ports_in(between)))
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            port = next(candidates, None)
            if port is None:
                raise OSError(
                    f"only {len(held)} of {count} ports can be bound on {LOOPBACK} in {between}, each of which was "
                    "tried: end what holds the others, or set PENSTOCK_FREE_PORTS to another range"
                )
            if listener := _bound(port):
                held.append(listener)
        return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()


@cache
def _candidates(between: str) -> Iterator[int]:
    """The ports of a range in random order, again and again: a port given out is bound long before its next turn."""
    ports = _ports_in(between)
    return cycle(random.sample(ports, len(ports)))


def _ports_in(between: str) -> range:
    first, _, last = between.partition("-")
    ports = range(int(first), int(last) + 1) if first.isdecimal() and last.isdecimal() else range(0)
    if not 1 <= ports.start < ports.stop <= 65536 or len(ports) < _FEWEST_PORTS:  # noqa: PLR2004 - TCP
        raise ValueError(
            f"PENSTOCK_FREE_PORTS={between!r} is no range of {_FEWEST_PORTS} ports or more: set one such as 15000-19999"
        )
    return ports


def _bound(port: int) -> socket.socket | None:
    """A socket that holds a port; None when it is taken."""
    listener = socket.socket()
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        return None
    return listener


def check_free(ports: Mapping[str, int]) -> None:
    """Raise `PortTakenError` for all of `ports` (purpose to number) that somebody listens on."""
    taken = {purpose: port for purpose, port in ports.items() if _is_taken(port)}
    if taken:
        lines = [f"port {port} ({purpose}) is taken by {port_owner(port)}" for purpose, port in taken.items()]
        advice = "stop that process, or move all ports with --port-offset N (PENSTOCK_PORT_OFFSET=N)"
        raise PortTakenError("\n".join([*lines, advice]))


def _is_taken(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do: without it ports of connections closed a moment ago (TIME_WAIT) count as taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def port_owner(port: int) -> str:
    """`name (pid 123)` of the process listening on `port`, or `unknown owner` (another user's process, not Linux)."""
    for inode in _listening_inodes(port):
        pid = _process_with_socket(inode)
        if pid is not None:
            return f"{_process_name(pid)} (pid {pid})"
    return "unknown owner"


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == _TCP_LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.append(columns[9])
    return inodes


def _process_with_socket(inode: str) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) == f"socket:[{inode}]" for entry in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:  # ended meanwhile, or another user's
            continue
    return None


def _process_name(pid: int) -> str:
    """The kernel's short name; never the command line, which may hold secrets."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process that has just ended"
