"""The config service as a process of its own, and what may happen to it: kills, a full disk, damaged and lost files."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.config.v1 import config_service_pb2 as pb
from penstock.config.v1 import parameter_pb2
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub

from deploy.local.part import PartSpec
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from services.runtime.channel import open_channel
from services.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PenstockError,
    ResourceExhaustedError,
    UnavailableError,
)
from services.runtime.status import from_rpc_error
from tests.integration.conftest import running
from tests.integration.parts import RunningPart

if TYPE_CHECKING:
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

DATABASE = "parameters.sqlite3"
KEY_FILE = "secret.key"
SLOW_COMMIT = Path(__file__).with_name("slow_commit.py")
SECURE = parameter_pb2.PARAMETER_TYPE_SECURE_STRING

T = TypeVar("T")


def describe(data_directory: Path, *, environment: Mapping[str, str]) -> PartSpec:
    (port,) = free_port_numbers(1)
    return python_process(
        "config",
        "services.config",
        environment={
            "PENSTOCK_CONFIG_PORT": str(port),
            "PENSTOCK_CONFIG_METRICS_PORT": "0",
            "PENSTOCK_CONFIG_DATABASE": str(data_directory / DATABASE),
            "PENSTOCK_CONFIG_KEY_FILE": str(data_directory / KEY_FILE),
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
async def client(part: RunningPart) -> AsyncIterator["ConfigServiceAsyncStub"]:
    async with open_channel(part.addresses["grpc"]) as channel:
        yield ConfigServiceStub(channel)


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with service(tmp_path_factory.mktemp("config")) as part:
        yield part


@pytest.fixture
async def stub(part: RunningPart) -> AsyncIterator["ConfigServiceAsyncStub"]:
    async with client(part) as stub:
        yield stub


async def refusal(call: Awaitable[T]) -> PenstockError:
    """The error that a call must fail with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def put(stub: "ConfigServiceAsyncStub", name: str, value: str) -> pb.PutParameterResponse:
    return await stub.PutParameter(pb.PutParameterRequest(name=name, value=value))


async def value_of(stub: "ConfigServiceAsyncStub", name: str) -> str:
    response = await stub.GetParameter(pb.GetParameterRequest(name=name), wait_for_ready=True)
    return response.parameter.value


async def values(stub: "ConfigServiceAsyncStub", path: str) -> dict[str, str]:
    """Names and values below a path, all pages."""
    found: dict[str, str] = {}
    token = ""
    while True:
        request = pb.ListParametersRequest(path=path, recursive=True, page_size=1000, page_token=token)
        page = await stub.ListParameters(request, wait_for_ready=True)
        found |= {one.name: one.value for one in page.parameters}
        token = page.next_page_token
        if not token:
            return found


class Watch:
    """A watch as `name@revision`, `-name@revision` and `=revision`."""

    def __init__(self, stub: "ConfigServiceAsyncStub", path: str, from_revision: int = 0) -> None:
        self._call = stub.WatchParameters(pb.WatchParametersRequest(path=path, from_revision=from_revision))

    async def next(self) -> str:
        response = await self._call.read()
        if isinstance(response, pb.WatchParametersResponse):
            match response.WhichOneof("event"):
                case "put":
                    return f"{response.put.parameter.name}@{response.put.parameter.revision}"
                case "delete":
                    return f"-{response.delete.name}@{response.delete.revision}"
            return f"={response.bookmark.revision}"
        raise AssertionError(f"the watch ended with {await self._call.code()}")

    def end(self) -> None:
        self._call.cancel()


