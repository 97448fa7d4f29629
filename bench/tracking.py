"""`make bench-tracking`: the intake, validating and durable, against servers that only answer.

Ours is the whole intake: every event is checked against the L1 cache in front of a real Valkey, written to the log and
synchronised to the disk before it is answered, and shipped. What it is shipped to is a lean process that takes it and
afterwards tells which events it took, since nobody runs the store on the CPUs of the intake; a row of its own shows the
same with the persistence service on SQLite beside it.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench.http_load import drive_http, get
from bench.measure import Comparison, Machine, Sample, Subject, compare, print_progress
from bench.report import publish
from bench.tracking_limits import batch500, cached_check, memory
from bench.tracking_place import BATCH_SHAPE, PROGRAMS, UNARY_SHAPE, Server, Setting, check_answers, setting

UNARY = Subject(
    key="unary_vs_echo",
    what="TrackEvent, validated and durable, against raw grpc.aio on uvloop that echoes",
    unit="events/s",
    floor=0.6,
)
BATCH = Subject(
    key="batch100_vs_echo",
    what="BatchTrackEvents of 100 events, validated and durable, against the same echo with a result per event",
    unit="events/s",
    floor=0.6,
)
BESIDE_STORE = Subject(
    key="batch100_beside_sqlite_vs_echo",
    what="the same, while the persistence service stores the events in SQLite on the same CPUs",
    unit="events/s",
    floor=None,
)
HTTP = Subject(
    key="http_vs_raw_asgi",
    what="GET /event/{program_id}, validated and durable, against a raw ASGI answer on the same server (granian)",
    unit="events/s",
    floor=0.6,
)
SHAPES = {UNARY: UNARY_SHAPE, BATCH: BATCH_SHAPE, BESIDE_STORE: BATCH_SHAPE}
NOTES = (
    "ours: L1 before Valkey, log synchronised before the answer, shipping meanwhile to a sink that stores nothing",
    "after each round the sink must have taken every accepted event once, and no other",
    "batch100_beside_sqlite_vs_echo: shipping to the persistence service instead, which takes CPU from the intake",
    "CPU is that of the serving process; the client, Valkey and the sink share the CPUs with it",
    "memory: resident size before and after a million events in batches of 100, every tenth call cancelled",
)
HTTP_REQUESTS, HTTP_CONNECTIONS = 8000, 256


async def main() -> int:
    """Measure and publish. The exit code says nothing of the ratios: the results do."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, Machine() as machine:
        async with setting(Path(directory, "lean"), lean=True) as place:
            await check_answers(place)
            comparisons = [await compared(place, subject) for subject in (UNARY, BATCH)]
            http = await compared_http(place)
            measurements = [await cached_check(), await batch500(place), await memory(place)]
        async with setting(Path(directory, "store"), lean=False) as place:
            await check_answers(place)
            comparisons += [await compared(place, BESIDE_STORE), http]
    publish("tracking", comparisons, machine.figures(), NOTES, measurements)
    return 0


async def compared(place: Setting, subject: Subject) -> Comparison:
    shape = SHAPES[subject]
    return await compare(
        subject, ours=lambda: place.our_round(shape), peer=lambda: place.peer_round(shape), progress=print_progress
    )


async def compared_http(place: Setting) -> Comparison:
    return await compare(
        HTTP,
        ours=lambda: our_http_round(place),
        peer=lambda: peer_http_round(place),
        progress=print_progress,
    )


async def our_http_round(place: Setting) -> Sample:
    """One round; the ids in the answers are those of the events that were shipped."""
    sample, responses = await http_round(place.ours)
    await place.settled([str(orjson.loads(response)["message_id"]) for response in responses])
    return sample


async def peer_http_round(place: Setting) -> Sample:
    sample, _ = await http_round(place.raw_http)
    return sample


async def http_round(server: Server) -> tuple[Sample, Sequence[bytes]]:
    """Clicks without a message id: the intake makes one for each."""
    requests = [get(f"/event/{PROGRAMS[index % len(PROGRAMS)]}", server.http) for index in range(HTTP_REQUESTS)]
    server.clock.restart()
    result = await drive_http(server.http, requests, connections=HTTP_CONNECTIONS)
    cpu_seconds = server.clock.seconds
    if not all(b'"outcome":"ACCEPTED"' in response for response in result.responses):
        raise RuntimeError("a click was not accepted")
    return Sample(work=len(requests), seconds=result.seconds, cpu_seconds=cpu_seconds), result.responses


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
