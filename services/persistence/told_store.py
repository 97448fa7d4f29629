"""A store whose troubles are told: DynamoDB and Cassandra come and go without the process noticing by itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from services.persistence.record import EventRecord
from services.persistence.store import EventQuery, EventStore, Position, PutOutcome, StoredEvent
from services.runtime.errors import RetryableError

T = TypeVar("T")


class ToldStore:
    """An `EventStore`; `on_trouble` hears why the last call failed, and the empty text when one succeeded again."""

    def __init__(self, store: EventStore, on_trouble: Callable[[str], None]) -> None:
        self._store = store
        self._on_trouble = on_trouble
        self._trouble = ""

    async def put(self, records: Sequence[EventRecord]) -> list[PutOutcome]:
        return await self._told(self._store.put(records))

    async def replace(self, records: Sequence[EventRecord]) -> None:
        await self._told(self._store.replace(records))

    async def purge(self, before: int, *, limit: int) -> int:
        return await self._told(self._store.purge(before, limit=limit))

    async def get(self, message_id: str) -> EventRecord | None:
        return await self._told(self._store.get(message_id))

    async def list_events(self, query: EventQuery, *, after: Position | None, limit: int) -> list[StoredEvent]:
        return await self._told(self._store.list_events(query, after=after, limit=limit))

    async def _told(self, call: Awaitable[T]) -> T:
        try:
            answer = await call
        except RetryableError as error:
            self._tell(error.message)
            raise
        self._tell("")
        return answer

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_trouble(trouble)
