"""Config and filtering as processes on real sockets: the Orders story, replicas, snapshots, trouble."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from penstock.config.v1.config_service_pb2 import PutParameterRequest
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub
from penstock.errors.v1 import error_reason_pb2 as reasons
from penstock.filtering.v1 import filtering_service_pb2 as pb
from penstock.filtering.v1 import message_pb2, subscription_pb2
from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceStub

from deploy.local.part import PartSpec
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from services.runtime.channel import open_channel
from services.runtime.errors import (
    AbortedError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.runtime.status import from_rpc_error
from tests.integration.conftest import running
from tests.integration.parts import RunningPart

if TYPE_CHECKING:
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub
    from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceAsyncStub

ORDERS = Path(__file__).parents[2] / "deploy" / "local" / "demo" / "subscriptions.json"
SERVICE = pb.DESCRIPTOR.services_by_name["FilteringService"].full_name
NUMBER = message_pb2.ATTRIBUTE_TYPE_NUMBER


def describe_config(data_directory: Path, port: int) -> PartSpec:
    environment = {
        "PENSTOCK_CONFIG_PORT": str(port),
        "PENSTOCK_CONFIG_METRICS_PORT": "0",
        "PENSTOCK_CONFIG_DATABASE": str(data_directory / "parameters.sqlite3"),
        "PENSTOCK_CONFIG_KEY_FILE": str(data_directory / "secret.key"),
    }
    addresses = {"grpc": f"127.0.0.1:{port}"}
    return python_process(
        "config", "services.config", environment=environment, data_directory=data_directory, addresses=addresses
    )


def describe_filtering(data_directory: Path, *, config: str, settings: Mapping[str, str]) -> PartSpec:
    port, metrics_port = free_port_numbers(2)
    own = {
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "CONFIG_TARGET": config,
        "SNAPSHOT": str(data_directory / "subscriptions.json"),
    }
    return python_process(
        "filtering",
        "services.filtering",
        environment={f"PENSTOCK_FILTERING_{name}": value for name, value in {**own, **settings}.items()},
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}", "metrics": f"127.0.0.1:{metrics_port}"},
    )


class Suite:
    """A config service and one filtering service, with clients of both."""

    def __init__(self, config: RunningPart, filtering: RunningPart, directory: Path) -> None:
        self.config = config
        self.filtering = filtering
        self.directory = directory

    @asynccontextmanager
    async def client(self) -> AsyncIterator["FilteringServiceAsyncStub"]:
        async with open_channel(self.filtering.addresses["grpc"]) as channel:
            yield FilteringServiceStub(channel)

    @asynccontextmanager
    async def replica(self, **settings: str) -> AsyncIterator["FilteringServiceAsyncStub"]:
        describe = partial(describe_filtering, config=self.config.addresses["grpc"], settings=settings)
        directory = self.directory / f"replica-{len(list(self.directory.iterdir()))}"
        directory.mkdir()
        async with running(describe, directory) as part, open_channel(part.addresses["grpc"]) as channel:
            yield FilteringServiceStub(channel)

    @asynccontextmanager
    async def parameters(self) -> AsyncIterator["ConfigServiceAsyncStub"]:
        async with open_channel(self.config.addresses["grpc"]) as channel:
            yield ConfigServiceStub(channel)

    async def status(self) -> str:
        """What the service's health answers."""
        async with open_channel(self.filtering.addresses["grpc"]) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), wait_for_ready=True)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    async def metrics(self) -> str:
        """Prometheus's view of the service."""
        url = f"http://{self.filtering.addresses['metrics']}/metrics"
        return await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=30).read().decode())

    async def until_metrics_lack(self, text: str) -> None:
        """Returns once the metrics do not have a text; nothing tells when a connection is found again."""
        async with asyncio.timeout(60):
            while text in await self.metrics():  # noqa: ASYNC110 - a look at another process
                await asyncio.sleep(0.05)


