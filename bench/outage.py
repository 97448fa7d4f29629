"""`make bench-outage`: the store is away for ten minutes, and comes back.

The intake takes events all the time, durable as always; its log keeps what cannot be shipped. Then the store, which is
real persistence on SQLite, comes back, and the intake ships what waits while new events keep coming at the same rate.

By default the outage is told by its amount: as many events as ten minutes bring, as fast as they can be sent. With
`--real-time` it lasts as long as it says.
"""

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.program_pb2 import Program
from penstock.tracking.v1.tracking_event_pb2 import TRACK_OUTCOME_ACCEPTED
from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

from bench.measure import CpuClock, Limit, Machine, Measurement, print_progress
from bench.report import publish
from bench.tracking_place import PROGRAMS, click
from deploy.local.part import SilentProgress
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from deploy.local.supervisor import Supervisor
from deploy.local.valkey import valkey_part
from services.runtime.channel import open_channel

CATCH_UP = Limit(
    key="catch_up_vs_intake",
    what="events shipped per second after an outage, while the intake goes on taking events, per event it takes",
    unit="",
    floor=5.0,
)
MEMORY = Limit(
    key="outage_memory_growth_percent",
    what="growth of the intake's resident memory from the middle of the outage to the end of catching up",
    unit="%",
    ceiling=5.0,
)
SLICES = 7
_BATCH, _PACES_PER_SECOND, _AT_A_TIME = 500, 10, 4
_FULL_WINDOW = 400_000  # message ids that an intake remembers at most: until then its memory grows
_SHIPPED = "penstock_tracking_shipped_total"

if TYPE_CHECKING:
    from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub


