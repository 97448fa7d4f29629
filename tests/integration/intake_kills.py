"""Killing an intake in the middle of a storm of events, and looking into its log for what it had acknowledged."""

import asyncio
import random
from collections.abc import Callable, Sequence

import grpc
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from tests.integration.tracking_harness import Intake

SENDERS = 8


def event(message_id: str, program_id: str = "p", *, size: int = 0) -> TrackingEvent:
    return TrackingEvent(program_id=program_id, message_id=message_id, user_agent="x" * size)


def events(name: str, count: int, *, size: int = 0) -> Sequence[TrackingEvent]:
    return [event(f"{name}-{number}", size=size) for number in range(count)]


async def killed_in_a_storm(where: Intake, name: str, *, after: int) -> set[str]:
    """The message ids it acknowledged until it was killed, which is when it had acknowledged `after` batches."""
    acknowledged: set[str] = set()
    batches = 0
    enough = asyncio.Event()

    async def send(sender: int) -> None:
        nonlocal batches
        number = 0
        while True:
            # Large events: more of what a wrong intake would confirm too early is still on its way to the file.
            batch = events(f"{name}-{sender}-{number}", 50, size=2000)
            outcomes = await where.track(*batch)
            assert set(outcomes) <= {"ACCEPTED", "UNVERIFIED"}
            acknowledged.update(one.message_id for one in batch)
            number += 1
            batches += 1
            if batches >= after:
                enough.set()

    senders = [asyncio.create_task(send(sender)) for sender in range(SENDERS)]
    await asyncio.wait_for(enough.wait(), 120)
    await where.part.kill()
    endings = await asyncio.gather(*senders, return_exceptions=True)
    assert all(isinstance(ending, grpc.aio.AioRpcError) for ending in endings), endings
    assert acknowledged
    return acknowledged


def kill_moments(seed: int) -> Callable[[], int]:
    """After how many batches to kill: any moment from the first answer on, early ones more often."""
    source = random.Random(seed)
    return lambda: 1 + int(120 * source.random() ** 2)
