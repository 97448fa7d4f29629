"""The server and channel of the runtime on real sockets."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc

from deploy.local.ports import free_port_numbers
from services.runtime.channel import open_channel
from services.runtime.errors import InvalidArgumentError, UnavailableError
from services.runtime.health import HealthBoard
from services.runtime.server import BindError, listening
from services.runtime.settings import ServiceSettings
from services.runtime.status import from_rpc_error
from tests.integration.sample_service import SERVICE, SampleServicer, SampleServiceSettings, register, sample

Status = health_pb2.HealthCheckResponse
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A served sample and a client of it."""

    address: str
    servicer: SampleServicer
    health: HealthBoard
    channel: grpc.aio.Channel
    stub: "config_service_pb2_grpc.ConfigServiceAsyncStub"

    async def get(self, name: str) -> str:
        """The value the sample answers with."""
        return (await self.stub.GetParameter(named(name))).parameter.value

    async def failure(self, name: str) -> grpc.aio.AioRpcError:
        """How the call fails."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.stub.GetParameter(named(name))
        return caught.value


def named(name: str) -> config_service_pb2.GetParameterRequest:
    """A request for a behaviour of the sample."""
    return config_service_pb2.GetParameterRequest(name=name)


def health_stub(channel: grpc.aio.Channel) -> Any:
    """The stub of grpc.health.v1, whose types know no methods."""
    return health_pb2_grpc.HealthStub(channel)


@asynccontextmanager
async def serving(
    settings: ServiceSettings | None = None, servicer: SampleServicer | None = None
) -> AsyncIterator[Served]:
    """The sample on a free port, by default with its default settings."""
    servicer, health = servicer or sample(), HealthBoard()
    settings = settings or SampleServiceSettings(drain_seconds=1)
    async with listening(settings=settings, register=register(servicer), health=health) as address:
        async with open_channel(address) as channel:
            stub = config_service_pb2_grpc.ConfigServiceStub(channel)
            yield Served(address=address, servicer=servicer, health=health, channel=channel, stub=stub)
        servicer.released.set()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The sample as it comes."""
    async with serving() as made:
        yield made


