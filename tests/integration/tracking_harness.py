"""Intakes as processes of their own, for tests: described, spoken to, and their log read after they died."""

import asyncio
import shutil
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from penstock.persistence.v1 import persistence_service_pb2 as persistence_pb
from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub
from penstock.tracking.v1 import program_pb2
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent, TrackOutcome
from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

from deploy.local.part import PartSpec
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from services.runtime.channel import open_channel
from services.tracking.log import SegmentLog
from tests.integration.conftest import running

if TYPE_CHECKING:
    from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceAsyncStub
    from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceAsyncStub

NOWHERE = "127.0.0.1:9"
"""An address where nothing listens (the port of the discard service)."""

_POLL_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came over HTTP."""

    status: int
    json: Any
    headers: Mapping[str, str]


class StartablePart(Protocol):
    """A process that may be killed and started; see `RunningPart`."""

    spec: PartSpec

    @property
    def addresses(self) -> Mapping[str, str]: ...

    async def start(self) -> None: ...

    async def kill(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Intake:
    """A running intake, its clients and its folder."""

    part: "StartablePart"
    stub: "TrackingServiceAsyncStub"
    http_address: str

    @property
    def address(self) -> str:
        return self.part.addresses["grpc"]

    async def start(self) -> None:
        """Starts it again; returns when the channel of this client, which is in its back-off, is connected too."""
        await self.part.start()
        await self.stub.ListPrograms(pb.ListProgramsRequest(page_size=1), wait_for_ready=True)

    async def put_program(self, program_id: str, *, enabled: bool = True) -> program_pb2.Program:
        program = program_pb2.Program(program_id=program_id, name=f"Program {program_id}", enabled=enabled)
        return (await self.stub.PutProgram(pb.PutProgramRequest(program=program))).program

    async def track(self, *events: TrackingEvent) -> list[str]:
        """The outcomes of a batch, without their prefix."""
        response = await self.stub.BatchTrackEvents(pb.BatchTrackEventsRequest(events=events))
        return [outcome(result) for result in response.results]

    async def http(self, method: str, target: str, body: bytes | None = None) -> Answer:
        return await asyncio.to_thread(_http, method, f"http://{self.http_address}{target}", body)

    def begin_anew(self) -> None:
        """Empties the log of an intake that is not running."""
        shutil.rmtree(self.part.spec.data_directory / "log")

    def logged(self) -> list[str]:
        """The message ids in the log of an intake that is not running, in order."""
        log = SegmentLog.open(self.part.spec.data_directory / "log")
        position, found = log.begin, []
        while chunk := log.read(position, log.end, max_events=5000, max_bytes=16_000_000):
            events = persistence_pb.PutEventsRequest.FromString(chunk.payload).events
            found += [event.message_id for event in events]
            position = chunk.next
        log.close()
        return found


def describe_intake(data_directory: Path, *, redis: str, persistence: str, environment: Mapping[str, str]) -> PartSpec:
    port, http_port = free_port_numbers(2)
    settings = {
        "port": str(port),
        "metrics_port": "0",
        "http_port": str(http_port),
        "redis_url": f"redis://{redis}/0",
        "persistence_target": persistence,
        "data_directory": str(data_directory),
        "log_min_free_bytes": "0",
        **environment,
    }
    return python_process(
        "tracking",
        "services.tracking",
        environment={f"PENSTOCK_TRACKING_{name.upper()}": value for name, value in settings.items()},
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http_port}"},
    )


@asynccontextmanager
async def intake(
    directory: Path, *, redis: str, persistence: str = NOWHERE, **environment: str
) -> AsyncIterator[Intake]:
    """An intake; without `persistence` its store is away. Further settings by the names of their fields."""
    describe = partial(describe_intake, redis=redis, persistence=persistence, environment=environment)
    async with running(describe, directory) as part, intake_of(part) as running_intake:
        yield running_intake


@asynccontextmanager
async def intake_of(part: "StartablePart") -> AsyncIterator[Intake]:
    async with open_channel(part.addresses["grpc"]) as channel:
        yield Intake(part=part, stub=TrackingServiceStub(channel), http_address=part.addresses["http"])


def describe_persistence(data_directory: Path, *, port: int) -> PartSpec:
    return python_process(
        "persistence",
        "services.persistence",
        environment={
            "PENSTOCK_PERSISTENCE_PORT": str(port),
            "PENSTOCK_PERSISTENCE_METRICS_PORT": "0",
            "PENSTOCK_PERSISTENCE_DATABASE": str(data_directory / "events.sqlite3"),
        },
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}"},
    )


@asynccontextmanager
async def persistence(directory: Path, port: int) -> AsyncIterator["PersistenceServiceAsyncStub"]:
    """The store on a given port, so that an intake can be told of it before it runs."""
    async with (
        running(partial(describe_persistence, port=port), directory) as part,
        open_channel(part.addresses["grpc"]) as channel,
    ):
        yield PersistenceServiceStub(channel)


async def stored(stub: "PersistenceServiceAsyncStub", program_id: str = "") -> list[TrackingEvent]:
    """All rows of a program, or of all."""
    found: list[TrackingEvent] = []
    token = ""
    while True:
        request = persistence_pb.ListEventsRequest(program_id=program_id, page_size=1000, page_token=token)
        page = await stub.ListEvents(request)
        found += page.events
        token = page.next_page_token
        if not token:
            return found


async def all_stored(
    stub: "PersistenceServiceAsyncStub", message_ids: Sequence[str], program_id: str = ""
) -> list[TrackingEvent]:
    """The rows, as soon as they hold every message id."""
    wanted = set(message_ids)
    async with asyncio.timeout(60):
        while True:
            rows = await stored(stub, program_id)
            if wanted <= {row.message_id for row in rows}:
                return rows
            await asyncio.sleep(_POLL_SECONDS)


def outcome(result: pb.TrackResult) -> str:
    return TrackOutcome.Name(result.outcome).removeprefix("TRACK_OUTCOME_")


def _http(method: str, url: str, body: bytes | None) -> Answer:
    request = urllib.request.Request(url, method=method, data=body)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Answer(status=response.status, json=orjson.loads(response.read()), headers=dict(response.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(status=error.code, json=orjson.loads(error.read()), headers=dict(error.headers))
