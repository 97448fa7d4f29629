"""`penstock track` and `penstock programs` as a user runs them, against an intake of its own."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from tests.integration.parts import RunningPart
from tests.integration.tracking_harness import NOWHERE, Intake, intake


@pytest.fixture(scope="module")
async def where(valkey: RunningPart, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Intake]:
    directory = tmp_path_factory.mktemp("cli-tracking")
    async with intake(directory, redis=valkey.addresses["redis"], redis_prefix="cli") as running_intake:
        yield running_intake


async def penstock(*arguments: str, target: str, stdin: str = "") -> tuple[int | None, str, str]:
    """Exit code, output and error output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *arguments,
        "--target",
        target,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(stdin.encode())
    return process.returncode, output.decode(), errors.decode()


async def test_a_program_from_put_to_delete(where: Intake) -> None:
    """Put, list, track, off, track, get, delete, delete again."""

    async def run(*arguments: str) -> tuple[int | None, str]:
        code, output, _ = await penstock(*arguments, target=where.address)
        return code, output

    assert await run("programs", "put", "spring", "--name", "Spring sale", "--valid-until", "2099-01-01") == (
        0,
        "program spring version 1 accepts events\n",
    )
    code, listed = await run("programs", "list")
    assert (code, "spring\tSpring sale\tTrue\t\t2099-01-01T00:00:00Z" in listed) == (0, True)
    assert await run("track", "spring", "--message-id", "m-1", "-a", "utm=7") == (0, "ACCEPTED\tm-1\t\n")
    code, output = await run("track", "spring", "--message-id", "m-1", "--json")
    assert (code, json.loads(output)[0]["outcome"]) == (0, "DUPLICATE")
    assert await run("programs", "off", "spring") == (0, "program spring version 2 refuses events\n")
    code, output = await run("track", "spring")
    assert (code, output.split("\t")[0]) == (1, "EXPIRED_PROGRAM")
    code, output = await run("programs", "get", "spring")
    assert (code, json.loads(output)["enabled"]) == (0, False)
    assert await run("programs", "delete", "spring") == (0, "deleted spring\n")
    assert await run("programs", "delete", "spring") == (1, "")


async def test_events_from_standard_input_get_a_line_each(where: Intake) -> None:
    """Exit code 1 when one of them was not stored."""
    await where.put_program("piped")
    lines = '{"program_id": "piped", "message_id": "a"}\n\n{"programId": "nosuch", "messageId": "b"}\n'
    code, output, _ = await penstock("track", "--file", "-", target=where.address, stdin=lines)
    assert code == 1
    assert [line.split("\t")[:2] for line in output.splitlines()] == [["ACCEPTED", "a"], ["UNKNOWN_PROGRAM", "b"]]


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("track",), "", "give either a program id or --file"),
        (("track", "p", "--type", "nosuch"), "", "event_type"),
        (("track", "p", "-a", "novalue"), "", "write NAME=VALUE"),
        (("track", "--file", "-"), "{}\n{", "line 2 of - is not JSON"),
        (("track", "--file", "-"), '{"program": "p"}', "line 1 of - is not a tracking event"),
        (("track", "--file", "nosuch.jsonl"), "", "cannot read nosuch.jsonl"),
        (("programs", "put", "p", "--valid-from", "soon"), "", "is not a time in ISO 8601"),
    ],
)
async def test_wrong_usage_is_told_before_anything_is_sent(arguments: tuple[str, ...], stdin: str, said: str) -> None:
    """Exit code 2."""
    code, _, errors = await penstock(*arguments, target=NOWHERE, stdin=stdin)
    assert code == 2
    assert said in errors


async def test_a_faulty_program_is_refused_with_every_fault(where: Intake) -> None:
    """Exit code 1."""
    code, _, errors = await penstock("programs", "put", "a b", "--name", "n" * 600, target=where.address)
    assert code == 1
    assert "program_id 'a b'" in errors
    assert "name has 600 characters" in errors


async def test_batches_before_one_that_failed_are_told(valkey: RunningPart, tmp_path: Path) -> None:
    """They are stored; the rest is not, and the error says why."""
    settings = {"redis_prefix": "cli-full", "log_max_bytes": "100000"}
    async with intake(tmp_path, redis=valkey.addresses["redis"], **settings) as small:
        await small.put_program("p")
        lines = "".join(f'{{"program_id": "p", "message_id": "m-{number}"}}\n' for number in range(2000))
        code, output, errors = await penstock("track", "--file", "-", target=small.address, stdin=lines)
        await small.part.stop()
        stored = [line.split("\t")[1] for line in output.splitlines()]
        assert stored == small.logged()
        assert 0 < len(stored) < 2000
    assert code == 1
    assert "the log of accepted events is full" in errors


async def test_an_absent_intake_has_its_own_exit_code() -> None:
    """3, and what to do."""
    code, _, errors = await penstock("programs", "list", target=NOWHERE)
    assert code == 3
    assert "is it running?" in errors


async def test_the_log_of_a_running_intake_is_inspected(where: Intake) -> None:
    """Segments, the events that wait, JSON; a damaged or absent log is exit code 1."""
    directory = where.part.spec.data_directory
    await where.put_program("logged")
    assert await where.track(TrackingEvent(program_id="logged", message_id="inspect-1")) == ["ACCEPTED"]

    async def inspect(*arguments: str) -> tuple[int | None, str, str]:
        command = (sys.executable, "-m", "cli", "log", "inspect", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    code, output, _ = await inspect(str(directory), "--json")
    [segment] = json.loads(output)
    assert (code, segment["state"], segment["detail"]) == (0, "whole", "")
    assert segment["events"] == segment["waiting"] > 0
    code, output, _ = await inspect(str(directory), "--waiting")
    assert code == 0
    assert output.splitlines()[-1].split("\t")[1::3] == ["logged", "inspect-1"]
    code, _, errors = await inspect(str(directory / "nowhere"))
    assert code == 1
    assert "name the DATA_DIRECTORY of an intake" in errors
