"""`make bench-persistence`: the SQLite store against a bare loop of `executemany`.

Both write the same rows to a table of the same shape, 500 at a time, each batch synchronised to the disk before the
next one. Ours answers for every row whether it is new, and hands each batch to a thread of its own.
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from bench.measure import Machine, Sample, Subject, compare, print_progress
from bench.report import publish
from bench.tracking_place import PROGRAMS, click
from services.persistence.record import EventRecord, record_of
from services.persistence.sqlite import _TABLES, SqliteEventStore
from services.persistence.store import PutOutcome

BATCH = 500
BATCHES = 200
IN_FLIGHT = 8
ONE_BY_ONE = Subject(
    key="sqlite_vs_executemany",
    what=f"SqliteEventStore.put, batches of {BATCH} one after the other, against executemany of the same rows",
    unit="events/s",
    floor=0.7,
)
TOGETHER = Subject(
    key="sqlite_together_vs_executemany",
    what=f"the same with {IN_FLIGHT} batches waiting together, which share transactions",
    unit="events/s",
    floor=0.7,
)
NOTES = (
    "both: write-ahead log, synchronous=FULL, the same table and indexes, random ids, events of 200 bytes, new files",
    "ours: an outcome per row, and a thread of its own; the peer: one thread that does nothing else",
)
_INSERT = "INSERT OR IGNORE INTO events (message_id, program_id, occurred_at, payload) VALUES (?, ?, ?, ?)"


def new_batches() -> list[list[EventRecord]]:
    """Rows that no file has yet."""
    return [[record_of(_event(number), now=0.0) for number in range(BATCH)] for _ in range(BATCHES)]


def _event(number: int) -> TrackingEvent:
    return click(str(uuid.uuid4()), PROGRAMS[number % len(PROGRAMS)])


async def our_round(path: Path, batches: Sequence[Sequence[EventRecord]], in_flight: int) -> Sample:
    """Store the batches, and check that every row was new."""
    room = asyncio.Semaphore(in_flight)
    async with SqliteEventStore(path) as store:

        async def put(batch: Sequence[EventRecord]) -> bool:
            async with room:
                return await store.put(batch) == [PutOutcome.STORED] * BATCH

        started = time.perf_counter()
        answers = await asyncio.gather(*(put(batch) for batch in batches))
        seconds = time.perf_counter() - started
    if not all(answers):
        raise RuntimeError("not every row was stored")
    check_rows(path)
    return Sample(work=BATCH * BATCHES, seconds=seconds)


def peer_round(path: Path, batches: Sequence[Sequence[EventRecord]]) -> Sample:
    """The bare loop."""
    rows = [
        [(record.message_id, record.program_id, record.occurred_at, record.payload) for record in batch]
        for batch in batches
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_TABLES)
        started = time.perf_counter()
        for batch in rows:
            connection.execute("BEGIN")
            connection.executemany(_INSERT, batch)
            connection.execute("COMMIT")
        seconds = time.perf_counter() - started
    check_rows(path)
    return Sample(work=BATCH * BATCHES, seconds=seconds)


def check_rows(path: Path) -> None:
    """Raise unless the file holds every row once."""
    with closing(sqlite3.connect(path)) as connection:
        [(found,)] = connection.execute("SELECT count(*) FROM events")
    if found != BATCH * BATCHES:
        raise RuntimeError(f"{path} holds {found} rows, {BATCH * BATCHES} were stored")


async def main() -> int:
    """Measure and publish. The exit code says nothing of the ratios: the results do."""
    numbers = count()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, Machine() as machine:
        comparisons = [
            await compare(
                subject,
                ours=lambda in_flight=in_flight: our_round(  # type: ignore[misc]
                    Path(directory, f"{next(numbers)}.sqlite3"), new_batches(), in_flight
                ),
                peer=lambda: asyncio.to_thread(peer_round, Path(directory, f"{next(numbers)}.sqlite3"), new_batches()),
                progress=print_progress,
            )
            for subject, in_flight in ((ONE_BY_ONE, 1), (TOGETHER, IN_FLIGHT))
        ]
    publish("persistence", comparisons, machine.figures(), NOTES)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
