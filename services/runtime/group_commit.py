"""The one thread that writes to an SQLite file: what waits goes into one transaction, one fsync serves many callers."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from services.runtime.errors import InternalError, PenstockError, ResourceExhaustedError, UnavailableError

_RETRY_AFTER_FULL_SECONDS = 5.0
_RETRY_AFTER_OVERLOAD_SECONDS = 0.5
# The write did not happen and the file is as before: full, also for the write-ahead log (IOERR_WRITE) and for its index
# (IOERR_SHMSIZE). Anything else, a failed fsync above all, leaves it unknown what the disk and the page cache hold:
# acknowledging more would be a lie.
_REFUSED = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group(Generic[Result]):
    """What a group has become: a result per item, or an error for its caller alone; and the file's newest row number.

    An item that is answered with an error must have written nothing.
    """

    results: Sequence[Result | Exception]
    newest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    weight: int
    done: asyncio.Future[Result]


class GroupCommit(Generic[Item, Result]):
    """Writes items on a thread of its own and commits them in groups. Use it on one event loop.

    Args:
        connection: in autocommit mode; it belongs to the thread until `close` has returned.
        path: of the file, for messages.
        newest: the statement that reads the number of the newest row; it tells whether a failed group left something.
        write: runs on the thread in a transaction; gets that number and the items of a group.
        on_commit: hears the results of a committed group on the loop, in order, before the callers do.
        on_trouble: hears why nothing can be written, and the empty text when something was written again.
        max_group: the weight at which a group is full; weights are given to `run`.
        max_waiting: the weight that may wait; more is refused, unless nothing else waits.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        path: Path,
        newest: str,
        write: Callable[[int, Sequence[Item]], Group[Result]],
        on_commit: Callable[[Sequence[Result | Exception]], None] = lambda _results: None,
        on_trouble: Callable[[str], None] = lambda _text: None,
        max_group: int,
        max_waiting: int,
    ) -> None:
        self._connection = connection
        self._path = path
        self._newest_statement = newest
        self._write = write
        self._on_commit = on_commit
        self._on_trouble = on_trouble
        self._max_group, self._max_waiting = max_group, max_waiting
        self._newest = self._newest_on_disk()
        self._waiting = 0
        self._trouble = ""
        self._refusal: PenstockError | None = None
        self._broken: InternalError | None = None
        self._loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[InternalError] = self._loop.create_future()
        self._queue: SimpleQueue[_Waiting[Item, Result] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, item: Item, *, weight: int = 1) -> Result:
        """The result of an item, once it is durable.

        Raises:
            ResourceExhaustedError: the disk is full, or too much waits; nothing was written.
            UnavailableError: closing, or broken before.
            InternalError: the write failed, and what of it is on disk is unknown.
        """
        if self._refusal:
            raise self._refusal
        # What is heavier than the bound is taken when nothing else waits: it could never get in otherwise.
        if self._waiting and self._waiting + weight > self._max_waiting:
            raise ResourceExhaustedError(
                f"{self._waiting} writes to {self._path.name} wait, at most {self._max_waiting} may: retry",
                retry_after=_RETRY_AFTER_OVERLOAD_SECONDS,
                reason="ERROR_REASON_OVERLOADED",
            )
        waiting: _Waiting[Item, Result] = _Waiting(item=item, weight=weight, done=self._loop.create_future())
        self._waiting += weight
        self._queue.put(waiting)
        return await waiting.done

    async def failed(self) -> None:
        """Waits for the failure after which nothing is written any more, and raises it: the process must be restarted.

        Raises:
            InternalError: when it comes.
        """
        raise await asyncio.shield(self._failure)

    async def close(self) -> None:
        """Commits what waits, refuses the rest, ends the thread."""
        if not self._refusal:
            self._refusal = UnavailableError(f"{self._path.name} is closing: retry", reason="ERROR_REASON_DRAINING")
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if not group:
                continue
            try:
                results, changes = self._committed(group)
            except PenstockError as error:
                self._loop.call_soon_threadsafe(self._refuse, group, error)
            else:
                self._loop.call_soon_threadsafe(self._answer, group, results, changes)

    def _next_group(self) -> tuple[list[_Waiting[Item, Result]], bool]:
        """Everything that waits, until the group is full; the flag tells that the thread is to end after it."""
        first = self._queue.get()
        if first is None:
            return [], True
        group, weight = [first], first.weight
        with suppress(Empty):
            while weight < self._max_group:
                waiting = self._queue.get_nowait()
                if waiting is None:
                    return group, True
                group.append(waiting)
                weight += waiting.weight
        return group, False

    def _committed(self, group: Sequence[_Waiting[Item, Result]]) -> tuple[Sequence[Result | Exception], int]:
        """The results, after the fsync, and how many rows were written."""
        if self._broken:
            raise self._broken
        before = self._connection.total_changes
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            written = self._write(self._newest, [waiting.item for waiting in group])
            self._connection.execute("COMMIT")
        except Exception as error:
            raise self._rolled_back(error) from error
        self._newest = written.newest
        return written.results, self._connection.total_changes - before

    def _rolled_back(self, error: Exception) -> PenstockError:
        try:
            if self._connection.in_transaction:  # after some errors SQLite has rolled back by itself
                self._connection.execute("ROLLBACK")
            is_as_before = self._newest_on_disk() == self._newest
        except sqlite3.Error as second:
            return self._given_up(second)
        if getattr(error, "sqlite_errorcode", None) not in _REFUSED or not is_as_before:
            return self._given_up(error)
        return ResourceExhaustedError(
            f"{self._path} has no room to grow ({_named(error)}): free disk space or raise its limit",
            retry_after=_RETRY_AFTER_FULL_SECONDS,
            reason="ERROR_REASON_STORAGE_FULL",
            metadata={"path": str(self._path)},
        )

    def _given_up(self, error: Exception) -> InternalError:
        self._broken = InternalError(
            f"writing to {self._path} failed: {_named(error)}; what it holds is unknown until it is opened again: "
            "restart the service"
        )
        return self._broken

    def _newest_on_disk(self) -> int:
        return int(self._connection.execute(self._newest_statement).fetchone()[0])

    def _answer(
        self, group: Sequence[_Waiting[Item, Result]], results: Sequence[Result | Exception], changes: int
    ) -> None:
        try:
            if changes:
                self._tell("")
                self._on_commit(results)
        finally:
            for waiting, result in zip(group, results, strict=True):
                self._settle(waiting, result)

    def _refuse(self, group: Sequence[_Waiting[Item, Result]], error: PenstockError) -> None:
        if isinstance(error, InternalError) and not self._failure.done():
            self._refusal = UnavailableError(error.message, reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE")
            self._failure.set_result(error)
        self._tell(error.message)
        for waiting in group:
            self._settle(waiting, error)

    def _settle(self, waiting: _Waiting[Item, Result], result: Result | Exception) -> None:
        self._waiting -= waiting.weight
        if waiting.done.done():  # the caller went away
            return
        if isinstance(result, Exception):
            waiting.done.set_exception(result)
        else:
            waiting.done.set_result(result)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_trouble(trouble)


def _named(error: Exception) -> str:
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
