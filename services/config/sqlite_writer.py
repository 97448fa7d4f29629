"""Writes of the SQLite store: operations in a transaction, the revision they lead to, the events they leave."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from services.config.parameter import ParameterEvent
from services.runtime.group_commit import Group, GroupCommit

_MAX_GROUP = 256
_MAX_WAITING = 10_000

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
class _Done:
    value: Any
    events: Sequence[ParameterEvent]


class ParameterWriter:
    """Runs operations on the thread of a `GroupCommit`, which explains `connection`, `on_trouble` and the errors.

    `on_commit` hears of committed events in order, before those who wrote them have their answer.
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
        self._kept_revisions = kept_revisions
        self._on_commit = on_commit
        self.revision: int = connection.execute("SELECT revision FROM store").fetchone()[0]
        self._groups: GroupCommit[Operation[Any], _Done] = GroupCommit(
            connection,
            path=path,
            newest="SELECT revision FROM store",
            write=self._write,
            on_commit=self._publish,
            on_trouble=on_trouble,
            max_group=_MAX_GROUP,
            max_waiting=_MAX_WAITING,
        )

    async def run(self, operation: Operation[T]) -> T:
        """The result of an operation, once it is durable; what it raises is raised and nothing of it is written."""
        done = await self._groups.run(operation)
        value: T = done.value
        return value

    async def failed(self) -> None:
        """See `GroupCommit.failed`."""
        await self._groups.failed()

    async def close(self) -> None:
        """See `GroupCommit.close`."""
        await self._groups.close()

    def _write(self, revision: int, operations: Sequence[Operation[Any]]) -> Group[_Done]:
        transaction = Transaction(self._connection, revision)
        results = [_outcome(operation, transaction) for operation in operations]
        newest = transaction.revision
        if newest > revision:
            self._connection.execute("UPDATE store SET revision = ?", (newest,))
            together = max(self._kept_revisions // 10, 1)
            if newest // together > revision // together:
                self._compact(newest - self._kept_revisions)
        return Group(results=results, newest=newest)

    def _compact(self, floor: int) -> None:
        """Forgets old events, about a tenth of those kept at a time."""
        if self._connection.execute("UPDATE store SET floor = ?1 WHERE floor < ?1", (floor,)).rowcount:
            self._connection.execute("DELETE FROM events WHERE live = 0 AND revision <= ?", (floor,))

    def _publish(self, results: Sequence[_Done | Exception]) -> None:
        events = [event for result in results if isinstance(result, _Done) for event in result.events]
        if events:  # what failed, or changed nothing, leaves none
            self.revision = events[-1].revision
            self._on_commit(events)


def _outcome(operation: Operation[Any], transaction: Transaction) -> _Done | Exception:
    before = len(transaction.events)
    try:
        value = operation(transaction)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - it goes to the caller; operations raise before they write
        return error
    return _Done(value=value, events=transaction.events[before:])
