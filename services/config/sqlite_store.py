"""Parameters in one SQLite file: write-ahead log, every commit fsynced, reads beside the one thread that writes."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from services.config.parameter import KEPT_VERSIONS, Deletion, Notice, Parameter, ParameterEvent, Tier
from services.config.path import Selector, below
from services.config.policies import first_notice
from services.config.sqlite_schema import (
    EVENT_COLUMNS,
    INSERT_VERSION,
    SCHEMA,
    VERSION_COLUMNS,
    event_of,
    values_of,
    version_of,
)
from services.config.sqlite_writer import ParameterWriter, Transaction
from services.config.store import (
    Decide,
    EventPage,
    Found,
    Listener,
    Listing,
    Retag,
    StoredEnvelope,
    check_resumable,
    check_room_for_labels,
    check_room_for_version,
    due_events,
    stored_envelope,
)
from services.config.update import check_expected_version, not_found
from services.runtime.sqlite_file import SqliteFile

T = TypeVar("T")

_FROM_CURRENT = f"SELECT {VERSION_COLUMNS} FROM parameters p JOIN events e ON e.revision = p.revision"  # noqa: S608
_FROM_KEPT = f"SELECT {VERSION_COLUMNS} FROM events e"  # noqa: S608

_CURRENT = f"{_FROM_CURRENT} WHERE p.name = ?"
_VERSION = f"{_FROM_KEPT} WHERE e.name = ? AND e.version = ? AND e.live = 1"
_LABELLED = (
    f"{_FROM_KEPT} JOIN labels n ON e.name = n.name AND e.version = n.version "
    "WHERE n.name = ? AND n.label = ? AND e.live = 1"
)
_BELOW = (
    f"{_FROM_CURRENT} WHERE p.name >= ? AND p.name > ? AND p.name < ? AND (? OR instr(substr(p.name, ?), '/') = 0) "
    "ORDER BY p.name LIMIT ?"
)
_VERSIONS = (
    f"{_FROM_KEPT} WHERE e.name = ? AND e.live = 1 AND (? IS NULL OR e.version < ?) ORDER BY e.version DESC LIMIT ?"
)
_EVENTS = (
    f"SELECT {EVENT_COLUMNS} FROM events e "  # noqa: S608 - made of constants
    "WHERE e.revision > ? AND (e.name = ? OR (e.name >= ? AND e.name < ?)) ORDER BY e.revision LIMIT ?"
)
_DUE = "SELECT min(expires_at) FROM parameters UNION ALL SELECT min(notice_at) FROM parameters"
_DUE_NAMES = (
    "SELECT name, notice_at FROM parameters WHERE expires_at <= ?1 OR notice_at <= ?1 "
    "ORDER BY min(coalesce(expires_at, notice_at), coalesce(notice_at, expires_at)), name"
)
_ENVELOPES = (
    f"SELECT {EVENT_COLUMNS} FROM events e "  # noqa: S608 - made of constants
    "WHERE e.envelope IS NOT NULL AND e.revision > ? ORDER BY e.revision LIMIT ?"
)


class SqliteStore:
    """A ParameterStore in the file `path`; an async context manager, to be entered on the event loop that uses it.

    `kept_revisions` is how many events a watcher can resume over. `on_trouble` hears why nothing can be written, and an
    empty text when it works again. Entering raises what `SqliteFile` raises.
    """

    def __init__(
        self, path: Path, *, kept_revisions: int = 10_000, on_trouble: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._path = path
        self._kept_revisions = kept_revisions
        self._on_trouble = on_trouble
        self._listeners: list[Listener] = []

    async def __aenter__(self) -> Self:
        self._file = await asyncio.to_thread(SqliteFile, self._path, SCHEMA, setting="PENSTOCK_CONFIG_DATABASE")
        self._writing, self._points, self._scans = (self._file.connect() for _ in range(3))
        self._scanner = ThreadPoolExecutor(1, thread_name_prefix="sqlite-reader")
        self._writer = ParameterWriter(
            self._writing,
            path=self._path,
            kept_revisions=self._kept_revisions,
            on_commit=self._publish,
            on_trouble=self._on_trouble,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def revision(self) -> int:
        return self._writer.revision

    def on_commit(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def failed(self) -> None:
        await self._writer.failed()

    async def put(self, name: str, decide: Decide) -> Parameter:
        return await self._writer.run(lambda transaction: _put(transaction, name, decide))

    async def delete(self, name: str, *, expected_version: int | None = None) -> int:
        return await self._writer.run(lambda transaction: _delete(transaction, name, expected_version))

    async def act_on_due(self, now: float) -> int:
        return await self._writer.run(lambda transaction: _act_on_due(transaction, now))

    async def next_due(self) -> float | None:
        dues = [row[0] for row in self._points.execute(_DUE)]
        return min((due for due in dues if due is not None), default=None)

    async def label(self, name: str, labels: Sequence[str], *, version: int | None = None) -> int:
        return await self._writer.run(lambda transaction: _label(transaction, name, labels, version))

    async def unlabel(self, name: str, labels: Sequence[str], *, version: int) -> Sequence[str]:
        return await self._writer.run(lambda transaction: _unlabel(transaction, name, labels, version))

    async def retag(self, name: str, retag: Retag) -> Mapping[str, str]:
        return await self._writer.run(lambda transaction: _retag(transaction, name, retag))

    async def count(self, tier: Tier) -> int:
        number: int = _one(self._points, "SELECT count(*) FROM parameters WHERE tier = ?", tier.value)
        return number

    async def envelopes(self, *, after: int, limit: int) -> Sequence[StoredEnvelope]:
        def read(connection: sqlite3.Connection) -> list[StoredEnvelope]:
            rows = connection.execute(_ENVELOPES, (after, limit))
            found = (event_of(row) for row in rows)
            return [one for event in found if isinstance(event, Parameter) and (one := stored_envelope(event))]

        return await self._scan(read)

    async def replace_envelopes(self, envelopes: Sequence[StoredEnvelope]) -> int:
        if not envelopes:
            return 0
        return await self._writer.run(lambda transaction: _replace_envelopes(transaction, envelopes))

    async def get(self, selectors: Sequence[Selector]) -> Found:
        # A few microseconds per selector: cheaper here than on another thread. Readers never wait for the writer.
        return _in_one_read(self._points, lambda connection: _get(connection, selectors))

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        return await self._scan(
            lambda connection: _list_below(connection, path, recursive=recursive, after=after, limit=limit)
        )

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> Sequence[Parameter]:
        return await self._scan(lambda connection: _versions(connection, name, before, limit))

    async def events(self, path: str, *, after: int, limit: int) -> EventPage:
        return await self._scan(lambda connection: _events(connection, path, after, limit))

    async def holds_secrets(self) -> bool:
        return await self._scan(
            lambda connection: bool(_one(connection, "SELECT EXISTS (SELECT 1 FROM events WHERE envelope IS NOT NULL)"))
        )

    async def close(self) -> None:
        await self._writer.close()
        await asyncio.to_thread(self._scanner.shutdown)
        for connection in (self._points, self._scans, self._writing):
            connection.close()
        self._file.close()

    async def _scan(self, read: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._scanner, lambda: _in_one_read(self._scans, read))

    def _publish(self, events: Sequence[ParameterEvent]) -> None:
        for listener in self._listeners:
            listener(events)


def _in_one_read(connection: sqlite3.Connection, read: Callable[[sqlite3.Connection], T]) -> T:
    """What `read` sees is one revision of the store."""
    connection.execute("BEGIN")
    try:
        return read(connection)
    finally:
        connection.execute("COMMIT")


def _one(connection: sqlite3.Connection, statement: str, *values: object) -> Any:
    row = connection.execute(statement, values).fetchone()
    return None if row is None else row[0]


def _find(connection: sqlite3.Connection, statement: str, *values: object) -> Parameter | None:
    row = connection.execute(statement, values).fetchone()
    return None if row is None else version_of(row)


def _put(transaction: Transaction, name: str, decide: Decide) -> Parameter:
    connection = transaction.connection
    parameter = decide(_find(connection, _CURRENT, name), transaction.revision + 1)
    dropped = parameter.version - KEPT_VERSIONS
    if dropped > 0:
        labelled = _one(
            connection, "SELECT EXISTS (SELECT 1 FROM labels WHERE name = ? AND version = ?)", name, dropped
        )
        check_room_for_version(name, parameter.version, dropped_has_label=bool(labelled))
        connection.execute("UPDATE events SET live = 0 WHERE name = ? AND version = ? AND live = 1", (name, dropped))
    connection.execute(INSERT_VERSION, values_of(parameter))
    connection.execute(
        "INSERT OR REPLACE INTO parameters (name, revision, expires_at, notice_at, tier) VALUES (?, ?, ?, ?, ?)",
        (name, parameter.revision, parameter.expires_at, first_notice(parameter), parameter.tier.value),
    )
    transaction.add(parameter)
    return parameter


def _delete(transaction: Transaction, name: str, expected_version: int | None) -> int:
    current = _find(transaction.connection, _CURRENT, name)
    if current is None:
        raise not_found(name)
    check_expected_version(name, expected_version, current)
    return _remove(transaction, name)


def _remove(transaction: Transaction, name: str) -> int:
    connection, revision = transaction.connection, transaction.revision + 1
    connection.execute("UPDATE events SET live = 0 WHERE name = ? AND live = 1", (name,))
    connection.execute("DELETE FROM parameters WHERE name = ?", (name,))
    connection.execute("DELETE FROM labels WHERE name = ?", (name,))
    connection.execute("INSERT INTO events (revision, name, live) VALUES (?, ?, 0)", (revision, name))
    transaction.add(Deletion(name=name, revision=revision))
    return revision


def _act_on_due(transaction: Transaction, now: float) -> int:
    before, connection = transaction.revision, transaction.connection
    for name, notice_at in connection.execute(_DUE_NAMES, (now,)).fetchall():
        parameter = _find(connection, _CURRENT, name)
        assert parameter
        events, ahead = due_events(parameter, notice_at, now, transaction.revision)
        connection.execute("UPDATE parameters SET notice_at = ? WHERE name = ?", (ahead, name))
        for event in events:
            if isinstance(event, Deletion):
                _remove(transaction, name)
            else:
                _notify(transaction, event)
    return transaction.revision - before


def _notify(transaction: Transaction, notice: Notice) -> None:
    transaction.connection.execute(
        "INSERT INTO events (revision, name, live, notice, due_at) VALUES (?, ?, 0, ?, ?)",
        (notice.revision, notice.name, notice.policy_type, notice.due_at),
    )
    transaction.add(notice)


def _label(transaction: Transaction, name: str, labels: Sequence[str], version: int | None) -> int:
    connection = transaction.connection
    found = _find(connection, _CURRENT, name) if version is None else _find(connection, _VERSION, name, version)
    if found is None:
        raise not_found(name if version is None else f"{name}:{version}")
    check_room_for_labels(name, found.version, {*found.labels, *labels})
    connection.executemany(
        "INSERT OR REPLACE INTO labels (name, label, version) VALUES (?, ?, ?)",
        [(name, label, found.version) for label in labels],
    )
    return found.version


def _unlabel(transaction: Transaction, name: str, labels: Sequence[str], version: int) -> list[str]:
    found = _find(transaction.connection, _VERSION, name, version)
    if found is None:
        raise not_found(f"{name}:{version}")
    removed = [label for label in labels if label in found.labels]
    transaction.connection.executemany(
        "DELETE FROM labels WHERE name = ? AND label = ?", [(name, label) for label in removed]
    )
    return removed


def _retag(transaction: Transaction, name: str, retag: Retag) -> Mapping[str, str]:
    current = _find(transaction.connection, _CURRENT, name)
    if current is None:
        raise not_found(name)
    tags = retag(current)
    transaction.connection.execute(
        "UPDATE events SET tags = ? WHERE revision = ?", (json.dumps(dict(tags)), current.revision)
    )
    return tags


def _replace_envelopes(transaction: Transaction, envelopes: Sequence[StoredEnvelope]) -> int:
    values = [(one.replacement.envelope, one.revision, one.sealed.envelope) for one in envelopes if one.replacement]
    return transaction.connection.executemany(
        "UPDATE events SET envelope = ? WHERE revision = ? AND envelope = ?", values
    ).rowcount


def _get(connection: sqlite3.Connection, selectors: Sequence[Selector]) -> Found:
    revision = _one(connection, "SELECT revision FROM store")
    return Found(parameters=[_selected(connection, selector) for selector in selectors], revision=revision)


def _selected(connection: sqlite3.Connection, selector: Selector) -> Parameter | None:
    if selector.version is not None:
        return _find(connection, _VERSION, selector.name, selector.version)
    if selector.label is not None:
        return _find(connection, _LABELLED, selector.name, selector.label)
    return _find(connection, _CURRENT, selector.name)


def _list_below(connection: sqlite3.Connection, path: str, *, recursive: bool, after: str, limit: int) -> Listing:
    wanted = below(path)
    first_below = len(wanted.first) + 1  # SQL counts characters from 1
    values = (wanted.first, after, wanted.last, recursive, first_below, limit + 1)
    rows = connection.execute(_BELOW, values).fetchall()
    return Listing(
        parameters=[version_of(row) for row in rows[:limit]],
        revision=_one(connection, "SELECT revision FROM store"),
        more=len(rows) > limit,
    )


def _versions(connection: sqlite3.Connection, name: str, before: int | None, limit: int) -> list[Parameter]:
    return [version_of(row) for row in connection.execute(_VERSIONS, (name, before, before, limit))]


def _events(connection: sqlite3.Connection, path: str, after: int, limit: int) -> EventPage:
    revision, floor = connection.execute("SELECT revision, floor FROM store").fetchone()
    check_resumable(after, floor=floor, revision=revision)
    wanted = below(path)
    rows = connection.execute(_EVENTS, (after, path, wanted.first, wanted.last, limit + 1)).fetchall()
    found = [event_of(row) for row in rows[:limit]]
    return EventPage(events=found, revision=found[-1].revision if len(rows) > limit else revision)
