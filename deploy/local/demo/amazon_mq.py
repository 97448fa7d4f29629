"""Amazon MQ to Lambda: a JMS message invokes a function; when that fails every time, the message is a dead letter."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import duration_pb2
from penstock.bridge.v1 import bridge_service_pb2 as bridge_pb
from penstock.bridge.v1 import route_pb2
from penstock.delivery.v1 import target_pb2

from deploy.local.demo.expectation import Expectation, StoryResult
from deploy.local.demo.session import Session, eventually
from deploy.local.jms import JmsMessage

QUEUE = "SAMPLE_QUEUE"
FAILING_QUEUE = "FAILING_QUEUE"
ATTEMPTS = 3
TEXT = "Hello from JMS"


async def tell(session: Session) -> StoryResult:
    """Send one message to each queue; read the invocation record and the dead letter."""
    return StoryResult(
        title="Amazon MQ to Lambda",
        expectations=[*await _a_function_that_works(session), *await _a_function_that_fails(session)],
    )


async def _a_function_that_works(session: Session) -> Sequence[Expectation]:
    await session.put_route("sample", _route(QUEUE, "sample-function"))
    before = len(await session.invocations("sample-function"))
    [message_id] = await asyncio.to_thread(session.jms.send, QUEUE, [JmsMessage(text=TEXT)])

    async def new_invocations() -> Sequence[Mapping[str, Any]]:
        return (await session.invocations("sample-function"))[before:]

    records = await eventually(new_invocations, "an invocation of sample-function")
    event = records[0]["payload"]
    message = event["messages"][0]
    return [
        Expectation(what="invocations", expected="1 success", received=f"{len(records)} {records[0]['outcome']}"),
        Expectation(what="eventSource", expected="aws:mq", received=str(event["eventSource"])),
        Expectation(what="messageID", expected=message_id, received=str(message["messageID"])),
        Expectation(what="messageType", expected="jms/text-message", received=str(message["messageType"])),
        Expectation(what="destination", expected=QUEUE, received=str(message["destination"]["physicalName"])),
        Expectation(what="data", expected=TEXT, received=base64.b64decode(message["data"]).decode()),
    ]


async def _a_function_that_fails(session: Session) -> Sequence[Expectation]:
    await session.put_route("failing", _route(FAILING_QUEUE, "always-fails"))
    before = len(await session.invocations("always-fails"))
    [message_id] = await asyncio.to_thread(session.jms.send, FAILING_QUEUE, [JmsMessage(text=TEXT)])

    async def dead_letter() -> bridge_pb.DeadLetter | None:
        letters = await session.dead_letters(f"queue://{FAILING_QUEUE}")
        return next((letter for letter in letters if letter.original_message_id == message_id), None)

    letter = await eventually(dead_letter, f"a dead letter of {FAILING_QUEUE}")
    invocations = len(await session.invocations("always-fails")) - before
    return [
        Expectation(what="attempts", expected=str(ATTEMPTS), received=str(invocations)),
        Expectation(
            what="dead letter queue", expected=f"queue://DLQ.{FAILING_QUEUE}", received=letter.dead_letter_queue
        ),
        Expectation(what="attempts it names", expected=str(ATTEMPTS), received=str(letter.attempts)),
        Expectation(
            what="original destination", expected=f"queue://{FAILING_QUEUE}", received=letter.original_destination
        ),
        Expectation(
            what="reason",
            expected=f"names the function's error: cannot work on {message_id}",
            received=f"names the function's error: cannot work on {message_id}"
            if f"cannot work on {message_id}" in letter.reason
            else letter.reason,
        ),
    ]


def _route(queue: str, function: str) -> route_pb2.Route:
    return route_pb2.Route(
        source=f"queue://{queue}",
        targets=[target_pb2.Target(lambda_function=target_pb2.LambdaTarget(function_name=function))],
        retry=route_pb2.RetrySettings(
            max_attempts=ATTEMPTS, initial_backoff=duration_pb2.Duration(nanos=100_000_000), multiplier=2
        ),
    )
