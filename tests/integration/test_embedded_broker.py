"""The embedded ActiveMQ: a real JMS producer on one side, STOMP on the other, and nothing lost between restarts."""

import asyncio
import queue
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import stomp

from deploy.local.activemq import (
    BROKER_PASSWORD,
    BROKER_USER,
    DataDirectoryInUseError,
    activemq_part,
    stomp_answers,
)
from deploy.local.home import jar_cache
from deploy.local.jars import LOCK_FILES
from deploy.local.jms import JmsClient, JmsError, JmsMessage, JmsReceived, JmsTyped, JmsValue, find_jms_client
from deploy.local.part import PartNotReadyError, PartSpec, SilentProgress
from deploy.local.ports import free_port_numbers
from deploy.local.supervisor import StartError, Supervisor
from tests.integration.parts import RunningPart

PATIENCE = 10.0


class Frames(stomp.ConnectionListener):  # type: ignore[misc]  # the library has no types
    """Hands every MESSAGE and ERROR frame to the test."""

    def __init__(self) -> None:
        self.messages: queue.Queue[Any] = queue.Queue()
        self.errors: queue.Queue[Any] = queue.Queue()

    def on_message(self, frame: Any) -> None:
        self.messages.put(frame)

    def on_error(self, frame: Any) -> None:
        self.errors.put(frame)


@contextmanager
def stomp_session(activemq: RunningPart) -> Iterator[tuple[Any, Frames]]:
    """A logged-in STOMP 1.2 connection and the frames it receives."""
    connection = stomp.Connection12([("127.0.0.1", activemq.port("stomp"))], auto_decode=False)
    frames = Frames()
    connection.set_listener("frames", frames)
    connection.connect(BROKER_USER, BROKER_PASSWORD, wait=True)
    try:
        yield connection, frames
    finally:
        connection.disconnect()


def receive(activemq: RunningPart, source: str, count: int = 1, *, settle: str = "ack") -> list[Any]:
    """Take `count` messages from a queue and settle each."""
    with stomp_session(activemq) as (connection, frames):
        connection.subscribe(f"/queue/{source}", id="1", ack="client-individual")
        received = [frames.messages.get(timeout=PATIENCE) for _ in range(count)]
        for frame in received:
            getattr(connection, settle)(frame.headers["ack"], receipt=f"settled-{frame.headers['ack']}")
        return received


def test_jms_text_message_arrives_over_stomp_with_its_properties(activemq: RunningPart, jms: JmsClient) -> None:
    """What a legacy producer publishes over OpenWire is read over STOMP, properties as text."""
    order = JmsMessage(
        text='{"order": 1}',
        properties={"order_type": "lab-supplies", "order_value": 15700, "rate": 0.5, "urgent": True},
        headers={"correlation-id": "c-1", "type": "order"},
    )
    (message_id,) = jms.send("stomp.text", [order])
    (frame,) = receive(activemq, "stomp.text")
    assert frame.body == b'{"order": 1}'
    assert frame.headers["message-id"] == message_id
    expected = {"order_type": "lab-supplies", "order_value": "15700", "rate": "0.5", "urgent": "true"}
    assert {name: frame.headers[name] for name in expected} == expected
    assert frame.headers["correlation-id"] == "c-1"
    assert "content-length" not in frame.headers


def test_a_cumulative_ack_takes_the_messages_before_it_and_none_after_it(activemq: RunningPart, jms: JmsClient) -> None:
    """STOMP 1.2, `ack:client`: also those that were sent to the client after the acknowledged one stay open."""
    ids = jms.send("stomp.cumulative", [JmsMessage(text=str(number)) for number in range(10)])
    with stomp_session(activemq) as (connection, frames):
        connection.subscribe("/queue/stomp.cumulative", id="1", ack="client")
        received = [frames.messages.get(timeout=PATIENCE) for _ in ids]
        connection.ack(received[2].headers["ack"])
        connection.ack(received[5].headers["ack"], receipt="up-to-the-sixth")
    assert [frame.headers["message-id"] for frame in receive(activemq, "stomp.cumulative", 4)] == ids[6:]


def test_jms_bytes_message_keeps_every_byte(activemq: RunningPart, jms: JmsClient) -> None:
    """A bytes message is marked by its content-length and holds NUL and FF bytes."""
    data = bytes(range(256))
    jms.send("stomp.bytes", [JmsMessage(data=data)])
    (frame,) = receive(activemq, "stomp.bytes")
    assert frame.body == data
    assert frame.headers["content-length"] == "256"


