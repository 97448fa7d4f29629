"""A stream of events cut into batches: whatever came while the last one became durable."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from penstock.tracking.v1.tracking_service_pb2 import StreamTrackEventsRequest

from services.runtime.errors import invalid_field

MAX_BATCH = 500
MAX_AHEAD = 2000
"""Requests of one stream that may wait; beyond it flow control holds the client back."""


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


async def stream_batches(
    requests: AsyncIterator[StreamTrackEventsRequest],
) -> AsyncGenerator[Sequence[StreamTrackEventsRequest], None]:
    """The requests in order, 1 to 500 at a time. What came before a failure of the stream is given before it is raised.

    Raises:
        InvalidArgumentError: a sequence does not increase.
    """
    queue: asyncio.Queue[StreamTrackEventsRequest | _End] = asyncio.Queue(MAX_AHEAD)
    reader = asyncio.create_task(_read(requests, queue))
    try:
        end = None
        while end is None:
            batch, end = _gathered(await queue.get(), queue)
            if batch:
                yield batch
        if end.error is not None:
            raise end.error
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


def _gathered(
    first: StreamTrackEventsRequest | _End, queue: "asyncio.Queue[StreamTrackEventsRequest | _End]"
) -> tuple[list[StreamTrackEventsRequest], _End | None]:
    batch, item = [], first
    while not isinstance(item, _End):
        batch.append(item)
        if len(batch) == MAX_BATCH or queue.empty():
            return batch, None
        item = queue.get_nowait()
    return batch, item


async def _read(
    requests: AsyncIterator[StreamTrackEventsRequest], queue: "asyncio.Queue[StreamTrackEventsRequest | _End]"
) -> None:
    try:
        async for request in _increasing(requests):
            await queue.put(request)
    except Exception as error:  # noqa: BLE001 - raised again by the reader of the queue
        await queue.put(_End(error))
    else:
        await queue.put(_End(None))


async def _increasing(requests: AsyncIterator[StreamTrackEventsRequest]) -> AsyncIterator[StreamTrackEventsRequest]:
    last = None
    async for request in requests:
        if last is not None and request.sequence <= last:
            raise invalid_field("sequence", f"{request.sequence} follows {last}; it must increase")
        last = request.sequence
        yield request
