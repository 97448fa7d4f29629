"""The processes of the tracking bench, what they are sent, and the checks of what they answer."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from penstock.persistence.v1.persistence_service_pb2 import GetEventRequest
from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub
from penstock.tracking.v1 import tracking_event_pb2 as event_pb
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.program_pb2 import Program
from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

from bench.load import drive
from bench.measure import CpuClock, Sample
from bench.sink import TAKEN_METHOD
from deploy.local.part import PartSpec, SilentProgress
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from deploy.local.supervisor import Supervisor
from deploy.local.valkey import valkey_part
from services.runtime.channel import open_channel

if TYPE_CHECKING:
    from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceAsyncStub

PROGRAMS = ("212312", "212313", "212314")
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
_SERVICE = "/penstock.tracking.v1.TrackingService"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How events are sent: `calls` calls of `size` events in a round, over connections with so many calls in flight."""

    size: int
    calls: int
    connections: int
    streams: int

    @property
    def method(self) -> str:
        return f"{_SERVICE}/{'TrackEvent' if self.size == 1 else 'BatchTrackEvents'}"


UNARY_SHAPE = Shape(size=1, calls=4000, connections=8, streams=32)
"""Enough calls in flight to keep a server busy, as many clients would."""
BATCH_SHAPE = Shape(size=100, calls=600, connections=4, streams=8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A process that serves TrackingService."""

    address: str
    clock: CpuClock
    http: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Both servers, and the store behind ours."""

    ours: Server
    peer: Server
    raw_http: Server
    store: "PersistenceServiceAsyncStub"
    taken: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] | None"
    """Of the lean sink, see `sink`; None beside the real store."""

    async def our_round(self, shape: Shape) -> Sample:
        """One round; it ends, beyond the measured time, when the store has the last event and no longer disturbs."""
        message_ids = new_message_ids(shape)
        sample = await one_round(self.ours, shape, message_ids)
        await self.settled(message_ids)
        return sample

    async def settled(self, message_ids: Sequence[str]) -> None:
        """Return when the store has these events, the last of which was accepted last.

        A lean sink must have taken each of them once, and nothing else since it was asked before.
        """
        if self.taken is None:
            await self.stored(message_ids[-1])
            return
        taken: list[str] = []
        async with asyncio.timeout(60):
            while len(taken) < len(message_ids):
                await asyncio.sleep(0.05)
                taken += (await self.taken(b"")).decode().split()
        if sorted(taken) != sorted(message_ids):
            raise RuntimeError("what the sink took is not what was accepted")

    async def peer_round(self, shape: Shape) -> Sample:
        return await one_round(self.peer, shape, new_message_ids(shape))

    async def stored(self, message_id: str) -> None:
        """Return when the store has the event."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.store.GetEvent(GetEventRequest(message_id=message_id))
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:
                        raise
                    await asyncio.sleep(0.05)
                else:
                    return


async def one_round(server: Server, shape: Shape, message_ids: list[str]) -> Sample:
    """Send new events and check that each was accepted."""
    requests = [request_of(message_ids[start : start + shape.size]) for start in range(0, len(message_ids), shape.size)]
    server.clock.restart()
    result = await drive(server.address, shape.method, requests, connections=shape.connections, streams=shape.streams)
    cpu_seconds = server.clock.seconds
    check_responses(shape, result.responses, message_ids)
    return Sample(work=len(message_ids), seconds=result.seconds, cpu_seconds=cpu_seconds)


def new_message_ids(shape: Shape) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(shape.calls * shape.size)]


def request_of(message_ids: list[str]) -> bytes:
    """A serialized request with an event per id, TrackEventRequest for a single one."""
    events = [click(message_id, PROGRAMS[index % len(PROGRAMS)]) for index, message_id in enumerate(message_ids)]
    if len(events) == 1:
        return pb.TrackEventRequest(event=events[0]).SerializeToString()
    return pb.BatchTrackEventsRequest(events=events).SerializeToString()


def click(message_id: str, program_id: str) -> event_pb.TrackingEvent:
    """An event of about 200 bytes."""
    event = event_pb.TrackingEvent(
        message_id=message_id,
        program_id=program_id,
        user_agent=USER_AGENT,
        event_type=event_pb.EVENT_TYPE_CLICK,
        cookie_id="c-5f3a9d",
    )
    event.occurred_at.GetCurrentTime()
    return event


def check_responses(shape: Shape, responses: Sequence[bytes], message_ids: list[str]) -> None:
    """Raise unless every event was accepted, in order."""
    results: list[pb.TrackResult] = []
    for response in responses:
        if shape.size == 1:
            results.append(pb.TrackEventResponse.FromString(response).result)
        else:
            results.extend(pb.BatchTrackEventsResponse.FromString(response).results)
    answers = [(result.message_id, result.outcome) for result in results]
    if answers != [(message_id, event_pb.TRACK_OUTCOME_ACCEPTED) for message_id in message_ids]:
        raise RuntimeError(f"not every event was accepted, e.g. {next(iter(results), 'no answer at all')}")


async def check_answers(place: Setting) -> None:
    """Through grpc's own client: good events are accepted and stored, a repetition and an unknown program are told."""
    for server in (place.ours, place.peer):
        for shape in (UNARY_SHAPE, BATCH_SHAPE):
            message_ids = new_message_ids(shape)[: 2 * shape.size]
            await one_round(server, shape, message_ids)
    async with open_channel(place.ours.address) as channel:
        stub = TrackingServiceStub(channel)
        good, unknown = click(str(uuid.uuid4()), PROGRAMS[0]), click(str(uuid.uuid4()), "nobody")
        response = await stub.BatchTrackEvents(pb.BatchTrackEventsRequest(events=[good, good, unknown]))
        outcomes = [result.outcome for result in response.results]
        expected = [
            event_pb.TRACK_OUTCOME_ACCEPTED,
            event_pb.TRACK_OUTCOME_DUPLICATE,
            event_pb.TRACK_OUTCOME_UNKNOWN_PROGRAM,
        ]
        if outcomes != expected:
            raise RuntimeError(f"the intake answered {outcomes}, expected {expected}")
        await place.stored(good.message_id)
    if place.taken is not None:
        await place.taken(b"")


