"""`penstock params` as a user runs it, against a config service of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.ports import free_port_numbers
from tests.integration.parts import RunningPart
from tests.integration.test_config_service import client, put, service

COMMAND = (sys.executable, "-m", "cli", "params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int | None
    output: str
    errors: str


class Command:
    """`penstock params` with the address of a service in its environment."""

    def __init__(self, target: str) -> None:
        self._environment = {**os.environ, "PENSTOCK_TARGET_CONFIG": target, "NO_COLOR": "1"}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, env=self._environment, stdin=pipe, stdout=pipe, stderr=pipe
        )

    async def __call__(self, *arguments: str, given: bytes = b"") -> Ended:
        process = await self.start(*arguments)
        output, errors = await process.communicate(given)
        return Ended(code=process.returncode, output=output.decode(), errors=errors.decode())


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with service(tmp_path_factory.mktemp("cli-params")) as part:
        yield part


@pytest.fixture(scope="module")
def params(part: RunningPart) -> Command:
    return Command(part.addresses["grpc"])


async def test_a_value_comes_back_as_it_was_given(params: Command, tmp_path: Path) -> None:
    """From an argument, a file and standard input; put prints version and revision."""
    (tmp_path / "value").write_text('{"a":\n 1}\n')
    first = await params("put", "/cli/a", "one")
    assert (first.code, first.output.split()[::2], first.output.split()[1]) == (0, ["version", "revision"], "1")
    await params("put", "/cli/file", "--file", str(tmp_path / "value"))
    await params("put", "/cli/stdin", "-", given="höher".encode())
    read = [await params("get", f"/cli/{name}") for name in ("a", "file", "stdin")]
    assert [one.output for one in read] == ["one\n", '{"a":\n 1}\n\n', "höher\n"]


async def test_every_option_of_put_arrives(params: Command) -> None:
    """As JSON shows."""
    options = ["--description", "what for", "--pattern", "[0-9]+", "--data-type", "integer", "--tag", "team=lab"]
    put_json = await params("put", "/cli/all", "1", *options, "--expires", "2999-01-01T00:00:00+0000", "--json")
    assert json.loads(put_json.output)["version"] == 1
    shown = json.loads((await params("get", "/cli/all", "--json")).output)
    assert shown["description"] == "what for"
    assert (shown["allowed_pattern"], shown["data_type"], shown["tags"]) == ("[0-9]+", "integer", {"team": "lab"})
    assert shown["expires_at"] == "2999-01-01T00:00:00+00:00"


async def test_a_secret_is_shown_only_when_asked_for(params: Command) -> None:
    """Not by get, ls, history or --json."""
    await params("put", "/secret/a", "-", "--secure", given=b"s3cret")
    hidden = await params("get", "/secret/a")
    assert (hidden.code, "--decrypt" in hidden.errors) == (1, True)
    for command in (["get", "/secret/a", "--json"], ["ls", "/secret"], ["history", "/secret/a"]):
        ended = await params(*command)
        assert (ended.code, "s3cret" in ended.output) == (0, False)
    assert (await params("get", "/secret/a", "--decrypt")).output == "s3cret\n"


async def test_lists_are_lines_of_cells(params: Command) -> None:
    """Made for cut and sort; a line break in a value stays on its line."""
    for name, value in (("/ls/b/c", "two\nlines"), ("/ls/a", "one")):
        await params("put", name, value)
    lines = [line.split("\t") for line in (await params("ls", "/ls")).output.splitlines()]
    assert [(cells[0], cells[-1]) for cells in lines] == [("/ls/a", "one"), ("/ls/b/c", "two\\nlines")]
    assert len((await params("ls", "/ls", "--shallow")).output.splitlines()) == 1
    assert json.loads((await params("ls", "/nothing", "--json")).output) == []
    await params("put", "/ls/a", "two")
    history = [line.split("\t") for line in (await params("history", "/ls/a")).output.splitlines()]
    assert [(cells[0], cells[-1]) for cells in history] == [("2", "two"), ("1", "one")]


async def test_deleting_and_lost_races_have_exit_codes(params: Command) -> None:
    """1 for what the service refuses, with its words."""
    await params("put", "/gone/a", "one")
    lost = await params("delete", "/gone/a", "--if-version", "7")
    assert (lost.code, "has version 1, not 7" in lost.errors) == (1, True)
    assert (await params("put", "/gone/a", "x", "--if-version", "0")).code == 1
    assert (await params("delete", "/gone/a")).code == 0
    missing = await params("get", "/gone/a")
    assert (missing.code, missing.output) == (1, "")
    assert "no parameter /gone/a" in missing.errors


async def test_every_fault_of_a_put_is_printed(params: Command) -> None:
    """One run is enough to learn them all."""
    ended = await params("put", "/a b", "", "--data-type", "number")
    assert ended.code == 1
    for word in ("name:", "value:", "data_type:"):
        assert word in ended.errors


@pytest.mark.parametrize(
    "arguments",
    [
        ["get"],
        ["put", "/a"],
        ["put", "/a", "v", "--tag", "x"],
        ["put", "/a", "v", "--secure", "--type", "String"],
        ["put", "/a", "v", "--if-version", "-1"],
        ["put", "/a", "--file", "/does/not/exist"],
        ["nonsense"],
    ],
    ids=["no name", "no value", "half a tag", "two types", "negative version", "no file", "no command"],
)
async def test_wrong_usage_is_exit_code_2(params: Command, arguments: list[str]) -> None:
    """And says something."""
    ended = await params(*arguments)
    assert (ended.code, bool(ended.errors)) == (2, True)
    assert "Traceback" not in ended.errors


async def test_bytes_that_are_no_text_are_refused(params: Command) -> None:
    """With the place of the first bad one."""
    ended = await params("put", "/a", "-", given=b"ab\xff")
    assert (ended.code, "byte 2" in ended.errors) == (2, True)


async def test_no_service_is_exit_code_3() -> None:
    """With the address and what to do."""
    (port,) = free_port_numbers(1)
    ended = await Command(f"127.0.0.1:{port}")("ls")
    assert ended.code == 3
    assert f"127.0.0.1:{port}" in ended.errors
    assert "penstock up" in ended.errors


async def test_watch_prints_changes_as_they_happen(params: Command, part: RunningPart) -> None:
    """What exists first, then each change on a line of its own, until Ctrl-C."""
    async with client(part) as stub:
        await put(stub, "/live/a", "one")
        process = await params.start("watch", "/live")
        assert process.stdout
        assert (await process.stdout.readline()).decode().split("\t")[1:] == ["put", "/live/a", "1", "one\n"]
        await put(stub, "/live/a", "two")
        assert (await process.stdout.readline()).decode().split("\t")[1:] == ["put", "/live/a", "2", "two\n"]
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (130, b"")
