"""The intake as a process of its own with a real Valkey and the real store: its ways in, and what may fail."""

import asyncio
import gzip
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import grpc
import orjson
import pytest
from penstock.delivery.v1 import delivery_service_pb2 as delivery_pb
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage
from penstock.delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import EventSource, TrackingEvent, TrackOutcome

from deploy.local.part import PartSpec
from deploy.local.ports import free_port_numbers
from services.runtime.channel import open_channel
from services.runtime.errors import PenstockError, ResourceExhaustedError
from services.runtime.status import from_rpc_error
from services.tracking.repair import repair
from tests.integration.conftest import describe_valkey, running
from tests.integration.intake_kills import event, events, killed_in_a_storm
from tests.integration.parts import RunningPart
from tests.integration.test_persistence_service import small_disk
from tests.integration.tracking_harness import (
    NOWHERE,
    Intake,
    all_stored,
    describe_intake,
    intake,
    intake_of,
    outcome,
    persistence,
)

ACCEPTED, REJECTED = delivery_pb.DELIVERY_OUTCOME_ACCEPTED, delivery_pb.DELIVERY_OUTCOME_REJECTED


@pytest.fixture
def redis(valkey: RunningPart) -> str:
    return valkey.addresses["redis"]


async def until_outcome(where: Intake, program_id: str, wanted: str) -> None:
    """Sends events until one gets the wanted outcome."""
    number = 0
    async with asyncio.timeout(30):
        while await where.track(event(f"until-{wanted}-{os.urandom(8).hex()}", program_id)) != [wanted]:
            number += 1
            await asyncio.sleep(0)


async def track_until_refused(where: Intake, *, size: int) -> tuple[list[str], PenstockError]:
    """The message ids of all batches that were accepted, and why the next one was not."""
    accepted: list[str] = []
    while True:
        batch = events(f"fill-{len(accepted)}", 20, size=size)
        try:
            assert await where.track(*batch) == ["ACCEPTED"] * 20
        except grpc.aio.AioRpcError as error:
            return accepted, from_rpc_error(error)
        accepted += [one.message_id for one in batch]


async def test_events_of_every_way_in_become_one_row_each(redis: str, tmp_path: Path) -> None:
    """HTTP, unary, batch, stream and broker; repetitions and refusals store nothing."""
    (port,) = free_port_numbers(1)
    async with (
        persistence(tmp_path / "store", port) as store,
        intake(tmp_path / "intake", redis=redis, persistence=f"127.0.0.1:{port}", redis_prefix="ways") as where,
    ):
        await where.put_program("p")
        await where.put_program("off", enabled=False)

        answers = [
            await where.http("GET", f"/event/{target}?message_id=http-{number}")
            for number, target in enumerate(("p", "nosuch", "off", "a%20b"))
        ]
        assert [answer.status for answer in answers] == [200, 404, 410, 400]
        assert answers[0].headers["cache-control"] == "no-store"
        body = orjson.dumps({"events": [{"program_id": "p", "message_id": "post"}, {"program_id": "off"}]})
        posted = await where.http("POST", "/v1/events", body)
        assert [result["outcome"] for result in posted.json["results"]] == ["ACCEPTED", "EXPIRED_PROGRAM"]

        unary = await where.stub.TrackEvent(pb.TrackEventRequest(event=event("unary")))
        assert outcome(unary.result) == "ACCEPTED"
        batch = (event("batch"), event("unary"), event("x", "nosuch"), event("y", "off"), event("z", "a b"))
        assert await where.track(*batch) == ["ACCEPTED", "DUPLICATE", "UNKNOWN_PROGRAM", "EXPIRED_PROGRAM", "INVALID"]

        requests = [
            pb.StreamTrackEventsRequest(sequence=number, event=one) for number, one in enumerate(events("stream", 1500))
        ]
        acknowledged = [
            response.acknowledged_sequence async for response in where.stub.StreamTrackEvents(iter(requests))
        ]
        assert acknowledged[-1] == 1499
        assert acknowledged == sorted(set(acknowledged))

        assert await delivered(where) == [ACCEPTED, ACCEPTED, ACCEPTED, REJECTED]

        wanted = ["http-0", "post", "unary", "batch", "jms-text", "ID:jms-bytes", *(f"stream-{n}" for n in range(1500))]
        rows = await all_stored(store, wanted)
        assert sorted(row.message_id for row in rows) == sorted(wanted)
        by_id = {row.message_id: row for row in rows}
        assert {row.program_name for row in rows} == {"Program p"}
        assert {row.verdict for row in rows} == {TrackOutcome.TRACK_OUTCOME_ACCEPTED}
        assert all(row.HasField("received_at") for row in rows)
        assert [by_id[name].source for name in ("http-0", "unary", "jms-text")] == [
            EventSource.EVENT_SOURCE_HTTP,
            EventSource.EVENT_SOURCE_GRPC,
            EventSource.EVENT_SOURCE_BROKER,
        ]