@asynccontextmanager
async def suite_in(directory: Path) -> AsyncIterator[Suite]:
    (port,) = free_port_numbers(1)
    (directory / "config").mkdir()
    (directory / "filtering").mkdir()
    async with running(partial(describe_config, port=port), directory / "config") as config:
        describe = partial(describe_filtering, config=config.addresses["grpc"], settings={})
        async with running(describe, directory / "filtering") as filtering:
            yield Suite(config, filtering, directory)


@pytest.fixture(scope="module")
async def suite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    """Shared by the tests that leave both services running; use topic names of your own."""
    async with suite_in(tmp_path_factory.mktemp("filtering")) as suite:
        yield suite


def subscription(topic: str, name: str, policy: object = "", **fields: object) -> subscription_pb2.Subscription:
    document = {
        "topic": topic,
        "name": name,
        "filter_policy": policy if isinstance(policy, str) else json.dumps(policy),
        "target": {"grpc": {"address": "127.0.0.1:1"}},
        **fields,
    }
    return json_format.ParseDict(document, subscription_pb2.Subscription())


async def put(
    stub: "FilteringServiceAsyncStub", document: subscription_pb2.Subscription, expected_version: int | None = None
) -> subscription_pb2.Subscription:
    request = pb.PutSubscriptionRequest(subscription=document, expected_version=expected_version)
    try:
        return (await stub.PutSubscription(request)).subscription
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def names_for(stub: "FilteringServiceAsyncStub", topic: str, **attributes: str | float) -> list[str]:
    """The subscriptions that want a message."""
    request = pb.MatchMessageRequest(topic=topic, message=message(**attributes))
    try:
        return [found.name for found in (await stub.MatchMessage(request)).subscriptions]
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


def message(**attributes: str | float) -> message_pb2.FilterableMessage:
    typed = {
        name: message_pb2.MessageAttribute(
            type=message_pb2.ATTRIBUTE_TYPE_STRING if isinstance(value, str) else NUMBER, value=str(value)
        )
        for name, value in attributes.items()
    }
    return message_pb2.FilterableMessage(attributes=typed)


async def eventually(stub: "FilteringServiceAsyncStub", topic: str, expected: list[str], **attributes: str) -> None:
    """Returns once a message of the topic is wanted by exactly these; a push has no event to wait for."""
    async with asyncio.timeout(30):
        while True:
            try:
                if await names_for(stub, topic, **attributes) == expected:
                    return
            except NotFoundError:
                if not expected:
                    return
            await asyncio.sleep(0.005)


async def test_orders_land_where_the_policies_say(suite: Suite) -> None:
    """The five subscriptions of the Orders topic and the six orders."""
    orders = [
        ("lab-supplies", 15700, "Asia-Pacific-Southeast", "Lab-Orders-AP"),
        ("lab-supplies", 1833, "Europe-West", "Lab-Orders-EU"),
        ("lab-supplies", 415, "Europe-West", "Lab-Preapproved"),
        ("lab-supplies", 0, "Asia-Pacific-South", "Lab-Cancelled"),
        ("office-supplies", 15700, "Asia-Pacific-South", "Common-Orders"),
        ("tech-supplies", 0, "Europe-West", "Common-Orders"),
    ]
    async with suite.client() as stub:
        for document in json.loads(ORDERS.read_text()):
            stored = await put(stub, json_format.ParseDict(document, subscription_pb2.Subscription()))
            assert stored.version == 1
        messages = [message(order_type=kind, order_value=value, location=place) for kind, value, place, _ in orders]
        batch = await stub.BatchMatchMessages(pb.BatchMatchMessagesRequest(topic="Orders", messages=messages))
        found = [[batch.subscriptions[i].name for i in result.subscription_indexes] for result in batch.results]
        assert found == [[name] for *_, name in orders]
        assert [entry.name for entry in batch.subscriptions] == sorted({name for *_, name in orders})
        targets = {entry.name: entry.target.WhichOneof("kind") for entry in batch.subscriptions}
        assert targets == {
            "Common-Orders": "sqs",
            "Lab-Cancelled": "lambda_function",
            "Lab-Orders-AP": "sqs",
            "Lab-Orders-EU": "sqs",
            "Lab-Preapproved": "lambda_function",
        }