async def test_a_parameter_lives_through_every_call(stub: "ConfigServiceAsyncStub") -> None:
    """Put, get by selector, batch, list, versions, label, delete over gRPC."""
    first = await put(stub, "/life/a", "one")
    second = await stub.PutParameter(pb.PutParameterRequest(name="/life/a", value="two", expected_version=1))
    assert (first.version, second.version, second.revision > first.revision) == (1, 2, True)
    await put(stub, "/life/b/c", "deep")
    label = pb.LabelParameterVersionRequest(name="/life/a", version=1, labels=["stable", "1st"])
    assert list((await stub.LabelParameterVersion(label)).invalid_labels) == ["1st"]
    assert await value_of(stub, "/life/a") == "two"
    assert await value_of(stub, "/life/a:1") == "one"
    assert await value_of(stub, "/life/a:stable") == "one"
    batch = await stub.BatchGetParameters(pb.BatchGetParametersRequest(names=["/life/b/c", "/life/x", "/life/a"]))
    assert ([one.value for one in batch.parameters], list(batch.missing_names)) == (["deep", "two"], ["/life/x"])
    shallow = await stub.ListParameters(pb.ListParametersRequest(path="/life"))
    assert [one.name for one in shallow.parameters] == ["/life/a"]
    assert await values(stub, "/life") == {"/life/a": "two", "/life/b/c": "deep"}
    versions = await stub.ListParameterVersions(pb.ListParameterVersionsRequest(name="/life/a"))
    assert [(one.version, list(one.labels)) for one in versions.parameters] == [(2, []), (1, ["stable"])]
    deleted = await stub.DeleteParameter(pb.DeleteParameterRequest(name="/life/a"))
    assert deleted.revision > batch.revision
    gone = await refusal(value_of(stub, "/life/a"))
    assert isinstance(gone, NotFoundError)
    assert gone.reason == "ERROR_REASON_PARAMETER_NOT_FOUND"


async def test_malformed_parameters_name_every_fault(stub: "ConfigServiceAsyncStub") -> None:
    """One answer holds them all, as violations of fields."""
    request = pb.PutParameterRequest(name="/a b", value="", allowed_pattern="(", data_type="x", tags={"": ""})
    error = await refusal(stub.PutParameter(request))
    assert isinstance(error, InvalidArgumentError)
    fields = [violation.field for violation in error.violations]
    assert fields == ["name", "value", "data_type", "tags['']", "allowed_pattern"]


async def test_lost_races_and_forbidden_changes_have_their_own_errors(stub: "ConfigServiceAsyncStub") -> None:
    """Class and reason tell them apart."""
    await put(stub, "/cas/a", "one")
    cases = [
        (pb.PutParameterRequest(name="/cas/a", value="x", expected_version=0), AlreadyExistsError),
        (pb.PutParameterRequest(name="/cas/a", value="x", expected_version=7), AbortedError),
        (pb.PutParameterRequest(name="/cas/a", value="x", type=SECURE), FailedPreconditionError),
        (pb.PutParameterRequest(name="/cas/a", value="x", json_schema="{"), InvalidArgumentError),
        (pb.PutParameterRequest(name="/cas/a", value="x", expires_at=Timestamp(seconds=1)), InvalidArgumentError),
        (pb.PutParameterRequest(name="/cas/a", value="x" * 8193), InvalidArgumentError),
    ]
    for request, kind in cases:
        assert type(await refusal(stub.PutParameter(request))) is kind
    assert await value_of(stub, "/cas/a:1") == "one"
    assert isinstance(await refusal(value_of(stub, "/cas/a:2")), NotFoundError)


