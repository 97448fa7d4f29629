"""Access control, audit, keys and policies of the config service as a process, and with certificates."""

import asyncio
import json
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.config.v1 import config_service_pb2 as pb
from penstock.config.v1 import parameter_pb2
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub, add_ConfigServiceServicer_to_server

from deploy.local.part import PartSpec
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from services.config.access_file import AccessControl
from services.config.audit import verify
from services.config.backup import keys_in_use
from services.config.crypto import SecretBox
from services.config.guard import Guard
from services.config.identity import CallerIdentity
from services.config.key_file import LocalKeys
from services.config.memory_store import MemoryStore
from services.config.registry import ParameterRegistry
from services.config.schemas import SchemaBook
from services.config.servicer import SERVICE, ConfigServicer
from services.config.watch import WatchHub
from services.runtime.channel import open_channel
from services.runtime.errors import (
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from services.runtime.health import HealthBoard
from services.runtime.server import listening
from services.runtime.settings import ServiceSettings
from tests.integration.conftest import running
from tests.integration.parts import RunningPart
from tests.integration.test_config_service import Watch, put, refusal
from tests.integration.test_runtime_tls import authority

if TYPE_CHECKING:
    from penstock.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

SECURE = parameter_pb2.PARAMETER_TYPE_SECURE_STRING
TOKENS = {
    "owner": "the-token-of-the-owner",
    "reader": "the-token-of-the-reader",
    "leaver": "the-token-of-the-leaver",
}
RULES = """
[[rules]]
principals = ["owner"]
actions = ["read", "decrypt", "write", "delete", "label", "watch"]
paths = ["/"]

[[rules]]
principals = ["reader", "leaver"]
actions = ["read", "watch"]
paths = ["/open"]
"""
MORE = """
[[rules]]
principals = ["reader"]
actions = ["read", "decrypt", "watch"]
paths = ["/later"]
"""


def grant(folder: Path, rules: str) -> Path:
    """An access file for both principals, with these rules."""
    folder.mkdir(parents=True, exist_ok=True)
    principals = ""
    for name, token in TOKENS.items():
        file = folder / f"{name}.token"
        if not file.exists():
            file.write_text(token)
            file.chmod(0o600)
        certificates = f'certificates = ["{name}"]'
        principals += f'[[principals]]\nname = "{name}"\ntoken_files = ["{name}.token"]\n{certificates}\n'
    partial = folder / "access.partial"
    partial.write_text(principals + rules)
    return partial.rename(folder / "access.toml")


def describe(data_directory: Path) -> PartSpec:
    (port,) = free_port_numbers(1)
    return python_process(
        "config",
        "services.config",
        environment={
            "PENSTOCK_CONFIG_PORT": str(port),
            "PENSTOCK_CONFIG_METRICS_PORT": "0",
            "PENSTOCK_CONFIG_ACCESS_LOG": "all",
            "PENSTOCK_CONFIG_LOG_LEVEL": "debug",
            "PENSTOCK_CONFIG_KEPT_REVISIONS": "200",
            "PENSTOCK_CONFIG_DATABASE": str(data_directory / "parameters.sqlite3"),
            "PENSTOCK_CONFIG_KEY_FILE": str(data_directory / "secret.key"),
            "PENSTOCK_CONFIG_ACCESS_FILE": str(grant(data_directory, RULES)),
        },
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}"},
    )


@asynccontextmanager
async def as_principal(part: RunningPart, token: str) -> AsyncIterator["ConfigServiceAsyncStub"]:
    async with open_channel(part.addresses["grpc"], token=token) as channel:
        yield ConfigServiceStub(channel)


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with running(describe, tmp_path_factory.mktemp("access")) as part:
        yield part


@pytest.fixture
async def owner(part: RunningPart) -> AsyncIterator["ConfigServiceAsyncStub"]:
    async with as_principal(part, TOKENS["owner"]) as stub:
        yield stub


@pytest.fixture
async def reader(part: RunningPart) -> AsyncIterator["ConfigServiceAsyncStub"]:
    async with as_principal(part, TOKENS["reader"]) as stub:
        yield stub


