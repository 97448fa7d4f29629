"""The persistence service as a process of its own, and what may happen to it: kills, a full disk, damaged files."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.delivery.v1 import delivery_service_pb2, delivery_service_pb2_grpc
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage
from penstock.persistence.v1 import persistence_service_pb2 as pb
from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from deploy.local.part import PartSpec
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from services.runtime.channel import open_channel
from services.runtime.errors import InvalidArgumentError, PenstockError, ResourceExhaustedError
from services.runtime.status import from_rpc_error
from tests.integration.conftest import running
from tests.integration.parts import RunningPart

if TYPE_CHECKING:
    from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceAsyncStub

STORED, DUPLICATE = pb.PUT_EVENT_OUTCOME_STORED, pb.PUT_EVENT_OUTCOME_DUPLICATE
DATABASE = "events.sqlite3"


def describe(data_directory: Path, *, environment: Mapping[str, str], database: Path | None = None) -> PartSpec:
    (port,) = free_port_numbers(1)
    return python_process(
        "persistence",
        "services.persistence",
        environment={
            "PENSTOCK_PERSISTENCE_PORT": str(port),
            "PENSTOCK_PERSISTENCE_METRICS_PORT": "0",
            "PENSTOCK_PERSISTENCE_DATABASE": str(database or data_directory / DATABASE),
            **environment,
        },
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}"},
    )


@asynccontextmanager
async def service(directory: Path, **environment: str) -> AsyncIterator[RunningPart]:
    async with running(partial(describe, environment=environment), directory) as part:
        yield part


@asynccontextmanager
async def client(part: RunningPart) -> AsyncIterator["PersistenceServiceAsyncStub"]:
    async with open_channel(part.addresses["grpc"]) as channel:
        yield PersistenceServiceStub(channel)


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with service(tmp_path_factory.mktemp("persistence")) as part:
        yield part


def event(message_id: str, *, program_id: str = "p", second: int = 1, user_agent: str = "") -> TrackingEvent:
    occurred_at = Timestamp(seconds=second)
    return TrackingEvent(message_id=message_id, program_id=program_id, occurred_at=occurred_at, user_agent=user_agent)


async def put(stub: "PersistenceServiceAsyncStub", events: Sequence[TrackingEvent]) -> list[pb.PutEventOutcome]:
    response = await stub.PutEvents(pb.PutEventsRequest(events=events))
    return [result.outcome for result in response.results]


async def listed(stub: "PersistenceServiceAsyncStub", program_id: str = "") -> list[str]:
    """The message ids of all pages."""
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListEventsRequest(program_id=program_id, page_size=1000, page_token=token)
        page = await stub.ListEvents(request, wait_for_ready=True)
        found += [event.message_id for event in page.events]
        token = page.next_page_token
        if not token:
            return found


async def test_events_are_stored_once_and_read_back(part: RunningPart) -> None:
    """Put, put again, get, list over gRPC."""
    async with client(part) as stub:
        events = [event(f"once-{number}", program_id="once", second=number) for number in range(3)]
        assert await put(stub, events) == [STORED] * 3
        assert await put(stub, events[::-1]) == [DUPLICATE] * 3
        assert (await stub.GetEvent(pb.GetEventRequest(message_id="once-1"))).event == events[1]
        assert await listed(stub, "once") == ["once-0", "once-1", "once-2"]


async def test_broker_messages_are_stored_once(part: RunningPart) -> None:
    """The bridge's contract: bytes and text become rows, a redelivery is accepted and stores nothing."""
    messages = [
        BrokerMessage(id="ID:a", data=TrackingEvent(program_id="broker").SerializeToString()),
        BrokerMessage(id="ID:b", text='{"program_id": "broker", "occurred_at": "2026-01-01T00:00:00Z"}'),
        BrokerMessage(id="ID:c", text="poison"),
    ]
    async with open_channel(part.addresses["grpc"]) as channel:
        delivery = delivery_service_pb2_grpc.DeliveryServiceStub(channel)
        for _ in range(2):
            request = delivery_service_pb2.DeliverMessagesRequest(messages=messages, route="r")
            outcomes = [result.outcome for result in (await delivery.DeliverMessages(request)).results]
            assert outcomes == [
                delivery_service_pb2.DELIVERY_OUTCOME_ACCEPTED,
                delivery_service_pb2.DELIVERY_OUTCOME_ACCEPTED,
                delivery_service_pb2.DELIVERY_OUTCOME_REJECTED,
            ]
        assert sorted(await listed(PersistenceServiceStub(channel), "broker")) == ["ID:a", "ID:b"]


