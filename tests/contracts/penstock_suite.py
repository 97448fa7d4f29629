"""What `PenstockSuite` promises, in containers and on the embedded stack."""

import ipaddress
import urllib.request
from collections.abc import Sequence

import grpc
import psutil
import pytest
from penstock.config.v1 import config_service_pb2 as config_pb
from penstock.testing import JmsMessage, PenstockSuite, WaitError, Workspace

from services.runtime.errors import InvalidArgumentError, NotFoundError


class PenstockSuiteContract:
    """Needs the fixture `suite`, a running one that consists of `parts`; every test leaves it running."""

    parts: Sequence[str] = ("activemq", "valkey", "config", "filtering", "bridge")

    def test_each_kind_of_jms_message_reaches_the_recorder(self, suite: PenstockSuite) -> None:
        """Text, bytes, properties and headers as a Java producer sent them."""
        with Workspace(suite, "kinds") as workspace:
            recorder = workspace.recorder()
            workspace.put_route({"source": f"queue://{workspace.queue}", "targets": [recorder.target]})
            whole = JmsMessage(text="größer", headers={"correlation-id": "c-1"})
            ids = suite.publish(workspace.queue, "plain", b"\0\xff", whole, properties={"total": 7})
            deliveries = {delivery.id: delivery for delivery in recorder.await_deliveries(3)}
            plain, data, text = (deliveries[message_id] for message_id in ids)
            assert (plain.text, plain.properties["total"]) == ("plain", "7")
            assert (data.data, data.text) == (b"\0\xff", None)
            assert (text.text, text.message.correlation_id) == ("größer", "c-1")

    def test_a_killed_bridge_stays_down_and_loses_nothing(self, suite: PenstockSuite) -> None:
        """Until `start`, after which its address is the old one and so are its routes."""
        with Workspace(suite, "killed") as workspace:
            recorder = workspace.recorder()
            route = workspace.put_route({"source": f"queue://{workspace.queue}", "targets": [recorder.target]})
            address = suite.address("bridge")
            suite.kill("bridge")
            with grpc.insecure_channel(address) as channel, pytest.raises(grpc.FutureTimeoutError):
                grpc.channel_ready_future(channel).result(timeout=0.5)
            suite.publish(workspace.queue, "while it was down")
            assert recorder.deliveries == []
            suite.start("bridge")
            assert recorder.await_deliveries(1)[0].text == "while it was down"
            assert suite.await_settled(route, 1).dead_lettered == 0
            assert suite.address("bridge") == address

    def test_a_restarted_config_keeps_its_address_and_its_data(self, suite: PenstockSuite) -> None:
        """`stop` is graceful, and channels opened before find it again."""
        suite.config.PutParameter(config_pb.PutParameterRequest(name="/kept/colour", value="green"))
        before = suite.address("config")
        suite.restart("config")
        request = config_pb.GetParameterRequest(name="/kept/colour")
        answer = suite.config.GetParameter(request, timeout=30, wait_for_ready=True)
        assert (answer.parameter.value, suite.address("config")) == ("green", before)

    def test_a_workspace_takes_its_routes_and_subscriptions_with_it(self, suite: PenstockSuite) -> None:
        """Its names are unique; others' routes stay."""
        with Workspace(suite, "ends") as workspace, Workspace(suite, "ends") as other:
            assert workspace.queue != other.queue
        with Workspace(suite, "ends") as workspace:
            recorder = workspace.recorder()
            workspace.put_subscription("all", recorder.target)
            route = workspace.put_route({"source": f"queue://{workspace.queue}", "filter_topic": workspace.topic})
        with pytest.raises(NotFoundError):
            suite.delete_route(route)
        with pytest.raises(NotFoundError):
            suite.delete_subscription(workspace.topic, "all")

    def test_a_route_that_cannot_be_in_force_is_told_in_the_words_of_the_bridge(self, suite: PenstockSuite) -> None:
        """And one that is no route at all before it is stored; neither leaves anything behind."""
        with pytest.raises(InvalidArgumentError, match="sauce"):
            suite.put_route("no-route", {"sauce": "queue://orders"})
        with Workspace(suite, "faulty") as workspace, pytest.raises(WaitError, match=r"ROUTE_STATUS_INVALID.*source"):
            suite.put_route(
                workspace.name("route"), {"source": "orders", "targets": [{"queue": {"destination": "q"}}]}, timeout=1
            )
        suite.delete_route(workspace.name("route"))

    def test_a_wait_for_dead_letters_that_ends_says_how_many_there_are(self, suite: PenstockSuite) -> None:
        """Of which queue."""
        with (
            Workspace(suite, "none") as workspace,
            pytest.raises(WaitError, match=r"0 of 1 dead letters of queue://none"),
        ):
            suite.await_dead_letters(workspace.queue, 1, timeout=0)

    def test_addresses_are_those_of_the_chosen_parts_on_loopback(self, suite: PenstockSuite) -> None:
        """Every listener has one, and the metrics answer there."""
        assert sorted(suite.addresses) == sorted(self.parts)
        hosts = {a.rpartition(":")[0] for listeners in suite.addresses.values() for a in listeners.values()}
        assert all(ipaddress.ip_address(host).is_loopback for host in hosts)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{suite.address('bridge', 'metrics')}/metrics", timeout=10) as response:
            assert b"penstock_health" in response.read()
        with pytest.raises(KeyError, match="there are activemq, valkey"):
            suite.address("trucking")
        with pytest.raises(KeyError, match="grpc"):
            suite.address("valkey")

    def test_logs_are_what_a_part_has_printed(self, suite: PenstockSuite) -> None:
        """For the message of a failed test."""
        assert '"service"' in suite.logs("filtering")

    def test_the_recorder_is_not_reachable_from_other_machines(self, suite: PenstockSuite) -> None:
        """Loopback, or the gateway of a network that only this suite is in."""
        with suite.recorder() as recorder:
            host, _, port = recorder.address.rpartition(":")
            sockets = psutil.Process().net_connections(kind="tcp")
            listening = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr.port == int(port)}
            assert {address.removeprefix("::ffff:") for address in listening} == {host}
            assert ipaddress.ip_address(host).is_private
