"""The keyspace of the Cassandra store and its migrations, in order; what is applied is never changed afterwards.

Of each kind of row (`events`, `conversions`) there are four tables:

    events             one row per message id: the event itself
    events_by_program  keys alone, by program and day in 16 shards, ordered by time
    events_by_time     the same for all programs
    events_days        which days have events: those of `program:<id>`, and of `all`

A partition of the indexes holds a sixteenth of a day: some 100 bytes per event, so that at 16 million events of a day
it reaches the 100 MB that Cassandra's documentation advises.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.runtime.errors import FailedPreconditionError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_DATACENTRE = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """Statements that may be repeated: a process can end between two of them."""

    version: int
    statements: Sequence[str]

    @property
    def checksum(self) -> str:
        return hashlib.sha256("\n".join(self.statements).encode()).hexdigest()


def _tables(kind: str) -> Sequence[str]:
    return (
        (
            f"CREATE TABLE IF NOT EXISTS {kind} "
            "(message_id text PRIMARY KEY, program_id text, occurred_at bigint, payload blob)"
        ),
        (
            f"CREATE TABLE IF NOT EXISTS {kind}_by_program "
            "(program_id text, day int, shard int, occurred_at bigint, message_id text, "
            "PRIMARY KEY ((program_id, day, shard), occurred_at, message_id))"
        ),
        (
            f"CREATE TABLE IF NOT EXISTS {kind}_by_time (day int, shard int, occurred_at bigint, message_id text, "
            "PRIMARY KEY ((day, shard), occurred_at, message_id))"
        ),
        f"CREATE TABLE IF NOT EXISTS {kind}_days (scope text, day int, PRIMARY KEY (scope, day))",
    )


MIGRATIONS: Sequence[Migration] = (
    Migration(version=1, statements=_tables("events")),
    Migration(version=2, statements=_tables("conversions")),
)
MIGRATIONS_TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, checksum text, applied_at timestamp)"
)


def create_keyspace(keyspace: str, replication: Mapping[str, int]) -> str:
    """The statement that makes the keyspace, with so many replicas in each datacentre.

    Raises:
        FailedPreconditionError: a name that CQL would not take unquoted, or no datacentre.
    """
    faults = [f"the keyspace {keyspace!r}"] * (not _NAME.fullmatch(keyspace))
    faults += [f"the datacentre {name!r}" for name in replication if not _DATACENTRE.fullmatch(name)]
    if faults or not replication:
        raise schema_error(f"{' and '.join(faults) or 'no datacentre'} cannot be used in CREATE KEYSPACE")
    factors = ", ".join(f"'{name}': {count}" for name, count in sorted(replication.items()))
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', {factors}}}"
    )


def pending(applied: Mapping[int, str]) -> Sequence[Migration]:
    """The migrations that are not applied yet; `applied` maps versions to checksums.

    Raises:
        FailedPreconditionError: the keyspace was made by a newer release, or by other statements.
    """
    known = {migration.version: migration for migration in MIGRATIONS}
    if unknown := sorted(set(applied) - set(known)):
        raise schema_error(f"has the schema version {unknown[-1]}, this release knows {MIGRATIONS[-1].version}")
    changed = [version for version in applied if applied[version] != known[version].checksum]
    if changed:
        raise schema_error(f"was made by other statements than those of migration {min(changed)}")
    return [migration for migration in MIGRATIONS if migration.version not in applied]


def schema_error(what: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the Cassandra keyspace: {what}",
        reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "cassandra"},
    )