async def penstock(*arguments: object) -> tuple[int | None, str]:
    """The exit code and the output of a command."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *map(str, arguments), stdout=pipe, stderr=pipe, env={**os.environ, "NO_COLOR": "1"}
    )
    output, errors = await process.communicate()
    return process.returncode, (output + errors).decode()


async def test_callers_without_a_known_token_are_refused(part: RunningPart) -> None:
    """In every call, watches included."""
    for token in ("", "the-token-of-nobody"):
        async with as_principal(part, token) as stub:
            assert isinstance(await refusal(stub.GetParameter(pb.GetParameterRequest(name="/a"))), UnauthenticatedError)
            watch = stub.WatchParameters(pb.WatchParametersRequest(path="/"))
            assert isinstance(await refusal(watch.read()), UnauthenticatedError)


async def test_each_caller_sees_its_own_paths(
    owner: "ConfigServiceAsyncStub", reader: "ConfigServiceAsyncStub"
) -> None:
    """Reads, lists, history and changes over gRPC; the author is kept with the version."""
    await put(owner, "/open/a", "one")
    await put(owner, "/closed/a", "one")
    request = pb.PutParameterRequest(name="/open/secret", value="s3cret", type=SECURE)
    await owner.PutParameter(request)
    page = await reader.ListParameters(pb.ListParametersRequest(path="/", recursive=True, with_decryption=True))
    assert [(one.name, one.value, one.modified_by) for one in page.parameters] == [
        ("/open/a", "one", "owner"),
        ("/open/secret", "", "owner"),
    ]
    for name in ("/closed/a", "/closed/none"):
        assert isinstance(await refusal(reader.GetParameter(pb.GetParameterRequest(name=name))), NotFoundError)
    secret = pb.GetParameterRequest(name="/open/secret", with_decryption=True)
    assert isinstance(await refusal(reader.GetParameter(secret)), PermissionDeniedError)
    assert isinstance(await refusal(put(reader, "/open/a", "two")), PermissionDeniedError)
    explained = await reader.ExplainAccess(pb.ExplainAccessRequest(name="/open/a"))
    assert (explained.principal, list(explained.actions)) == ("reader", ["read", "watch"])


async def test_changed_rules_apply_to_open_watches(
    part: RunningPart, owner: "ConfigServiceAsyncStub", reader: "ConfigServiceAsyncStub"
) -> None:
    """What is granted is told from the next change on, what is taken away no more."""
    watch = Watch(reader, "/later")
    assert (await watch.next()).startswith("=")
    await put(owner, "/later/a", "unseen")
    grant(part.spec.data_directory, RULES + MORE)
    await until_allowed(reader, ["read", "decrypt", "watch"])
    seen = await put(owner, "/later/a", "seen")
    assert await watch.next() == f"/later/a@{seen.revision}"
    grant(part.spec.data_directory, RULES)
    await until_allowed(reader, [])
    await put(owner, "/later/a", "unseen")
    grant(part.spec.data_directory, RULES + MORE)
    await until_allowed(reader, ["read", "decrypt", "watch"])
    seen = await put(owner, "/later/a", "seen")
    assert await watch.next() == f"/later/a@{seen.revision}"
    watch.end()


async def test_a_watch_ends_when_its_token_is_revoked(part: RunningPart, owner: "ConfigServiceAsyncStub") -> None:
    """Before it would tell another change; whoever has the new token of the principal may watch."""
    token = part.spec.data_directory / "leaver.token"
    async with as_principal(part, TOKENS["leaver"]) as leaver:
        watch = Watch(leaver, "/open/door")
        assert (await watch.next()).startswith("=")
        token.write_text("the-next-token-of-the-leaver")
        assert isinstance(await refusal(asked_for_ever(leaver)), UnauthenticatedError)
        seen = await put(owner, "/open/door", "v")
        assert isinstance(await refusal(watch.next()), UnauthenticatedError)
    async with as_principal(part, "the-next-token-of-the-leaver") as leaver:
        watch = Watch(leaver, "/open/door")
        assert await watch.next() == f"/open/door@{seen.revision}"
        watch.end()


async def asked_for_ever(stub: "ConfigServiceAsyncStub") -> None:
    while True:
        await stub.ExplainAccess(pb.ExplainAccessRequest(name="/open"))


async def until_allowed(stub: "ConfigServiceAsyncStub", actions: Sequence[str]) -> None:
    while list((await stub.ExplainAccess(pb.ExplainAccessRequest(name="/later/a"))).actions) != list(actions):
        pass


async def matches(_pattern: str, _value: str) -> bool:
    return True


async def satisfies(_schema: str, _value: str | None) -> Sequence[str]:
    return ()


async def test_a_certificate_says_who_calls(tmp_path: Path) -> None:
    """By its common name; one that is nobody's is refused although it is genuine."""
    store = MemoryStore()
    registry = ParameterRegistry(store, SecretBox(LocalKeys([b"k" * 32])), matches, SchemaBook(store, satisfies))
    access = AccessControl(grant(tmp_path / "access", RULES))
    servicer = ConfigServicer(Guard(registry, WatchHub(store), access=access), CallerIdentity(access))

    def register(server: grpc.aio.Server) -> Sequence[str]:
        add_ConfigServiceServicer_to_server(servicer, server)
        return [SERVICE]

    server = authority(tmp_path, "server")
    identities = {name: authority(tmp_path, name) for name in ("owner", "reader", "stranger")}
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("".join(one.cert.read_text() for one in identities.values()))
    settings = ServiceSettings(tls_cert=server.cert, tls_key=server.key, tls_client_ca=authorities, drain_seconds=0)
    async with listening(settings=settings, register=register, health=HealthBoard()) as address:

        @asynccontextmanager
        async def stub_of(name: str, token: str = "") -> AsyncIterator["ConfigServiceAsyncStub"]:
            own = identities[name]
            channel = open_channel(address, tls_ca=server.cert, tls_cert=own.cert, tls_key=own.key, token=token)
            async with channel:
                yield ConfigServiceStub(channel)

        async with stub_of("owner") as stub:
            assert (await put(stub, "/a", "v")).version == 1
        async with stub_of("reader") as stub:
            assert isinstance(await refusal(put(stub, "/a", "v")), PermissionDeniedError)
        async with stub_of("stranger") as stub:
            assert isinstance(await refusal(put(stub, "/a", "v")), UnauthenticatedError)
        async with stub_of("stranger", TOKENS["owner"]) as stub:
            assert (await put(stub, "/a", "v")).version == 2