@dataclass(slots=True, kw_only=True)
class Intake:
    """A running intake, and the ids of everything it acknowledged."""

    stub: "TrackingServiceAsyncStub"
    clock: CpuClock
    metrics: str
    acknowledged: list[str] = field(default_factory=list)

    async def send(self, count: int) -> None:
        """Sends new events in one batch and checks that every one was accepted."""
        events = [click(str(uuid.uuid4()), PROGRAMS[number % len(PROGRAMS)]) for number in range(count)]
        response = await self.stub.BatchTrackEvents(pb.BatchTrackEventsRequest(events=events))
        if [result.outcome for result in response.results] != [TRACK_OUTCOME_ACCEPTED] * count:
            raise RuntimeError("an event was not accepted")
        self.acknowledged += [event.message_id for event in events]

    async def send_at(self, rate: int, seconds: float) -> None:
        """Sends at a rate in events per second, however long a single batch takes; for ever when told infinity."""
        started, sent = time.perf_counter(), 0
        size = max(rate // _PACES_PER_SECOND, 1)
        while sent < rate * seconds:
            await asyncio.sleep(started + sent / rate - time.perf_counter())
            await self.send(size)
            sent += size

    async def send_all(self, count: int) -> None:
        """Sends as fast as it goes."""
        batches = iter(range(count // _BATCH))

        async def send() -> None:
            for _ in batches:
                await self.send(_BATCH)

        await asyncio.gather(*(send() for _ in range(_AT_A_TIME)))

    async def shipped(self) -> int:
        """Events the store has taken, as the metrics say."""
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(self.metrics).read().decode())
        return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith(_SHIPPED))


@asynccontextmanager
async def setting(directory: Path) -> AsyncIterator[tuple[Intake, Supervisor]]:
    """Valkey and an intake; `persistence`, which it ships to, is added to the supervisor and not started."""
    redis, persistence, tracking, metrics = free_port_numbers(4)
    store = python_process(
        "persistence",
        "services.persistence",
        environment={
            "PENSTOCK_PERSISTENCE_PORT": str(persistence),
            "PENSTOCK_PERSISTENCE_METRICS_PORT": "0",
            "PENSTOCK_PERSISTENCE_DATABASE": str(directory / "persistence" / "events.sqlite3"),
        },
        data_directory=directory / "persistence",
        addresses={"grpc": f"127.0.0.1:{persistence}"},
    )
    intake = python_process(
        "tracking",
        "services.tracking",
        environment={
            "PENSTOCK_TRACKING_PORT": str(tracking),
            "PENSTOCK_TRACKING_METRICS_PORT": str(metrics),
            "PENSTOCK_TRACKING_HTTP_PORT": "0",
            "PENSTOCK_TRACKING_REDIS_URL": f"redis://127.0.0.1:{redis}/0",
            "PENSTOCK_TRACKING_PERSISTENCE_TARGET": f"127.0.0.1:{persistence}",
            "PENSTOCK_TRACKING_DATA_DIRECTORY": str(directory / "tracking"),
        },
        data_directory=directory / "tracking",
        addresses={"grpc": f"127.0.0.1:{tracking}"},
    )
    async with Supervisor(working_directory=directory, log_directory=directory / "logs") as supervisor:
        for part in (valkey_part(data_directory=directory / "valkey", port=redis, progress=SilentProgress()), intake):
            supervisor.add(part)
            await supervisor.start(part.name)
        supervisor.add(store)
        pid = next(int(status["pid"] or 0) for status in supervisor.status() if status["name"] == "tracking")
        async with open_channel(intake.addresses["grpc"]) as channel:
            stub = TrackingServiceStub(channel)
            for program_id in PROGRAMS:
                program = Program(program_id=program_id, name=f"Program {program_id}", enabled=True)
                await stub.PutProgram(pb.PutProgramRequest(program=program))
            metrics_url = f"http://127.0.0.1:{metrics}/metrics"
            yield Intake(stub=stub, clock=CpuClock(pid), metrics=metrics_url), supervisor


async def outage(intake: Intake, *, rate: int, seconds: float, real_time: bool) -> None:
    """Takes what comes during the outage."""
    if real_time:
        await intake.send_at(rate, seconds)
    else:
        await intake.send_all(int(rate * seconds))


async def catch_up(intake: Intake, rate: int) -> Sequence[tuple[float, int]]:
    """Returns when everything acknowledged is shipped: times in seconds, and how many events were shipped by then."""
    sending = asyncio.create_task(intake.send_at(rate, float("inf")))
    points: list[tuple[float, int]] = []
    while not points or points[-1][1] < len(intake.acknowledged) - rate // _PACES_PER_SECOND:
        points.append((time.perf_counter(), await intake.shipped()))
        await asyncio.sleep(0.05)
        if sending.done():
            sending.result()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return points


def slice_rates(points: Sequence[tuple[float, int]]) -> list[float]:
    """Events per second in each seventh of what was shipped, from the first event shipped on."""
    first = max(index for index, (_, shipped) in enumerate(points) if shipped == points[0][1])
    points = points[first:]
    total = points[-1][1] - points[0][1]
    rates: list[float] = []
    began, before = points[0]
    for moment, shipped in points[1:]:
        if shipped - points[0][1] >= total * (len(rates) + 1) / SLICES:
            rates.append((shipped - before) / (moment - began))
            began, before = moment, shipped
    return rates


async def check_rows(database: Path, intake: Intake) -> None:
    """Raise unless the store has every acknowledged event, and every one once."""
    async with asyncio.timeout(60):
        while await intake.shipped() < len(intake.acknowledged):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        rows = [row[0] for row in connection.execute("SELECT message_id FROM events")]
    lost = set(intake.acknowledged) - set(rows)
    if lost or len(rows) != len(intake.acknowledged):
        raise RuntimeError(f"{len(intake.acknowledged)} events acknowledged, {len(rows)} rows, {len(lost)} lost")


async def main(rate: int = 2000, seconds: float = 600.0, *, real_time: bool = False) -> int:
    """Measure and publish, outages in real time by a name of their own. The exit code says nothing: the results do."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, Machine() as machine:
        async with setting(Path(directory)) as (intake, supervisor):
            await outage(intake, rate=rate, seconds=seconds / 2, real_time=real_time)
            before = intake.clock.resident_bytes
            await outage(intake, rate=rate, seconds=seconds / 2, real_time=real_time)
            waiting = len(intake.acknowledged)
            print_progress(f"{CATCH_UP.key}: {waiting:,} events wait in the log; now the store comes back")
            await supervisor.start("persistence")
            points = await catch_up(intake, rate)
            after = intake.clock.resident_bytes
            await check_rows(Path(directory, "persistence", "events.sqlite3"), intake)
    elapsed = points[-1][0] - points[0][0]
    total = len(intake.acknowledged)
    notes = (
        f"{waiting:,} events waited, {seconds:g} s at {rate:,} per second"
        + (", in real time" if real_time else ", sent as fast as the intake takes them"),
        f"caught up after {elapsed:.1f} s, while {total - waiting:,} more events came",
        f"{total:,} rows in the store afterwards, one for each acknowledged event",
        "the store: persistence on SQLite, every transaction synchronised; client and processes share the CPUs",
        f"one value for each of {SLICES} equal parts of what was shipped",
    )
    ratios = [value / rate for value in slice_rates(points)]
    measurements = [Measurement(limit=CATCH_UP, values=ratios)]
    if waiting // 2 >= _FULL_WINDOW:
        measurements.append(Measurement(limit=MEMORY, values=[(after - before) / before * 100]))
    publish("outage_in_real_time" if real_time else "outage", [], machine.figures(), notes, measurements)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2000, help="events per second that come in")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the store is away")
    parser.add_argument("--real-time", action="store_true", help="let the outage last that long")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.rate, options.seconds, real_time=options.real_time)))
