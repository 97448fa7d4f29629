"""Where the health check of a container asks."""

import pytest

from deploy.health_check import NotHealthyError, check, health_target
from deploy.local.ports import free_port_numbers


@pytest.mark.parametrize(
    ("environ", "command", "target"),
    [
        ({}, ["python", "-m", "services.tracking"], "127.0.0.1:50053"),
        ({}, ["/sbin/docker-init", "--", "python", "-m", "broker_bridge"], "127.0.0.1:50055"),
        ({"PENSTOCK_CONFIG_PORT": "7000"}, ["python", "-m", "services.config"], "127.0.0.1:7000"),
        ({"PENSTOCK_HEALTH_TARGET": "config:443"}, ["sh"], "config:443"),
    ],
    ids=["default port", "behind an init", "port of the environment", "address of the environment"],
)
def test_target_is_the_port_of_the_first_process(environ: dict[str, str], command: list[str], target: str) -> None:
    """Unless a variable names another address."""
    assert health_target(environ, command) == target


def test_a_command_that_is_no_service_needs_an_address() -> None:
    """The error says which variable gives it."""
    with pytest.raises(NotHealthyError, match="'sleep 1' runs no service of Penstock: set PENSTOCK_HEALTH_TARGET"):
        health_target({}, ["sleep", "1"])


def test_nobody_there_is_not_healthy() -> None:
    """With address and reason, for `docker inspect`."""
    (port,) = free_port_numbers(1)
    with pytest.raises(NotHealthyError, match=rf"127\.0\.0\.1:{port}: UNAVAILABLE"):
        check(f"127.0.0.1:{port}", None)
