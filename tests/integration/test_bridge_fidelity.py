"""What STOMP makes of JMS messages, and what the bridge makes good."""

import asyncio
from uuid import uuid4

import pytest

from deploy.local.jms import JmsClient, JmsMessage, JmsTyped, JmsValue
from tests.integration.bridge_harness import (
    RecordingService,
    RunningBridge,
    eventually,
    rejected,
)

# 1,112,064 scalars: surrogates are none.
SCALARS = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
PART = 100_000


@pytest.fixture
def queue() -> str:
    return f"fidelity-{uuid4().hex[:8]}"


def route(queue: str, service: RecordingService, **more: object) -> dict[str, object]:
    return {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}], **more}


async def test_every_character_of_unicode_arrives_and_comes_back(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """At the target, and from the dead letter queue at a Java consumer; U+0000 and those beyond U+FFFF too."""
    texts = [SCALARS[start : start + PART] for start in range(0, len(SCALARS), PART)]
    await bridge.put("scalars", route(queue, service))
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text) for text in texts])
    await eventually(lambda: len(service.messages) == len(texts), "all delivered")
    assert "".join(sorted(message.text for message in service.messages)) == "".join(sorted(texts))
    service.decide = lambda _message: rejected("no")
    some = [texts[0], texts[-1]]
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=text) for text in some])

    async def given_up() -> bool:
        return (await bridge.stats("scalars")).dead_lettered == len(some)

    await eventually(given_up, "all given up")
    read = (await asyncio.to_thread(jms.drain, f"DLQ.{queue}")).messages
    assert {message.kind for message in read} == {"text"}
    assert sorted(str(message.body) for message in read) == some


async def test_types_of_properties_are_restored_where_the_route_declares_them(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """STOMP makes text of all of them; one that is not what it should be is a dead letter."""
    types = {"flag": "BOOLEAN", "count": "INTEGER", "share": "DOUBLE", "code": "STRING"}
    declared = {name: f"PROPERTY_TYPE_{kind}" for name, kind in types.items()}
    await bridge.put("typed", route(queue, service, property_types=declared))
    properties: dict[str, JmsTyped] = {
        "flag": True,
        "count": JmsValue(type="long", value=2**62),
        "share": JmsValue(type="float", value=0.5),
        "code": "007",
        "other": 7,
    }
    sent = [JmsMessage(text="good", properties=properties), JmsMessage(text="bad", properties={"flag": "yes"})]
    await asyncio.to_thread(jms.send, queue, sent)

    async def decided() -> bool:
        return (await bridge.stats("typed")).settled == 2

    await eventually(decided, "both decided")
    (message,) = service.messages
    values = {name: getattr(value, value.WhichOneof("kind") or "") for name, value in message.properties.items()}
    assert values == {"flag": True, "count": 2**62, "share": 0.5, "code": "007", "other": "7"}
    (dead,) = await bridge.dead_letters(queue)
    assert "property flag is declared BOOLEAN, but 'yes'" in dead.reason


async def test_map_messages_are_typed_where_the_route_asks_for_it(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, queue: str
) -> None:
    """An Object message, at which the broker ends every connection, becomes a dead letter and holds nobody up."""
    await bridge.put("maps", route(queue, service, transform_maps=True))
    entries: dict[str, JmsTyped] = {"count": 7, "code": "007", "flag": True, "share": 0.5, "data": b"\x00\xff"}
    sent = [
        JmsMessage(entries=entries),
        JmsMessage(object_text="object"),
        JmsMessage(text="text"),
        JmsMessage(entries={}),
        JmsMessage(data=b"bytes"),
        JmsMessage(items=[1]),
    ]
    await asyncio.to_thread(jms.send, queue, sent)

    async def decided() -> bool:
        # Not by what is settled: an ACK may have been applied although its receipt was lost with the connection.
        return len(service.messages) + (await bridge.stats("maps")).dead_lettered >= len(sent)

    await eventually(decided, "all decided")
    by_kind = {
        message.WhichOneof("body"): message
        for message in service.messages
        if message.map.entries or not message.HasField("map")
    }
    assert set(service.times_delivered.values()) == {1}
    assert len(service.messages) == 4
    values = by_kind["map"].map.entries
    assert {name: getattr(value, value.WhichOneof("kind") or "") for name, value in values.items()} == entries
    assert (by_kind["text"].text, by_kind["data"].data) == ("text", b"bytes")
    dead = await bridge.dead_letters(queue)
    assert sorted(letter.reason.partition(":")[0] for letter in dead) == [
        "the broker cannot write its body",
        "the message has no body that STOMP carries",
    ]
    moved = (await asyncio.to_thread(jms.drain, f"DLQ.{queue}")).messages
    assert {message.kind for message in moved} == {"object", "stream"}