@asynccontextmanager
async def setting(directory: Path, *, lean: bool) -> AsyncIterator[Setting]:
    """Valkey, a store, the intake and the echo as processes of their own, and three programs.

    The store is the persistence service on SQLite, or, where it shall be `lean`, one that only takes: see `sink`.
    """
    specs = describe(directory, lean=lean)
    async with Supervisor(working_directory=directory, log_directory=directory / "logs") as supervisor:
        for spec in specs:
            supervisor.add(spec)
            await supervisor.start(spec.name)
        pids = {str(status["name"]): int(status["pid"] or 0) for status in supervisor.status()}
        addresses = {spec.name: spec.addresses.get("grpc", "") for spec in specs}
        servers = {
            spec.name: Server(
                address=addresses[spec.name], clock=CpuClock(pids[spec.name]), http=spec.addresses.get("http", "")
            )
            for spec in specs
        }
        async with open_channel(addresses["tracking"]) as intake, open_channel(addresses["persistence"]) as store:
            for program_id in PROGRAMS:
                program = Program(program_id=program_id, name=f"Program {program_id}", customer_id=1, enabled=True)
                await TrackingServiceStub(intake).PutProgram(pb.PutProgramRequest(program=program))
            yield Setting(
                ours=servers["tracking"],
                peer=servers["echo"],
                raw_http=servers["raw-asgi"],
                store=PersistenceServiceStub(store),
                taken=store.unary_unary(TAKEN_METHOD) if lean else None,
            )


def describe(directory: Path, *, lean: bool) -> list[PartSpec]:
    """The processes, in the order they are started."""
    redis, persistence, tracking, http, echo, raw, raw_http = free_port_numbers(7)
    return [
        valkey_part(data_directory=directory / "valkey", port=redis, progress=SilentProgress()),
        _store(persistence, directory, lean=lean),
        _service(
            "tracking",
            tracking,
            directory,
            {
                "PENSTOCK_TRACKING_HTTP_PORT": str(http),
                "PENSTOCK_TRACKING_REDIS_URL": f"redis://127.0.0.1:{redis}/0",
                "PENSTOCK_TRACKING_PERSISTENCE_TARGET": f"127.0.0.1:{persistence}",
                "PENSTOCK_TRACKING_DATA_DIRECTORY": str(directory / "tracking"),
            },
            http=http,
        ),
        _bench_process("echo", "bench.echo", echo, directory),
        python_process(
            "raw-asgi",
            "bench.raw_asgi",
            environment={"BENCH_PORT": str(raw), "BENCH_HTTP_PORT": str(raw_http)},
            data_directory=directory / "raw-asgi",
            addresses={"grpc": f"127.0.0.1:{raw}", "http": f"127.0.0.1:{raw_http}"},
        ),
    ]


def _store(port: int, directory: Path, *, lean: bool) -> PartSpec:
    if lean:
        return _bench_process("persistence", "bench.sink", port, directory)
    database = str(directory / "persistence" / "events.sqlite3")
    return _service("persistence", port, directory, {"PENSTOCK_PERSISTENCE_DATABASE": database})


def _bench_process(name: str, module: str, port: int, directory: Path) -> PartSpec:
    return python_process(
        name,
        module,
        environment={"BENCH_PORT": str(port)},
        data_directory=directory / name,
        addresses={"grpc": f"127.0.0.1:{port}"},
    )


def _service(
    name: str, port: int, directory: Path, environment: Mapping[str, str], *, http: int | None = None
) -> PartSpec:
    prefix = f"PENSTOCK_{name.upper()}_"
    return python_process(
        name,
        f"services.{name}",
        environment={f"{prefix}PORT": str(port), f"{prefix}METRICS_PORT": "0", **environment},
        data_directory=directory / name,
        addresses={"grpc": f"127.0.0.1:{port}", **({"http": f"127.0.0.1:{http}"} if http else {})},
    )
