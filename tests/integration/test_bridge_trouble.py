"""What the bridge does when the parts around it are away, wrong, or say no."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from penstock.bridge.v1 import bridge_service_pb2
from penstock.delivery.v1 import target_pb2
from penstock.errors.v1 import error_reason_pb2
from penstock.filtering.v1 import filtering_service_pb2

from deploy.local.jms import JmsClient, JmsMessage
from deploy.local.ports import free_port_numbers
from services.runtime.errors import UnavailableError
from tests.integration.bridge_harness import (
    BridgeProcess,
    RecordingService,
    RunningBridge,
    TableFilter,
    bridge_settings,
    eventually,
    process_settings,
    rejected,
    running_bridge,
    stored,
)
from tests.integration.config_fake import FakeConfig
from tests.integration.parts import RunningPart


@pytest.fixture
async def config() -> AsyncIterator[FakeConfig]:
    fake = FakeConfig()  # type: ignore[abstract]
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def queue() -> str:
    return f"trouble-{uuid4().hex[:8]}"


def to_service(queue: str, service: RecordingService, **more: object) -> dict[str, object]:
    return {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}], **FAST, **more}


def to_topic(queue: str, **more: object) -> dict[str, object]:
    return {"source": f"queue://{queue}", "filter_topic": "Orders", **FAST, **more}


FAST: dict[str, dict[str, object]] = {"retry": {"initial_backoff": "0.02s", "max_backoff": "0.05s", "max_attempts": 3}}


def detail(bridge: RunningBridge, part: str) -> str:
    state = bridge.health.get(part)
    return state.detail if state else ""


async def settled(bridge: RunningBridge, route: str, count: int) -> None:
    async def reached() -> bool:
        return (await bridge.stats(route)).settled == count

    await eventually(reached, f"{count} settled")


async def test_a_wrong_password_is_said_in_the_words_of_the_broker(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService
) -> None:
    """The bridge is not serving; the password stands nowhere."""
    settings = bridge_settings(activemq, valkey, broker_password="wrong-secret")
    async with running_bridge(settings) as bridge:
        bridge.bridge.apply(stored("login", to_service(queue, service)))
        await eventually(lambda: "password is invalid" in detail(bridge, "routes"), "the reason is shown")
        state = bridge.health.get()
        assert state is not None
        assert not state.serving
        assert "wrong-secret" not in state.detail + repr(settings)


async def test_an_absent_broker_is_waited_for(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """And a broker that goes away too; the next of the list is tried."""
    (dead_port,) = free_port_numbers(1)
    urls = (f"stomp://127.0.0.1:{dead_port}", f"stomp://{activemq.addresses['stomp']}")
    async with running_bridge(bridge_settings(activemq, valkey, broker_urls=urls)) as bridge:
        await bridge.put("absent", to_service(queue, service))
        await activemq.stop()
        await eventually(lambda: "cannot connect" in detail(bridge, "routes"), "the absence is shown")
        request = bridge_service_pb2.ListDeadLettersRequest(source=f"queue://{queue}")
        with pytest.raises(Exception, match="cannot connect to stomp://"):
            await bridge.api.ListDeadLetters(request)
        await activemq.start()
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
        await eventually(lambda: len(service.messages) == 1, "delivered")
        await eventually(lambda: detail(bridge, "routes") == "", "nothing is wrong any more")


async def test_a_bad_selector_makes_the_route_not_serving(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService
) -> None:
    """The broker answers with ERROR and leaves the socket open."""
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        bridge.bridge.apply(stored("selector", to_service(queue, service, selector="this is = = no selector")))
        await eventually(lambda: "selector" in detail(bridge, "routes").lower(), "the reason is shown")
        assert await bridge.status("selector") == bridge_service_pb2.ROUTE_STATUS_CONNECTING
        state = bridge.health.get()
        assert state is not None
        assert not state.serving


async def test_without_valkey_the_bridge_goes_on_and_says_so(
    activemq: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Its own memory tells duplicates meanwhile."""
    async with running_bridge(bridge_settings(activemq, None)) as bridge:
        await bridge.put("no-valkey", to_service(queue, service))
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(20)])
        await settled(bridge, "no-valkey", 20)
        assert len(service.messages) == 20
        assert "dedup store does not answer" in detail(bridge, "dedup")
        stats = await bridge.api.GetStats(bridge_service_pb2.GetStatsRequest())
        assert not stats.dedup_available
        state = bridge.health.get()
        assert state is not None
        assert state.serving


