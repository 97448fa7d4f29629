"""What the embedded stack tells each process is what that process can be told."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from cli.connection import target_option
from deploy.local.modules import MODULES
from deploy.local.ports import Ports, default_ports
from deploy.local.wiring import service_addresses, service_environment
from services.runtime.settings import ServiceSettings, load_settings


@pytest.fixture
def ports() -> Ports:
    return default_ports(100)


def _settings_class(kind: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"{MODULES[kind]}.settings")
    [found] = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, ServiceSettings) and value.__module__ == module.__name__
    ]
    return found


def _load(kind: str, ports: Ports, folder: Path) -> Any:
    addresses = service_addresses(kind, ports)
    environment = service_environment(kind, ports=ports, addresses=addresses, data_directory=folder)
    return load_settings(_settings_class(kind), environment)


@pytest.mark.parametrize("kind", MODULES)
def test_every_variable_is_a_setting_of_the_process(kind: str, ports: Ports, tmp_path: Path) -> None:
    """The process starts with them: none unknown, none malformed, the ports as given."""
    settings = _load(kind, ports, tmp_path)
    assert settings.port == getattr(ports, kind)
    assert settings.metrics_port == getattr(ports, f"{kind}_metrics")


def test_every_process_knows_those_it_calls(ports: Ports, tmp_path: Path) -> None:
    """Config pushes to filtering and bridge, the bridge asks filtering, tracking ships to persistence."""
    bridge, filtering = _load("bridge", ports, tmp_path), _load("filtering", ports, tmp_path)
    assert bridge.config_target == filtering.config_target == ports.address("config")
    assert bridge.filtering_target == ports.address("filtering")
    assert _load("tracking", ports, tmp_path).persistence_target == ports.address("persistence")


@pytest.mark.parametrize("kind", MODULES)
def test_every_file_of_a_process_lies_in_its_folder(kind: str, ports: Ports, tmp_path: Path) -> None:
    """No default path of the working directory is left."""
    settings = _load(kind, ports, tmp_path)
    paths = [value for name, value in settings if isinstance(value, Path) and not name.startswith("tls_")]
    assert all(path.is_relative_to(tmp_path) for path in paths), paths


@pytest.mark.parametrize("kind", MODULES)
def test_no_port_is_left_at_its_default(kind: str, ports: Ports, tmp_path: Path) -> None:
    """With an offset nothing points to a port of the stack without it."""
    unmoved = {str(port) for port in default_ports().by_purpose().values()}
    environment = service_environment(
        kind, ports=ports, addresses=service_addresses(kind, ports), data_directory=tmp_path
    )
    found = {value for value in environment.values() if value.rpartition(":")[2].partition("/")[0] in unmoved}
    assert found == set()


@pytest.mark.parametrize("kind", MODULES)
def test_variables_of_the_command_line_are_no_mistake_to_a_process(kind: str, tmp_path: Path, ports: Ports) -> None:
    """Where `penstock` looks for services may stand in the environment of the services themselves."""
    environment = service_environment(
        kind, ports=ports, addresses=service_addresses(kind, ports), data_directory=tmp_path
    )
    of_the_command_line = {target_option(name, 1).envvar: "127.0.0.1:1" for name in MODULES}
    load_settings(_settings_class(kind), {**environment, **of_the_command_line})


def test_password_of_the_broker_is_secret(ports: Ports, tmp_path: Path) -> None:
    """It reaches the bridge and no repr of its settings."""
    assert "passcode" not in repr(_load("bridge", ports, tmp_path))
    environment = service_environment(
        "bridge", ports=ports, addresses=service_addresses("bridge", ports), data_directory=tmp_path
    )
    [name] = [name for name in environment if name.endswith("PASSWORD")]
    settings = load_settings(_settings_class("bridge"), {**environment, name: "a-passcode"})
    assert "a-passcode" not in repr(settings)
