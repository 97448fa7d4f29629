"""Messages that are given up."""

from collections.abc import Callable

from structlog.testing import capture_logs

from broker_bridge.broker import ConnectionLostError, RefusedError, UnconfirmedError
from broker_bridge.dedup import MemoryDedup
from broker_bridge.filtering import (
    MemoryFilter,
    Unmatched,
)
from broker_bridge.parcel import Parcel
from broker_bridge.targets import (
    ACCEPTED,
    ErrorClass,
    Outcome,
    Rejected,
)
from tests.unit.broker_bridge.builders import TARGET, frame, message, route
from tests.unit.broker_bridge.pump_rig import REFUSED, FullBroker, running


async def test_an_unknown_topic_is_tried_again_and_then_a_dead_letter() -> None:
    """It is never dropped."""
    unknown = MemoryFilter(lambda _t, _p: Unmatched(reason="no such topic", error_class=ErrorClass.REFUSED))
    async with running(route(targets=(), filter_topic="Orders"), message_filter=unknown) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((dead, letter),) = rig.broker.dead
        assert dead.id == "ID:test-1"
        assert (letter.reason, letter.attempts) == ("no such topic", 3)
        assert rig.pump.stats.retried == 2


async def test_a_message_that_keeps_failing_becomes_a_dead_letter() -> None:
    """With reason, class and attempts; and its records are forgotten, so that it can be replayed."""
    async with running(decide=lambda _item: REFUSED) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert letter.reason.endswith("failed")
        assert (letter.error_class, letter.attempts, letter.route) == (ErrorClass.REFUSED, 3, "orders")
        assert rig.broker.acknowledged == []
        rig.receive(1)
        await rig.until(lambda: len(rig.targets[TARGET].batches) == 4)
        assert rig.targets[TARGET].batches[3][0].attempt == 1


async def test_a_rejected_message_is_given_up_at_once() -> None:
    """Repeating cannot help."""
    async with running(decide=lambda _item: Rejected(reason="never")) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert letter.attempts == 1
        assert "never" in letter.reason


async def test_poison_never_blocks_good_messages() -> None:
    """Bad bodies are dead letters, the others are delivered."""
    async with running() as rig:
        rig.pump.received([frame(n, body=b"\xff" if n % 2 else b"good") for n in range(1, 41)])
        await rig.settled(40)
        assert len(rig.targets[TARGET].delivered) == 20
        assert len(rig.broker.dead) == 20
        assert {letter.error_class for _, letter in rig.broker.dead} == {ErrorClass.POISON}


async def test_a_message_that_never_comes_to_an_end_is_given_up() -> None:
    """A bridge that crashes at it finds the claims of its earlier lives."""
    records = MemoryDedup()
    for _ in range(3):
        await records.claim([message(1).key])
    async with running(dedup=records) as rig:
        rig.receive(1)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert letter.error_class is ErrorClass.POISON
        assert letter.attempts == 3
        assert rig.targets[TARGET].batches == []


async def test_a_dead_letter_the_broker_does_not_take_is_written_later_with_its_reason() -> None:
    """Nothing is acknowledged meanwhile."""
    async with running(decide=lambda _item: Rejected(reason="never")) as rig:
        rig.broker.failure = ConnectionLostError("gone")
        rig.receive(1)
        await rig.until(lambda: bool(rig.pump._failures._unburied))
        assert rig.pump.stats.dead_lettered == 0
        rig.broker.failure = None
        rig.pass_time(2.0)
        await rig.settled(1)
        ((_, letter),) = rig.broker.dead
        assert "never" in letter.reason
        assert letter.attempts == 1


async def test_without_a_connection_it_is_told_once_that_a_dead_letter_could_not_be_written() -> None:
    """However long the broker is away: that there is none is told elsewhere."""
    broker = FullBroker(ConnectionLostError("gone"))
    with capture_logs() as told:
        async with running(decide=lambda _item: Rejected(reason="never"), broker=broker) as rig:
            rig.receive(1)
            for _ in range(3):
                broker.tried.clear()
                await rig.until(lambda: bool(broker.tried))
                rig.pass_time(2.0)
    assert [entry["message_id"] for entry in told if "dead letter" in entry["event"]] == ["ID:test-1"]


def never(*numbers: int) -> Callable[[Parcel], Outcome]:
    """Rejects messages of these numbers."""
    ids = {f"ID:test-{number}" for number in numbers}
    return lambda item: Rejected(reason="never") if item.message.id in ids else ACCEPTED


async def test_a_broker_without_room_for_a_dead_letter_is_left_in_peace_for_a_while() -> None:
    """It reads no ACKs while a SEND waits for room: good messages pass meanwhile, and make some."""
    broker = FullBroker(UnconfirmedError("no answer in time"))
    async with running(decide=never(1, 2, 4, 6), broker=broker) as rig:
        rig.receive(1)
        await rig.until(lambda: len(broker.tried) == 1)
        rig.pump.opened()  # the connection has ended over it
        rig.receive(1, 2, 3, 4)
        await rig.settled(1)
        rig.pass_time(59.0)
        rig.receive(5, 6)
        await rig.settled(2)
        assert len(broker.tried) == 1
        broker.failure = None
        rig.pass_time(61.0)
        await rig.settled(6)
        assert sorted(message.id for message, _ in broker.dead) == [f"ID:test-{number}" for number in (1, 2, 4, 6)]


async def test_a_broker_that_refuses_a_dead_letter_is_asked_again_after_a_pause() -> None:
    """Once, not for every message; good ones pass meanwhile."""
    broker = FullBroker(RefusedError("No space left on device"))
    async with running(decide=never(1, 2), broker=broker) as rig:
        rig.receive(1)
        await rig.until(lambda: len(broker.tried) == 1)
        rig.pass_time(4.0)
        rig.receive(2, 3)
        await rig.settled(1)
        assert len(broker.tried) == 1
        broker.failure = None
        rig.pass_time(6.0)
        await rig.settled(3)
        assert sorted(message.id for message, _ in broker.dead) == ["ID:test-1", "ID:test-2"]


async def test_messages_are_acknowledged_before_the_dead_letters_of_their_batch_are_tried_again() -> None:
    """The broker may have no room for those."""
    broker = FullBroker(ConnectionLostError("gone"))
    async with running(decide=never(1), broker=broker) as rig:
        rig.receive(1)
        await rig.until(lambda: len(broker.tried) == 1)
        rig.pump.opened()
        rig.receive(1, 2)
        await rig.until(lambda: len(broker.tried) == 2)
        assert broker.tried[1] == ["ack-2"]


async def test_a_message_that_never_comes_to_an_end_is_given_up_after_its_batch_is_acknowledged() -> None:
    """What was delivered now, and what was before."""
    records = MemoryDedup()
    for _ in range(3):
        await records.claim([message(1).key])
    await records.done([message(2).key])
    broker = FullBroker(ConnectionLostError("gone"))
    async with running(dedup=records, broker=broker) as rig:
        rig.receive(1, 2, 3)
        await rig.until(lambda: len(broker.tried) == 1)
        assert sorted(broker.tried[0]) == ["ack-2", "ack-3"]
