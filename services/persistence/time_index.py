"""Listing by time where one key would be too hot: an index in shards, and the merge that makes one listing of them.

Events of a program come all at once and in order of time, so an index keyed by program and time alone has one hot end.
Each message id belongs to one of `SHARDS` shards; a listing reads all of them and merges.
"""

import asyncio
import heapq
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from services.persistence.record import EventRecord
from services.persistence.store import Position, StoredEvent, position_of

SHARDS = 16
"""Part of what is stored: a store that was written with another number lists only a part of its events."""

ROWS_PER_READ = 100
"""The most rows that `read_page` asks for at once."""

_SMALLEST_READ = 16
# Payload bytes that one listing reads: more than one answer carries.
_PAGE_BYTES = 4 * 1024 * 1024

ReadShard = Callable[[Position | None, int], Awaitable[Sequence[Position]]]
"""At most so many positions of one shard after a position, in order; fewer only at the end of the shard."""
NextPositions = Callable[[Position | None, int], Awaitable[Sequence[Position]]]
"""At most so many positions after a position, in order; none only at the end."""

ReadRows = Callable[[Sequence[str]], Awaitable[Mapping[str, EventRecord]]]
"""The rows that there are of some message ids."""


def shard_of(message_id: str) -> int:
    """The same at every delivery, on every machine."""
    return zlib.crc32(message_id.encode()) % SHARDS


async def merged(shards: Sequence[ReadShard], *, after: Position | None, limit: int) -> list[Position]:
    """The first `limit` positions after `after` of all shards together; fewer only at the end."""
    cursors = [_Cursor(shard, after, min(limit, max(_SMALLEST_READ, 2 * limit // len(shards)))) for shard in shards]
    await asyncio.gather(*(cursor.fill() for cursor in cursors))
    heads = [(cursor.waiting[0], number) for number, cursor in enumerate(cursors) if cursor.waiting]
    heapq.heapify(heads)
    found: list[Position] = []
    while heads and len(found) < limit:
        position, number = heads[0]
        found.append(position)
        cursor = cursors[number]
        cursor.waiting.popleft()
        if not cursor.waiting:
            await cursor.fill()
        if cursor.waiting:
            heapq.heapreplace(heads, (cursor.waiting[0], number))
        else:
            heapq.heappop(heads)
    return found


async def read_page(
    next_positions: NextPositions, read_rows: ReadRows, *, after: Position | None, limit: int
) -> list[StoredEvent]:
    """See `EventStore.list_events`: positions from an index that holds no rows, then the rows by their ids.

    A position whose row is gone is passed over: an index may still show what has just expired. So is one whose row has
    another time: where two datacentres took the same event at different times, one of its rows has won.
    """
    found: list[StoredEvent] = []
    size = 0
    while size <= _PAGE_BYTES and len(found) < limit:
        positions = await next_positions(after, min(limit - len(found), ROWS_PER_READ))
        if not positions:
            break
        after = positions[-1]
        records = await read_rows([position.key for position in positions])
        for position in positions:
            record = records.get(position.key)
            if record is None or record.occurred_at != position.occurred_at:
                continue
            size += len(record.payload)
            found.append(StoredEvent(record=record, position=position_of(record)))
            if size > _PAGE_BYTES:
                break
    return found


class _Cursor:
    """A shard that is read piece by piece."""

    def __init__(self, read: ReadShard, after: Position | None, size: int) -> None:
        self._read = read
        self._after = after
        self._size = size
        self._is_read = False
        self.waiting: deque[Position] = deque()

    async def fill(self) -> None:
        if self._is_read:
            return
        piece = await self._read(self._after, self._size)
        self._is_read = len(piece) < self._size
        self._after = piece[-1] if piece else self._after
        self.waiting.extend(piece)