async def test_health_is_checked_per_service_and_as_a_whole(served: Served) -> None:
    """What load balancers and the supervisor ask."""
    health = health_stub(served.channel)
    for name in ("", SERVICE):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == Status.SERVING
    served.health.set("valkey", False, "gone")
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == Status.NOT_SERVING
    assert (await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status == Status.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="unknown"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_channel_does_not_ask_the_proxy_of_the_machine(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gRPC library would send every target through `http_proxy`, those on this machine too."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port_numbers(1)[0]}")
    async with open_channel(served.address) as channel:
        stub = config_service_pb2_grpc.ConfigServiceStub(channel)
        assert (await stub.GetParameter(named("echo"))).parameter.value == "echo"


async def test_health_is_pushed_to_watchers(served: Served) -> None:
    """Each change arrives; a detail alone is no change of the protocol's status."""
    watch = health_stub(served.channel).Watch(health_pb2.HealthCheckRequest(service="part"))
    answers = aiter(watch)
    assert (await anext(answers)).status == Status.SERVICE_UNKNOWN
    served.health.set("part", True)
    assert (await anext(answers)).status == Status.SERVING
    served.health.set("part", True, "degraded")
    served.health.set("part", False, "gone")
    assert (await anext(answers)).status == Status.NOT_SERVING
    watch.cancel()


async def test_reflection_lists_the_services(served: Served) -> None:
    """Grpcurl works without the protos."""
    make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = make_stub(served.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield request

    answers = [answer async for answer in stub.ServerReflectionInfo(requests())]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_error_of_ours_arrives_with_all_its_details(served: Served) -> None:
    """Code, reason, violations and metadata."""
    error = await served.failure("invalid")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    ours = from_rpc_error(error)
    assert isinstance(ours, InvalidArgumentError)
    assert (ours.message, ours.reason) == ("the name is not valid", "ERROR_REASON_INVALID_FIELD")
    assert [violation.field for violation in ours.violations] == ["name"]
    assert ours.metadata == {"name": "invalid"}


async def test_unexpected_error_keeps_its_text_to_the_log(served: Served) -> None:
    """The caller gets an id to ask with, never the inside."""
    error = await served.failure("crash")
    ours = from_rpc_error(error)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in f"{error.details()} {error.trailing_metadata()}"
    assert ours.metadata["request_id"] == trailer(error, "x-request-id")
    assert ours.metadata["request_id"] in ours.message


async def test_status_given_by_the_servicer_passes(served: Served) -> None:
    """Abort and set_code are ways of gRPC's own."""
    aborted, coded = await served.failure("abort"), await served.failure("set-code")
    assert (aborted.code(), aborted.details()) == (grpc.StatusCode.DATA_LOSS, "said by the servicer")
    assert (coded.code(), coded.details()) == (grpc.StatusCode.ALREADY_EXISTS, "set by the servicer")


async def test_method_that_is_not_built_is_unimplemented(served: Served) -> None:
    """With its name, and not as a crash."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.DeleteParameter(config_service_pb2.DeleteParameterRequest(name="/a"))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert from_rpc_error(caught.value).metadata == {"method": f"/{SERVICE}/DeleteParameter"}


async def test_stream_that_fails_midway_gives_what_it_had_and_the_error(served: Served) -> None:
    """Streams have the same errors as single answers."""
    call = served.stub.WatchParameters(config_service_pb2.WatchParametersRequest(path="fails"))
    answers = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        answers.extend([answer async for answer in call])
    ours = from_rpc_error(caught.value)
    assert isinstance(ours, UnavailableError)
    assert ours.retry_after == 2


async def test_stream_that_the_client_leaves_is_cancelled_in_the_server(served: Served) -> None:
    """A watcher that goes away must not stay in memory."""
    call = served.stub.WatchParameters(config_service_pb2.WatchParametersRequest(path="/"))
    assert (await anext(aiter(call))).bookmark.revision == 1
    call.cancel()
    await asyncio.wait_for(served.servicer.cancelled.wait(), 5)


def trailer(error: grpc.aio.AioRpcError, key: str) -> str:
    """A trailing metadata value of a failed call."""
    return str(error.trailing_metadata()[key])


async def test_request_id_is_taken_echoed_and_made_where_absent(served: Served) -> None:
    """One id through all logs of a call."""
    call = served.stub.GetParameter(named("context"), metadata=(("x-request-id", "order-17"),))
    assert (await call).parameter.value.startswith("order-17 ")
    assert (await call.trailing_metadata())["x-request-id"] == "order-17"
    first, second = await served.get("context"), await served.get("context")
    assert len(first.split()[0]) == 32
    assert first.split()[0] != second.split()[0]


async def test_request_id_trace_and_deadline_are_passed_on(served: Served) -> None:
    """A call made while serving belongs to the same request and cannot outlast it."""
    async with serving(servicer=sample(upstream=served.stub)) as front:
        metadata = (("x-request-id", "order-17"), ("traceparent", TRACEPARENT))
        answer = await front.stub.GetParameter(named("echo/context"), metadata=metadata, timeout=5)
    request_id, trace_id, remaining = answer.parameter.value.split()
    assert (request_id, trace_id) == ("order-17", TRACEPARENT.split("-")[1])
    assert 0 < float(remaining) < 5


async def test_token_goes_with_every_call_of_a_channel_that_has_one(served: Served) -> None:
    """And never further: a service that calls another does not pass on its caller's."""
    async with open_channel(served.address, token="t0ken") as channel:
        stub = config_service_pb2_grpc.ConfigServiceStub(channel)
        assert (await stub.GetParameter(named("authorization"))).parameter.value == "Bearer t0ken"
        async with serving(servicer=sample(upstream=served.stub)) as front:
            metadata = (("authorization", "Bearer theirs"),)
            passed = await front.stub.GetParameter(named("echo/authorization"), metadata=metadata)
    assert passed.parameter.value == "none"


async def test_unary_call_without_deadline_gets_the_default(served: Served) -> None:
    """Nobody waits for ever because somebody forgot."""
    remaining = float((await served.get("context")).split()[2])
    assert 0 < remaining < 33  # 30 seconds, which gRPC rounds up on the wire


async def test_deadline_ends_the_call_in_the_server(served: Served) -> None:
    """DEADLINE_EXCEEDED for the client, and the server is rid of it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.GetParameter(named("wait"), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_passing_failure_of_another_service_is_ours_too(served: Served) -> None:
    """UNAVAILABLE behind us is UNAVAILABLE to our caller; a mistake of ours towards it is INTERNAL."""
    async with serving(servicer=sample(upstream=served.stub)) as front:
        assert (await front.failure("echo/invalid")).code() is grpc.StatusCode.INTERNAL
        await served.channel.close()
    async with open_channel("127.0.0.1:1") as nowhere:
        away = sample(upstream=config_service_pb2_grpc.ConfigServiceStub(nowhere))
        async with serving(servicer=away) as front:
            assert (await front.failure("echo/echo")).code() is grpc.StatusCode.UNAVAILABLE


async def test_too_large_message_is_refused_with_resource_exhausted() -> None:
    """In both directions, and told from overload."""
    async with serving(SampleServiceSettings(max_message_bytes=50_000, drain_seconds=1)) as made:
        request, response = await made.failure("x" * 60_000), await made.failure("large")
        assert await made.get("echo") == "echo"
    assert request.code() is response.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert from_rpc_error(request).reason == "ERROR_REASON_TOO_LARGE"


async def test_too_many_concurrent_calls_are_refused_with_resource_exhausted() -> None:
    """Refused at once rather than queued; the accepted ones are served."""
    async with serving(SampleServiceSettings(max_concurrent_rpcs=2, drain_seconds=1)) as made:
        held = [asyncio.ensure_future(made.get("wait")) for _ in range(2)]
        for _ in held:
            await asyncio.wait_for(made.servicer.entered.acquire(), 5)
        refused = await made.failure("echo")
        made.servicer.released.set()
        assert await asyncio.gather(*held) == ["waited", "waited"]
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert from_rpc_error(refused).reason == "ERROR_REASON_OVERLOADED"


async def test_idempotent_call_is_repeated_when_unavailable_and_others_are_not(served: Served) -> None:
    """Only what the caller named."""
    assert from_rpc_error(await served.failure("flaky")).message == "failure 1"
    async with open_channel(served.address, idempotent=(f"{SERVICE}/GetParameter",)) as channel:
        response = await config_service_pb2_grpc.ConfigServiceStub(channel).GetParameter(named("flaky"))
    assert (response.parameter.value, served.servicer.calls) == ("at last", 3)


async def test_metrics_are_served_with_codes_and_health() -> None:
    """What Prometheus scrapes."""
    (port,) = free_port_numbers(1)
    async with serving(SampleServiceSettings(metrics_port=port, drain_seconds=1)) as made:
        await made.get("echo")
        await made.failure("invalid")
        made.health.set("valkey", True, "without dedup")
        text = await asyncio.to_thread(scrape, port)
    method = f'method="/{SERVICE}/GetParameter"'
    assert f'penstock_grpc_server_seconds_count{{code="OK",{method}}}' in text
    assert f'penstock_grpc_server_seconds_count{{code="INVALID_ARGUMENT",{method}}}' in text
    assert 'penstock_health{detail="without dedup",service="valkey"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def scrape(port: int) -> str:
    """What GET /metrics answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        return str(response.read().decode())


async def test_taken_port_is_an_error_that_names_it(served: Served) -> None:
    """Never two processes that share a port unknowingly; the metrics port likewise."""
    port = int(served.address.rpartition(":")[2])
    for settings in (SampleServiceSettings(port=port), SampleServiceSettings(metrics_port=port)):
        with pytest.raises(BindError, match=rf"127\.0\.0\.1:{port}.*PENSTOCK_SAMPLE_"):
            async with listening(settings=settings, register=register(sample()), health=HealthBoard()):
                pass


async def refused(address: str) -> None:
    """Waits until the server takes no new connections."""
    async with asyncio.timeout(10):
        while True:
            try:
                _reader, writer = await asyncio.open_connection(*address.split(":"))
            except OSError:
                return
            writer.close()


async def test_call_in_flight_finishes_while_the_server_drains() -> None:
    """Health turns first, the accepted call is answered, then the port is closed."""
    servicer, health = sample(), HealthBoard()
    settings = SampleServiceSettings(drain_seconds=5)
    async with AsyncExitStack() as stack:
        async with listening(settings=settings, register=register(servicer), health=health) as address:
            channel = await stack.enter_async_context(open_channel(address))
            stub = config_service_pb2_grpc.ConfigServiceStub(channel)
            held = asyncio.ensure_future(stub.GetParameter(named("wait")))
            await asyncio.wait_for(servicer.entered.acquire(), 5)
            watch = aiter(health_stub(channel).Watch(health_pb2.HealthCheckRequest()))
            assert (await anext(watch)).status == Status.SERVING

            async def release_when_draining() -> None:
                assert (await anext(watch)).status == Status.NOT_SERVING
                await refused(address)
                for _ in range(100):  # turns of the loop in which a server without patience would cut the call
                    await asyncio.sleep(0)
                assert not held.done()
                servicer.released.set()

            release = asyncio.ensure_future(release_when_draining())
        await release
        assert (await held).parameter.value == "waited"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetParameter(named("echo"))
    assert isinstance(from_rpc_error(caught.value), UnavailableError)


async def test_bytes_that_are_no_message_are_an_invalid_argument(served: Served) -> None:
    """Text that is not UTF-8, and bytes that are nothing; the handler never sees them."""
    method = f"/{SERVICE}/GetParameter"
    call = served.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    for data in (b"\x0a\x02\xff\xfe", b"\xff" * 100):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(data)
        error = from_rpc_error(caught.value)
        assert isinstance(error, InvalidArgumentError)
        assert "the request cannot be read" in error.message
    assert served.servicer.calls == 0
