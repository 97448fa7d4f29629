"""A broker that takes little: no STOMP frame of more than a mebibyte, and a store that is soon full."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from penstock.delivery.v1 import broker_message_pb2, delivery_service_pb2

from deploy.local.activemq import CONFIGURATION
from deploy.local.jms import JmsClient, JmsError, JmsMessage
from deploy.local.part import PartSpec
from tests.integration.bridge_harness import (
    RecordingService,
    RunningBridge,
    accepted,
    bridge_settings,
    eventually,
    rejected,
    retry,
    running_bridge,
    stored,
)
from tests.integration.conftest import describe_activemq, running
from tests.integration.parts import RunningPart

MIB = 1024 * 1024
STOMP = "${BROKER_STOMP_PORT}?maximumConnections=1000&amp;wireFormat.maxFrameSize="
# Room comes back soon after messages left; a full store refuses producers instead of letting them wait.
SMALL_FILES = 'journalMaxFileLength="4mb" checkpointInterval="500" cleanupInterval="500"'
CHANGES = {
    f"{STOMP}104857600": f"{STOMP}{MIB}",
    '<storeUsage limit="1 gb"': '<storeUsage limit="32 mb"',
    "<kahaDB ": f"<kahaDB {SMALL_FILES} ",
    "<systemUsage>\n        <memoryUsage>": '<systemUsage sendFailIfNoSpace="true">\n        <memoryUsage>',
}


def describe_narrow(data_directory: Path) -> PartSpec:
    """The stock broker with other limits."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    configuration = data_directory.parent / "narrow.xml"
    configuration.write_text(text, encoding="utf-8")
    spec = describe_activemq(data_directory)
    swap = (CONFIGURATION.as_uri(), configuration.as_uri())
    return replace(spec, argv=tuple(word.replace(*swap) for word in spec.argv))


@pytest.fixture(scope="module")
async def narrow(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with running(describe_narrow, tmp_path_factory.mktemp("narrow")) as part:
        yield part


@pytest.fixture
def jms(jms: JmsClient, narrow: RunningPart) -> JmsClient:
    return replace(jms, broker_url=f"tcp://{narrow.addresses['openwire']}")


@pytest.fixture
async def bridge(narrow: RunningPart, valkey: RunningPart) -> AsyncIterator[RunningBridge]:
    async with running_bridge(bridge_settings(narrow, valkey)) as running:
        yield running


@pytest.fixture
def queue() -> str:
    return f"narrow-{uuid4().hex[:8]}"


def route(queue: str, service: RecordingService, **more: object) -> dict[str, object]:
    return {
        "source": f"queue://{queue}",
        "targets": [{"grpc": {"address": service.address}}],
        "retry": {"initial_backoff": "0.02s", "max_backoff": "0.05s", "max_attempts": 3},
        **more,
    }


async def settled(bridge: RunningBridge, name: str, count: int) -> None:
    async def reached() -> bool:
        return (await bridge.stats(name)).settled == count

    await eventually(reached, f"{count} settled")


LARGE = "x" * 2 * MIB


async def test_a_dead_letter_too_large_for_the_broker_to_take_back_is_moved_by_the_broker(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Whole, with its reason beside it; it neither comes again for ever nor holds the others up."""
    service.decide = lambda message: rejected("too long") if len(message.text) > MIB else accepted()
    await bridge.put("large", route(queue, service))
    texts = ["a", LARGE, "b"]
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text) for text in texts])
    await settled(bridge, "large", 3)
    assert [message.text for message in service.messages] == ["a", "b"]
    (letter,) = await bridge.dead_letters(queue)
    assert (letter.message.text, letter.reason.partition(": ")[2]) == (LARGE, "too long")


async def test_dead_letters_wait_in_the_bridge_while_the_broker_has_no_room_for_them(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """By NACK the broker would remove them, although it cannot store them in the dead letter queue either."""
    service.decide = lambda message: rejected("no") if message.text == "poison" else accepted()
    texts = ["poison", "good", "poison"]
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text) for text in texts])
    with pytest.raises(JmsError, match="store is Full"):
        await asyncio.to_thread(jms.send, f"{queue}-ballast", [JmsMessage(data=b"x" * 2 * MIB)] * 20)
    bridge.bridge.apply(stored("full", route(queue, service)))
    await settled(bridge, "full", 1)
    await eventually(lambda: sum(len(request.messages) for request in service.requests) == len(texts), "all tried")
    await asyncio.to_thread(jms.drain, f"{queue}-ballast", keep=False)
    await settled(bridge, "full", len(texts))
    letters = await bridge.dead_letters(queue)
    assert [(letter.message.text, letter.reason.partition(": ")[2]) for letter in letters] == [("poison", "no")] * 2


async def test_a_message_too_large_to_be_copied_waits_in_the_bridge(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Where refused messages wait in the broker as delayed copies."""
    refusals = [retry("later"), retry("later")]
    service.decide = lambda _message: refusals.pop() if refusals else accepted()
    scheduled = route(queue, service)
    scheduled["retry"] = {"initial_backoff": "0.02s", "strategy": "RETRY_STRATEGY_SCHEDULED"}
    await bridge.put("waiting", scheduled)
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=LARGE)])
    await settled(bridge, "waiting", 1)
    assert set(service.times_delivered.values()) == {1}


async def test_a_reply_the_broker_does_not_take_is_counted_and_holds_no_other_up(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """Too large, or with a property that is too long."""

    def answering(message: broker_message_pb2.BrokerMessage) -> delivery_service_pb2.DeliveryResult:
        result = accepted()
        result.reply.text = LARGE if message.text == "large" else "small"
        if message.text == "long":
            result.reply.properties["long"] = "x" * 20_000
        return result

    service.decide = answering
    await bridge.put("asked", route(queue, service, batch={"max_messages": 1}))
    asking = [JmsMessage(text=text, headers={"reply-to": f"{queue}-answers"}) for text in ("large", "long", "a", "b")]
    await asyncio.to_thread(jms.send, queue, asking)
    await settled(bridge, "asked", 4)
    stats = await bridge.stats("asked")
    assert (stats.replies, stats.unsent_replies, stats.late_replies) == (2, 2, 0)
    assert (await asyncio.to_thread(jms.drain, f"{queue}-answers")).count == 2


async def test_a_copy_the_broker_does_not_take_is_refused_and_holds_no_other_up(
    bridge: RunningBridge, jms: JmsClient, queue: str
) -> None:
    """Of a batch for another queue, all others arrive, once; what has no copy is a dead letter."""
    copying = {
        "source": f"queue://{queue}",
        "targets": [{"queue": {"destination": f"queue://{queue}-copies"}}],
        "batch": {"window": "0.3s"},
        "concurrency": 1,  # what is sent beside the large one, on the same connection, may arrive twice
        "retry": {"initial_backoff": "0.02s", "max_backoff": "0.05s", "max_attempts": 2},
    }
    await bridge.put("copying", copying)
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text) for text in ("a", LARGE, "b")])
    await settled(bridge, "copying", 3)
    copies = (await asyncio.to_thread(jms.drain, f"{queue}-copies")).messages
    assert [copied.body for copied in copies] == ["a", "b"]
    (letter,) = await bridge.dead_letters(queue)
    assert (letter.error_class, letter.attempts) == ("refused", 2)
    assert "ends the connection when it is sent" in letter.reason
