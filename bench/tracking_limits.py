"""What the intake is measured by without a peer: a check from memory, CPU per event in large batches, memory."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count

import grpc
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TRACK_OUTCOME_ACCEPTED

from bench.measure import Limit, Measurement, print_progress
from bench.tracking_place import BATCH_SHAPE, Setting, Shape, new_message_ids, request_of
from services.runtime.channel import open_channel
from services.tracking.lookup import ProgramLookup
from services.tracking.program import Program
from services.tracking.program_store import MemoryProgramStore

CACHED_CHECK = Limit(
    key="cached_check_us", what="find a program in the full L1 cache of 100,000 and judge it", unit="µs", ceiling=5.0
)
BATCH500 = Limit(
    key="batch500_events_per_cpu_second",
    what="BatchTrackEvents of 500 events, validated and durable: events per second of the intake's CPU time",
    unit="events",
    floor=100_000,
)
MEMORY = Limit(
    key="memory_growth_percent",
    what="growth of the intake's resident memory over a million events, every tenth call cancelled",
    unit="%",
    ceiling=5.0,
)
ROUNDS = 7
_PROGRAMS, _CHECKS = 100_000, 20_000
_BATCH500_SHAPE = Shape(size=500, calls=100, connections=1, streams=4)
_MEMORY_CALLS, _WARM_UP_CALLS, _CANCEL_EVERY, _AT_A_TIME = 10_000, 6_000, 10, 8


async def cached_check() -> Measurement:
    """As the intake does it for each program of a batch: find it, and see whether it is valid now."""
    store = MemoryProgramStore()
    lookup = ProgramLookup(store, size=_PROGRAMS)
    following = asyncio.create_task(lookup.follow())
    await asyncio.sleep(0)  # nothing is kept before the lookup follows the store
    names = [f"program-{number}" for number in range(_PROGRAMS)]
    for name in names:
        await store.put(Program(program_id=name, valid_until=4e9))
    await lookup.find(names)
    store.reads.clear()
    values = []
    for start in range(ROUNDS):
        chosen = names[start :: _PROGRAMS // _CHECKS]
        started = time.perf_counter()
        for name in chosen:
            found = (await lookup.find((name,)))[name]
            if not isinstance(found, Program) or found.refusal(1e9):
                raise RuntimeError(f"{name} was not found in the cache, or refused")
        values.append((time.perf_counter() - started) / len(chosen) * 1e6)
    following.cancel()
    if store.reads:
        raise RuntimeError("a check asked the store")
    return Measurement(limit=CACHED_CHECK, values=values)


async def batch500(place: Setting) -> Measurement:
    """With gRPC's own client, whose CPU time does not count."""
    values = []
    async with open_channel(place.ours.address) as channel:
        call = channel.unary_unary(
            _BATCH500_SHAPE.method, request_serializer=_as_it_is, response_deserializer=_as_it_is
        )
        for number in range(ROUNDS + 1):
            ids = new_message_ids(_BATCH500_SHAPE)
            requests = [request_of(ids[start : start + 500]) for start in range(0, len(ids), 500)]
            place.ours.clock.restart()
            responses = await _all(call, requests)
            rate = len(ids) / place.ours.clock.seconds
            _require_accepted(responses, len(ids))
            await place.stored(ids[-1])
            print_progress(f"{BATCH500.key}: round {number} of {ROUNDS}, {rate:,.0f} events")
            if number:
                values.append(rate)
    return Measurement(limit=BATCH500, values=values)


async def memory(place: Setting) -> Measurement:
    """The window of message ids is filled first; both times the store has everything before memory is read."""
    async with open_channel(place.ours.address) as channel:
        call = channel.unary_unary(BATCH_SHAPE.method, request_serializer=_as_it_is, response_deserializer=_as_it_is)
        await _send_and_cancel(place, call, _WARM_UP_CALLS)
        before = place.ours.clock.resident_bytes
        await _send_and_cancel(place, call, _MEMORY_CALLS)
        after = place.ours.clock.resident_bytes
    print_progress(f"{MEMORY.key}: {before:,} bytes before, {after:,} after")
    return Measurement(limit=MEMORY, values=[(after - before) / before * 100])


async def _send_and_cancel(place: Setting, call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", calls: int) -> None:
    numbers = count()

    async def send() -> None:
        while (number := next(numbers)) < calls:
            request = request_of(new_message_ids(Shape(size=100, calls=1, connections=1, streams=1)))
            answer = call(request)
            if number % _CANCEL_EVERY == 0:
                await asyncio.sleep(0.001)  # it has arrived, or is on its way
                answer.cancel()
                continue
            _require_accepted([await answer], 100)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_A_TIME):
            group.create_task(send())
    last = new_message_ids(Shape(size=2, calls=1, connections=1, streams=1))
    await call(request_of(last))
    await place.stored(last[-1])


async def _all(call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", requests: Sequence[bytes]) -> Sequence[bytes]:
    work, responses = iter(requests), list[bytes]()

    async def send() -> None:
        for request in work:
            responses.append(await call(request))

    await asyncio.gather(*(send() for _ in range(_BATCH500_SHAPE.streams)))
    return responses


def _as_it_is(data: bytes) -> bytes:
    return data


def _require_accepted(responses: Sequence[bytes], events: int) -> None:
    outcomes = [
        result.outcome for response in responses for result in pb.BatchTrackEventsResponse.FromString(response).results
    ]
    if outcomes != [TRACK_OUTCOME_ACCEPTED] * events:
        raise RuntimeError("an event was not accepted")