@pytest.mark.parametrize(
    "message",
    [JmsMessage(entries={"a": 1}), JmsMessage(items=[1]), JmsMessage(object_text="x"), JmsMessage()],
    ids=["map", "stream", "object", "plain"],
)
def test_messages_without_a_stomp_form_arrive_empty(activemq: RunningPart, jms: JmsClient, message: JmsMessage) -> None:
    """Map, stream, object and plain messages are indistinguishable over STOMP: an empty body and no length."""
    jms.send("stomp.empty", [message])
    (frame,) = receive(activemq, "stomp.empty")
    assert not frame.body
    assert "content-length" not in frame.headers


def test_map_message_is_readable_with_the_brokers_json_transformation(activemq: RunningPart, jms: JmsClient) -> None:
    """The embedded broker can transform maps, as a stock one: the jars for it are on its class path."""
    jms.send("stomp.map", [JmsMessage(entries={"count": 7, "name": "x"})])
    with stomp_session(activemq) as (connection, frames):
        connection.subscribe("/queue/stomp.map", id="1", ack="auto", headers={"transformation": "jms-map-json"})
        frame = frames.messages.get(timeout=PATIENCE)
    assert frame.headers["transformation"] == "jms-map-json"
    assert b'"int":7' in frame.body.replace(b" ", b"")


def test_ten_mebibyte_message_arrives_whole(activemq: RunningPart, jms: JmsClient) -> None:
    """Far above usual messages, far below the frame limit of 100 MiB."""
    data = bytes(range(256)) * 40_960
    jms.send("large", [JmsMessage(data=data)])
    (frame,) = receive(activemq, "large")
    assert frame.body == data


def test_scheduled_message_is_delivered_after_its_delay(activemq: RunningPart) -> None:
    """The broker's scheduler is on: a message with AMQ_SCHEDULED_DELAY waits there and keeps its body."""
    with stomp_session(activemq) as (connection, frames):
        connection.send("/queue/scheduled", "later", headers={"AMQ_SCHEDULED_DELAY": "200", "persistent": "true"})
        connection.subscribe("/queue/scheduled", id="1", ack="auto")
        frame = frames.messages.get(timeout=PATIENCE)
    assert frame.body == b"later"
    assert "scheduledJobId" in frame.headers


def test_queue_depth_is_told_by_the_statistics_plugin(activemq: RunningPart, jms: JmsClient) -> None:
    """An empty message to ActiveMQ.Statistics.Destination.<queue> is answered with the queue's figures."""
    jms.send("deep", [JmsMessage(text="1"), JmsMessage(text="2")])
    with stomp_session(activemq) as (connection, frames):
        answers = {"transformation": "jms-map-json"}
        connection.subscribe("/queue/statistics.answers", id="1", ack="auto", headers=answers)
        query = {"reply-to": "/queue/statistics.answers"}
        connection.send("/queue/ActiveMQ.Statistics.Destination.deep", "", headers=query)
        frame = frames.messages.get(timeout=PATIENCE)
    assert re.search(rb'"size",\s*"long":2\b|"string":"size","long":2\b', frame.body)


def test_every_kind_of_message_survives_the_jms_round_trip(jms: JmsClient) -> None:
    """The JMS consumer reads back what the JMS producer sent, values with their Java types."""
    entries: Mapping[str, JmsTyped] = {
        "i": 1,
        "l": 2**40,
        "d": 0.5,
        "b": True,
        "raw": b"\x00\xff",
        "s": JmsValue(type="short", value=3),
    }
    sent = [
        JmsMessage(text="grüße 😀\x00", properties={"p": "q", "long": JmsValue(type="long", value=5)}),
        JmsMessage(data=b"\x00\xff"),
        JmsMessage(entries=entries),
        JmsMessage(object_text="held"),
        JmsMessage(null_text=True),
    ]
    message_ids = jms.send("jms.kinds", sent)
    drained = jms.drain("jms.kinds", maximum=len(sent))
    text, data, entries_message, held, null = drained.messages
    assert [message.headers["message-id"] for message in drained.messages] == message_ids
    assert (text.kind, text.body) == ("text", "grüße 😀\x00")
    assert text.properties == {"p": JmsValue(type="string", value="q"), "long": JmsValue(type="long", value=5)}
    assert (data.kind, data.body) == ("bytes", b"\x00\xff")
    assert {name: value.value for name, value in entries_message.entries.items()} == {**entries, "s": 3}
    assert entries_message.entries["l"].type == "long"
    assert (held.kind, held.body) == ("object", "[held]")
    assert (null.kind, null.body) == ("text", None)