async def delivered(where: Intake) -> list[delivery_pb.DeliveryOutcome]:
    """What becomes of broker messages: text, bytes, the same bytes again, an unknown program."""
    data = BrokerMessage(id="ID:jms-bytes", data=TrackingEvent(program_id="p").SerializeToString())
    messages = [
        BrokerMessage(id="ID:1", text='{"program_id": "p", "message_id": "jms-text"}'),
        data,
        data,
        BrokerMessage(id="ID:2", text='{"program_id": "nosuch"}'),
    ]
    async with open_channel(where.address) as channel:
        response = await DeliveryServiceStub(channel).DeliverMessages(
            delivery_pb.DeliverMessagesRequest(messages=messages)
        )
    assert response.results[3].reason == "UNKNOWN_PROGRAM: program nosuch does not exist"
    return [result.outcome for result in response.results]


def from_browser(where: Intake, method: str, target: str, body: bytes = b"", **headers: str) -> HTTPResponse:
    """The answer as it is: no redirect is followed. Header names have underscores."""
    connection = HTTPConnection(where.http_address, timeout=30)
    connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


async def test_what_browsers_send_is_stored_and_answered_as_they_expect(redis: str, tmp_path: Path) -> None:
    """Pixel, redirect, preflight, a compressed batch of a page, a cookie: over real HTTP."""
    (port,) = free_port_numbers(1)
    async with (
        persistence(tmp_path / "store", port) as store,
        intake(
            tmp_path / "intake",
            redis=redis,
            persistence=f"127.0.0.1:{port}",
            redis_prefix="browsers",
            redirect_hosts="shop.example",
            cors_origins="https://page.example",
            cookie_name="visitor",
            ip_addresses="full",
        ) as where,
    ):
        await where.put_program("p")
        pixel = from_browser(where, "GET", "/pixel.gif?program_id=p&message_id=pixel", Cookie="visitor=v1")
        assert (pixel.status, pixel.headers["content-type"]) == (200, "image/gif")
        redirect = from_browser(where, "GET", "/r/p?message_id=redirect&url=https://shop.example/", DNT="1")
        assert (redirect.status, redirect.headers["location"]) == (302, "https://shop.example/")
        assert redirect.headers["set-cookie"] is None
        page = {"Origin": "https://page.example", "Content_Encoding": "gzip", "User_Agent": "curl/8"}
        assert from_browser(where, "OPTIONS", "/v1/events", b"", **page).headers["access-control-allow-methods"]
        body = gzip.compress(orjson.dumps({"events": [{"program_id": "p", "message_id": "page"}] * 3}))
        posted = from_browser(where, "POST", "/v1/events", body, **page)
        assert (posted.status, posted.headers["access-control-allow-origin"]) == (200, "https://page.example")
        assert posted.headers["set-cookie"].startswith("visitor=")
        rows = {row.message_id: row for row in await all_stored(store, ["pixel", "redirect", "page"])}
    assert [(rows[name].cookie_id[:2], rows[name].ip_address) for name in ("pixel", "redirect")] == [
        ("v1", "127.0.0.1"),
        ("", ""),
    ]
    assert rows["page"].is_bot
    assert rows["page"].cookie_id in posted.headers["set-cookie"]


async def test_a_program_switched_off_is_refused_by_every_warm_intake(redis: str, tmp_path: Path) -> None:
    """The second intake has the program in memory for ten minutes; the push takes it away."""
    async with (
        intake(tmp_path / "first", redis=redis, redis_prefix="push") as first,
        intake(tmp_path / "second", redis=redis, redis_prefix="push") as second,
    ):
        await first.put_program("p")
        assert await second.track(*events("warm", 3)) == ["ACCEPTED"] * 3
        await first.put_program("p", enabled=False)
        await until_outcome(second, "p", "EXPIRED_PROGRAM")
        await first.put_program("p")
        await until_outcome(second, "p", "ACCEPTED")
        await first.stub.DeleteProgram(pb.DeleteProgramRequest(program_id="p"))
        await until_outcome(second, "p", "UNKNOWN_PROGRAM")


async def test_without_valkey_events_are_unverified_and_never_unknown(tmp_path: Path) -> None:
    """Warm or not; changes of programs are refused; with Valkey back everything is as before."""
    async with (
        running(describe_valkey, tmp_path / "valkey") as server,
        intake(tmp_path / "intake", redis=server.addresses["redis"]) as where,
    ):
        await where.put_program("p")
        await until_outcome(where, "p", "ACCEPTED")
        await server.kill()
        seen: set[str] = set()
        async with asyncio.timeout(30):
            while "UNVERIFIED" not in seen:
                seen.update(await where.track(event(os.urandom(8).hex())))
        assert seen <= {"ACCEPTED", "UNVERIFIED"}
        assert await where.track(event("a"), event("b", "never-seen")) == ["UNVERIFIED", "UNVERIFIED"]
        assert (await where.http("GET", "/event/p")).status == 202
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await where.put_program("p", enabled=False)
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        await server.start()
        await until_outcome(where, "p", "ACCEPTED")
        assert await where.track(event("c", "never-seen")) == ["UNKNOWN_PROGRAM"]


