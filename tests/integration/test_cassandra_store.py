"""The Cassandra store against a real Cassandra, started once for all of these tests."""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from penstock.persistence.v1 import persistence_service_pb2 as pb

from deploy.local.cassandra import nodetool_command
from deploy.local.home import jar_cache
from deploy.local.part import SilentProgress
from services.persistence import cassandra_schema
from services.persistence.cassandra import CassandraEventStore
from services.persistence.cassandra_session import CassandraSession, CassandraTarget
from services.persistence.store import EventQuery, EventStore, PutOutcome
from services.runtime.aws import aws_client
from services.runtime.errors import FailedPreconditionError, UnavailableError
from tests.contracts.event_store import EventStoreContract, ids, record
from tests.integration.cassandra_harness import KEYSPACE, PASSWORD, USER, administrator, cassandra, target
from tests.integration.parts import RunningPart
from tests.integration.test_persistence_service import client, event, listed, put, service
from tests.integration.test_runtime_tls import Identity, authority

STORED, DUPLICATE = PutOutcome.STORED, PutOutcome.DUPLICATE
TABLES = ("events", "events_by_program", "events_by_time", "events_days")
DAY = 86_400_000_000


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RunningPart, Identity]]:
    async with cassandra(tmp_path_factory.mktemp("cassandra")) as (part, identity):
        yield part, identity


@pytest.fixture(scope="module")
def part(node: tuple[RunningPart, Identity]) -> RunningPart:
    return node[0]


@pytest.fixture(scope="module")
async def session(part: RunningPart) -> AsyncIterator[CassandraSession]:
    async with CassandraSession(target(part), migrate=True) as session:
        yield session


@pytest.fixture
async def store(session: CassandraSession) -> EventStore:
    await asyncio.gather(*(execute(session, f"TRUNCATE {KEYSPACE}.{table}") for table in TABLES))
    return await CassandraEventStore(session).prepare()


async def execute(session: CassandraSession, statement: str, *values: Any) -> list[Any]:
    return list(await asyncio.to_thread(session._session.execute, statement, values or None, timeout=60.0))


class TestCassandraEventStore(EventStoreContract):
    """The contract on tables."""

    large_batch = 401


