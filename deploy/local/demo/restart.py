"""Restart: bridge and broker are killed in the middle of 2,000 JMS messages; every message becomes exactly one row."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence

from penstock.bridge.v1 import route_pb2
from penstock.delivery.v1 import target_pb2
from penstock.persistence.v1 import persistence_service_pb2 as persistence_pb
from penstock.tracking.v1 import tracking_event_pb2 as event_pb

from deploy.local.demo.expectation import Expectation, StoryResult
from deploy.local.demo.session import Session, eventually
from deploy.local.jms import JmsMessage

QUEUE = "bulk"
MESSAGES = 2_000
_PAUSE_SECONDS = 0.2  # every look reads all rows


async def tell(session: Session, kill: Callable[[str], Awaitable[None]], messages: int = MESSAGES) -> StoryResult:
    """Send the messages, `kill` the bridge after a quarter of them, the broker after half; read what is stored."""
    program = f"restart-{uuid.uuid4().hex[:8]}"
    expected = {f"{program}-{number}" for number in range(messages)}
    await session.put_route(
        "bulk",
        route_pb2.Route(
            source=f"queue://{QUEUE}",
            targets=[target_pb2.Target(grpc=target_pb2.GrpcTarget(address=session.inside.address("persistence")))],
            batch=route_pb2.BatchSettings(max_messages=20),
            prefetch=100,
            retry=route_pb2.RetrySettings(max_attempts=100),
        ),
    )
    events = [event_pb.TrackingEvent(program_id=program, message_id=message_id) for message_id in sorted(expected)]
    sending = asyncio.create_task(
        asyncio.to_thread(session.jms.send, QUEUE, [JmsMessage(data=event.SerializeToString()) for event in events])
    )
    for part, victim in ((messages // 4, "bridge"), (messages // 2, "activemq")):
        await _stored_at_least(session, program, part)
        await kill(victim)
    sent = await sending
    await _stored_at_least(session, program, messages)
    stored = await _stored(session, program)
    return StoryResult(
        title=f"Restart: kill -9 of bridge and broker within {messages:,} messages",
        expectations=[
            Expectation(what="messages the producer sent", expected=str(messages), received=str(len(sent))),
            Expectation(what="events missing", expected="0", received=str(len(expected - set(stored)))),
            Expectation(what="rows", expected=str(messages), received=str(len(stored))),
        ],
    )


async def _stored_at_least(session: Session, program: str, count: int) -> None:
    async def enough() -> bool:
        return len(await _stored(session, program)) >= count

    await eventually(enough, f"{count} rows of {program} in persistence", patience=120, pause=_PAUSE_SECONDS)


async def _stored(session: Session, program: str) -> Sequence[str]:
    rows: list[str] = []
    request = persistence_pb.ListEventsRequest(program_id=program, page_size=1000)
    while True:
        response = await session.persistence.ListEvents(request)
        rows += [event.message_id for event in response.events]
        if not response.next_page_token:
            return rows
        request.page_token = response.next_page_token