async def test_valkey_that_comes_back_is_used_again(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Nothing is lost or repeated meanwhile."""
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("valkey", to_service(queue, service))
        await valkey.stop()
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="while away")])
        await eventually(lambda: detail(bridge, "dedup") != "", "the absence is shown")
        await valkey.start()

        async def noticed() -> bool:
            await asyncio.to_thread(jms.send, queue, [JmsMessage(text="again")])
            return detail(bridge, "dedup") == ""

        await eventually(noticed, "the return is noticed")
        await eventually(lambda: len(service.messages) >= 2, "all delivered")
        assert set(service.times_delivered.values()) == {1}


async def test_a_target_that_is_away_makes_no_dead_letters(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """However many attempts that takes, over a restart of the bridge too; nothing is delivered twice."""
    await service.stop()
    for life in (1, 2):
        async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
            await bridge.put("away", to_service(queue, service))
            if life == 1:
                await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(20)])

            async def tried() -> bool:
                return (await bridge.stats("away")).retried >= 20 * 10

            await eventually(tried, "more attempts than max_attempts")
            assert await bridge.dead_letters(queue) == []
            if life == 2:
                await service.start()
                await settled(bridge, "away", 20)
    assert sorted(message.text for message in service.messages) == sorted(f"m{n}" for n in range(20))
    assert min(message.attempt for message in service.messages) > 20


async def test_a_route_can_give_a_target_that_is_away_up(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """After as many attempts as it says, with the address; replayed when it is back."""
    impatient = {"retry": FAST["retry"] | {"unavailable": {"max_attempts": 3}}}
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await service.stop()
        await bridge.put("away", to_service(queue, service) | impatient)
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
        await settled(bridge, "away", 1)
        (dead,) = await bridge.dead_letters(queue)
        assert (dead.error_class, dead.attempts) == ("unavailable", 3)
        assert service.address in dead.reason
        await service.start()
        await bridge.put("away", to_service(queue, service))
        await bridge.api.ReplayDeadLetters(
            bridge_service_pb2.ReplayDeadLettersRequest(source=f"queue://{queue}", message_ids=[dead.message.id])
        )
        await eventually(lambda: len(service.messages) == 1, "delivered after all")


async def test_a_target_that_comes_back_in_time_gets_everything(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Nothing twice, no dead letter."""
    service.failure = UnavailableError("starting")
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("patient", to_service(queue, service))
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(200)])
        await eventually(lambda: len(service.requests) > 5, "some attempts failed")
        service.failure = None
        await settled(bridge, "patient", 200)
        assert len(service.messages) == len(set(service.ids)) == 200
        assert await bridge.dead_letters(queue) == []


Answer = Callable[[filtering_service_pb2.BatchMatchMessagesRequest], filtering_service_pb2.BatchMatchMessagesResponse]


def table_filter(answer: Answer) -> TableFilter:
    return TableFilter(answer)  # type: ignore[abstract]  # the bridge calls one method only


def everything_to(**target: object) -> Answer:
    """One subscription that wants every message."""

    def answer(
        request: filtering_service_pb2.BatchMatchMessagesRequest,
    ) -> filtering_service_pb2.BatchMatchMessagesResponse:
        subscription = filtering_service_pb2.MatchedSubscription(name="all", target=target_pb2.Target(**target))  # type: ignore[arg-type]
        wanted = filtering_service_pb2.MatchResult(subscription_indexes=[0])
        return filtering_service_pb2.BatchMatchMessagesResponse(
            subscriptions=[subscription], results=[wanted] * len(request.messages)
        )

    return answer


async def test_while_filtering_is_away_messages_wait_unharmed(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """However long: an outage of filtering costs no attempt; its return needs no restart."""
    filtering = table_filter(everything_to(grpc=target_pb2.GrpcTarget(address=service.address)))
    settings = bridge_settings(activemq, valkey, filtering_target=filtering.address)
    async with running_bridge(settings) as bridge:
        await bridge.put("filtered", to_topic(queue))
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello", properties={"a": "b"})])
        await eventually(lambda: "filtering service does not answer" in detail(bridge, "filtering"), "shown")
        await filtering.start()
        await settled(bridge, "filtered", 1)
        assert [message.attempt for message in service.messages] == [1]
        assert detail(bridge, "filtering") == ""
        assert service.requests[0].subscription == "Orders/all"
        (request,) = filtering.requests
        assert request.messages[0].attributes["a"].value == "b"
        assert request.messages[0].body == b"hello"
        await filtering.stop()


async def test_a_message_filtering_fails_on_does_not_keep_the_others_waiting(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """It alone ends in a dead letter, though its whole batch was answered with INTERNAL."""
    wanted = everything_to(grpc=target_pb2.GrpcTarget(address=service.address))

    def failing(
        request: filtering_service_pb2.BatchMatchMessagesRequest,
    ) -> filtering_service_pb2.BatchMatchMessagesResponse:
        if any(message.body == b"m7" for message in request.messages):
            raise ZeroDivisionError
        return wanted(request)

    filtering = table_filter(failing)
    await filtering.start()
    async with running_bridge(bridge_settings(activemq, valkey, filtering_target=filtering.address)) as bridge:
        await bridge.put("failing", to_topic(queue))
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(100)])
        await settled(bridge, "failing", 100)
        (dead,) = await bridge.dead_letters(queue)
        assert (dead.message.text, dead.attempts, dead.error_class) == ("m7", 3, "refused")
        assert len(service.messages) == 99
    await filtering.stop()


