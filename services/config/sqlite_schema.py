"""The tables of the database file, what makes it trustworthy, and rows as domain values.

`events` is the append-only history, one row per revision. A row with `live` = 1 is a kept version of a parameter, or
one of a few beyond those that are kept, which reads leave out; the others (deletions, versions dropped, notices of
policies, changes of labels and tags) only serve watchers that resume, until compaction deletes them up to `floor`.
"""

import json
import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from services.config.parameter import (
    Deletion,
    MetadataChange,
    Notice,
    Parameter,
    ParameterEvent,
    ParameterType,
    Sealed,
    Tier,
)
from services.runtime.sqlite_file import Schema

_TABLES = """
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    floor INTEGER NOT NULL
);
INSERT INTO store VALUES (1, 0, 0);
CREATE TABLE events (
    revision INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER,
    live INTEGER NOT NULL,
    type TEXT,
    value TEXT,
    envelope BLOB,
    modified_at REAL,
    description TEXT,
    allowed_pattern TEXT,
    data_type TEXT,
    expires_at REAL,
    tags TEXT,
    json_schema TEXT,
    tier TEXT,
    policies TEXT,
    key_id TEXT,
    modified_by TEXT,
    notice TEXT,
    due_at REAL,
    labels TEXT
);
CREATE UNIQUE INDEX versions ON events (name, version) WHERE live = 1;
CREATE INDEX not_live ON events (revision) WHERE live = 0;
CREATE TABLE parameters (
    name TEXT PRIMARY KEY,
    revision INTEGER NOT NULL REFERENCES events,
    expires_at REAL,
    notice_at REAL,
    tier TEXT NOT NULL DEFAULT 'Standard'
) WITHOUT ROWID;
CREATE INDEX expiries ON parameters (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX notices ON parameters (notice_at) WHERE notice_at IS NOT NULL;
CREATE INDEX tiers ON parameters (tier);
CREATE TABLE labels (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (name, label)
) WITHOUT ROWID;
"""

_FROM_VERSION_1 = """
ALTER TABLE events ADD COLUMN json_schema TEXT;
ALTER TABLE events ADD COLUMN tier TEXT;
ALTER TABLE events ADD COLUMN policies TEXT;
ALTER TABLE events ADD COLUMN key_id TEXT;
ALTER TABLE events ADD COLUMN modified_by TEXT;
ALTER TABLE events ADD COLUMN notice TEXT;
ALTER TABLE events ADD COLUMN due_at REAL;
ALTER TABLE parameters ADD COLUMN notice_at REAL;
ALTER TABLE parameters ADD COLUMN tier TEXT NOT NULL DEFAULT 'Standard';
CREATE INDEX notices ON parameters (notice_at) WHERE notice_at IS NOT NULL;
CREATE INDEX tiers ON parameters (tier);
"""

_FROM_VERSION_2 = "ALTER TABLE events ADD COLUMN labels TEXT;"

_COLUMNS = (
    "revision, name, version, type, value, envelope, modified_at, description, allowed_pattern, data_type, expires_at, "
    "tags, json_schema, tier, policies, key_id, modified_by"
)
INSERT_VERSION = f"INSERT INTO events ({_COLUMNS}, live) VALUES ({', '.join('?' * len(_COLUMNS.split(',')))}, 1)"  # noqa: S608
"""Takes `values_of`."""

EVENT_COLUMNS = ", ".join(f"e.{column.strip()}" for column in f"{_COLUMNS}, notice, due_at, labels".split(","))
"""What `event_of` reads."""

VERSION_COLUMNS = (
    f"{EVENT_COLUMNS}, "  # noqa: S608 - made of constants
    "(SELECT group_concat(label) FROM labels l WHERE l.name = e.name AND l.version = e.version)"
)
"""What `version_of` reads."""

_TAGS = 11
_NOTICE = len(_COLUMNS.split(","))
_ALL_LABELS = _NOTICE + 2
_LABELS = _NOTICE + 3
_NO_TAGS: Mapping[str, str] = MappingProxyType({})


def event_of(row: tuple[Any, ...]) -> ParameterEvent:
    """The event in a row of EVENT_COLUMNS."""
    if row[2] is not None:
        return _parameter(row, ())
    if row[_NOTICE] is not None:
        return Notice(name=row[1], revision=row[0], policy_type=row[_NOTICE], due_at=row[_NOTICE + 1])
    if row[_ALL_LABELS] is not None:
        return MetadataChange(name=row[1], revision=row[0], labels=json.loads(row[_ALL_LABELS]), tags=_tags(row[_TAGS]))
    return Deletion(name=row[1], revision=row[0])


def version_of(row: tuple[Any, ...]) -> Parameter:
    """The version in a row of VERSION_COLUMNS."""
    labels = row[_LABELS]  # mostly NULL; no label has a comma in it
    return _parameter(row, tuple(sorted(labels.split(","))) if labels else ())


def values_of(parameter: Parameter) -> tuple[Any, ...]:
    """The parameter as INSERT_VERSION takes it."""
    value = parameter.value
    return (
        parameter.revision,
        parameter.name,
        parameter.version,
        parameter.type.value,
        value if isinstance(value, str) else None,
        value.envelope if isinstance(value, Sealed) else None,
        parameter.modified_at,
        parameter.description,
        parameter.allowed_pattern,
        parameter.data_type,
        parameter.expires_at,
        json.dumps(dict(parameter.tags)) if parameter.tags else None,
        parameter.json_schema or None,
        parameter.tier.value,
        parameter.policies or None,
        parameter.key_id or None,
        parameter.modified_by or None,
    )


def _parameter(row: tuple[Any, ...], labels: tuple[str, ...]) -> Parameter:
    revision, name, version, kind, value, envelope, modified_at, description, pattern, data_type, expires_at, tags = (
        row[:12]
    )
    json_schema, tier, policies, key_id, modified_by = row[12:_NOTICE]
    return Parameter(
        name=name,
        type=ParameterType(kind),
        value=value if envelope is None else Sealed(envelope),
        version=version,
        revision=revision,
        modified_at=modified_at,
        labels=labels,
        description=description,
        allowed_pattern=pattern,
        data_type=data_type,
        expires_at=expires_at,
        tags=_tags(tags),
        json_schema=json_schema or "",
        tier=Tier(tier) if tier else Tier.STANDARD,
        policies=policies or "",
        key_id=key_id or "",
        modified_by=modified_by or "",
    )


def _tags(text: str | None) -> Mapping[str, str]:
    return MappingProxyType(json.loads(text)) if text else _NO_TAGS


def _faults(connection: sqlite3.Connection) -> list[str]:
    faults = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    if faults != ["ok"]:
        return faults
    newest, last = connection.execute("SELECT revision, (SELECT max(revision) FROM events) FROM store").fetchone()
    return [] if newest == (last or 0) else [f"the newest revision is {newest}, the last event has {last}"]


SCHEMA = Schema(
    application_id=0x50454E43,
    version=3,
    tables=_TABLES,
    faults=_faults,
    upgrades={1: _FROM_VERSION_1, 2: _FROM_VERSION_2},
    restore="penstock config restore BACKUP",
)