async def test_subscription_can_be_read_listed_and_deleted(suite: Suite) -> None:
    """What was put is answered with its version; after the deletion nothing is left."""
    async with suite.client() as stub:
        for name in ("b", "a", "c"):
            await put(stub, subscription("crud", name, {"k": [name]}, description=f"wants {name}"))
        await put(stub, subscription("crud", "a", {"k": ["z"]}))
        got = (await stub.GetSubscription(pb.GetSubscriptionRequest(topic="crud", name="a"))).subscription
        assert (got.version, json.loads(got.filter_policy)) == (2, {"k": ["z"]})
        first = await stub.ListSubscriptions(pb.ListSubscriptionsRequest(topic="crud", page_size=2))
        second = await stub.ListSubscriptions(
            pb.ListSubscriptionsRequest(topic="crud", page_size=2, page_token=first.next_page_token)
        )
        assert [[e.name for e in page.subscriptions] for page in (first, second)] == [["a", "b"], ["c"]]
        assert not second.next_page_token
        await stub.DeleteSubscription(pb.DeleteSubscriptionRequest(topic="crud", name="a"))
        assert await names_for(stub, "crud", k="z") == []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.DeleteSubscription(pb.DeleteSubscriptionRequest(topic="crud", name="a"))
        assert from_rpc_error(caught.value).reason == "ERROR_REASON_SUBSCRIPTION_NOT_FOUND"


async def test_put_is_effective_when_it_answers(suite: Suite) -> None:
    """The very next match sees it, every time."""
    async with suite.client() as stub:
        for number in range(50):
            await put(stub, subscription("fresh", "s", {"k": [str(number)]}))
            assert await names_for(stub, "fresh", k=str(number)) == ["s"]
            assert await names_for(stub, "fresh", k=str(number - 1)) == []


async def test_each_subscription_says_how_anything_but_reads_arrays(suite: Suite) -> None:
    """Both modes in one topic, told back and matched on another replica too."""
    listed = message_pb2.MessageAttribute(type=message_pb2.ATTRIBUTE_TYPE_STRING_ARRAY, value="[100, 50]")
    request = pb.MatchMessageRequest(topic="modes", message=message_pb2.FilterableMessage(attributes={"price": listed}))
    async with suite.client() as stub, suite.replica() as other:
        policy = {"price": [{"anything-but": [100]}]}
        await put(stub, subscription("modes", "as-sns", policy))
        one = subscription("modes", "as-event-ruler", policy, anything_but_arrays="ANYTHING_BUT_ARRAYS_ONE_UNLISTED")
        stored = await put(stub, one)
        assert stored.anything_but_arrays == subscription_pb2.ANYTHING_BUT_ARRAYS_ONE_UNLISTED
        await eventually(other, "modes", ["as-event-ruler", "as-sns"], price="free")
        for replica in (stub, other):
            assert [found.name for found in (await replica.MatchMessage(request)).subscriptions] == ["as-event-ruler"]


async def test_compare_and_set_is_lost_to_a_newer_version(suite: Suite) -> None:
    """The error names both versions."""
    async with suite.client() as stub:
        await put(stub, subscription("cas", "s"), expected_version=0)
        with pytest.raises(AbortedError, match="cas/s has version 1, not 7"):
            await put(stub, subscription("cas", "s"), expected_version=7)
        with pytest.raises(AbortedError, match="cas/s exists already"):
            await put(stub, subscription("cas", "s"), expected_version=0)
        assert (await put(stub, subscription("cas", "s"), expected_version=1)).version == 2