async def test_a_listing_goes_over_days(store: EventStore) -> None:
    """Partitions are days: pages cross them, days without events cost nothing, times before 1970 come first."""
    names = [f"m{number:02}" for number in range(30)]
    await store.put([record(name, occurred_at=(place - 10) * DAY * 7 // 3) for place, name in enumerate(names)])
    first = await store.list_events(EventQuery(), after=None, limit=11)
    rest = await store.list_events(EventQuery(), after=first[-1].position, limit=99)
    assert ids(first + rest) == names
    query = EventQuery(program_id="p-1", from_time=0, until_time=7 * DAY)
    assert ids(await store.list_events(query, after=None, limit=99)) == ["m10", "m11", "m12"]


async def test_what_a_dead_writer_left_half_done_is_mended_by_sending_again(
    session: CassandraSession, store: EventStore
) -> None:
    """A row that no index knows: the duplicate makes it listable, with the times of the first row."""
    await execute(
        session,
        f"INSERT INTO {KEYSPACE}.events (message_id, program_id, occurred_at, payload) VALUES (%s, %s, %s, %s)",
        "a", "p-1", 5, b"first",
    )  # fmt: skip
    assert await store.list_events(EventQuery(), after=None, limit=9) == []
    assert await store.put([record("a", program_id="other", occurred_at=7)]) == [DUPLICATE]
    assert ids(
        await store.list_events(EventQuery(program_id="p-1", from_time=5, until_time=6), after=None, limit=9)
    ) == ["a"]


async def test_rows_expire_by_themselves_when_there_is_a_retention(session: CassandraSession) -> None:
    """Counted from when the event occurred; the row and its index entries go together."""
    store = await CassandraEventStore(session, retention=3600.0, now=lambda: 10_000.0).prepare()
    await store.put([record("ttl", program_id="ttl", occurred_at=9_000 * 1_000_000)])
    for table, condition in (
        ("events", "message_id = 'ttl'"),
        ("events_by_program", "message_id = 'ttl' ALLOW FILTERING"),
    ):
        column = "payload" if table == "events" else "message_id"
        if table == "events":
            [row] = await execute(session, f"SELECT TTL({column}) AS left FROM {KEYSPACE}.{table} WHERE {condition}")
            assert 2500 < row.left <= 2600
        else:
            assert len(await execute(session, f"SELECT * FROM {KEYSPACE}.{table} WHERE {condition}")) == 1
    late = await CassandraEventStore(session, retention=1.0, now=lambda: 10_000.0).prepare()
    await late.put([record("gone", program_id="ttl", occurred_at=1)])
    while await late.get("gone"):  # noqa: ASYNC110 - its time to live is a second, by the server's clock
        await asyncio.sleep(0.1)
    assert ids(await late.list_events(EventQuery(program_id="ttl"), after=None, limit=9)) == ["ttl"]


async def test_tls_is_spoken_with_the_given_authority_alone(
    node: tuple[RunningPart, Identity], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A certificate of another authority is refused; the right one is used, and the connection is encrypted."""
    part, identity = node
    async with CassandraSession(target(part, tls_ca=identity.cert), migrate=True) as session:
        [row] = await execute(
            session, "SELECT ssl_enabled FROM system_views.clients WHERE ssl_enabled = true LIMIT 1 ALLOW FILTERING"
        )
        assert row.ssl_enabled
        store = await CassandraEventStore(session).prepare()
        assert set(await store.put([record("tls")])) <= {STORED, DUPLICATE}
    stranger = authority(tmp_path_factory.mktemp("stranger"), "stranger")
    with pytest.raises(UnavailableError, match=r"(?i)certificate|ssl"):
        await CassandraSession(target(part, tls_ca=stranger.cert)).__aenter__()


async def test_a_wrong_password_is_told_and_not_shown(part: RunningPart) -> None:
    """The server's words, without the secret."""
    with pytest.raises(UnavailableError, match=r"(?i)credentials|authentication") as refusal:
        await CassandraSession(target(part, password="s3cret-wrong")).__aenter__()
    assert "s3cret" not in str(refusal.value)
    assert "s3cret" not in repr(target(part, password="s3cret-wrong"))


async def test_contact_points_that_do_not_answer_are_told() -> None:
    """UNAVAILABLE: the process may be started before the cluster."""
    nowhere = CassandraTarget(
        contact_points=["127.0.0.1"], port=9, datacentre="dc1", keyspace="k", replication={"dc1": 1}, timeout=2.0
    )
    with pytest.raises(UnavailableError, match="Cassandra cannot be used"):
        await CassandraSession(nowhere).__aenter__()


async def test_a_missing_keyspace_is_told_with_what_to_do(part: RunningPart) -> None:
    """Nothing is made unless the process is told to."""
    with pytest.raises(FailedPreconditionError, match="nothing_here does not exist: start one process with PENSTOCK"):
        await CassandraSession(target(part, keyspace="nothing_here")).__aenter__()


async def test_migrations_apply_once_and_in_order(
    part: RunningPart, session: CassandraSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer release adds its migration; an older one, or one with other statements, is refused."""
    newer = cassandra_schema.Migration(
        version=3, statements=("CREATE TABLE IF NOT EXISTS migrated (key text PRIMARY KEY)",)
    )
    with monkeypatch.context() as release:
        release.setattr(cassandra_schema, "MIGRATIONS", (*cassandra_schema.MIGRATIONS, newer))
        with pytest.raises(FailedPreconditionError, match="lacks migration 3"):
            await CassandraSession(target(part)).__aenter__()
        for _ in range(2):
            async with CassandraSession(target(part), migrate=True) as migrated:
                assert await execute(migrated, f"SELECT * FROM {KEYSPACE}.migrated") == []
    with pytest.raises(FailedPreconditionError, match="has the schema version 3, this release knows 2"):
        await CassandraSession(target(part)).__aenter__()
    await execute(session, f"DELETE FROM {KEYSPACE}.schema_migrations WHERE version = 3")
    changed = cassandra_schema.Migration(version=2, statements=("SELECT 1",))
    with monkeypatch.context() as release:
        release.setattr(cassandra_schema, "MIGRATIONS", (cassandra_schema.MIGRATIONS[0], changed))
        with pytest.raises(FailedPreconditionError, match="other statements than those of migration 2"):
            await CassandraSession(target(part)).__aenter__()


async def test_a_keyspace_that_forgets_the_datacentre_is_refused(part: RunningPart) -> None:
    """SimpleStrategy puts replicas anywhere: LOCAL_QUORUM would mean nothing."""
    cluster = administrator(part)
    boss = await asyncio.to_thread(cluster.connect)
    statement = "CREATE KEYSPACE simple WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    await asyncio.to_thread(boss.execute, statement)
    await asyncio.to_thread(cluster.shutdown)
    with pytest.raises(FailedPreconditionError, match="it needs NetworkTopologyStrategy"):
        await CassandraSession(target(part, keyspace="simple")).__aenter__()


@pytest.mark.usefixtures("session")
async def test_a_user_who_may_only_create_keyspaces_makes_and_uses_one(part: RunningPart) -> None:
    """The rights that deploy/cassandra/README.md grants are enough; what others made stays closed."""
    cluster = administrator(part)
    boss = await asyncio.to_thread(cluster.connect)
    for statement in (
        "CREATE ROLE restricted WITH PASSWORD = 'restricted' AND LOGIN = true",
        "GRANT CREATE ON ALL KEYSPACES TO restricted",
    ):
        await asyncio.to_thread(boss.execute, statement)
    await asyncio.to_thread(cluster.shutdown)
    own = target(part, keyspace="restricted", user="restricted", password="restricted")
    async with CassandraSession(own, migrate=True) as session:
        store = await CassandraEventStore(session).prepare()
        assert await store.put([record("a")]) == [STORED]
        assert ids(await store.list_events(EventQuery(), after=None, limit=9)) == ["a"]
    with pytest.raises(UnavailableError, match="no SELECT permission"):
        await CassandraSession(replace(own, keyspace=KEYSPACE)).__aenter__()


async def test_statements_go_to_replicas_at_local_quorum(session: CassandraSession) -> None:
    """What every statement runs with, and how the keyspace is replicated."""
    profile = session._cluster.profile_manager.default
    assert (profile.consistency_level, profile.serial_consistency_level) == (6, 9)  # LOCAL_QUORUM, LOCAL_SERIAL
    assert type(profile.load_balancing_policy).__name__ == "TokenAwarePolicy"
    assert profile.load_balancing_policy._child_policy.local_dc == "dc1"
    [row] = await execute(session, "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s", KEYSPACE)
    assert row.replication == {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1": "1"}


async def test_the_process_serves_events_from_cassandra(
    part: RunningPart, session: CassandraSession, tmp_path: Path
) -> None:
    """Settings choose the store; what one process stored the next one knows."""
    assert session  # the keyspace is there
    contact_point, _, port = part.addresses["cql"].partition(":")
    settings = {
        "STORE": "cassandra",
        "CASSANDRA_CONTACT_POINTS": contact_point,
        "CASSANDRA_PORT": port,
        "CASSANDRA_DATACENTRE": "dc1",
        "CASSANDRA_KEYSPACE": KEYSPACE,
        "CASSANDRA_USER": USER,
        "CASSANDRA_PASSWORD": PASSWORD,
    }
    environment = {f"PENSTOCK_PERSISTENCE_{name}": value for name, value in settings.items()}
    events = [event(f"process-{number}", program_id="process", second=number) for number in range(3)]
    async with service(tmp_path, **environment) as process:
        async with client(process) as stub:
            assert await put(stub, events) == [pb.PUT_EVENT_OUTCOME_STORED] * 3
        await process.restart()
        async with client(process) as stub:
            assert await put(stub, events) == [pb.PUT_EVENT_OUTCOME_DUPLICATE] * 3
            assert await listed(stub, "process") == ["process-0", "process-1", "process-2"]
            assert (await stub.GetEvent(pb.GetEventRequest(message_id="process-1"))).event == events[1]


async def test_a_snapshot_in_s3_restores_a_keyspace_that_was_lost(
    part: RunningPart, aws_emulator: RunningPart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and indexes are as at the time of the snapshot; a snapshot that is not whole is refused."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    endpoint = f"http://{aws_emulator.addresses['http']}"
    s3 = aws_client("s3", region="us-east-1", endpoint_url=endpoint)
    s3.create_bucket(Bucket="backups")
    lost = target(part, keyspace="lost")
    names = [f"m-{number:02}" for number in range(20)]
    async with CassandraSession(lost, migrate=True) as session:
        store = await CassandraEventStore(session).prepare()
        await store.put([record(name, occurred_at=place) for place, name in enumerate(names)])
        nodetool = nodetool_command(jar_cache(), SilentProgress(), jmx_port=int(part.addresses["jmx"].split(":")[1]))
        backup = [sys.executable, "-m", "deploy.cassandra.backup"]
        common = [
            "--bucket",
            "backups",
            "--node",
            "n1",
            "--tag",
            "t1",
            "--keyspace",
            "lost",
            "--endpoint-url",
            endpoint,
        ]
        common += ["--nodetool", shlex.join(nodetool)]
        data = str(part.spec.data_directory / "data")
        code, output = await command(*backup, "snapshot", *common, "--data-directory", data)
        assert (code, "s3://backups/cassandra/t1/n1" in output) == (0, True), output
        assert not await asyncio.to_thread(lambda: list(Path(data).glob("lost/*/snapshots/t1")))
        await execute(session, "DROP KEYSPACE lost")
    async with CassandraSession(lost, migrate=True) as session:
        store = await CassandraEventStore(session).prepare()
        assert await store.list_events(EventQuery(), after=None, limit=99) == []
        code, output = await command(*backup, "restore", *common, "--scratch-directory", str(tmp_path))
        assert code == 0, output
        assert ids(await store.list_events(EventQuery(program_id="p-1"), after=None, limit=99)) == names
        assert await store.put([record(names[0]), record("new")]) == [DUPLICATE, STORED]
    s3.delete_object(Bucket="backups", Key="cassandra/t1/n1/manifest.json")
    s3.close()
    code, output = await command(*backup, "restore", *common, "--scratch-directory", str(tmp_path))
    assert (code, "t1 is not whole" in output) == (1, True)


async def command(*argv: str) -> tuple[int | None, str]:
    """Exit code and all output."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()
