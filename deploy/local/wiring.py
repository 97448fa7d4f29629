"""How the suite's processes find each other in the embedded stack: their environment variables, and nothing else."""

from collections.abc import Mapping
from pathlib import Path

from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.ports import Addresses

# Real credentials of the machine's user have no business in a process that talks to an emulator.
EMULATOR_LOGIN: Mapping[str, str] = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def service_addresses(kind: str, ports: Addresses) -> Mapping[str, str]:
    """The listeners of a kind of process and where they are by default."""
    addresses = {"grpc": ports.address(kind), "metrics": ports.address(f"{kind}_metrics")}
    if kind == "config":
        addresses["ssm"] = ports.address("config_ssm")
    if kind == "tracking":
        addresses["http"] = ports.address("tracking_http")
    return addresses


def service_environment(
    kind: str, *, ports: Addresses, addresses: Mapping[str, str], data_directory: Path
) -> Mapping[str, str]:
    """The variables of one process that listens at `addresses` and uses the others of the stack at `ports`."""
    own = {
        "port": _port(addresses["grpc"]),
        "metrics_port": _port(addresses["metrics"]),
        **_SPECIFIC[kind](ports, addresses, data_directory),
    }
    prefix = f"PENSTOCK_{kind.upper()}_"
    settings = {f"{prefix}{field.upper()}": value for field, value in own.items()}
    return {**settings, **EMULATOR_LOGIN} if kind == "bridge" else settings


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _config(_ports: Addresses, addresses: Mapping[str, str], data: Path) -> Mapping[str, str]:
    return {
        "database": str(data / "parameters.sqlite3"),
        "key_file": str(data / "secret.key"),
        "ssm_port": _port(addresses["ssm"]),
        "open_access": "true",  # one machine, one user; with an access file every process would need a token
    }


def _filtering(ports: Addresses, _addresses: Mapping[str, str], data: Path) -> Mapping[str, str]:
    return {"config_target": ports.address("config"), "snapshot": str(data / "subscriptions.json")}


def _tracking(ports: Addresses, addresses: Mapping[str, str], data: Path) -> Mapping[str, str]:
    return {
        "http_port": _port(addresses["http"]),
        "redis_url": f"redis://{ports.address('valkey')}/0",
        "persistence_target": ports.address("persistence"),
        "data_directory": str(data),
    }


def _persistence(_ports: Addresses, _addresses: Mapping[str, str], data: Path) -> Mapping[str, str]:
    return {"database": str(data / "events.sqlite3")}


def _bridge(ports: Addresses, _addresses: Mapping[str, str], data: Path) -> Mapping[str, str]:
    return {
        "broker_urls": f"stomp://{ports.address('stomp')}",
        "broker_user": BROKER_USER,
        "broker_password": BROKER_PASSWORD,
        "config_target": ports.address("config"),
        "filtering_target": ports.address("filtering"),
        "redis_url": f"redis://{ports.address('valkey')}/0",
        "lambda_endpoint_url": f"http://{ports.address('lambda_endpoint')}",
        "aws_endpoint_url": f"http://{ports.address('emulator')}",
        "snapshot": str(data / "routes.json"),
    }


_SPECIFIC = {
    "config": _config,
    "filtering": _filtering,
    "tracking": _tracking,
    "persistence": _persistence,
    "bridge": _bridge,
}
