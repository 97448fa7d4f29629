"""Request and reply: what a target answers reaches the JMS client that asked, on its temporary queue."""

import asyncio
import os
import subprocess
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from penstock.delivery.v1 import broker_message_pb2, delivery_service_pb2

from deploy.local.jars import DEFAULT_LINE
from deploy.local.jms import JmsClient, JmsMessage, find_jms_client
from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from tests.integration.bridge_harness import (
    RecordingService,
    RunningBridge,
    accepted,
    bridge_settings,
    eventually,
    running_bridge,
)
from tests.integration.http_place import OtherPlace, Response
from tests.integration.parts import RunningPart
from tests.integration.target_places import invocations

REQUESTER = Path(__file__).parents[1] / "jms" / "JmsRequester.java"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    kind: str
    status: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """The Java client, run from its source."""

    jms: JmsClient

    async def ask(self, queue: str, texts: Sequence[str], *, timeout_ms: int = 20_000) -> dict[str, Answer]:
        """The answers by correlation id, `c-0` for the first text."""
        argv = [str(self.jms.java.executable), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        argv += ["-cp", self.jms.class_path, str(REQUESTER), self.jms.broker_url, queue, str(timeout_ms)]
        done = await asyncio.to_thread(
            subprocess.run,
            argv,
            input="".join(f"{b64encode(text.encode()).decode()}\n" for text in texts),
            env={**os.environ, "JMS_USER": self.jms.user, "JMS_PASSWORD": self.jms.password},
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=60,
        )
        lines = [line.split(" ") for line in done.stdout.splitlines()]
        return {name: Answer(kind=kind, status=status, body=b64decode(body)) for name, kind, status, body in lines}


@pytest.fixture
def requester(jms: JmsClient) -> Requester:
    if not jms.java.has_compiler:
        pytest.skip("the Java here has no compiler, which running JmsRequester.java needs")
    # Its source is of javax JMS, whichever broker it asks.
    return Requester(jms=find_jms_client(jms.broker_url, line=DEFAULT_LINE))


@pytest.fixture
def service(service: RecordingService) -> RecordingService:
    service.decide = answering
    return service


@pytest.fixture
def queue() -> str:
    return f"replies-{uuid4().hex[:8]}"


def answering(message: broker_message_pb2.BrokerMessage) -> delivery_service_pb2.DeliveryResult:
    """The text again, or its bytes where it asks for bytes."""
    result = accepted()
    if message.text == "bytes":
        result.reply.data = b"\x00\xff"
    else:
        result.reply.text = f"{message.text} too"
        result.reply.properties["status"] = "ok"
    return result


def route(queue: str, service: RecordingService) -> dict[str, object]:
    return {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}]}


async def test_answers_reach_the_temporary_queue_of_the_sender(
    bridge: RunningBridge, service: RecordingService, queue: str, requester: Requester
) -> None:
    """Text and bytes, with correlation id and properties, every character exact."""
    await bridge.put("asked", route(queue, service))
    texts = ["hello", "zażółć 😀 \x00 \U0010ffff", "bytes"]
    answers = await requester.ask(queue, texts)
    assert answers == {
        "c-0": Answer(kind="text", status="ok", body=b"hello too"),
        "c-1": Answer(kind="text", status="ok", body=f"{texts[1]} too".encode()),
        "c-2": Answer(kind="bytes", status="null", body=b"\x00\xff"),
    }
    stats = await bridge.stats("asked")
    assert (stats.replies, stats.late_replies) == (3, 0)


async def test_an_answer_to_a_sender_that_has_left_is_counted_and_not_repeated(
    bridge: RunningBridge, service: RecordingService, queue: str, requester: Requester
) -> None:
    """The message is settled all the same; later answers are not held up."""
    left = asyncio.Event()

    async def until_left() -> None:
        await left.wait()

    service.before = until_left
    await bridge.put("late", route(queue, service))
    await requester.ask(queue, ["hello"], timeout_ms=0)
    left.set()

    async def settled() -> bool:
        stats = await bridge.stats("late")
        return (stats.settled, stats.late_replies, stats.replies) == (1, 1, 0)

    await eventually(settled, "settled, its answer counted as late")
    assert set(service.times_delivered.values()) == {1}
    assert (await requester.ask(queue, ["again"]))["c-0"].body == b"again too"


async def test_answers_reach_named_queues_with_the_message_id_where_there_is_no_correlation_id(
    bridge: RunningBridge, service: RecordingService, queue: str, jms: JmsClient
) -> None:
    """As JMS clients expect it; a message that asks for no answer gets none."""
    await bridge.put("named", route(queue, service))
    messages = [asking("hello", f"{queue}-answers"), JmsMessage(text="no answer")]
    identity, _ = await asyncio.to_thread(jms.send, queue, messages)
    await eventually(lambda: len(service.messages) == 2, "both delivered")
    (answer,) = (await asyncio.to_thread(jms.drain, f"{queue}-answers")).messages
    assert (answer.body, answer.headers["correlation-id"]) == ("hello too", identity)
    assert (await bridge.stats("named")).replies == 1