async def test_pages_hold_while_others_store(part: RunningPart) -> None:
    """A reader that pages during a storm of writes sees every event that was there, once."""
    async with client(part) as stub:
        there = [f"page-{number:04}" for number in range(2000)]
        await put(stub, [event(name, program_id="pages", second=place) for place, name in enumerate(there)])
        done = asyncio.Event()

        async def write() -> None:
            number = 0
            while not done.is_set():
                batch = [
                    event(f"late-{number}-{place}", program_id="pages", second=(number * 37 + place) % 2000)
                    for place in range(50)
                ]
                await put(stub, batch)
                number += 1

        writer = asyncio.create_task(write())
        found: list[str] = []
        token = ""
        while True:
            page = await stub.ListEvents(pb.ListEventsRequest(program_id="pages", page_size=50, page_token=token))
            found += [event.message_id for event in page.events]
            token = page.next_page_token
            if not token:
                break
        done.set()
        await writer
        assert len(found) == len(set(found))
        assert [name for name in found if name.startswith("page-")] == there


async def test_a_batch_beyond_the_limits_is_refused_clearly(part: RunningPart) -> None:
    """Too many events name the limit, too large a message is RESOURCE_EXHAUSTED; nothing is stored."""
    async with client(part) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await put(stub, [event(f"many-{number}", program_id="beyond") for number in range(5001)])
        error = from_rpc_error(refusal.value)
        assert isinstance(error, InvalidArgumentError)
        assert error.violations[0].field == "events"
    async with grpc.aio.insecure_channel(part.addresses["grpc"]) as channel:
        stub = PersistenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await put(
                stub, [event(f"big-{number}", program_id="beyond", user_agent="x" * 200_000) for number in range(90)]
            )
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await listed(stub, "beyond") == []


async def test_killed_in_a_storm_it_loses_no_acknowledged_event(tmp_path: Path) -> None:
    """After each of five kills every acknowledged event is there, and all events are one row each when sent again."""
    async with service(tmp_path) as part, client(part) as stub:
        sent: dict[str, TrackingEvent] = {}
        acknowledged: set[str] = set()
        enough = asyncio.Event()

        async def sender(name: str) -> None:
            number = 0
            while True:
                batch = [event(f"{name}-{number}-{place}") for place in range(20)]
                sent.update((one.message_id, one) for one in batch)
                outcomes = await put(stub, batch)
                assert outcomes == [STORED] * 20
                acknowledged.update(one.message_id for one in batch)
                number += 1
                if number == 25:
                    enough.set()

        for kill in range(5):
            enough.clear()
            senders = [asyncio.create_task(sender(f"{kill}-{number}")) for number in range(8)]
            await enough.wait()
            await part.kill()
            endings = await asyncio.gather(*senders, return_exceptions=True)
            assert all(isinstance(ending, grpc.aio.AioRpcError) for ending in endings)
            await part.start()
            stored = await listed(stub)
            assert acknowledged - set(stored) == set()
        events = list(sent.values())
        assert len(events) > len(acknowledged)
        for start in range(0, len(events), 1000):
            await put(stub, events[start : start + 1000])
        assert sorted(await listed(stub)) == sorted(sent)


def small_disk(path: Path) -> tuple[str, ...]:
    """The command that runs another one where `path` is a file system of 3 MB with 1 MB taken by `path/filler`."""
    path.mkdir()
    mount = f"mount -t tmpfs -o size=3m tmpfs {path} && head -c 1000000 /dev/zero > {path}/filler"
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-rm", "sh", "-c", mount], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let a process mount a small file system (unshare -rm, tmpfs)")
    return (unshare, "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh")


