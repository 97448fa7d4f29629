"""`penstock subscriptions` as a user runs it, against config and filtering processes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_filtering_service import ORDERS, Suite, suite_in

PROGRAM = "import typer; from cli import subscriptions; app = typer.Typer(); subscriptions.register(app); app()"


@pytest.fixture(scope="module")
async def suite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    async with suite_in(tmp_path_factory.mktemp("cli-subscriptions")) as suite:
        yield suite


async def run(target: str, *arguments: str, stdin: str = "") -> tuple[int | None, str, str]:
    """Exit code, output and error output."""
    command = (sys.executable, "-c", PROGRAM, "subscriptions", *arguments, "--target", target)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate(stdin.encode())
    return process.returncode, output.decode(), errors.decode()


async def test_file_of_subscriptions_is_put_listed_read_and_deleted(suite: Suite) -> None:
    """The Orders file as it lies in the repository."""
    target = suite.filtering.addresses["grpc"]
    code, output, _ = await run(target, "put", str(ORDERS))
    assert (code, output.splitlines()[0]) == (0, "Orders/Lab-Orders-AP\tversion 1")
    code, output, _ = await run(target, "list", "Orders")
    assert code == 0
    assert [line.split("\t")[:4] for line in output.splitlines()][1] == [
        "Orders",
        "Lab-Cancelled",
        "1",
        "lambda_function lab-cancelled",
    ]
    code, output, _ = await run(target, "get", "Orders", "Lab-Orders-EU")
    assert (code, json.loads(output)["name"]) == (0, "Lab-Orders-EU")
    assert (await run(target, "put", "-", stdin=output))[1] == "Orders/Lab-Orders-EU\tversion 2\n"
    code, output, _ = await run(target, "put", "-", "--json", stdin=output)
    assert (code, json.loads(output)) == (0, {"topic": "Orders", "name": "Lab-Orders-EU", "version": 3})
    code, output, _ = await run(target, "delete", "Orders", "Lab-Orders-EU")
    assert (code, output) == (0, "Orders/Lab-Orders-EU is deleted\n")
    code, output, _ = await run(target, "list", "Orders", "--json")
    assert len(json.loads(output)) == 4


async def test_refusals_are_told_with_their_next_step(suite: Suite) -> None:
    """Exit code 1: faulty policy with its place, lost compare-and-set, unknown subscription."""
    target = suite.filtering.addresses["grpc"]
    given = {"topic": "cli", "name": "s", "target": {"http": {"url": "http://127.0.0.1:1"}}}
    code, _, errors = await run(target, "put", json.dumps({**given, "filter_policy": '{"a": 1}'}))
    assert code == 1
    assert '"a" must be an object or an array\n at $.a, line 1, column 7' in errors
    assert (await run(target, "put", json.dumps(given)))[0] == 0
    code, _, errors = await run(target, "put", json.dumps(given), "--expected-version", "0")
    assert code == 1
    assert "subscription cli/s exists already" in errors
    code, _, errors = await run(target, "get", "cli", "none")
    assert code == 1
    assert "ListSubscriptions tells which there are" in errors


async def test_wrong_usage_and_an_absent_service_have_their_exit_codes(suite: Suite, tmp_path: Path) -> None:
    """2 for what cannot be read, 3 when nobody answers."""
    target = suite.filtering.addresses["grpc"]
    assert (await run(target, "put", str(tmp_path / "none.json")))[0] == 2
    code, _, errors = await run(target, "put", '{"topic": "t", "colour": "red"}')
    assert code == 2
    assert "colour" in errors
    assert (await run(target, "put", "[{}, {}]", "--expected-version", "1"))[0] == 2
    assert (await run("127.0.0.1:1", "list"))[0] == 3
