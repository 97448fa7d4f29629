"""Streams cut into batches: order kept, faults raised after what came before them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from penstock.tracking.v1.tracking_service_pb2 import StreamTrackEventsRequest

from services.runtime.errors import InvalidArgumentError
from services.tracking.stream import MAX_AHEAD, MAX_BATCH, stream_batches


async def requests(*sequences: int) -> AsyncIterator[StreamTrackEventsRequest]:
    for sequence in sequences:
        yield StreamTrackEventsRequest(sequence=sequence)


async def cut(stream: AsyncIterator[StreamTrackEventsRequest]) -> list[list[int]]:
    return [[request.sequence for request in batch] async for batch in stream_batches(stream)]


async def test_everything_arrives_in_order_in_bounded_batches() -> None:
    """A client that is faster than the disk."""
    batches = await cut(requests(*range(5000)))
    assert [sequence for batch in batches for sequence in batch] == list(range(5000))
    assert max(map(len, batches)) <= MAX_BATCH


async def test_a_slow_stream_is_not_waited_for_to_fill_a_batch() -> None:
    """One event is answered as soon as it comes."""
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[StreamTrackEventsRequest]:
        yield StreamTrackEventsRequest(sequence=1)
        await gate.wait()
        yield StreamTrackEventsRequest(sequence=2)

    batches = stream_batches(slow())
    assert [request.sequence for request in await anext(batches)] == [1]
    gate.set()
    assert [request.sequence for request in await anext(batches)] == [2]
    with pytest.raises(StopAsyncIteration):
        await anext(batches)


async def test_an_empty_stream_has_no_batches() -> None:
    """It simply ends."""
    assert await cut(requests()) == []


@pytest.mark.parametrize("sequences", [(1, 2, 2), (1, 2, 1)])
async def test_a_sequence_that_does_not_increase_ends_the_stream(sequences: tuple[int, ...]) -> None:
    """After what came before it was given."""
    given: list[int] = []

    async def take() -> None:
        async for batch in stream_batches(requests(*sequences)):
            given.extend(request.sequence for request in batch)

    with pytest.raises(InvalidArgumentError, match="follows 2; it must increase"):
        await take()
    assert given == [1, 2]


async def test_a_slow_reader_holds_the_client_back() -> None:
    """Memory is bounded however much the client sends."""
    read = 0

    async def endless() -> AsyncIterator[StreamTrackEventsRequest]:
        nonlocal read
        while True:
            read += 1
            yield StreamTrackEventsRequest(sequence=read)

    batches = stream_batches(endless())
    await anext(batches)
    for _ in range(10_000):
        await asyncio.sleep(0)
    assert read <= MAX_AHEAD + MAX_BATCH + 2
    await batches.aclose()
