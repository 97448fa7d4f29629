"""A session with one datacentre of a Cassandra cluster: how it connects, and its futures on the event loop.

Every statement goes to a replica in the local datacentre (token aware) and is answered at LOCAL_QUORUM: a datacentre
goes on alone while others are away, and what it acknowledged survives one of three replicas. The contact points are
those of one datacentre; each gets processes of its own.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cassandra import ConsistencyLevel, InvalidRequest, ProtocolVersion, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy

from services.persistence.cassandra_schema import MIGRATIONS_TABLE, create_keyspace, pending, schema_error
from services.runtime.errors import FailedPreconditionError, UnavailableError

_REQUESTS_IN_FLIGHT = 256
_DDL_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CassandraTarget:
    """Where and as whom. `tls_ca` (PEM) turns TLS on: the nodes' certificates must come from that authority.

    `replication` is used when the keyspace is made: replicas by datacentre.
    """

    contact_points: Sequence[str]
    port: int = 9042
    datacentre: str
    keyspace: str
    replication: Mapping[str, int]
    user: str = ""
    password: str = field(default="", repr=False)
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    timeout: float = 10.0


class CassandraSession:
    """Prepared statements, awaited. Enter it on the event loop that uses it."""

    def __init__(self, target: CassandraTarget, *, migrate: bool = False) -> None:
        self._target = target
        self._migrate = migrate
        self._room = asyncio.Semaphore(_REQUESTS_IN_FLIGHT)

    async def __aenter__(self) -> Self:
        """Connect and look at the schema; make and migrate it when told to. Let one process at a time do that.

        Raises:
            UnavailableError: no contact point answers, or the login is refused.
            FailedPreconditionError: the schema is missing, old, or newer than this release.
        """
        self._loop = asyncio.get_running_loop()
        self._cluster = _cluster(self._target)
        try:
            self._session = await asyncio.to_thread(self._connect)
        except BaseException:
            await asyncio.to_thread(self._cluster.shutdown)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._cluster.shutdown)

    async def prepare(self, statement: str) -> Any:
        """A prepared statement; repeated by the driver only when it is marked idempotent."""
        return await asyncio.to_thread(self._session.prepare, statement)

    async def run(self, prepared: Any, *values: Any) -> Sequence[Any]:
        """The rows of a statement.

        Raises:
            UnavailableError: too few replicas answered in time; a write may have happened or not.
        """
        async with self._room:
            answer: asyncio.Future[Sequence[Any]] = self._loop.create_future()
            future = self._session.execute_async(prepared, values, timeout=self._target.timeout)
            future.add_callbacks(
                lambda rows: self._settle(answer, rows or (), None), lambda error: self._settle(answer, (), error)
            )
            return await answer

    def _settle(self, answer: "asyncio.Future[Sequence[Any]]", rows: Sequence[Any], error: Exception | None) -> None:
        def settle() -> None:
            if answer.done():  # the caller went away
                return
            if error is None:
                answer.set_result(rows)
            else:
                answer.set_exception(_unavailable(error))

        self._loop.call_soon_threadsafe(settle)

    @property
    def keyspace(self) -> str:
        """Where the tables are: statements name it with them, as prepared ones should."""
        return self._target.keyspace

    def _connect(self) -> Any:
        try:
            session = self._cluster.connect()
            session.default_fetch_size = None  # every statement has a limit of its own
            self._check_schema(session)
        except (FailedPreconditionError, UnavailableError):
            raise
        except Exception as error:
            raise _unavailable(error) from error
        return session

    def _check_schema(self, session: Any) -> None:
        if self._migrate:
            session.execute(create_keyspace(self.keyspace, self._target.replication), timeout=_DDL_SECONDS)
        elif self.keyspace not in self._cluster.metadata.keyspaces:
            raise schema_error(f"{self.keyspace} does not exist: start one process with {_MIGRATE}")
        self._check_replication()
        inside = self._cluster.connect(self.keyspace)
        try:
            self._check_migrations(inside)
        finally:
            inside.shutdown()

    def _check_migrations(self, session: Any) -> None:
        if self._migrate:
            session.execute(MIGRATIONS_TABLE, timeout=_DDL_SECONDS)
        try:
            rows = session.execute("SELECT version, checksum FROM schema_migrations")
        except InvalidRequest:
            raise schema_error(f"{self.keyspace} has no tables: start one process with {_MIGRATE}") from None
        missing = pending({row.version: row.checksum for row in rows})
        if missing and not self._migrate:
            raise schema_error(
                f"{self.keyspace} lacks migration {missing[0].version}: start one process with {_MIGRATE}"
            )
        for migration in missing:
            for statement in migration.statements:
                session.execute(statement, timeout=_DDL_SECONDS)
            session.execute(
                "INSERT INTO schema_migrations (version, checksum, applied_at) VALUES (%s, %s, toTimestamp(now()))",
                (migration.version, migration.checksum),
            )

    def _check_replication(self) -> None:
        metadata = self._cluster.metadata.keyspaces[self._target.keyspace]
        options = metadata.replication_strategy.export_for_schema()
        if "NetworkTopologyStrategy" not in options or f"'{self._target.datacentre}'" not in options:
            raise schema_error(
                f"{self._target.keyspace} is replicated as {options}: it needs "
                f"NetworkTopologyStrategy with replicas in the local datacentre {self._target.datacentre}"
            )


_MIGRATE = "PENSTOCK_PERSISTENCE_CREATE_TABLES=true"


def _cluster(target: CassandraTarget) -> Cluster:
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=target.datacentre)),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=target.timeout,
    )
    login = PlainTextAuthProvider(target.user, target.password) if target.user else None
    return Cluster(
        list(target.contact_points),
        port=target.port,
        protocol_version=ProtocolVersion.V5,  # Cassandra 4.0 and newer
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=login,
        ssl_context=_tls(target),
        connect_timeout=target.timeout,
        control_connection_timeout=target.timeout,
        max_schema_agreement_wait=int(_DDL_SECONDS),
    )


def _tls(target: CassandraTarget) -> ssl.SSLContext | None:
    if target.tls_ca is None:
        return None
    context = ssl.create_default_context(cafile=str(target.tls_ca))
    # The driver connects by the addresses that the nodes announce, which their certificates rarely name.
    context.check_hostname = False
    if target.tls_cert:
        context.load_cert_chain(target.tls_cert, target.tls_key)
    return context


def _unavailable(error: Exception) -> UnavailableError:
    causes = error.errors.values() if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) else ()
    text = "; ".join(dict.fromkeys(str(cause) for cause in causes)) or str(error) or type(error).__name__
    hint = " (grant it to this user)" if isinstance(error, Unauthorized) else ""
    return UnavailableError(
        f"Cassandra cannot be used: {text}{hint}",
        retry_after=1.0,
        reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "cassandra"},
    )