async def test_an_unknown_topic_ends_in_a_dead_letter(
    activemq: RunningPart, valkey: RunningPart, queue: str, jms: JmsClient
) -> None:
    """After its attempts; it is never dropped."""

    def unknown(
        request: filtering_service_pb2.BatchMatchMessagesRequest,
    ) -> filtering_service_pb2.BatchMatchMessagesResponse:
        error = filtering_service_pb2.MatchError(
            reason=error_reason_pb2.ERROR_REASON_TOPIC_NOT_FOUND, message="topic Orders has no subscriptions"
        )
        result = filtering_service_pb2.MatchResult(error=error)
        return filtering_service_pb2.BatchMatchMessagesResponse(results=[result] * len(request.messages))

    filtering = table_filter(unknown)
    await filtering.start()
    async with running_bridge(bridge_settings(activemq, valkey, filtering_target=filtering.address)) as bridge:
        await bridge.put("unknown", to_topic(queue))
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
        await settled(bridge, "unknown", 1)
        (dead,) = await bridge.dead_letters(queue)
        assert "topic Orders has no subscriptions" in dead.reason
        assert (dead.attempts, dead.error_class) == (3, "refused")
    await filtering.stop()


async def test_a_subscription_this_version_cannot_serve_ends_in_a_dead_letter(
    activemq: RunningPart, valkey: RunningPart, queue: str, jms: JmsClient
) -> None:
    """With what is wrong with its target in the reason."""
    filtering = table_filter(everything_to(sns=target_pb2.SnsTarget(topic_arn="topic")))
    await filtering.start()
    async with running_bridge(bridge_settings(activemq, valkey, filtering_target=filtering.address)) as bridge:
        await bridge.put("sns", to_topic(queue))
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
        await settled(bridge, "sns", 1)
        (dead,) = await bridge.dead_letters(queue)
        assert "subscription Orders/all cannot be served: 'topic' is not the ARN of a topic" in dead.reason
    await filtering.stop()


