"""Parameters in one SQLite file: write-ahead log, every commit fsynced, reads beside the one thread that writes."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from services.config import sqlite_changes as changes
from services.config import sqlite_reads as reads
from services.config.parameter import Parameter, ParameterEvent, Tier
from services.config.path import Selector
from services.config.sqlite_schema import SCHEMA
from services.config.sqlite_writer import ParameterWriter
from services.config.store import (
    Decide,
    EventPage,
    Found,
    LabelMove,
    Listener,
    Listing,
    Retag,
    StoredEnvelope,
    Tagged,
)
from services.runtime.sqlite_file import SqliteFile

T = TypeVar("T")

_SMALL_LISTING = 25
"""Parameters that are read sooner here, on the loop, than on another thread."""


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
        return await self._writer.run(lambda transaction: changes.put(transaction, name, decide))

    async def delete(self, name: str, *, expected_version: int | None = None) -> int:
        return await self._writer.run(lambda transaction: changes.delete(transaction, name, expected_version))

    async def act_on_due(self, now: float) -> int:
        return await self._writer.run(lambda transaction: changes.act_on_due(transaction, now))

    async def next_due(self) -> float | None:
        return reads.next_due(self._points)

    async def label(self, name: str, labels: Sequence[str], *, version: int | None = None) -> LabelMove:
        return await self._writer.run(lambda transaction: changes.label(transaction, name, labels, version))

    async def unlabel(self, name: str, labels: Sequence[str], *, version: int) -> LabelMove:
        return await self._writer.run(lambda transaction: changes.unlabel(transaction, name, labels, version))

    async def retag(self, name: str, retag: Retag) -> Tagged:
        return await self._writer.run(lambda transaction: changes.retag(transaction, name, retag))

    async def count(self, tier: Tier) -> int:
        return reads.count(self._points, tier)

    async def envelopes(self, *, after: int, limit: int) -> Sequence[StoredEnvelope]:
        return await self._scan(lambda connection: reads.envelopes(connection, after, limit))

    async def replace_envelopes(self, envelopes: Sequence[StoredEnvelope]) -> int:
        if not envelopes:
            return 0
        return await self._writer.run(lambda transaction: changes.replace_envelopes(transaction, envelopes))

    async def get(self, selectors: Sequence[Selector]) -> Found:
        # A few microseconds per selector: cheaper here than on another thread. Readers never wait for the writer.
        return _in_one_read(self._points, lambda connection: reads.get(connection, selectors))

    async def list_below(self, path: str, *, recursive: bool, after: str = "", limit: int) -> Listing:
        if limit <= _SMALL_LISTING:
            # No long row of grandchildren is to be skipped here on the loop; mostly there are none.
            near = _in_one_read(
                self._points,
                lambda connection: reads.list_near(connection, path, recursive=recursive, after=after, limit=limit),
            )
            if near is not None:
                return near
        return await self._scan(
            lambda connection: reads.list_below(connection, path, recursive=recursive, after=after, limit=limit)
        )

    async def versions(self, name: str, *, before: int | None = None, limit: int) -> Sequence[Parameter]:
        return await self._scan(lambda connection: reads.versions(connection, name, before, limit))

    async def events(self, path: str, *, after: int, limit: int) -> EventPage:
        return await self._scan(lambda connection: reads.events(connection, path, after, limit))

    async def holds_secrets(self) -> bool:
        return await self._scan(reads.holds_secrets)

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
