"""What is read of the SQLite store, each by one connection that sees one revision."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from services.config.parameter import KEPT_VERSIONS, Parameter, Tier
from services.config.path import Selector, below, is_child
from services.config.sqlite_schema import EVENT_COLUMNS, VERSION_COLUMNS, event_of, version_of
from services.config.store import EventPage, Found, Listing, StoredEnvelope, check_resumable, stored_envelope

_FROM_CURRENT = f"SELECT {VERSION_COLUMNS} FROM parameters p JOIN events e ON e.revision = p.revision"  # noqa: S608
_FROM_KEPT = f"SELECT {VERSION_COLUMNS} FROM events e"  # noqa: S608

_CURRENT = f"{_FROM_CURRENT} WHERE p.name = ?"
_NEWEST = "(SELECT max(n.version) FROM events n WHERE n.name = e.name AND n.live = 1)"
_IS_KEPT = f"e.live = 1 AND e.version > {_NEWEST} - {KEPT_VERSIONS}"
_VERSION = f"{_FROM_KEPT} WHERE e.name = ? AND e.version = ? AND {_IS_KEPT}"
_LABELLED = (
    f"{_FROM_KEPT} JOIN labels n ON e.name = n.name AND e.version = n.version "
    "WHERE n.name = ? AND n.label = ? AND e.live = 1"
)
_BELOW = (
    f"{_FROM_CURRENT} WHERE p.name >= ? AND p.name > ? AND p.name < ? AND (? OR instr(substr(p.name, ?), '/') = 0) "
    "ORDER BY p.name LIMIT ?"
)
_VERSIONS = (
    f"{_FROM_KEPT} WHERE e.name = ? AND {_IS_KEPT} AND (? IS NULL OR e.version < ?) ORDER BY e.version DESC LIMIT ?"
)
_EVENTS = (
    f"SELECT {EVENT_COLUMNS} FROM events e "  # noqa: S608 - made of constants
    "WHERE e.revision > ? AND (e.name = ? OR (e.name >= ? AND e.name < ?)) ORDER BY e.revision LIMIT ?"
)
_NAME = 1  # its place in VERSION_COLUMNS
_DUE = "SELECT min(expires_at) FROM parameters UNION ALL SELECT min(notice_at) FROM parameters"
_ENVELOPES = (
    f"SELECT {EVENT_COLUMNS} FROM events e "  # noqa: S608 - made of constants
    "WHERE e.envelope IS NOT NULL AND e.revision > ? ORDER BY e.revision LIMIT ?"
)


def current(connection: sqlite3.Connection, name: str) -> Parameter | None:
    """The newest version of a parameter."""
    return _find(connection, _CURRENT, name)


def version(connection: sqlite3.Connection, name: str, number: int) -> Parameter | None:
    """A kept version."""
    return _find(connection, _VERSION, name, number)


def get(connection: sqlite3.Connection, selectors: Sequence[Selector]) -> Found:
    """See `ParameterStore.get`."""
    return Found(parameters=[_selected(connection, selector) for selector in selectors], revision=_revision(connection))


def list_below(connection: sqlite3.Connection, path: str, *, recursive: bool, after: str, limit: int) -> Listing:
    """See `ParameterStore.list_below`."""
    return _listing(connection, _below(connection, path, recursive=recursive, after=after, limit=limit), limit)


def list_near(connection: sqlite3.Connection, path: str, *, recursive: bool, after: str, limit: int) -> Listing | None:
    """The same where it takes no more rows than asked for; None where grandchildren lie between the children."""
    rows = _below(connection, path, recursive=True, after=after, limit=limit)
    if recursive or all(is_child(path, row[_NAME]) for row in rows):
        return _listing(connection, rows, limit)
    return None


def versions(connection: sqlite3.Connection, name: str, before: int | None, limit: int) -> list[Parameter]:
    """See `ParameterStore.versions`."""
    return [version_of(row) for row in connection.execute(_VERSIONS, (name, before, before, limit))]


def events(connection: sqlite3.Connection, path: str, after: int, limit: int) -> EventPage:
    """See `ParameterStore.events`."""
    revision, floor = connection.execute("SELECT revision, floor FROM store").fetchone()
    check_resumable(after, floor=floor, revision=revision)
    wanted = below(path)
    rows = connection.execute(_EVENTS, (after, path, wanted.first, wanted.last, limit + 1)).fetchall()
    found = [event_of(row) for row in rows[:limit]]
    return EventPage(events=found, revision=found[-1].revision if len(rows) > limit else revision)


def envelopes(connection: sqlite3.Connection, after: int, limit: int) -> list[StoredEnvelope]:
    """See `ParameterStore.envelopes`."""
    found = (event_of(row) for row in connection.execute(_ENVELOPES, (after, limit)))
    return [one for event in found if isinstance(event, Parameter) and (one := stored_envelope(event))]


def next_due(connection: sqlite3.Connection) -> float | None:
    """See `ParameterStore.next_due`."""
    dues = [row[0] for row in connection.execute(_DUE)]
    return min((due for due in dues if due is not None), default=None)


def count(connection: sqlite3.Connection, tier: Tier) -> int:
    """See `ParameterStore.count`."""
    number: int = one(connection, "SELECT count(*) FROM parameters WHERE tier = ?", tier.value)
    return number


def holds_secrets(connection: sqlite3.Connection) -> bool:
    """See `ParameterStore.holds_secrets`."""
    return bool(one(connection, "SELECT EXISTS (SELECT 1 FROM events WHERE envelope IS NOT NULL)"))


def one(connection: sqlite3.Connection, statement: str, *values: object) -> Any:
    """The first column of the first row; None when there is none."""
    row = connection.execute(statement, values).fetchone()
    return None if row is None else row[0]


def _below(
    connection: sqlite3.Connection, path: str, *, recursive: bool, after: str, limit: int
) -> Sequence[tuple[Any, ...]]:
    """Rows of a listing, and one more when there is one."""
    wanted = below(path)
    first_below = len(wanted.first) + 1  # SQL counts characters from 1
    values = (wanted.first, after, wanted.last, recursive, first_below, limit + 1)
    return connection.execute(_BELOW, values).fetchall()


def _listing(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], limit: int) -> Listing:
    parameters = [version_of(row) for row in rows[:limit]]
    return Listing(parameters=parameters, revision=_revision(connection), more=len(rows) > limit)


def _selected(connection: sqlite3.Connection, selector: Selector) -> Parameter | None:
    if selector.version is not None:
        return version(connection, selector.name, selector.version)
    if selector.label is not None:
        return _find(connection, _LABELLED, selector.name, selector.label)
    return current(connection, selector.name)


def _find(connection: sqlite3.Connection, statement: str, *values: object) -> Parameter | None:
    row = connection.execute(statement, values).fetchone()
    return None if row is None else version_of(row)


def _revision(connection: sqlite3.Connection) -> int:
    revision: int = one(connection, "SELECT revision FROM store")
    return revision