async def test_an_intake_starts_without_valkey_and_without_a_store(tmp_path: Path) -> None:
    """A reader of clicks that waits for its dependencies would lose them."""
    async with intake(tmp_path, redis=NOWHERE) as where:
        assert await where.track(*events("m", 2)) == ["UNVERIFIED", "UNVERIFIED"]
        assert (await where.http("GET", "/health/check")).status == 200


async def test_while_the_store_is_away_events_are_kept_and_caught_up(redis: str, tmp_path: Path) -> None:
    """Also over a restart of the intake in between."""
    (port,) = free_port_numbers(1)
    async with intake(tmp_path / "intake", redis=redis, persistence=f"127.0.0.1:{port}", redis_prefix="away") as where:
        await where.put_program("p")
        assert await where.track(*events("before", 1000)) == ["ACCEPTED"] * 1000
        await where.part.stop()
        await where.start()
        assert await where.track(*events("after", 1000)) == ["ACCEPTED"] * 1000
        async with persistence(tmp_path / "store", port) as store:
            wanted = [f"{name}-{number}" for name in ("before", "after") for number in range(1000)]
            rows = await all_stored(store, wanted)
            assert sorted(row.message_id for row in rows) == sorted(wanted)


async def test_a_full_log_refuses_clearly_and_takes_events_again_after_shipping(redis: str, tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED, 503 and RETRY, each with the time to come back; all that was accepted arrives."""
    (port,) = free_port_numbers(1)
    async with intake(
        tmp_path / "intake",
        redis=redis,
        persistence=f"127.0.0.1:{port}",
        redis_prefix="full",
        log_max_bytes="400000",
    ) as where:
        await where.put_program("p")
        accepted, refusal = await track_until_refused(where, size=1000)
        assert isinstance(refusal, ResourceExhaustedError)
        assert refusal.reason == "ERROR_REASON_LOG_FULL"
        assert refusal.metadata == {"limit_bytes": "400000"}
        assert refusal.retry_after
        big = orjson.dumps({"events": [{"program_id": "p", "user_agent": "x" * 2000}] * 20})
        answer = await where.http("POST", "/v1/events", big)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert await delivery_outcome(where, size=20_000) == delivery_pb.DELIVERY_OUTCOME_RETRY
        async with persistence(tmp_path / "store", port) as store:
            rows = await all_stored(store, accepted)
            assert len(rows) == len(accepted)
            async with asyncio.timeout(30):
                while (await where.http("POST", "/v1/events", big)).status != 200:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0)


async def delivery_outcome(where: Intake, *, size: int) -> delivery_pb.DeliveryOutcome:
    """What becomes of a broker message with a large event."""
    large = TrackingEvent(program_id="p", attributes={str(n): "x" * 1000 for n in range(size // 1000)})
    message = BrokerMessage(id="ID:1", data=large.SerializeToString())
    async with open_channel(where.address) as channel:
        request = delivery_pb.DeliverMessagesRequest(messages=[message])
        return (await DeliveryServiceStub(channel).DeliverMessages(request)).results[0].outcome


async def test_a_full_disk_refuses_clearly_and_nothing_accepted_is_lost(redis: str, tmp_path: Path) -> None:
    """The log on a file system of 3 MB; with room again it goes on."""
    disk = tmp_path / "small"
    command = small_disk(disk)
    (port,) = free_port_numbers(1)

    def on_small_disk(data_directory: Path) -> PartSpec:
        settings = {"redis_prefix": "disk", "data_directory": str(disk / "tracking")}
        spec = describe_intake(data_directory, redis=redis, persistence=f"127.0.0.1:{port}", environment=settings)
        return replace(spec, argv=(*command, *spec.argv))

    async with running(on_small_disk, tmp_path / "intake") as part, intake_of(part) as where:
        await where.put_program("p")
        accepted, refusal = await track_until_refused(where, size=2000)
        assert isinstance(refusal, ResourceExhaustedError)
        assert refusal.reason == "ERROR_REASON_STORAGE_FULL"
        assert refusal.retry_after
        pid = part._supervisor.kill("tracking", signal.SIGCONT)  # a signal that changes nothing
        os.unlink(f"/proc/{pid}/root{disk}/filler")  # noqa: PTH108 - the mount is seen by that process alone
        assert await where.track(*events("after", 20, size=2000)) == ["ACCEPTED"] * 20
        async with persistence(tmp_path / "store", port) as store:
            rows = await all_stored(store, [*accepted, *(f"after-{number}" for number in range(20))])
            assert len(rows) == len(accepted) + 20


async def test_killed_while_shipping_every_event_is_one_row(redis: str, tmp_path: Path) -> None:
    """What was shipped twice is stored once; what was acknowledged is stored."""
    (port,) = free_port_numbers(1)
    async with (
        persistence(tmp_path / "store", port) as store,
        intake(tmp_path / "intake", redis=redis, persistence=f"127.0.0.1:{port}", redis_prefix="ship") as where,
    ):
        await where.put_program("p")
        acknowledged: set[str] = set()
        for kill in range(3):
            acknowledged |= await killed_in_a_storm(where, f"ship-{kill}", after=40)
            await where.start()
        rows = await all_stored(store, list(acknowledged))
        ids = [row.message_id for row in rows]
        assert len(ids) == len(set(ids))


async def test_an_orderly_end_loses_nothing_at_any_level(redis: str, tmp_path: Path) -> None:
    """SIGTERM writes what level memory had confirmed."""
    async with intake(tmp_path, redis=redis, redis_prefix="term", ack_level="memory") as where:
        await where.put_program("p")
        batch = events("m", 5000)
        assert set(await where.track(*batch)) == {"ACCEPTED"}
        await where.part.stop()
        assert where.logged() == [one.message_id for one in batch]


def start_and_fail(**settings: str) -> str:
    """What a process says that cannot start; exit code 1 and no traceback."""
    environment = {"PORT": "0", "METRICS_PORT": "0", "HTTP_PORT": "0", "REDIS_URL": f"redis://{NOWHERE}", **settings}
    ended = subprocess.run(
        [sys.executable, "-m", "services.tracking"],
        env={f"PENSTOCK_TRACKING_{name}": value for name, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_damaged_log_stops_the_start_and_says_where(tmp_path: Path) -> None:
    """Rather than going on behind a gap."""
    directory = tmp_path / "log"
    directory.mkdir()
    for number in (1, 2):
        (directory / f"{number:020d}.log").write_bytes(b"garbage")
    said = start_and_fail(DATA_DIRECTORY=str(tmp_path))
    assert "00000000000000000001.log is damaged at byte 0" in said


async def test_a_repaired_log_is_shipped_without_what_was_damaged(redis: str, tmp_path: Path) -> None:
    """The intake starts again, and every event in an intact frame becomes a row, those behind the damage too."""
    (port,) = free_port_numbers(1)
    async with intake(
        tmp_path / "intake", redis=redis, persistence=f"127.0.0.1:{port}", redis_prefix="repair"
    ) as where:
        await where.put_program("p")
        for number in range(20):  # one after the other: a frame each
            assert await where.track(*events(f"batch-{number}", 50)) == ["ACCEPTED"] * 50
        await where.part.stop()
        path = where.part.spec.data_directory / "log" / f"{1:020d}.log"
        content = bytearray(path.read_bytes())
        content[content.index(b"batch-7-25")] ^= 1
        path.write_bytes(content)
        [repaired] = await asyncio.to_thread(repair, where.part.spec.data_directory)
        assert repaired.events == 950
        await where.start()
        assert await where.track(event("after")) == ["ACCEPTED"]
        async with persistence(tmp_path / "store", port) as store:
            wanted = [one.message_id for number in range(20) if number != 7 for one in events(f"batch-{number}", 50)]
            rows = await all_stored(store, [*wanted, "after"])
            assert sorted(row.message_id for row in rows) == sorted([*wanted, "after"])


async def test_two_intakes_do_not_share_a_log(redis: str, tmp_path: Path) -> None:
    """The second one says what to do."""
    async with intake(tmp_path, redis=redis, redis_prefix="lock") as where:
        said = await asyncio.to_thread(start_and_fail, DATA_DIRECTORY=str(where.part.spec.data_directory))
    assert "give each intake a data directory of its own" in said


def test_a_taken_http_port_is_named(tmp_path: Path) -> None:
    """Instead of sharing the port with the other process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = start_and_fail(DATA_DIRECTORY=str(tmp_path), HTTP_PORT=str(port))
    assert f"cannot listen on 127.0.0.1:{port} for HTTP" in said


async def test_too_large_a_batch_is_refused_and_nothing_of_it_stored(redis: str, tmp_path: Path) -> None:
    """By count and by bytes."""
    async with intake(tmp_path, redis=redis, redis_prefix="large") as where:
        await where.put_program("p")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await where.track(*events("many", 5001))
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await where.track(*[event(str(number), size=200_000) for number in range(90)])
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await where.part.stop()
        assert where.logged() == []
