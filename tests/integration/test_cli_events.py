"""`penstock events` as a user runs it, against a persistence service of its own."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import EVENT_TYPE_IMPRESSION, EVENT_TYPE_TRANSACTION, TrackingEvent

from tests.integration.parts import RunningPart
from tests.integration.test_persistence_service import client, service

COMMAND = (sys.executable, "-m", "cli", "events")


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with service(tmp_path_factory.mktemp("cli-events")) as part:
        yield part


async def start(target: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, "--target", target, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def run(target: str, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code, output and error output."""
    process = await start(target, *arguments)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def put(part: RunningPart, *events: TrackingEvent) -> None:
    async with client(part) as stub:
        await stub.PutEvents(PutEventsRequest(events=events))


def event(message_id: str, second: int, program_id: str) -> TrackingEvent:
    return TrackingEvent(message_id=message_id, program_id=program_id, occurred_at=Timestamp(seconds=second))


async def test_list_prints_a_line_per_event_oldest_first(part: RunningPart) -> None:
    """Cells are separated by tabs; what comes behind the limit is announced on standard error."""
    await put(part, *[event(f"l-{second}", second, "list") for second in (3, 1, 2)])
    code, output, errors = await run(part.addresses["grpc"], "list", "--program", "list", "--limit", "2")
    assert code == 0
    assert [line.split("\t")[0::5] for line in output.splitlines()] == [
        ["1970-01-01T00:00:01Z", "l-1"],
        ["1970-01-01T00:00:02Z", "l-2"],
    ]
    assert "--limit shows more" in errors


async def test_list_narrows_by_time_and_prints_json(part: RunningPart) -> None:
    """A time without a zone is UTC."""
    await put(part, *[event(f"t-{second}", second, "time") for second in (10, 20, 30)])
    range_ = ("--from", "1970-01-01T00:00:20", "--until", "1970-01-01T00:00:30Z")
    code, output, _ = await run(part.addresses["grpc"], "list", "-p", "time", *range_, "--json")
    assert code == 0
    assert json.loads(output) == [{"message_id": "t-20", "program_id": "time", "occurred_at": "1970-01-01T00:00:20Z"}]


async def test_get_prints_the_whole_event(part: RunningPart) -> None:
    """Enum values are short words."""
    await put(
        part, TrackingEvent(message_id="g", program_id="p", event_type=EVENT_TYPE_IMPRESSION, attributes={"k": "v"})
    )
    code, output, _ = await run(part.addresses["grpc"], "get", "g")
    assert code == 0
    shown = json.loads(output)
    assert (shown["event_type"], shown["attributes"]) == ("impression", {"k": "v"})


async def test_tail_shows_events_as_they_are_stored(part: RunningPart) -> None:
    """Each once, whenever it comes, also after a restart of the service; the command ends when it is told to."""
    process = await start(part.addresses["grpc"], "tail", "--program", "tail", "--interval", "0.05")
    assert process.stdout is not None
    first = asyncio.ensure_future(process.stdout.readline())
    number = 0
    while not first.done():  # until the command has started
        await put(part, TrackingEvent(message_id=f"tail-{number}", program_id="tail"))
        number += 1
        await asyncio.wait((first,), timeout=0.1)
    await part.restart()
    await put(part, TrackingEvent(message_id="tail-last", program_id="tail"))
    lines = [first.result()]
    while b"tail-last" not in lines[-1]:
        lines.append(await process.stdout.readline())
    process.terminate()
    await process.communicate()
    shown = [line.decode().rstrip("\n").split("\t")[-1] for line in lines]
    assert len(shown) == len(set(shown))


async def test_tail_prints_a_json_object_per_line(part: RunningPart) -> None:
    """For programs that read a stream of them."""
    process = await start(part.addresses["grpc"], "tail", "--program", "tail-json", "--interval", "0.05", "--json")
    assert process.stdout is not None
    line = asyncio.ensure_future(process.stdout.readline())
    while not line.done():  # until the command has started
        await put(part, TrackingEvent(message_id=f"json-{time.time_ns()}", program_id="tail-json"))
        await asyncio.wait((line,), timeout=0.1)
    process.terminate()
    await process.communicate()
    assert json.loads(line.result())["program_id"] == "tail-json"


async def test_match_keeps_conversions_that_can_be_listed(part: RunningPart) -> None:
    """What leads to what; a repeated run changes nothing."""
    click = event("m-click", 1000, "match")
    sale = event("m-sale", 2000, "match")
    sale.event_type, sale.transaction_id = EVENT_TYPE_TRANSACTION, "t-1"
    lonely = event("m-lonely", 3000, "match")
    lonely.event_type = EVENT_TYPE_TRANSACTION
    for one, cookie in ((click, "c"), (sale, "c"), (lonely, "d")):
        one.cookie_id = cookie
    await put(part, click, sale, lonely)
    for _ in range(2):
        code, output, _ = await run(part.addresses["grpc"], "match", "--program", "match", "--click-window", "30m")
        assert (code, output.strip()) == (0, "2 transactions, 1 clicks, 0 impressions, 0 duplicates")
    code, output, _ = await run(part.addresses["grpc"], "conversions", "--program", "match")
    assert [line.split("\t") for line in output.splitlines()] == [
        ["1970-01-01T00:33:20Z", "match", "click", "t-1", "m-click", "m-sale"],
        ["1970-01-01T00:50:00Z", "match", "unattributed", "", "", "m-lonely"],
    ]
    code, output, _ = await run(part.addresses["grpc"], "match", "-p", "match", "--click-window", "10m", "--json")
    assert json.loads(output) == {"transactions": 2, "clicks": 0, "impressions": 0, "duplicates": 0}
    code, output, _ = await run(part.addresses["grpc"], "conversions", "-p", "match", "--json", "--from", "1970-01-01")
    assert [row["outcome"] for row in json.loads(output)] == ["unattributed", "unattributed"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("get", "none"), 1, "no event has the message id 'none'"),
        (("list", "--from", "yesterday"), 2, "'yesterday' is neither a time"),
        (("match", "--click-window", "long"), 2, "'long' is no length of time"),
        (("match", "--click-window", "900d"), 1, "click_window: is 7.776e+07 s; above 0 and at most 400 days"),
    ],
    ids=["unknown id", "malformed time", "malformed window", "endless window"],
)
async def test_a_refusal_has_its_exit_code(
    part: RunningPart, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    """One line says why."""
    ending, _, errors = await run(part.addresses["grpc"], *arguments)
    assert ending == code
    assert complaint in errors


async def test_no_service_is_told_with_the_next_step(tmp_path: Path) -> None:
    """Exit code 3, the address and how to start the suite."""
    async with service(tmp_path) as part:
        await part.stop()
        code, _, errors = await run(part.addresses["grpc"], "list")
    assert code == 3
    assert part.addresses["grpc"] in errors
    assert "penstock up" in errors