@pytest.fixture
async def lambda_bridge(
    activemq: RunningPart, valkey: RunningPart, endpoint: LambdaEndpoint, aws_login: None
) -> AsyncIterator[RunningBridge]:
    """A bridge whose functions run under the runtime client of Lambda."""
    del aws_login
    url = f"http://127.0.0.1:{endpoint.port}"
    async with running_bridge(bridge_settings(activemq, valkey, lambda_endpoint_url=url)) as running:
        yield running


def asking(text: str, queue: str) -> JmsMessage:
    """A message whose sender waits on a queue of that name."""
    return JmsMessage(text=text, headers={"reply-to": queue})


async def eventually_settled(bridge: RunningBridge, route: str, count: int) -> None:
    async def settled() -> bool:
        return (await bridge.stats(route)).settled == count

    await eventually(settled, f"{count} settled")


def to_function(queue: str, name: str, **more: str) -> dict[str, object]:
    """Of a batch, what is sent within the window."""
    return {
        "source": f"queue://{queue}",
        "targets": [{"lambda_function": {"function_name": name, **more}}],
        "batch": {"window": "0.3s"},
        "retry": {"initial_backoff": "0.02s", "max_backoff": "0.05s"},
    }


async def test_a_function_answers_the_sender_of_each_message_of_its_batch(
    lambda_bridge: RunningBridge, endpoint: LambdaEndpoint, queue: str, requester: Requester, jms: JmsClient
) -> None:
    """What it failed is answered when it succeeds; a reply nobody can read and one to nobody are only counted."""
    await lambda_bridge.put("answers", to_function(queue, "answer", replies="LAMBDA_REPLIES_ANSWER"))
    await asyncio.to_thread(jms.send, queue, [asking("garbage", f"{queue}-answers")])
    texts = ["zażółć 😀 \x00", "bytes", "fail once"]
    assert await requester.ask(queue, texts) == {
        "c-0": Answer(kind="text", status="null", body=f"{texts[0]} too".encode()),
        "c-1": Answer(kind="bytes", status="ok", body=b"\x00\xff"),
        "c-2": Answer(kind="text", status="null", body=b"fail once too"),
    }
    await eventually_settled(lambda_bridge, "answers", 4)
    assert (await asyncio.to_thread(jms.drain, f"{queue}-answers")).count == 0
    batches = await invocations(endpoint, "answer")
    stats = await lambda_bridge.stats("answers")
    assert stats.dead_lettered == 0
    assert (stats.replies, stats.late_replies) == (3, 0)
    assert stats.unsent_replies == len(batches) + 1, "a stray reply in each, and one that is garbage"
    assert max(len(batch["payload"]["messages"]) for batch in batches) > 1, "no batch was made"


async def test_the_answer_to_a_simple_event_is_the_reply(
    lambda_bridge: RunningBridge, queue: str, requester: Requester
) -> None:
    """As the senders of request and reply over the aws-samples bridge would have it."""
    more = {"event_format": "LAMBDA_EVENT_FORMAT_SIMPLE", "replies": "LAMBDA_REPLIES_ANSWER"}
    await lambda_bridge.put("simple", to_function(queue, "simple", **more))
    assert (await requester.ask(queue, ["zażółć"]))["c-0"].body.decode() == "zażółć"


async def test_a_function_whose_answers_are_no_replies_sends_none(
    lambda_bridge: RunningBridge, queue: str, jms: JmsClient
) -> None:
    """Replies are asked for by the route."""
    await lambda_bridge.put("silent", to_function(queue, "answer"))
    texts = ("hello", "garbage")
    await asyncio.to_thread(jms.send, queue, [asking(text, f"{queue}-answers") for text in texts])
    await eventually_settled(lambda_bridge, "silent", 2)
    assert (await asyncio.to_thread(jms.drain, f"{queue}-answers")).count == 0
    stats = await lambda_bridge.stats("silent")
    assert (stats.delivered, stats.replies, stats.late_replies, stats.unsent_replies) == (2, 0, 0, 0)


async def test_an_http_endpoint_answers_the_sender_where_the_route_says_so(
    bridge: RunningBridge, queue: str, jms: JmsClient
) -> None:
    """What it answers without, and what is too long, is no reply."""
    plain = ("Content-Type", "text/plain; charset=utf-8")
    with (
        OtherPlace(Response(headers=(plain,), body="zażółć".encode())) as place,
        OtherPlace(Response(headers=(plain,), body=b"x" * 100_000)) as verbose,
    ):
        targets = [
            {"http": {"url": f"http://{place.address}/", "replies": "HTTP_REPLIES_ANSWER"}},
            {"http": {"url": f"http://{verbose.address}/", "replies": "HTTP_REPLIES_ANSWER"}},
            {"http": {"url": f"http://{place.address}/silent"}},
        ]
        await bridge.put("http", {"source": f"queue://{queue}", "targets": targets})
        await asyncio.to_thread(jms.send, queue, [asking("hello", f"{queue}-answers")])
        await eventually_settled(bridge, "http", 1)
    (answer,) = (await asyncio.to_thread(jms.drain, f"{queue}-answers")).messages
    assert answer.body == "zażółć"
    stats = await bridge.stats("http")
    assert (stats.replies, stats.unsent_replies, stats.dead_lettered) == (1, 1, 0)