async def put_until_refused(stub: "PersistenceServiceAsyncStub") -> tuple[list[str], PenstockError]:
    """The message ids of all batches that were acknowledged, and why the next one was not."""
    acknowledged: list[str] = []
    while True:
        batch = [event(f"{len(acknowledged)}-{place}", user_agent="x" * 1000) for place in range(20)]
        try:
            await put(stub, batch)
        except grpc.aio.AioRpcError as error:
            return acknowledged, from_rpc_error(error)
        acknowledged += [one.message_id for one in batch]


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED names the file, nothing acknowledged is lost, and with room again it goes on."""
    disk = tmp_path / "small"
    command = small_disk(disk)

    def on_small_disk(data_directory: Path) -> PartSpec:
        spec = describe(data_directory, environment={}, database=disk / DATABASE)
        return replace(spec, argv=(*command, *spec.argv))

    async with running(on_small_disk, tmp_path) as part, client(part) as stub:
        acknowledged, refusal = await put_until_refused(stub)
        assert isinstance(refusal, ResourceExhaustedError)
        assert refusal.reason == "ERROR_REASON_STORAGE_FULL"
        assert refusal.metadata == {"path": str(disk / DATABASE)}
        assert refusal.retry_after
        assert acknowledged
        assert sorted(await listed(stub)) == sorted(acknowledged)
        pid = part._supervisor.kill("persistence", signal.SIGCONT)  # a signal that changes nothing
        os.unlink(f"/proc/{pid}/root{disk}/filler")  # noqa: PTH108 - the mount is seen by that process alone
        assert await put(stub, [event("after", user_agent="x" * 1000)]) == [STORED]
        assert sorted(await listed(stub)) == sorted([*acknowledged, "after"])


async def test_a_file_at_its_bound_refuses_and_goes_on_reading(tmp_path: Path) -> None:
    """The bound of the settings works like a full disk."""
    async with service(tmp_path, PENSTOCK_PERSISTENCE_MAX_DATABASE_BYTES="262144") as part, client(part) as stub:
        await put(stub, [event("kept")])
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await put(stub, [event(f"m-{number}", user_agent="x" * 10_000) for number in range(100)])
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await listed(stub) == ["kept"]


async def test_events_older_than_the_retention_are_gone(tmp_path: Path) -> None:
    """Out of sight at once, also those that come late; deleted from the file by the process itself."""
    database = tmp_path / DATABASE
    environment = {"PENSTOCK_PERSISTENCE_DATABASE": str(database)}
    fresh = TrackingEvent(message_id="fresh", program_id="p")
    async with service(tmp_path, **environment) as part, client(part) as stub:
        assert await put(stub, [event(f"old-{number}") for number in range(20)]) == [STORED] * 20
    environment["PENSTOCK_PERSISTENCE_RETENTION_DAYS"] = "1"
    async with service(tmp_path, **environment) as part, client(part) as stub:
        assert await put(stub, [fresh, event("late")]) == [STORED] * 2
        assert await listed(stub) == ["fresh"]
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.GetEvent(pb.GetEventRequest(message_id="late"))
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as file:
            while names := file.execute("SELECT message_id FROM events WHERE message_id LIKE 'old%'").fetchall():
                assert len(names) <= 20
                await asyncio.sleep(0.02)


def test_a_damaged_file_stops_the_start_with_one_clear_line(tmp_path: Path) -> None:
    """Exit code 1, the file, the fault and what to do; no traceback."""
    database = tmp_path / DATABASE
    database.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    ended = subprocess.run(
        [sys.executable, "-m", "services.persistence"],
        env={"PENSTOCK_PERSISTENCE_DATABASE": str(database), "PENSTOCK_PERSISTENCE_METRICS_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert str(database) in ended.stderr
    assert "restore it from a backup" in ended.stderr
    assert "Traceback" not in ended.stderr