def test_producer_runs_from_its_java_source(activemq: RunningPart, tmp_path: Path) -> None:
    """With a JDK no class file is needed: the source is what runs, compiled at every call or once."""
    from_source = find_jms_client(f"tcp://{activemq.addresses['openwire']}", line="5.18")
    if not from_source.java.has_compiler:
        pytest.skip(f"{from_source.java} has no compiler")
    assert "JmsTool.java from source" in from_source.description
    compiled = from_source.compiled(tmp_path)
    assert "JmsTool.java compiled from source" in compiled.description
    sent = from_source.send("from.source", [JmsMessage(text="x")])
    assert [message.headers["message-id"] for message in compiled.drain("from.source").messages] == sent


def test_wrong_password_is_refused_over_openwire(jms: JmsClient) -> None:
    """The producer is told so, and the error does not repeat the password."""
    with pytest.raises(JmsError, match="password is invalid") as caught:
        replace(jms, password="hunter2").send("refused", [JmsMessage(text="x")])
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(replace(jms, password="hunter2"))


async def test_wrong_password_is_refused_over_stomp(activemq: RunningPart) -> None:
    """The readiness probe passes on the broker's reason."""
    with pytest.raises(PartNotReadyError, match="password is invalid"):
        await stomp_answers(activemq.port("stomp"), BROKER_USER, "wrong")


@pytest.mark.parametrize("line", LOCK_FILES)
def test_javax_and_jakarta_producers_publish_to_either_broker(activemq: RunningPart, line: str) -> None:
    """A producer of each generation of JMS and a consumer of the other one: text, bytes and typed properties."""
    url = f"tcp://{activemq.addresses['openwire']}"
    producer = replace(find_jms_client(url, line=line), runs_source=False)
    consumer = replace(
        find_jms_client(url, line=next(other for other in LOCK_FILES if other != line)), runs_source=False
    )
    messages = [JmsMessage(text="\U0001f600 \0", properties={"n": 7}), JmsMessage(data=b"\0\xff")]
    sent = producer.send(f"generations.{line}", messages)
    received = consumer.drain(f"generations.{line}").messages
    assert [message.headers["message-id"] for message in received] == sent
    assert [message.body for message in received] == ["\U0001f600 \0", b"\0\xff"]
    assert received[0].properties["n"] == JmsValue(type="int", value=7)


def test_absent_broker_is_reported_after_a_few_attempts(jms: JmsClient) -> None:
    """A producer without a broker ends with the reason instead of waiting for ever."""
    (nobody,) = free_port_numbers(1)
    with pytest.raises(JmsError, match="Connection refused"):
        replace(jms, broker_url=f"tcp://127.0.0.1:{nobody}").send("absent", [JmsMessage(text="x")])


def test_nack_moves_the_message_to_the_dead_letter_queue_of_its_queue(activemq: RunningPart, jms: JmsClient) -> None:
    """A refused message, persistent or not, is found in DLQ.<queue> with its properties."""
    refused = [
        JmsMessage(text="persistent", properties={"n": 1}),
        JmsMessage(text="non-persistent", properties={"n": 2}, headers={"delivery-mode": "non-persistent"}),
    ]
    jms.send("nacked", refused)
    receive(activemq, "nacked", count=2, settle="nack")
    dead = jms.drain("DLQ.nacked", maximum=2, idle_seconds=PATIENCE).messages
    assert [(message.body, message.properties["n"].value) for message in dead] == [
        ("persistent", 1),
        ("non-persistent", 2),
    ]


def test_message_refused_in_its_dead_letter_queue_is_kept(activemq: RunningPart, jms: JmsClient) -> None:
    """It moves on to a dead letter queue of the dead letter queue, under the same message id."""
    jms.send("again", [JmsMessage(text="stubborn")])
    (first,) = receive(activemq, "again", settle="nack")
    with stomp_session(activemq) as (connection, frames):
        connection.subscribe("/queue/DLQ.again", id="1", ack="client-individual")
        dead = frames.messages.get(timeout=PATIENCE)
        connection.nack(dead.headers["ack"])
    (twice,) = jms.drain("DLQ.DLQ.again", maximum=1, idle_seconds=PATIENCE).messages
    assert twice.headers["message-id"] == first.headers["message-id"]
    assert twice.body == "stubborn"