async def test_poison_among_good_messages_blocks_nothing(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Every good message is delivered, every other one is a dead letter with its reason."""
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("poison", to_service(queue, service, body_format="BODY_FORMAT_JSON"))
        messages = [JmsMessage(text='{"n": 1}' if n % 10 else "{broken") for n in range(500)]
        await asyncio.to_thread(jms.send, queue, messages)
        await settled(bridge, "poison", 500)
        assert len(service.messages) == 450
        dead = await bridge.dead_letters(queue)
        assert len(dead) == 50
        assert all(letter.error_class == "poison" and "not JSON" in letter.reason for letter in dead)


async def test_bodies_that_are_not_the_declared_protobuf_type_or_no_text_are_poison(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """As are properties that are not of their declared type."""
    kind = "penstock.tracking.v1.TrackingEvent"
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put(
            "typed",
            to_service(
                queue,
                service,
                body_format="BODY_FORMAT_PROTOBUF",
                protobuf_type=kind,
                attributes={"n": "ATTRIBUTE_TYPE_NUMBER"},
            ),
        )
        await asyncio.to_thread(
            jms.send,
            queue,
            [JmsMessage(data=b"\xff\xff"), JmsMessage(data=b"", properties={"n": "twelve"}), JmsMessage(data=b"")],
        )
        await settled(bridge, "typed", 3)
        reasons = sorted(letter.reason for letter in await bridge.dead_letters(queue))
        assert "property n is declared NUMBER, but 'twelve'" in reasons[0]
        assert f"the body is not a {kind}" in reasons[1]
        assert len(service.messages) == 1


async def test_a_reason_that_would_break_a_frame_does_not_keep_a_message_for_ever(
    activemq: RunningPart, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """As a copy, and where the broker moves the message itself."""
    service.decide = lambda _message: rejected("nul \x00" + "x" * 1_000_000)
    async with running_bridge(bridge_settings(activemq, valkey)) as bridge:
        await bridge.put("odd", to_service(queue, service, accept_empty=True))
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello"), JmsMessage(entries={"a": 1})])
        await settled(bridge, "odd", 2)
        dead = await bridge.dead_letters(queue)
        assert len(dead) == 2
        assert all("nul \ufffdxxx" in letter.reason and len(letter.reason) == 1000 for letter in dead)


async def test_sigterm_finishes_what_runs_and_exits_cleanly(
    activemq: RunningPart,
    valkey: RunningPart,
    queue: str,
    service: RecordingService,
    config: FakeConfig,
    jms: JmsClient,
    tmp_path: Path,
) -> None:
    """Under load: nothing is lost, nothing is delivered twice, the next bridge takes the rest."""
    service.before = lambda: asyncio.sleep(0.02)
    config.put("/penstock/routes/term", json.dumps(to_service(queue, service, batch={"max_messages": 10})))
    sent = await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(1000)])
    bridge = BridgeProcess(process_settings(activemq, valkey), config, tmp_path / "bridge.log")
    for part in (1, 2):
        await bridge.start()
        await eventually(lambda part=part: len(service.messages) > part * 300, "some delivered")  # type: ignore[misc]
        assert await bridge.end(signal.SIGTERM) == 0
    await bridge.start()
    await eventually(lambda: len(service.messages) >= len(sent), "all delivered")
    assert await bridge.end(signal.SIGTERM) == 0
    assert sorted(service.ids) == sorted(sent)
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0


async def test_a_second_signal_ends_the_bridge_at_once(
    activemq: RunningPart,
    valkey: RunningPart,
    queue: str,
    service: RecordingService,
    config: FakeConfig,
    jms: JmsClient,
    tmp_path: Path,
) -> None:
    """Though it would have a minute to finish; the message stays in the broker."""
    forever = asyncio.Event()

    async def never() -> None:
        await forever.wait()

    service.before = never
    config.put("/penstock/routes/twice", json.dumps(to_service(queue, service)))
    log = tmp_path / "bridge.log"
    bridge = BridgeProcess(process_settings(activemq, valkey) | {"drain_seconds": "60"}, config, log)
    await bridge.start()
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
    await eventually(lambda: len(service.requests) == 1, "the delivery runs")
    assert bridge.process is not None
    bridge.process.send_signal(signal.SIGTERM)
    await eventually(lambda: "draining" in log.read_text(), "it finishes what runs")
    assert await bridge.end(signal.SIGTERM) == -signal.SIGTERM
    forever.set()
    assert (await asyncio.to_thread(jms.drain, queue)).count == 1


async def test_a_function_that_hangs_does_not_keep_the_bridge_from_ending(
    activemq: RunningPart,
    valkey: RunningPart,
    queue: str,
    config: FakeConfig,
    jms: JmsClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After its drain time, long before the function's; the message stays in the broker."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    called = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = process_settings(activemq, valkey) | {
            "lambda_endpoint_url": endpoint,
            "lambda_timeout_seconds": "3600",
            "drain_seconds": "1",
        }
        route = {"source": f"queue://{queue}", "targets": [{"lambda_function": {"function_name": "hangs"}}]}
        config.put("/penstock/routes/hangs", json.dumps(route))
        bridge = BridgeProcess(settings, config, tmp_path / "bridge.log")
        await bridge.start()
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
        await asyncio.wait_for(called.wait(), 60)
        assert await bridge.end(signal.SIGTERM) == 0
    assert (await asyncio.to_thread(jms.drain, queue)).count == 1


async def test_routes_come_from_the_config_service_and_change_without_restart(
    activemq: RunningPart,
    valkey: RunningPart,
    queue: str,
    service: RecordingService,
    config: FakeConfig,
    jms: JmsClient,
    tmp_path: Path,
) -> None:
    """Also after the config service was away; a bridge that starts without it uses its snapshot."""
    settings = process_settings(activemq, valkey) | {"snapshot": str(tmp_path / "routes.json")}
    bridge = BridgeProcess(settings, config, tmp_path / "bridge.log")
    await bridge.start()
    config.put("/penstock/routes/pushed", json.dumps(to_service(queue, service)))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="one")])
    await eventually(lambda: len(service.messages) == 1, "delivered by the pushed route")
    await eventually((tmp_path / "routes.json").exists, "the snapshot is written")
    assert await bridge.end() == 0
    await config.stop()
    await bridge.start()
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text="two")])
    await eventually(lambda: len(service.messages) == 2, "delivered by the route of the snapshot")
    assert await bridge.end() == 0
    await config.start()
