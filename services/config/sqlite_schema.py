"""The tables of the database file, what makes it trustworthy, and rows as domain values.

`events` is the append-only history, one row per revision. A row with `live` = 1 is a kept version of a parameter; the
others (deletions, versions dropped) only serve watchers that resume, until compaction deletes them up to `floor`.
"""

import json
import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from services.config.parameter import Deletion, Parameter, ParameterEvent, ParameterType, Sealed
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
    tags TEXT
);
CREATE UNIQUE INDEX versions ON events (name, version) WHERE live = 1;
CREATE INDEX not_live ON events (revision) WHERE live = 0;
CREATE TABLE parameters (
    name TEXT PRIMARY KEY,
    revision INTEGER NOT NULL REFERENCES events,
    expires_at REAL
) WITHOUT ROWID;
CREATE INDEX expiries ON parameters (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE labels (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (name, label)
) WITHOUT ROWID;
"""

EVENT_COLUMNS = (
    "e.revision, e.name, e.version, e.type, e.value, e.envelope, e.modified_at, e.description, e.allowed_pattern, "
    "e.data_type, e.expires_at, e.tags"
)
"""What `event_of` reads."""

VERSION_COLUMNS = (
    f"{EVENT_COLUMNS}, "  # noqa: S608 - made of constants
    "(SELECT json_group_array(label) FROM labels l WHERE l.name = e.name AND l.version = e.version)"
)
"""What `version_of` reads."""

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


def event_of(row: tuple[Any, ...]) -> ParameterEvent:
    """The event in a row of EVENT_COLUMNS."""
    return Deletion(name=row[1], revision=row[0]) if row[2] is None else _parameter(row, ())


def version_of(row: tuple[Any, ...]) -> Parameter:
    """The version in a row of VERSION_COLUMNS."""
    return _parameter(row, tuple(sorted(json.loads(row[12]))))


def values_of(parameter: Parameter) -> tuple[Any, ...]:
    """The parameter as EVENT_COLUMNS."""
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
    )


def _parameter(row: tuple[Any, ...], labels: tuple[str, ...]) -> Parameter:
    revision, name, version, kind, value, envelope, modified_at, description, pattern, data_type, expires_at, tags = (
        row[:12]
    )
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
        tags=MappingProxyType(json.loads(tags)) if tags else _NO_TAGS,
    )


def _faults(connection: sqlite3.Connection) -> list[str]:
    faults = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    if faults != ["ok"]:
        return faults
    newest, last = connection.execute("SELECT revision, (SELECT max(revision) FROM events) FROM store").fetchone()
    return [] if newest == (last or 0) else [f"the newest revision is {newest}, the last event has {last}"]


SCHEMA = Schema(application_id=0x50454E43, version=1, tables=_TABLES, faults=_faults)
