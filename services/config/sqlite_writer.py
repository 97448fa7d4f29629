"""The one thread that writes: whatever waits goes into one transaction, so that one fsync serves many callers."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from services.config.parameter import ParameterEvent
from services.runtime.errors import InternalError, PenstockError, ResourceExhaustedError, UnavailableError

_GROUP_SIZE = 256
_RETRY_AFTER_FULL_SECONDS = 5.0

# The write did not happen and the file is as before. Anything else (a failed fsync above all) leaves it unknown what
# the disk holds.
_REFUSED = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})

T = TypeVar("T")


class Transaction:
    """What an operation writes into. It must raise its own errors before its first write."""

    def __init__(self, connection: sqlite3.Connection, revision: int) -> None:
        self.connection = connection
        self.revision = revision
        self.events: list[ParameterEvent] = []

    def add(self, event: ParameterEvent) -> None:
        """Counts an event that was written under `revision + 1`."""
        self.revision = event.revision
        self.events.append(event)


Operation = Callable[[Transaction], T]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    operation: Operation[Any]
    done: asyncio.Future[Any]


class GroupCommitWriter:
    """Runs operations on a thread of its own and commits them in groups.

    Construct it, and call its methods, on one event loop. `connection` belongs to the writer until `close` has
    returned. `on_commit` hears of committed events in order; `on_trouble` hears why nothing can be written, and an
    empty text when it works again. A failure that leaves unknown what is on disk ends the writer: `failed` then raises.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        kept_revisions: int,
        on_commit: Callable[[Sequence[ParameterEvent]], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._path = path
        self._kept_revisions = kept_revisions
        self._on_commit = on_commit
        self._on_trouble = on_trouble
        self._revision, self._floor = connection.execute("SELECT revision, floor FROM store").fetchone()
        self.revision: int = self._revision
        self._loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = self._loop.create_future()
        self._refusal: PenstockError | None = None
        self._broken: InternalError | None = None
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, operation: Operation[T]) -> T:
        """The result of an operation, once it is durable; what it raises is raised and nothing of it is written."""
        if self._refusal:
            raise self._refusal
        waiting = _Waiting(operation=operation, done=self._loop.create_future())
        self._queue.put(waiting)
        result: T = await waiting.done
        return result

    async def failed(self) -> None:
        """Waits for the failure that ends the writer.

        Raises:
            InternalError: when it comes.
        """
        await asyncio.shield(self._failure)

    async def close(self) -> None:
        """Commits what waits, refuses the rest, ends the thread."""
        if not self._refusal:
            self._refusal = UnavailableError("the parameter store is closing", reason="ERROR_REASON_DRAINING")
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._failure.cancel()

    def _run(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if not group:
                continue
            try:
                results, events = self._committed(group)
            except PenstockError as error:
                self._loop.call_soon_threadsafe(self._refuse, group, error)
            else:
                self._loop.call_soon_threadsafe(self._answer, group, results, events)

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """Everything that waits, up to the size of a group; the flag tells that the thread is to end after it."""
        first = self._queue.get()
        if first is None:
            return [], True
        group = [first]
        with suppress(Empty):
            while len(group) < _GROUP_SIZE:
                waiting = self._queue.get_nowait()
                if waiting is None:
                    return group, True
                group.append(waiting)
        return group, False

    def _committed(self, group: Sequence[_Waiting]) -> tuple[list[Any], list[ParameterEvent]]:
        """The result or error of every operation, and the events of all, after the fsync."""
        if self._broken:
            raise self._broken
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(self._connection, self._revision)
            results = [_outcome(waiting.operation, transaction) for waiting in group]
            floor = self._compacted(transaction) if transaction.events else self._floor
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._rolled_back(error) from error
        self._revision, self._floor = transaction.revision, floor
        return results, transaction.events

    def _compacted(self, transaction: Transaction) -> int:
        """Notes the revision, and forgets old events, a tenth of those kept at a time; the floor afterwards."""
        floor = transaction.revision - self._kept_revisions
        if floor - self._floor <= self._kept_revisions // 10:
            floor = self._floor
        else:
            transaction.connection.execute("DELETE FROM events WHERE live = 0 AND revision <= ?", (floor,))
        transaction.connection.execute("UPDATE store SET revision = ?, floor = ?", (transaction.revision, floor))
        return floor

    def _rolled_back(self, error: sqlite3.Error) -> PenstockError:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            on_disk = self._connection.execute("SELECT revision FROM store").fetchone()[0]
        except sqlite3.Error as second:
            return self._given_up(second)
        if getattr(error, "sqlite_errorcode", None) not in _REFUSED or on_disk != self._revision:
            return self._given_up(error)
        return ResourceExhaustedError(
            f"cannot write to {self._path}: {error} ({error.sqlite_errorname}); free disk space or raise its limit",
            retry_after=_RETRY_AFTER_FULL_SECONDS,
            reason="ERROR_REASON_STORAGE_FULL",
            metadata={"path": str(self._path)},
        )

    def _given_up(self, error: sqlite3.Error) -> InternalError:
        self._broken = InternalError(
            f"writing to {self._path} failed ({error}); what it holds is unknown until it is opened again: "
            "restart the service"
        )
        return self._broken

    def _answer(self, group: Sequence[_Waiting], results: Sequence[Any], events: Sequence[ParameterEvent]) -> None:
        if events:
            self.revision = events[-1].revision
            self._on_trouble("")
            self._on_commit(events)
        for waiting, result in zip(group, results, strict=True):
            if waiting.done.done():  # the caller went away
                continue
            if isinstance(result, Exception):
                waiting.done.set_exception(result)
            else:
                waiting.done.set_result(result)

    def _refuse(self, group: Sequence[_Waiting], error: PenstockError) -> None:
        if isinstance(error, InternalError) and not self._failure.done():
            self._refusal = UnavailableError(error.message, reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE")
            self._failure.set_exception(error)
        self._on_trouble(error.message)
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(error)


def _outcome(operation: Operation[T], transaction: Transaction) -> T | Exception:
    try:
        return operation(transaction)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - it goes to the caller; operations raise before they write
        return error
