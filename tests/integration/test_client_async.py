"""`AsyncConfigClient` against the real config service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from penstock.client import (
    AsyncConfigClient,
    InvalidArgumentError,
    SnapshotError,
    UnavailableError,
    json_value,
)
from penstock.client.rollout import Rollout, rollout_document, rollout_parameter
from penstock.config.v1 import config_service_pb2 as pb

from deploy.local.ports import free_port_numbers
from tests.integration.parts import RunningPart
from tests.integration.test_config_service import SECURE, client, put, service


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with service(tmp_path_factory.mktemp("client")) as part:
        yield part


async def heard(values: "asyncio.Queue[str | None]") -> str | None:
    return await asyncio.wait_for(values.get(), 10)


async def test_values_are_in_memory_and_pushed(part: RunningPart) -> None:
    """A read needs no await; what is written arrives by itself."""
    async with client(part) as stub:
        await put(stub, "/memory/app", '{"colour": "blue"}')
        async with AsyncConfigClient(part.addresses["grpc"], ["/memory"]) as config:
            assert config.get("/memory/app", json_value) == {"colour": "blue"}
            assert config.stale_since is None
            values: asyncio.Queue[str | None] = asyncio.Queue()
            end = config.watch("/memory/app", values.put_nowait, str)
            assert await heard(values) == '{"colour": "blue"}'
            await put(stub, "/memory/app", '{"colour": "red"}')
            assert await heard(values) == '{"colour": "red"}'
            assert config.get("/memory/app", json_value) == {"colour": "red"}
            await config.delete("/memory/app")
            assert await heard(values) is None
            assert config.get("/memory/app", default=None) is None
            end()


async def test_changes_below_a_path_come_in_order(part: RunningPart) -> None:
    """And nothing of elsewhere."""
    async with AsyncConfigClient(part.addresses["grpc"], ["/ordered", "/other"]) as config:
        async with aclosing(config.changes("/ordered")) as changes:
            first = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)  # lets the iteration begin
            for name, value in (("/other/a", "0"), ("/ordered/a", "1"), ("/ordered/b", "2"), ("/ordered/a", "3")):
                await config.put(name, value)
            told = [await asyncio.wait_for(first, 10), await anext(changes), await anext(changes)]
        assert [(change.name, change.value) for change in told] == [
            ("/ordered/a", "1"),
            ("/ordered/b", "2"),
            ("/ordered/a", "3"),
        ]


async def test_secrets_come_with_their_values_only_when_asked_for(part: RunningPart) -> None:
    async with client(part) as stub:
        await stub.PutParameter(pb.PutParameterRequest(name="/hidden/a", value="s3cret", type=SECURE))
    for secrets, value in ((True, "s3cret"), (False, "")):
        async with AsyncConfigClient(part.addresses["grpc"], ["/hidden"], secrets=secrets) as config:
            assert config.get("/hidden/a") == value
            assert config.parameters()["/hidden/a"].secret


async def test_a_rollout_reaches_its_callers_and_is_taken_back(part: RunningPart) -> None:
    """By the named caller's push, and by nobody else's."""
    target = part.addresses["grpc"]
    async with (
        AsyncConfigClient(target, ["/rolled"], caller="host-1") as named,
        AsyncConfigClient(target, ["/rolled"], caller="host-2") as other,
    ):
        values: asyncio.Queue[str | None] = asyncio.Queue()
        named.watch("/rolled/a", values.put_nowait, str)
        await named.put("/rolled/a", "old")
        assert [await heard(values), await heard(values)] == [None, "old"]
        rollout = Rollout(value="new", base_version=1, percentage=0, callers=("host-1",))
        await named.put(rollout_parameter("/rolled/a"), rollout_document(rollout))
        assert await heard(values) == "new"
        assert other.get("/rolled/a") == "old"
        await named.delete(rollout_parameter("/rolled/a"))
        assert await heard(values) == "old"


async def test_a_start_without_service_and_snapshot_fails_in_time() -> None:
    """With the address, the path and the reason."""
    (port,) = free_port_numbers(1)
    with pytest.raises(
        UnavailableError, match=rf"below /a after 0\.3 s from the config service at 127\.0\.0\.1:{port}"
    ):
        async with AsyncConfigClient(f"127.0.0.1:{port}", ["/a"], wait_seconds=0.3):
            pass


async def test_what_cannot_become_right_fails_at_once(part: RunningPart, tmp_path: Path) -> None:
    """A path that is none, a key file that is none: waiting would not help."""
    with pytest.raises(InvalidArgumentError, match="no path"):
        async with AsyncConfigClient(part.addresses["grpc"], ["no path"], wait_seconds=60):
            pass
    with pytest.raises(InvalidArgumentError, match="a list of paths"):
        AsyncConfigClient(part.addresses["grpc"], "/a")
    key = tmp_path / "key"
    key.write_text("no key")
    key.chmod(0o600)
    with pytest.raises(SnapshotError, match="does not hold a key"):
        async with AsyncConfigClient(part.addresses["grpc"], ["/a"], snapshot_key=key):
            pass


async def test_values_stay_while_the_service_is_killed(tmp_path: Path) -> None:
    """And are pushed again after its return, without anybody asking."""
    async with service(tmp_path) as part, AsyncConfigClient(part.addresses["grpc"], ["/kept"]) as config:
        await config.put("/kept/a", "1")
        values: asyncio.Queue[str | None] = asyncio.Queue()
        config.watch("/kept/a", values.put_nowait, str)
        while await heard(values) != "1":
            pass
        await part.kill()
        with pytest.raises(UnavailableError):
            await config.fetch("/kept/a")
        assert config.get("/kept/a") == "1"
        await part.start()
        async with client(part) as stub:  # its connection may still sit out a back-off
            await stub.PutParameter(pb.PutParameterRequest(name="/kept/a", value="2"), wait_for_ready=True)
        assert await heard(values) == "2"