async def test_put_on_one_replica_is_effective_on_another(suite: Suite) -> None:
    """New, replaced and deleted subscriptions are pushed."""
    async with suite.client() as stub, suite.replica() as other:
        await put(stub, subscription("shared", "s", {"k": ["1"]}))
        await eventually(other, "shared", ["s"], k="1")
        await put(other, subscription("shared", "s", {"k": ["2"]}))
        await eventually(stub, "shared", ["s"], k="2")
        await stub.DeleteSubscription(pb.DeleteSubscriptionRequest(topic="shared", name="s"))
        await eventually(other, "shared", [], k="2")


async def test_malformed_policy_is_refused_with_every_fault_and_its_place(suite: Suite) -> None:
    """INVALID_ARGUMENT with a violation per fault; nothing is stored."""
    async with suite.client() as stub:
        policy = '{"a": [],\n "b": [{"numeric": ["<", "x"]}]}'
        with pytest.raises(InvalidArgumentError) as caught:
            await put(stub, subscription("malformed", "s", policy))
        assert caught.value.reason == "ERROR_REASON_INVALID_FILTER_POLICY"
        assert [violation.description for violation in caught.value.violations] == [
            "Empty arrays are not allowed\n at $.a, line 1, column 7",
            "Value of < must be numeric\n at $.b[0].numeric, line 2, column 26",
        ]
        with pytest.raises(NotFoundError):
            await names_for(stub, "malformed", a="x")


async def test_policy_of_full_length_is_stored_and_pushed(suite: Suite) -> None:
    """256 KiB, in another replica too; one byte more is refused, and told."""
    values = [f"value-{number:08}" for number in range(14_500)]
    policy = json.dumps({"k": values})
    policy = policy[:-2] + " " * (256 * 1024 - len(policy)) + policy[-2:]
    async with suite.client() as stub, suite.replica() as other:
        large = subscription("large", "s", policy, dialect="FILTER_DIALECT_EVENTBRIDGE")
        await put(stub, large)
        body = message_pb2.FilterableMessage(body=json.dumps({"k": values[-1]}).encode())
        request = pb.BatchMatchMessagesRequest(topic="large", messages=[body])
        async with asyncio.timeout(10):
            while not (await other.BatchMatchMessages(request)).subscriptions:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.01)
        assert [found.name for found in (await stub.BatchMatchMessages(request)).subscriptions] == ["s"]
        large.filter_policy += " "
        with pytest.raises(InvalidArgumentError) as caught:
            await put(stub, large)
        assert "can not be larger than 262144 bytes" in caught.value.message


async def test_unknown_topic_is_not_found(suite: Suite) -> None:
    """For a message by status, for a batch per message."""
    async with suite.client() as stub:
        with pytest.raises(NotFoundError, match="'nowhere' has no subscriptions") as caught:
            await names_for(stub, "nowhere", a="x")
        assert caught.value.reason == "ERROR_REASON_TOPIC_NOT_FOUND"
        request = pb.BatchMatchMessagesRequest(topic="nowhere", messages=[message(a="x"), message()])
        results = (await stub.BatchMatchMessages(request)).results
        assert [result.error.reason for result in results] == [reasons.ERROR_REASON_TOPIC_NOT_FOUND] * 2