async def test_the_audit_log_is_intact_after_kills(part: RunningPart, owner: "ConfigServiceAsyncStub") -> None:
    """Every acknowledged write is in it, whenever the process was killed; the command finds what was changed."""
    acknowledged: set[int] = set()

    async def write(number: int) -> None:
        while True:
            written = await owner.PutParameter(
                pb.PutParameterRequest(name=f"/storm/{number}", value="v"), wait_for_ready=True
            )
            acknowledged.add(written.revision)
            if len(acknowledged) % 40 == 0:
                enough.set()

    for _ in range(2):
        enough = asyncio.Event()
        writers = [asyncio.create_task(write(number)) for number in range(8)]
        await enough.wait()
        await part.kill()
        await part.start()
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    log = part.spec.data_directory / "audit.log"
    code, output = await penstock("params", "audit", "verify", log, "--json")
    verdict = json.loads(output)
    assert (code, verdict["fault"]) == (0, "")
    _, listed = await penstock("params", "audit", "ls", log, "--name", "/storm", "--json")
    assert acknowledged <= {record["revision"] for record in json.loads(listed)}
    copy = tampered(log)
    code, output = await penstock("params", "audit", "verify", copy)
    assert (code, output.startswith("NOT INTACT: line 2 was changed")) == (1, True)
    code, output = await penstock("params", "audit", "verify", log, "--head", "0123")
    assert (code, "is gone" in output) == (1, True)
    assert verify(log).fault == ""


def tampered(log: Path) -> Path:
    """A copy of which the second line says something else."""
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"result": "', b'"result": "x')
    copy = log.with_name("copy.log")
    copy.write_bytes(b"".join(lines))
    return copy