async def test_one_of_many_writers_wins_each_version(stub: "ConfigServiceAsyncStub") -> None:
    """Compare-and-set: twenty at once, one succeeds."""
    await put(stub, "/race/a", "0")
    results = await asyncio.gather(
        *(
            stub.PutParameter(pb.PutParameterRequest(name="/race/a", value=str(number), expected_version=1))
            for number in range(20)
        ),
        return_exceptions=True,
    )
    won = [result for result in results if isinstance(result, pb.PutParameterResponse)]
    lost = [from_rpc_error(result) for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert [one.version for one in won] == [2]
    assert {error.reason for error in lost} == {"ERROR_REASON_VERSION_CONFLICT"}


async def test_a_hostile_pattern_does_not_stop_the_service(stub: "ConfigServiceAsyncStub") -> None:
    """The match is ended, the put refused, other calls are answered meanwhile, and good patterns work afterwards."""
    hostile = pb.PutParameterRequest(name="/pattern/a", value="a" * 40 + "!", allowed_pattern="(a+)+")
    attack = asyncio.ensure_future(refusal(stub.PutParameter(hostile)))
    await put(stub, "/pattern/b", "written meanwhile")
    assert not attack.done()
    error = await attack
    assert isinstance(error, InvalidArgumentError)
    assert [violation.field for violation in error.violations] == ["allowed_pattern"]
    good = pb.PutParameterRequest(name="/pattern/c", value="abc", allowed_pattern="[a-c]+")
    assert (await stub.PutParameter(good)).version == 1
    mismatch = await refusal(put(stub, "/pattern/c", "abcd"))
    assert mismatch.reason == "ERROR_REASON_PATTERN_MISMATCH"


async def test_a_parameter_deletes_itself_at_its_time(stub: "ConfigServiceAsyncStub") -> None:
    """The watcher hears of it, and reads find nothing."""
    expires_at = Timestamp()
    expires_at.GetCurrentTime()
    expires_at.seconds += 1
    watch = Watch(stub, "/expiry")
    assert (await watch.next()).startswith("=")
    written = await stub.PutParameter(pb.PutParameterRequest(name="/expiry/a", value="v", expires_at=expires_at))
    assert await watch.next() == f"/expiry/a@{written.revision}"
    assert (await watch.next()).startswith("-/expiry/a@")
    watch.end()
    assert isinstance(await refusal(value_of(stub, "/expiry/a")), NotFoundError)


async def test_a_watch_pushes_and_resumes(stub: "ConfigServiceAsyncStub") -> None:
    """What exists, a bookmark, changes; a second watch goes on from where the first ended."""
    there = await put(stub, "/watch/a", "one")
    watch = Watch(stub, "/watch")
    assert await watch.next() == f"/watch/a@{there.revision}"
    assert (await watch.next()).startswith("=")
    changed = await put(stub, "/watch/a", "two")
    assert await watch.next() == f"/watch/a@{changed.revision}"
    watch.end()
    missed = await put(stub, "/watch/b", "while away")
    deleted = await stub.DeleteParameter(pb.DeleteParameterRequest(name="/watch/a"))
    resumed = Watch(stub, "/watch", changed.revision)
    assert await resumed.next() == f"/watch/b@{missed.revision}"
    assert await resumed.next() == f"-/watch/a@{deleted.revision}"
    resumed.end()


async def test_resuming_beyond_what_is_kept_says_compacted(tmp_path: Path) -> None:
    """Also when the revision is one the store never had."""
    async with service(tmp_path, PENSTOCK_CONFIG_KEPT_REVISIONS="20") as part, client(part) as stub:
        for number in range(60):
            await put(stub, "/a", str(number))
        await part.restart()
        for revision in (5, 1000):
            call = stub.WatchParameters(
                pb.WatchParametersRequest(path="/", from_revision=revision), wait_for_ready=True
            )
            error = await refusal(call.read())
            assert isinstance(error, OutOfRangeError)
            assert error.reason == "ERROR_REASON_COMPACTED"
        watch = Watch(stub, "/", 50)
        assert await watch.next() == "/a@51"
        watch.end()


async def test_watchers_that_do_not_read_cost_no_memory(tmp_path: Path) -> None:
    """Twenty of them through 400 changes of 4 KB each, 1.6 MB for each watcher; one that reads has every change."""
    async with service(tmp_path, PENSTOCK_CONFIG_KEPT_REVISIONS="20") as part, client(part) as stub:
        await put(stub, "/a", "0")
        request = pb.WatchParametersRequest(path="/")
        async with client(part) as other:
            idle = [other.WatchParameters(request) for _ in range(20)]
            for call in idle:
                await call.read()
            reader = Watch(stub, "/", 1)
            assert await reader.next() == "=1"
            before = part.memory
            for number in range(400):
                await put(stub, "/a", f"{number}{'x' * 4000}")
                assert await reader.next() == f"/a@{number + 2}"
            reader.end()
            grown = part.memory - before
            for call in idle:
                call.cancel()
        assert grown < 20, f"{grown} MiB"  # 32 MB were to be sent to those that do not read


async def test_a_stop_ends_watches_and_calls_in_order(tmp_path: Path) -> None:
    """Watchers hear UNAVAILABLE, everything is there after the start, and revisions go on."""
    async with service(tmp_path) as part, client(part) as stub:
        written = await put(stub, "/a", "v")
        call = stub.WatchParameters(pb.WatchParametersRequest(path="/", from_revision=written.revision))
        await call.read()
        await part.stop()
        assert isinstance(await refusal(call.read()), UnavailableError)
        await part.start()
        assert await value_of(stub, "/a") == "v"
        assert (await put(stub, "/a", "w")).revision == written.revision + 1


async def follow(part: RunningPart, told: list[int], done: asyncio.Event) -> None:
    """Watch everything, coming back after every break from the last revision told, until `done` and caught up."""
    async with client(part) as stub:
        while True:
            position = told[-1] if told else 0
            request = pb.WatchParametersRequest(path="/", from_revision=position)
            try:
                async for response in stub.WatchParameters(request, wait_for_ready=True):
                    if response.HasField("put"):
                        told.append(response.put.parameter.revision)
                    elif done.is_set():
                        return
            except grpc.aio.AioRpcError:
                continue


async def check_all(stub: "ConfigServiceAsyncStub", written: Iterable[tuple[str, int, str]]) -> None:
    """Every name has this value in this version."""
    expected = {f"{name}:{version}": value for name, version, value in written}
    selectors = list(expected)
    for start in range(0, len(selectors), 100):
        names = selectors[start : start + 100]
        batch = await stub.BatchGetParameters(pb.BatchGetParametersRequest(names=names), wait_for_ready=True)
        assert list(batch.missing_names) == []
        assert [one.value for one in batch.parameters] == [expected[name] for name in names]


async def test_killed_in_a_storm_it_loses_no_acknowledged_write(tmp_path: Path) -> None:
    """Five kills: every acknowledged version is there, no revision is given twice, a watcher misses none of them."""
    acknowledged: dict[int, tuple[str, int, str]] = {}
    told: list[int] = []
    done = asyncio.Event()

    def on_a_slow_disk(data_directory: Path) -> PartSpec:
        spec = describe(data_directory, environment={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
        return replace(spec, argv=(sys.executable, str(SLOW_COMMIT)))

    async with running(on_a_slow_disk, tmp_path) as part, client(part) as stub:
        await put(stub, "/first", "so that a watch from revision 1 resumes")
        told.append(1)
        watcher = asyncio.create_task(follow(part, told, done))

        async def writer(name: str, enough: asyncio.Event) -> None:
            number = 0
            while True:
                value = f"{name}-{number}"
                response = await put(stub, f"/storm/{name}/{number % 3}", value)
                assert response.revision not in acknowledged
                acknowledged[response.revision] = (f"/storm/{name}/{number % 3}", response.version, value)
                number += 1
                if number == 25:
                    enough.set()

        for kill in range(5):
            enough = asyncio.Event()
            writers = [asyncio.create_task(writer(f"{kill}-{number}", enough)) for number in range(16)]
            await enough.wait()
            await part.kill()
            endings = await asyncio.gather(*writers, return_exceptions=True)
            assert {type(ending) for ending in endings} == {grpc.aio.AioRpcError}
            await part.start()
            await check_all(stub, acknowledged.values())
        last = await put(stub, "/last", "v")
        assert last.revision > max(acknowledged)
        done.set()
        # A watch that has caught up gets a bookmark at once: after the restart the follower begins a new one.
        await part.restart()
        await watcher
    assert told == list(range(1, last.revision + 1))
    assert len(acknowledged) > 16 * 25


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED names the file, nothing acknowledged is lost, reads go on, later writing does too."""

    def with_small_files(data_directory: Path) -> PartSpec:
        spec = describe(data_directory, environment={})
        return replace(spec, argv=("sh", "-c", 'ulimit -S -f 1000 && exec "$@"', "sh", *spec.argv))

    async with running(with_small_files, tmp_path) as part, client(part) as stub:
        acknowledged: dict[str, str] = {}
        while True:
            name, value = f"/full/{len(acknowledged)}", "x" * 8000
            try:
                await put(stub, name, value)
            except grpc.aio.AioRpcError as caught:
                error = from_rpc_error(caught)
                break
            acknowledged[name] = value
        assert isinstance(error, ResourceExhaustedError)
        assert error.reason == "ERROR_REASON_STORAGE_FULL"
        assert error.metadata["path"].endswith(DATABASE)
        assert error.retry_after
        assert acknowledged
        assert await values(stub, "/full") == acknowledged
        pid = part._supervisor.kill("config", signal.SIGCONT)  # a signal that changes nothing
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await put(stub, "/full/after", "v")
        await part.kill()
        await part.start()
        assert await values(stub, "/full") == acknowledged | {"/full/after": "v"}


def files_with(folder: Path, content: bytes) -> set[str]:
    """The names of all files below a folder that contain these bytes."""
    return {path.name for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()}


async def test_secrets_are_nowhere_in_plain_text(tmp_path: Path) -> None:
    """Neither in the files nor in the logs nor in errors; the key opens them after a restart."""
    secret = "correct-horse-battery"
    async with service(tmp_path, PENSTOCK_CONFIG_ACCESS_LOG="all", PENSTOCK_CONFIG_LOG_LEVEL="debug") as part:
        async with client(part) as stub:
            request = pb.PutParameterRequest(name="/s", value=secret, type=SECURE, allowed_pattern="[a-z-]+")
            await stub.PutParameter(request)
            error = await refusal(put(stub, "/s", f"{secret}!"))
            assert secret not in str(error)
            assert await value_of(stub, "/s") == ""
            await part.kill()
            await part.start()
            shown = await stub.GetParameter(
                pb.GetParameterRequest(name="/s", with_decryption=True), wait_for_ready=True
            )
            assert shown.parameter.value == secret
        await part.kill()
    assert {DATABASE, f"{DATABASE}-wal", KEY_FILE, "config.log"} <= files_with(tmp_path, b"")
    assert files_with(tmp_path, secret.encode()) == set()


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the service to its end, which must come by itself."""
    return subprocess.run(
        [sys.executable, "-m", "services.config", *arguments],
        env={
            **os.environ,
            "PENSTOCK_CONFIG_PORT": "0",
            "PENSTOCK_CONFIG_METRICS_PORT": "0",
            "PENSTOCK_CONFIG_DATABASE": str(folder / DATABASE),
            "PENSTOCK_CONFIG_KEY_FILE": str(folder / KEY_FILE),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_damaged_database_stops_the_start_with_one_clear_line(tmp_path: Path) -> None:
    """Exit code 1, the file, the fault and what to do; no traceback."""
    (tmp_path / DATABASE).write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    ended = start(tmp_path)
    assert ended.returncode == 1
    assert f"{tmp_path / DATABASE} is damaged" in ended.stderr
    assert "restore it from a backup" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_lost_or_changed_key_stops_the_start_or_the_read(tmp_path: Path) -> None:
    """Missing: the service does not start with a new one. Another: the secret is refused, the rest works."""
    async with service(tmp_path) as part, client(part) as stub:
        await stub.PutParameter(pb.PutParameterRequest(name="/s", value="v", type=SECURE))
        await put(stub, "/plain", "v")
        await part.stop()
        key = part.spec.data_directory / KEY_FILE
        key.unlink()
        ended = await asyncio.to_thread(start, part.spec.data_directory)
        assert ended.returncode == 1
        assert f"{key} is missing, but the database holds secrets" in ended.stderr
        key.write_text("eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=")
        key.chmod(0o600)
        await part.start()
        request = pb.GetParameterRequest(name="/s", with_decryption=True)
        error = await refusal(stub.GetParameter(request, wait_for_ready=True))
        assert isinstance(error, FailedPreconditionError)
        assert error.reason == "ERROR_REASON_KEY_UNAVAILABLE"
        assert await value_of(stub, "/plain") == "v"


async def test_a_second_process_on_the_same_file_is_refused(part: RunningPart) -> None:
    """It says which file, and how to choose another."""
    ended = await asyncio.to_thread(start, part.spec.data_directory)
    assert ended.returncode == 1
    assert "in use by another process" in ended.stderr
    assert "PENSTOCK_CONFIG_DATABASE" in ended.stderr


def test_wrong_settings_are_told_together(tmp_path: Path) -> None:
    """Exit code 2 with every problem; --help names the variables; --check starts nothing."""
    ended = start(tmp_path, PENSTOCK_CONFIG_PORT="x", PENSTOCK_CONFIG_NONSENSE="1", PENSTOCK_CONFIG_HOST="0.0.0.0")
    assert ended.returncode == 2
    for name in ("PENSTOCK_CONFIG_PORT", "PENSTOCK_CONFIG_NONSENSE", "PENSTOCK_CONFIG_HOST"):
        assert name in ended.stderr
    assert "PENSTOCK_CONFIG_KEY_FILE" in start(tmp_path, "--help").stdout
    assert start(tmp_path, "--check").returncode == 0
    assert not list(tmp_path.iterdir())