async def test_bad_message_does_not_harm_the_rest_of_its_batch(suite: Suite) -> None:
    """Each bad one has its own reason; the good ones are matched."""
    async with suite.client() as stub:
        body = subscription("mixed", "body", {"kind": ["x"]}, dialect="FILTER_DIALECT_SNS_BODY")
        await put(stub, body)
        await put(stub, subscription("mixed", "attributes", {"kind": ["x"]}))
        bad_number = message_pb2.MessageAttribute(type=NUMBER, value="12 apples")
        many = {f"a{number}": message_pb2.MessageAttribute(value="x") for number in range(1025)}
        messages = [
            message_pb2.FilterableMessage(body=b'{"kind": "x"}'),
            message_pb2.FilterableMessage(body=b"not json"),
            message_pb2.FilterableMessage(body=b'{"a": "' + b"x" * 262_144 + b'"}'),
            message_pb2.FilterableMessage(body=b"{}", attributes={"n": bad_number}),
            message_pb2.FilterableMessage(body=b"{}", attributes=many),
            message_pb2.FilterableMessage(body=b'{"kind": "\xff"}'),
            message_pb2.FilterableMessage(body=b'{"kind": NaN}'),
            message_pb2.FilterableMessage(body=b'{"kind": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
            message_pb2.FilterableMessage(body=b"{}", attributes=message(kind="x").attributes),
        ]
        batch = await stub.BatchMatchMessages(pb.BatchMatchMessagesRequest(topic="mixed", messages=messages))
        names = [[batch.subscriptions[i].name for i in result.subscription_indexes] for result in batch.results]
        assert names == [["body"], [], [], [], [], [], [], [], ["attributes"]]
        assert [result.error.reason for result in batch.results] == [
            reasons.ERROR_REASON_UNSPECIFIED,
            reasons.ERROR_REASON_INVALID_BODY,
            reasons.ERROR_REASON_TOO_LARGE,
            reasons.ERROR_REASON_INVALID_FIELD,
            reasons.ERROR_REASON_INVALID_FIELD,
            reasons.ERROR_REASON_INVALID_BODY,
            reasons.ERROR_REASON_INVALID_BODY,
            reasons.ERROR_REASON_INVALID_BODY,
            reasons.ERROR_REASON_UNSPECIFIED,
        ]
        told = [result.error.message for result in batch.results]
        assert "'n' is declared a Number: '12 apples'" in told[3]
        assert "1025 attributes; at most 1024 are allowed" in told[4]
        assert "not UTF-8: invalid start byte at byte 10" in told[5]
        assert "NaN is not JSON" in told[6]
        assert "nested deeper than 64 levels" in told[7]


async def test_stream_answers_batches_in_their_order(suite: Suite) -> None:
    """One response per request."""
    async with suite.client() as stub:
        await put(stub, subscription("stream", "s", {"k": [{"numeric": ["<", 3]}]}))

        async def requests() -> AsyncIterator[pb.StreamMatchMessagesRequest]:
            for number in range(6):
                batch = pb.BatchMatchMessagesRequest(topic="stream", messages=[message(k=number)])
                yield pb.StreamMatchMessagesRequest(batch=batch)

        found = [len(response.batch.subscriptions) async for response in stub.StreamMatchMessages(requests())]
        assert found == [1, 1, 1, 0, 0, 0]


def batch_of(topic: str, count: int) -> pb.StreamMatchMessagesRequest:
    messages = [message_pb2.FilterableMessage()] * count
    return pb.StreamMatchMessagesRequest(batch=pb.BatchMatchMessagesRequest(topic=topic, messages=messages))


async def test_who_does_not_read_answers_is_not_read_from(suite: Suite) -> None:
    """A stream of 300 batches with 16 MB of answers: few are matched until the first is read, then all are answered."""
    count, batches = 1000, 300
    async with suite.client() as stub, suite.client() as other:
        for number in range(50):
            await put(stub, subscription("flow", f"s{number}"))
        call = stub.StreamMatchMessages()

        async def write() -> None:
            for _ in range(batches):
                await call.write(batch_of("flow", count))
            await call.done_writing()

        async def matched() -> int:
            for _ in range(100):  # turns in which the service could match more
                await other.ListSubscriptions(pb.ListSubscriptionsRequest(topic="flow"))
            counted = 'penstock_filtering_messages_total{outcome="matched",topic="flow"} '
            found = [line for line in (await suite.metrics()).splitlines() if line.startswith(counted)]
            return int(float(found[0].removeprefix(counted))) // count if found else 0

        writing = asyncio.create_task(write())
        before, now = -1, await matched()
        while now != before or not now:
            before, now = now, await matched()
        assert 1 <= now <= batches // 3, now
        answers = [response.batch async for response in call]
        await writing
        assert [len(answer.results) for answer in answers] == [count] * batches
        assert all(list(answer.results[-1].subscription_indexes) == list(range(50)) for answer in answers)


async def test_stream_that_is_cancelled_ends_and_leaves_the_service_as_it_was(suite: Suite) -> None:
    """In the middle of a batch, many times: the calls end, others are answered."""
    async with suite.client() as stub:
        await put(stub, subscription("cancelled", "s"))
        for _ in range(20):
            call = stub.StreamMatchMessages()
            await call.write(batch_of("cancelled", 1))
            assert len((await anext(aiter(call))).batch.results) == 1
            await call.write(batch_of("cancelled", 10_000))
            call.cancel()
            assert await call.code() is grpc.StatusCode.CANCELLED
        assert await names_for(stub, "cancelled") == ["s"]
        assert await suite.status() == "SERVING"


async def test_half_closed_stream_is_answered_to_its_end(suite: Suite) -> None:
    """What was written before the caller stopped writing; a stream without any request ends well too."""
    async with suite.client() as stub:
        await put(stub, subscription("half", "s"))
        call = stub.StreamMatchMessages()
        for size in (1, 5000, 2):
            await call.write(batch_of("half", size))
        await call.done_writing()
        assert [len(response.batch.results) async for response in call] == [1, 5000, 2]
        empty = stub.StreamMatchMessages()
        await empty.done_writing()
        assert [response async for response in empty] == []
        assert await empty.code() is grpc.StatusCode.OK


async def test_batch_out_of_range_ends_its_stream_after_the_answers_before(suite: Suite) -> None:
    """INVALID_ARGUMENT; an unknown topic is a result of every message instead."""
    async with suite.client() as stub:
        call = stub.StreamMatchMessages()
        await call.write(batch_of("nowhere-to-be-found", 2))
        responses = aiter(call)
        results = (await anext(responses)).batch.results
        assert [result.error.reason for result in results] == [reasons.ERROR_REASON_TOPIC_NOT_FOUND] * 2
        await call.write(batch_of("nowhere-to-be-found", 0))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(responses)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_policy_is_validated_and_a_match_explained(suite: Suite) -> None:
    """Faults, complexity and warnings; the deciding condition of each key."""
    async with suite.client() as stub:
        invalid = await stub.ValidateFilterPolicy(pb.ValidateFilterPolicyRequest(filter_policy='{"a": "x"}'))
        assert [(fault.path, fault.line, fault.column) for fault in invalid.faults] == [("$.a", 1, 7)]
        doubtful = await stub.ValidateFilterPolicy(pb.ValidateFilterPolicyRequest(filter_policy='{"a": ["x", "x"]}'))
        assert (doubtful.complexity, len(doubtful.warnings), len(doubtful.faults)) == (2, 1, 0)
        await put(stub, subscription("explained", "s", {"k": ["a", {"prefix": "b"}], "n": [{"numeric": [">", 1]}]}))
        stored = pb.GetSubscriptionRequest(topic="explained", name="s")
        request = pb.ExplainMatchRequest(subscription=stored, message=message(k="bc", n=1))
        explained = await stub.ExplainMatch(request)
        assert not explained.matches
        assert [(key.path, key.satisfied, key.condition, key.actual) for key in explained.keys] == [
            ("$.k", True, '{"prefix": "b"}', '"bc"'),
            ("$.n", False, "", "1"),
        ]


async def test_malformed_parameter_leaves_the_earlier_version_in_force(suite: Suite) -> None:
    """Written directly through config: skipped, shown, and healed by the next valid version."""
    name = "/penstock/subscriptions/direct/s"
    async with suite.client() as stub, suite.parameters() as parameters:
        await put(stub, subscription("direct", "s", {"k": ["1"]}))
        await put(stub, subscription("direct", "other", {"k": ["1"]}))
        await parameters.PutParameter(PutParameterRequest(name=name, value="{not json"))
        valid = subscription("direct", "late", {"k": ["1"]})
        late = PutParameterRequest(name=f"{name.removesuffix('/s')}/late", value=json_format.MessageToJson(valid))
        await parameters.PutParameter(late)
        # Changes come in their order: when the later one is in force the malformed one has been judged.
        await eventually(stub, "direct", ["late", "other", "s"], k="1")
        got = (await stub.GetSubscription(pb.GetSubscriptionRequest(topic="direct", name="s"))).subscription
        assert got.version == 1
        shown = await suite.metrics()
        assert f"{name} is refused: version 2: subscription direct/s is no JSON" in shown
        assert "penstock_filtering_refused_subscriptions_total 1.0" in shown
        async with suite.replica() as fresh:
            # A replica that never saw the valid version finds it in the parameter's history.
            await eventually(fresh, "direct", ["late", "other", "s"], k="1")
        await put(stub, subscription("direct", "s", {"k": ["2"]}))
        await eventually(stub, "direct", ["s"], k="2")
        assert "is refused" not in await suite.metrics()


async def test_topic_takes_no_more_subscriptions_than_its_limit(suite: Suite) -> None:
    """RESOURCE_EXHAUSTED for a new one; an existing one can still be replaced."""
    async with suite.replica(MAX_SUBSCRIPTIONS_PER_TOPIC="2") as stub:
        await put(stub, subscription("full", "a"))
        await put(stub, subscription("full", "b"))
        with pytest.raises(ResourceExhaustedError, match="'full' has 2 subscriptions, which is the limit"):
            await put(stub, subscription("full", "c"))
        assert (await put(stub, subscription("full", "b"))).version == 2


async def test_restart_without_config_goes_on_with_the_snapshot_and_replicas_agree_after_it(tmp_path: Path) -> None:
    """One replica starts from an old snapshot, another knows better: both serve, and agree after config's return."""
    async with suite_in(tmp_path) as suite, suite.replica() as other:
        async with suite.client() as stub:
            await put(stub, subscription("apart", "old", {"k": ["1"]}))
        await suite.filtering.stop()
        await eventually(other, "apart", ["old"], k="1")
        await put(other, subscription("apart", "new", {"k": ["1"]}))
        await other.DeleteSubscription(pb.DeleteSubscriptionRequest(topic="apart", name="old"))
        answers: list[list[str]] = []

        async def match() -> None:
            while True:
                answers.append(await names_for(other, "apart", k="1"))

        matching = asyncio.create_task(match())
        await suite.config.kill()
        await suite.filtering.start()
        async with suite.client() as stub:
            assert await names_for(stub, "apart", k="1") == ["old"]
            with pytest.raises(UnavailableError):
                await put(stub, subscription("apart", "refused", {"k": ["1"]}))
            assert "going on with revision" in await suite.metrics()
            await suite.config.start()
            await eventually(stub, "apart", ["new"], k="1")
            await suite.until_metrics_lack("going on with revision")
            await put(stub, subscription("later", "s", {"k": ["1"]}))
            assert await names_for(stub, "later", k="1") == ["s"]
        assert not matching.done(), matching.exception()
        matching.cancel()
        assert len(answers) > 100
        assert all(answer == ["new"] for answer in answers)


async def test_first_start_without_config_does_not_serve(tmp_path: Path) -> None:
    """Without subscriptions and without a snapshot every answer would be wrong."""
    async with suite_in(tmp_path) as suite:
        await suite.filtering.stop()
        (suite.filtering.spec.data_directory / "subscriptions.json").unlink(missing_ok=True)
        await suite.config.kill()
        starting = asyncio.ensure_future(suite.filtering.start())
        try:
            assert await suite.status() == "NOT_SERVING"
            async with suite.client() as stub:
                with pytest.raises(UnavailableError, match="config service was not reached") as caught:
                    await names_for(stub, "any", k="1")
                assert caught.value.metadata == {"dependency": "config"}
        finally:
            await suite.config.start()
            await starting
        assert await suite.status() == "SERVING"
