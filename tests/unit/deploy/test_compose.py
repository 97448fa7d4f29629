"""`docker-compose.yml` says what the embedded stack says, and keeps the rules every container has to keep."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.modules import MODULES
from deploy.local.ports import ContainerAddresses, default_ports
from deploy.local.wiring import service_addresses, service_environment

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OFFLINE = (ROOT / "deploy/airgap/offline.env").read_text()
LONG_RUNNING = [name for name in SERVICES if name != "demo"]


def with_defaults(text: object) -> str:
    """`${NAME:-default}` as compose reads it where no variable is set."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", str(text))


@pytest.mark.parametrize("kind", MODULES)
def test_a_process_is_told_the_same_as_in_the_embedded_stack(kind: str) -> None:
    """Beside the addresses, which are names here, and the permission to speak plain text in the containers' network."""
    service = SERVICES[kind]
    addresses = service_addresses(kind, default_ports())
    expected = dict(
        service_environment(kind, ports=ContainerAddresses(), addresses=addresses, data_directory=Path("/data"))
    )
    prefix = f"PENSTOCK_{kind.upper()}"
    expected |= {f"{prefix}_HOST": "0.0.0.0", f"{prefix}_INSECURE": "true"}
    # The network of the containers is the border: whoever is inside may read and change parameters.
    expected |= {"PENSTOCK_CONFIG_OPEN_ACCESS": "true"} if kind == "config" else {}
    expected |= {"PENSTOCK_BRIDGE_INSTANCE": "bridge"} if kind == "bridge" else {}
    assert {name: with_defaults(value) for name, value in service["environment"].items()} == expected
    assert service["command"] == [MODULES[kind]]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_alone(name: str) -> None:
    """Each can be moved by one variable."""
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-\d+\}:\d+", port), port


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_container_is_checked_restarted_and_limited(name: str) -> None:
    """Memory and processors by variables, so that small machines and large ones can have it their way."""
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    for limit in ("mem_limit", "cpus"):
        assert re.fullmatch(r"\$\{[A-Z_]+:-[0-9.]+[mg]?\}", str(service[limit])), service[limit]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_upstreams_or_ours_and_one_variable_names_another(name: str) -> None:
    """What is not ours is never pulled where PULL_POLICY says so, and the offline file names a stand-in for it."""
    service = SERVICES[name]
    found = re.fullmatch(r"\$\{([A-Z_]+_IMAGE):-([^:}]+):([^}]+)\}", service["image"])
    assert found, service["image"]
    if "build" in service:
        assert found[2].startswith("penstock/")
    else:
        assert service["pull_policy"] == "${PULL_POLICY:-missing}"
        assert f"\n{found[1]}=" in OFFLINE


@pytest.mark.parametrize("name", [name for name in SERVICES if "build" in SERVICES[name]])
def test_our_containers_can_write_to_their_volume_alone(name: str) -> None:
    """A read-only root, no capability, no way to more rights."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]


def test_what_must_last_lies_in_a_volume() -> None:
    """Broker, cache, parameters, events and the intake's log survive a container that is made anew."""
    for name in ("activemq", "valkey", "config", "filtering", "persistence", "tracking", "bridge", "lambda"):
        volumes = [volume.partition(":")[0] for volume in SERVICES[name]["volumes"]]
        assert f"{name}-data" in volumes
        assert f"{name}-data" in COMPOSE["volumes"]


def test_a_container_starts_when_what_it_needs_is_healthy() -> None:
    """Not merely started."""
    for service in SERVICES.values():
        for condition in service.get("depends_on", {}).values():
            assert condition == {"condition": "service_healthy"}
    assert {"activemq", "valkey", "config", "filtering"} <= SERVICES["bridge"]["depends_on"].keys()