@pytest.mark.parametrize("end", ["restart", "kill"])
async def test_messages_survive_the_end_of_the_broker(activemq: RunningPart, jms: JmsClient, end: str) -> None:
    """Confirmed messages are there, in order and exactly once, after SIGTERM and after SIGKILL."""
    name = f"survives.{end}"
    sent = [f"{number}" for number in range(100)]
    await asyncio.to_thread(jms.send, name, [JmsMessage(text=text) for text in sent])
    if end == "kill":
        await activemq.kill()
        await activemq.start()
    else:
        await activemq.restart()
    drained = await asyncio.to_thread(jms.drain, name, maximum=len(sent), idle_seconds=PATIENCE)
    assert [message.body for message in drained.messages] == sent
    assert not (await asyncio.to_thread(jms.drain, name)).messages


async def test_producer_rides_over_a_killed_broker(activemq: RunningPart, jms: JmsClient) -> None:
    """A producer in the middle of its work waits for the broker to come back; every confirmed message is there."""
    sending = asyncio.create_task(
        asyncio.to_thread(jms.send, "ridden", [JmsMessage(text=f"{number}") for number in range(2_000)])
    )
    received: list[JmsReceived] = []
    received += (await asyncio.to_thread(jms.drain, "ridden", maximum=50, idle_seconds=PATIENCE)).messages
    await activemq.kill()
    await activemq.start()
    confirmed = await sending
    received += (await asyncio.to_thread(jms.drain, "ridden", idle_seconds=PATIENCE / 2)).messages
    assert len(confirmed) == 2_000
    assert {message.headers["message-id"] for message in received} == set(confirmed)


async def test_second_broker_on_the_same_folder_is_refused(activemq: RunningPart) -> None:
    """The description of a second broker fails with the folder's name and what to do."""
    stomp_port, openwire_port = free_port_numbers(2)
    with pytest.raises(DataDirectoryInUseError, match=re.escape(str(activemq.spec.data_directory))):
        activemq_part(
            home=activemq.spec.data_directory,
            data_directory=activemq.spec.data_directory,
            stomp_port=stomp_port,
            openwire_port=openwire_port,
            cache=jar_cache(),
            progress=SilentProgress(),
        )


async def test_second_broker_started_nevertheless_ends_at_once(activemq: RunningPart) -> None:
    """It does not wait as a slave with an open port: the file lock of the store fails."""
    stomp_port, openwire_port = free_port_numbers(2)
    environment = {
        **activemq.spec.environment,
        "BROKER_STOMP_PORT": str(stomp_port),
        "BROKER_OPENWIRE_PORT": str(openwire_port),
    }
    ready = partial(stomp_answers, stomp_port, BROKER_USER, BROKER_PASSWORD)
    second = replace(activemq.spec, name="second", environment=environment, ready=ready)
    with pytest.raises(StartError, match="ended before it was ready"):
        await start_once(second)
    log = activemq.spec.data_directory.parent / "logs" / "second.log"
    assert "could not be locked" in log.read_text()


async def start_once(spec: PartSpec) -> None:
    """Start and stop."""
    directory = spec.data_directory.parent
    async with Supervisor(working_directory=directory, log_directory=directory / "logs") as supervisor:
        supervisor.add(spec)
        await supervisor.start()


def test_broker_listens_on_loopback_only(activemq: RunningPart) -> None:
    """No other interface accepts connections, on either protocol."""
    ports = {activemq.port("stomp"), activemq.port("openwire")}
    listening = {
        connection.laddr
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port in ports
    }
    assert {address.port for address in listening} == ports
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_password_is_not_on_the_brokers_command_line(tmp_path: Path) -> None:
    """Other users of the machine can read command lines; the login travels in the environment."""
    spec = activemq_part(
        home=tmp_path,
        data_directory=tmp_path / "data",
        stomp_port=1,
        openwire_port=2,
        cache=jar_cache(),
        progress=SilentProgress(),
        password="hunter2",
    )
    assert not [word for word in spec.argv if "hunter2" in word]
    assert spec.environment["BROKER_PASSWORD"] == "hunter2"


def test_version_names_broker_jars_and_java(activemq: RunningPart) -> None:
    """The screen tells which broker runs, where its jars came from, and on which Java."""
    assert activemq.spec.is_real
    assert re.fullmatch(r"ActiveMQ Classic [56]\.\d+\.\d+ \(jars from .+\), Java \d+\S* \(/.+\)", activemq.spec.version)
