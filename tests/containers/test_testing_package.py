"""`penstock.testing` on Docker: the suite in containers, and the containers alone."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from penstock.testing import (
    PARTS,
    ActiveMQContainer,
    ImageUnavailableError,
    Mode,
    PartFailedError,
    PenstockContainer,
    PenstockSuite,
    ValkeyContainer,
    Workspace,
)
from penstock.tracking.v1 import program_pb2, tracking_service_pb2

from tests.containers.engine import need_docker, offline_images
from tests.contracts.penstock_suite import PenstockSuiteContract


@pytest.fixture(autouse=True)
def _well_before_and_after() -> None:
    """These tests bring containers of their own and leave the compose stack of the others alone."""


@pytest.fixture(scope="module", autouse=True)
def _engine_and_images() -> Iterator[None]:
    need_docker()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PENSTOCK_TESTING", raising=False)
        for name, value in offline_images().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def suite() -> Iterator[PenstockSuite]:
    with PenstockSuite(mode=Mode.DOCKER) as running:
        port = running.address("activemq", "stomp").rpartition(":")[2]
        yield running
    assert not docker("ps", "--all", "--quiet", "--filter", f"publish={port}")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


class TestSuiteInContainers(PenstockSuiteContract):
    """The same promises as on the embedded stack, by the whole suite."""

    parts = PARTS

    def test_a_message_reaches_a_function_of_the_local_lambda(self, suite: PenstockSuite) -> None:
        """The functions of the demo are mounted; the endpoint has recorded the invocation."""
        with Workspace(suite, "function") as workspace:
            target = {"lambda_function": {"function_name": "sample-function"}}
            route = workspace.put_route({"source": f"queue://{workspace.queue}", "targets": [target]})
            suite.publish(workspace.queue, workspace.name("message"))
            assert suite.await_settled(route, 1).delivered == 1
            assert workspace.name("message") in fetched(
                suite.address("lambda-endpoint", "http"), "_penstock/invocations"
            )

    def test_the_emulator_and_the_intake_answer_http(self, suite: PenstockSuite) -> None:
        """The two other listeners that are not gRPC."""
        assert fetched(suite.address("aws-emulator", "http"), "moto-api/data.json") == "{}"
        program = program_pb2.Program(program_id="clicks", enabled=True)
        suite.tracking.PutProgram(tracking_service_pb2.PutProgramRequest(program=program))
        assert "ACCEPTED" in fetched(suite.address("tracking", "http"), "event/clicks?message_id=c-1")

    def test_every_port_is_published_on_loopback_alone(self, suite: PenstockSuite) -> None:
        """Docker's default is every interface of the machine."""
        ports = [address.rpartition(":")[2] for listeners in suite.addresses.values() for address in listeners.values()]
        names = {name for port in ports for name in docker("ps", "--quiet", "--filter", f"publish={port}").split()}
        bindings = [
            binding
            for container in inspected(*names)
            for published in container["NetworkSettings"]["Ports"].values()
            for binding in published or ()
        ]
        assert len(names) == len(suite.addresses)
        assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}


def fetched(address: str, path: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/{path}", timeout=30) as response:
        return str(response.read().decode())


def inspected(*names: str) -> Any:
    return json.loads(docker("inspect", *names))


def test_a_broker_alone_serves_a_jms_client_with_its_own_login() -> None:
    """Ready means that STOMP said CONNECTED to this login; its data goes with it."""
    with ActiveMQContainer(user="legacy", password="a b:c") as broker:
        broker.jms().send("alone", [])
        container = broker.get_wrapped_container()
        volumes = [mount["Name"] for mount in inspected(container.id)[0]["Mounts"] if mount["Type"] == "volume"]
        assert volumes
        assert "a b:c" not in repr(broker.jms())
    assert not set(volumes) & set(docker("volume", "ls", "--quiet").split())


def test_valkey_alone_keeps_its_port_over_a_restart() -> None:
    """Testcontainers' own random ports change."""
    with ValkeyContainer() as valkey:
        port = valkey.get_exposed_port(6379)
        valkey.get_wrapped_container().restart(timeout=5)
        valkey.wait_ready()
        assert valkey.url == f"redis://127.0.0.1:{port}/0"
        assert valkey.exec(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6379"]).exit_code == 0


def test_a_service_that_refuses_its_settings_fails_at_once_with_what_it_said() -> None:
    """Not after the two minutes that a slow one is given."""
    wrong = PenstockContainer("config", environment={"PENSTOCK_CONFIG_DRAIN_SECONDS": "soon"})
    with (
        pytest.raises(PartFailedError, match=r"config ended before it was ready \(exited, exit code 2\)(.|\n)*DRAIN"),
        wrong,
    ):
        pass


def test_a_missing_image_is_refused_with_the_variable_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the suite that wanted it leaves nothing behind."""
    monkeypatch.setenv("VALKEY_IMAGE", "penstock-standin/absent:none")
    monkeypatch.setenv("PULL_POLICY", "never")
    with (
        pytest.raises(ImageUnavailableError, match=r"penstock-standin/absent:none.*VALKEY_IMAGE"),
        PenstockSuite(["bridge"], mode="docker"),
    ):
        pass
    assert not docker("ps", "--all", "--quiet", "--filter", "ancestor=penstock-standin/absent:none")