async def test_a_key_is_rotated_without_a_stop(part: RunningPart, owner: "ConfigServiceAsyncStub") -> None:
    """Secrets are readable all the time, under the new key soon, and the old one can be dropped then."""
    key_file, database = part.spec.data_directory / "secret.key", part.spec.data_directory / "parameters.sqlite3"
    await owner.PutParameter(pb.PutParameterRequest(name="/rotated", value="rotated-s3cret", type=SECURE))
    (old,) = keys_in_use(database)
    code, output = await penstock("config", "rotate-key", "--key-file", key_file, "--json")
    new = bytes.fromhex(json.loads(output)["active"])
    read = pb.GetParameterRequest(name="/rotated", with_decryption=True)
    while keys_in_use(database) != {new}:
        assert (await owner.GetParameter(read)).parameter.value == "rotated-s3cret"
    code, output = await penstock("config", "drop-keys", "--key-file", key_file, "--database", database, "--json")
    assert (code, json.loads(output)["dropped"], new != old) == (0, 1, True)
    await part.restart()
    found = await owner.GetParameter(read, wait_for_ready=True)
    assert found.parameter.value == "rotated-s3cret"
    folder = part.spec.data_directory.parent
    assert not [path for path in folder.rglob("*") if path.is_file() and b"rotated-s3cret" in path.read_bytes()]


async def test_policies_act_at_their_time(owner: "ConfigServiceAsyncStub") -> None:
    """A notice an hour before the expiry, and the expiry itself."""
    watch = owner.WatchParameters(pb.WatchParametersRequest(path="/policies"))
    await watch.read()
    now = Timestamp()
    now.GetCurrentTime()

    def policy(kind: str, **attributes: str) -> dict[str, object]:
        return {"Type": kind, "Version": "1.0", "Attributes": attributes}

    soon = Timestamp(seconds=now.seconds + 3602)
    before = policy("ExpirationNotification", Before="1", Unit="Hours")
    policies = json.dumps([policy("Expiration", Timestamp=soon.ToJsonString()), before])
    written = await owner.PutParameter(pb.PutParameterRequest(name="/policies/told", value="v", policies=policies))
    assert written.tier == parameter_pb2.PARAMETER_TIER_ADVANCED
    due = policy("Expiration", Timestamp=Timestamp(seconds=now.seconds + 2).ToJsonString())
    await owner.PutParameter(pb.PutParameterRequest(name="/policies/gone", value="v", policies=json.dumps([due])))
    told: dict[str, str] = {}
    while len(told) < 2:
        event = await watch.read()
        assert isinstance(event, pb.WatchParametersResponse)
        if event.HasField("notice"):
            told[event.notice.name] = event.notice.policy_type
        elif event.HasField("delete"):
            told[event.delete.name] = "deleted"
    assert told == {"/policies/told": "ExpirationNotification", "/policies/gone": "deleted"}
    watch.cancel()


async def test_values_satisfy_the_schemas_of_their_paths(owner: "ConfigServiceAsyncStub") -> None:
    """Those stored below /penstock/schemas and the parameter's own; a fault names the place, never the value."""
    port = {"type": "object", "properties": {"port": {"type": "integer", "maximum": 65535}}, "required": ["port"]}
    await put(owner, "/penstock/schemas/checked", json.dumps(port))
    assert (await put(owner, "/checked/a", '{"port": 80}')).version == 1
    error = await refusal(put(owner, "/checked/a", '{"port": 99999}'))
    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "ERROR_REASON_SCHEMA_MISMATCH"
    assert error.metadata == {"name": "/checked/a", "schema": "/penstock/schemas/checked"}
    assert "$.port: violates maximum 65535" in error.message
    assert "99999" not in error.message
    own = pb.PutParameterRequest(name="/own", value="[1]", json_schema='{"type": "array"}')
    await owner.PutParameter(own)
    for wrong in ("{}", "no json"):
        assert (await refusal(put(owner, "/own", wrong))).reason == "ERROR_REASON_SCHEMA_MISMATCH"
    for schema in ("{", '{"type": 7}', '{"$ref": "https://example.com/schema.json"}'):
        request = pb.PutParameterRequest(name="/own", value="[1]", json_schema=schema)
        refused = await refusal(owner.PutParameter(request))
        assert isinstance(refused, InvalidArgumentError)
        assert [violation.field for violation in refused.violations] == ["json_schema"]
    slow = json.dumps({"type": "string", "pattern": "^(a+)+$"})
    hostile = pb.PutParameterRequest(name="/slow", value=json.dumps("a" * 40 + "!"), json_schema=slow)
    assert "processor time" in (await refusal(owner.PutParameter(hostile))).message
    await owner.DeleteParameter(pb.DeleteParameterRequest(name="/penstock/schemas/checked"))
    assert (await put(owner, "/checked/a", '{"port": 99999}')).version == 2


