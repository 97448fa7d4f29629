"""Messages waiting for a delivery, and for their next attempt."""

import asyncio

from broker_bridge.inbox import Inbox
from broker_bridge.retry_queue import RetryQueue
from broker_bridge.routes import Batch
from broker_bridge.settlement import Entry
from tests.unit.broker_bridge.builders import ManualClock, message


def entry(number: int, *, size: int = 10, alone: bool = False) -> Entry:
    item = message(number, body=b"x" * size)
    return Entry(key=item.key, message=item, epoch=1, ack_id=f"a{number}", received_at=0.0, alone=alone)


async def taken(inbox: Inbox) -> list[str]:
    ids = [item.message.id.removeprefix("ID:test-") for item in await inbox.take()]
    inbox.finished()
    return ids


async def test_a_batch_holds_as_many_messages_as_the_route_says() -> None:
    """In the order they came."""
    inbox = Inbox(Batch(max_messages=3))
    inbox.put([entry(n) for n in range(1, 6)])
    assert await taken(inbox) == ["1", "2", "3"]
    assert await taken(inbox) == ["4", "5"]


async def test_a_batch_holds_as_many_bytes_as_the_route_says() -> None:
    """A larger message goes alone."""
    inbox = Inbox(Batch(max_bytes=25))
    inbox.put([entry(1), entry(2), entry(3), entry(4, size=99), entry(5)])
    assert [await taken(inbox) for _ in range(4)] == [["1", "2"], ["3"], ["4"], ["5"]]


async def test_a_message_that_shall_go_alone_does() -> None:
    """Wherever it stands."""
    inbox = Inbox(Batch())
    inbox.put([entry(1), entry(2, alone=True), entry(3)])
    assert [await taken(inbox) for _ in range(3)] == [["1"], ["2"], ["3"]]


async def test_take_waits_for_the_first_message() -> None:
    """However long it takes."""
    inbox = Inbox(Batch())
    waiting = asyncio.ensure_future(taken(inbox))
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.put([entry(1)])
    assert await waiting == ["1"]


async def test_a_window_gathers_messages_that_come_one_by_one() -> None:
    """A full batch ends it early."""
    inbox = Inbox(Batch(max_messages=3, window=300.0))
    inbox.put([entry(1)])
    waiting = asyncio.ensure_future(taken(inbox))
    for number in (2, 3):
        await asyncio.sleep(0)
        assert not waiting.done()
        inbox.put([entry(number)])
    assert await waiting == ["1", "2", "3"]


async def test_a_window_that_ends_gives_what_is_there() -> None:
    """Also a single message."""
    inbox = Inbox(Batch(window=0.001))
    inbox.put([entry(1)])
    assert await taken(inbox) == ["1"]


async def test_while_others_work_a_batch_is_filled_first() -> None:
    """Full batches are cheap; the wait is a few milliseconds at most."""
    inbox = Inbox(Batch(max_messages=2))
    inbox.put([entry(1)])
    assert [item.message.id for item in await inbox.take()] == ["ID:test-1"]
    inbox.put([entry(2)])
    waiting = asyncio.ensure_future(taken(inbox))
    await asyncio.sleep(0)
    inbox.put([entry(3)])
    assert await waiting == ["2", "3"]


async def test_a_closed_inbox_gives_nothing_more() -> None:
    """Neither what waits nor what comes."""
    inbox = Inbox(Batch())
    inbox.put([entry(1)])
    inbox.close()
    inbox.put([entry(2)])
    assert len(inbox) == 0


async def test_entries_are_released_when_their_time_has_come() -> None:
    """Those due together at once, in the order of their times."""
    clock = ManualClock()
    released: list[list[str]] = []
    queue = RetryQueue(lambda due: released.append([item.message.id for item in due]), clock)
    queue.put([entry(1)], 10)
    queue.put([entry(2), entry(3)], 5)
    clock.seconds += 5
    queue.release_due()
    clock.seconds += 5
    queue.release_due()
    assert released == [["ID:test-2", "ID:test-3"], ["ID:test-1"]]


async def test_cleared_entries_are_never_released() -> None:
    """Their connection is gone."""
    clock = ManualClock()
    released: list[Entry] = []
    queue = RetryQueue(released.extend, clock)
    queue.put([entry(1)], 1)
    queue.clear()
    clock.seconds += 2
    queue.release_due()
    assert released == []