async def test_a_dry_run_checks_and_writes_nothing(owner: "ConfigServiceAsyncStub") -> None:
    """It answers the version it would be."""
    request = pb.PutParameterRequest(name="/dry", value="v", dry_run=True)
    assert (await owner.PutParameter(request)).version == 1
    assert isinstance(await refusal(owner.GetParameter(pb.GetParameterRequest(name="/dry"))), NotFoundError)
    await put(owner, "/dry", "v")
    assert (await owner.PutParameter(request)).version == 2
    refused = pb.PutParameterRequest(name="/dry", value="", dry_run=True)
    assert isinstance(await refusal(owner.PutParameter(refused)), InvalidArgumentError)
    assert (await put(owner, "/dry", "w")).version == 2


async def test_labels_and_tags_come_and_go(owner: "ConfigServiceAsyncStub") -> None:
    """Over gRPC, without a new version; filters find them."""
    await put(owner, "/marked/a", "v")
    await put(owner, "/marked/b", "v")
    await owner.LabelParameterVersion(pb.LabelParameterVersionRequest(name="/marked/a", labels=["stable"]))
    tags = (await owner.TagParameter(pb.TagParameterRequest(name="/marked/a", tags={"team": "lab", "x": "y"}))).tags
    assert tags == {"team": "lab", "x": "y"}
    tags = (await owner.TagParameter(pb.TagParameterRequest(name="/marked/a", removed_keys=["x"]))).tags
    assert tags == {"team": "lab"}
    for key in ("Label", "tag:team"):
        one = pb.ParameterFilter(key=key, values=["stable", "lab"])
        request = pb.ListParametersRequest(path="/marked", filters=[one], without_values=True)
        page = await owner.ListParameters(request)
        assert [(found.name, found.value) for found in page.parameters] == [("/marked/a", "")]
    gone = pb.UnlabelParameterVersionRequest(name="/marked/a", version=1, labels=["stable", "other"])
    done = await owner.UnlabelParameterVersion(gone)
    assert (list(done.removed_labels), list(done.invalid_labels)) == (["stable"], ["other"])


async def test_a_thousand_watchers_hear_of_a_change(part: RunningPart, owner: "ConfigServiceAsyncStub") -> None:
    """Each of them, of this and of nothing before."""
    with many_files():
        channels = [open_channel(part.addresses["grpc"], token=TOKENS["owner"]) for _ in range(10)]
        stubs: list[ConfigServiceAsyncStub] = [ConfigServiceStub(channel) for channel in channels]
        watches = [Watch(stubs[number % 10], "/crowd") for number in range(1000)]
        firsts = await asyncio.gather(*(watch.next() for watch in watches))
        assert all(first.startswith("=") for first in firsts)
        for value in ("one", "two"):
            written = await put(owner, "/crowd/a", value)
            heard = await asyncio.gather(*(watch.next() for watch in watches))
            assert set(heard) == {f"/crowd/a@{written.revision}"}
        for watch in watches:
            watch.end()
        await asyncio.gather(*(channel.close() for channel in channels))


@contextmanager
def many_files() -> Iterator[None]:

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_watcher_that_does_not_read_is_told_so(part: RunningPart, owner: "ConfigServiceAsyncStub") -> None:
    """It holds nobody up, nothing is kept for it, and it hears COMPACTED when it reads on after more than is kept."""
    # Without it the client's transport would take in some megabytes for a reader that does not read.
    options = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536), ("grpc.enable_http_proxy", 0))
    token = (("authorization", f"Bearer {TOKENS['owner']}"),)
    async with grpc.aio.insecure_channel(part.addresses["grpc"], options) as channel:
        stub: ConfigServiceAsyncStub = ConfigServiceStub(channel)
        call = stub.WatchParameters(pb.WatchParametersRequest(path="/slow-reader"), metadata=token)
        await call.read()
        for _ in range(15):  # beyond the thousand events that are kept in memory for all
            await asyncio.gather(*(put(owner, f"/slow-reader/{number}", "x" * 2000) for number in range(100)))

        async def read_on() -> None:
            while await call.read() is not grpc.aio.EOF:
                pass

        error = await refusal(asyncio.wait_for(read_on(), 30))
    assert isinstance(error, OutOfRangeError)
    assert error.reason == "ERROR_REASON_COMPACTED"
