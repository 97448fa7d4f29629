"""A subscription kept alive over connections that come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker_bridge import dead_letters
from broker_bridge.broker import BrokerAddress, ConnectionLostError, RefusedError
from broker_bridge.dead_letters import DeadLetter
from broker_bridge.message import MessageKind
from broker_bridge.retry_policy import RetryStrategy
from broker_bridge.session import Session, SessionState
from broker_bridge.settlement import AckBatch, Entry
from broker_bridge.targets import ErrorClass
from tests.unit.broker_bridge.builders import NO_BACKOFF, message, retry, route
from tests.unit.broker_bridge.fake_broker import FakeBroker, FakeConnection

FIRST, SECOND = BrokerAddress("a", 1), BrokerAddress("b", 2)
LETTER = DeadLetter(reason="no", error_class=ErrorClass.REFUSED, attempts=3, first_failed_at=5, route="orders")


@dataclass
class Listener:
    """A consumer that keeps what it hears."""

    epoch: int = 0
    frames: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    unconfirmed: float = 0.0
    stalled: float = 0.0
    remembered: bool = True
    reasons: list[str] = field(default_factory=list)
    cumulative: list[bool] = field(default_factory=list)

    def opened(self, *, cumulative: bool) -> int:
        self.epoch += 1
        self.cumulative.append(cumulative)
        return self.epoch

    def received(self, frames: Sequence[tuple[Mapping[str, str], bytes]]) -> None:
        self.frames += frames

    def confirmed(self, receipt: str) -> None:
        self.receipts.append(receipt)

    def unconfirmed_seconds(self) -> float:
        return self.unconfirmed

    def stalled_seconds(self) -> float:
        return self.stalled

    def is_remembered(self) -> bool:
        return self.remembered

    def prefetch(self) -> int:
        return 7

    def is_idle(self) -> bool:
        return True

    def renewal(self) -> str:
        return self.reasons.pop() if self.reasons else ""


@dataclass(kw_only=True)
class Rig:
    session: Session
    broker: FakeBroker
    listener: Listener
    states: list[SessionState]

    @property
    def connection(self) -> FakeConnection:
        return self.broker.connections[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"never held; {self.states[-3:]}")

    async def active(self, connections: int = 1) -> None:
        await self.until(lambda: sum(state.active for state in self.states) == connections)


@asynccontextmanager
async def running(
    broker: FakeBroker | None = None, *, prefer_first: bool = False, **changes: object
) -> AsyncIterator[Rig]:
    fake, listener, states = broker or FakeBroker(), Listener(), list[SessionState]()
    session = Session(
        route(**{"selector": "a = 1", "prefetch": 7} | changes),
        connect=fake,
        addresses=(FIRST, SECOND),
        report=states.append,
        backoff=NO_BACKOFF,
        prefer_first=prefer_first,
    )
    task = asyncio.ensure_future(session.run(listener))
    try:
        yield Rig(session=session, broker=fake, listener=listener, states=states)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def entry(epoch: int = 1, **changes: object) -> Entry:
    item = message(1, **changes)  # type: ignore[arg-type]  # the fields are those of the builder
    return Entry(key=item.key, message=item, epoch=epoch, ack_id="the-ack", received_at=0.0)


async def test_a_route_is_active_when_its_subscription_is_confirmed() -> None:
    """With its source, selector and prefetch."""
    async with running() as rig:
        await rig.active()
        (subscribed,) = rig.connection.headers("SUBSCRIBE")
        assert subscribed["destination"] == "/queue/orders"
        assert subscribed["selector"] == "a = 1"
        assert subscribed["activemq.prefetchSize"] == "7"
        assert rig.states[-1].server == "stomp://a:1 Fake/1"


async def test_a_refused_subscription_is_told_and_tried_again() -> None:
    """An idle bridge that looks healthy would be worse."""
    broker = FakeBroker(refusals={"SUBSCRIBE": "User x is not authorized to read from: queue://orders"})
    async with running(broker) as rig:
        await rig.until(lambda: len(rig.broker.connections) > 2)
        assert not any(state.active for state in rig.states)
        assert "not authorized" in rig.states[-1].detail
        assert all(connection.ended.done() for connection in rig.broker.connections[:-1])


async def test_the_next_broker_of_the_list_is_tried() -> None:
    """With the reason why the first was not used."""
    broker = FakeBroker(unreachable={"stomp://a:1": "nobody listens there"})
    async with running(broker) as rig:
        await rig.active()
        assert rig.connection.address == SECOND
        assert "nobody listens there" in rig.states[0].detail


async def test_a_lost_connection_is_a_new_epoch_with_a_new_subscription() -> None:
    """The consumer hears of it before anything arrives."""
    async with running() as rig:
        await rig.active()
        rig.connection.abort("broken pipe")
        await rig.active(2)
        assert rig.listener.epoch == 2
        assert rig.connection.commands == ["SUBSCRIBE"]
        assert any(state.detail == "broken pipe" for state in rig.states)


async def test_a_renewed_subscription_is_no_trouble() -> None:
    """A new connection at once, without a word in the health."""
    async with running() as rig:
        await rig.active()
        rig.listener.reasons = ["too many bytes"]
        rig.session.on_messages([({}, b"")])
        await rig.active(2)
        assert all(state.active for state in rig.states)


async def test_a_subscription_is_renewed_when_everything_written_is_confirmed() -> None:
    """Nothing is taken, acknowledged or moved by the old connection after that: it comes again."""
    async with running() as rig:
        await rig.active()
        first = rig.connection
        rig.session.acknowledge(AckBatch(receipt="ack-1-1", ack_ids=["x"]))
        rig.listener.reasons = ["too many bytes"]
        rig.session.on_messages([({}, b"in time")])
        rig.session.on_messages([({}, b"late")])
        rig.session.acknowledge(AckBatch(receipt="ack-1-2", ack_ids=["y"]))
        with pytest.raises(ConnectionLostError, match="send it again"):
            await rig.session.dead_letter(entry(), LETTER)
        await rig.active(2)
        assert first.commands == ["SUBSCRIBE", "ACK", "DISCONNECT"]
        assert [body for _, body in rig.listener.frames] == [b"in time"]
        assert rig.listener.receipts == ["ack-1-1"]


async def test_a_renewal_stays_with_the_broker_that_is_there() -> None:
    """Of a list whose preferred one is away; only when that is back the subscription goes there."""
    broker = FakeBroker(unreachable={"stomp://a:1": "nobody listens there"})
    async with running(broker, prefer_first=True) as rig:
        await rig.active()
        before = len(rig.states)
        rig.listener.reasons = ["too many bytes"]
        rig.session.on_messages([({}, b"")])
        await rig.active(2)
        assert rig.connection.address == SECOND
        assert all(state.active for state in rig.states[before:])


async def test_closing_waits_for_a_renewal_under_way() -> None:
    """And says DISCONNECT once."""
    async with running() as rig:
        await rig.active()
        rig.listener.reasons = ["too many bytes"]
        rig.session.on_messages([({}, b"")])
        await rig.session.close()
        assert rig.connection.commands == ["SUBSCRIBE", "DISCONNECT"]


async def test_several_dead_letters_of_an_ended_connection_put_nothing_off() -> None:
    """They come again; the broker is not asked for ACKs one by one for an hour."""
    async with running(FakeBroker(server="ActiveMQ/5.18.4")) as rig:
        await rig.active()
        rig.connection.abort("broken pipe")
        for _ in range(20):
            with pytest.raises(ConnectionLostError, match="send it again"):
                await rig.session.dead_letter(entry(), LETTER)
        await rig.active(2)
        assert rig.listener.cumulative == [True, True]


async def test_a_closed_session_does_not_connect_again() -> None:
    """It would take messages that nobody works on."""
    async with running() as rig:
        await rig.active()
        await rig.session.close()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(rig.broker.connections) == 1


async def test_acks_are_written_with_one_receipt() -> None:
    """Which comes back to the consumer."""
    async with running() as rig:
        await rig.active()
        rig.session.acknowledge(AckBatch(receipt="ack-1-1", ack_ids=["x", "y"]))
        await rig.until(lambda: rig.listener.receipts == ["ack-1-1"])
        assert rig.connection.headers("ACK") == [{"id": "x"}, {"id": "y", "receipt": "ack-1-1"}]


async def test_acks_without_a_connection_are_dropped() -> None:
    """Their messages come again."""
    async with running() as rig:
        rig.session.acknowledge(AckBatch(receipt="ack-1-1", ack_ids=["x"]))
        await rig.active()
        assert rig.connection.headers("ACK") == []


async def test_an_ack_the_broker_does_not_know_settles_those_before_it() -> None:
    """ERROR instead of RECEIPT: the broker has worked off everything before."""
    async with running() as rig:
        await rig.active()
        rig.session.on_error("ack-1-1", "Unexpected ACK received for message-id [null]")
        assert rig.listener.receipts == ["ack-1-1"]
        assert not rig.connection.ended.done()


async def test_messages_are_acknowledged_together_where_the_broker_can() -> None:
    """The consumer is told how before anything arrives."""
    async with running(FakeBroker(server="ActiveMQ/5.18.4")) as rig:
        await rig.active()
        (subscribed,) = rig.connection.headers("SUBSCRIBE")
        assert subscribed["ack"] == "client"
        assert rig.listener.cumulative == [True]


@pytest.mark.parametrize(
    ("server", "changes"),
    [
        ("ActiveMQ/5.18.4", {"retry": retry(strategy=RetryStrategy.SCHEDULED)}),
        ("ActiveMQ/5.18.4", {"retry": retry(strategy=RetryStrategy.BROKER)}),
        ("ActiveMQ/5.18.4", {"lanes": 2}),
        ("ActiveMQ/5.18.4", {"transform_maps": True}),
        ("ActiveMQ/5.18.4", {"source": "queue://orders.>"}),
        ("ActiveMQ/5.18.4", {"source": "topic://prices"}),
        ("Fake/1", {}),
    ],
)
async def test_messages_are_acknowledged_one_by_one_where_that_is_needed(server: str, changes: dict[str, Any]) -> None:
    """Where messages wait in the broker, in lanes, as JSON, of many queues, of a topic, by an unknown broker."""
    async with running(FakeBroker(server=server), **changes) as rig:
        await rig.active()
        (subscribed,) = rig.connection.headers("SUBSCRIBE")
        assert subscribed["ack"] == "client-individual"
        assert rig.listener.cumulative == [False]


async def test_a_subscription_to_many_queues_is_confirmed_by_what_follows_it() -> None:
    """With a receipt of its own the broker would give it nothing of what lies in the queues already."""
    async with running(source="queue://orders.>") as rig:
        await rig.active()
        assert rig.connection.commands == ["SUBSCRIBE", "BEGIN", "ABORT"]
        assert [headers.get("receipt") for _, headers, _ in rig.connection.frames] == [None, None, "subscribe-1"]


async def test_the_subscription_is_renewed_when_acks_are_kept_back() -> None:
    """To acknowledge one by one."""
    async with running(FakeBroker(server="ActiveMQ/5.18.4")) as rig:
        await rig.active()
        rig.listener.stalled = 0.5
        rig.session.on_messages([({}, b"")])
        await rig.active(2)
        assert rig.listener.cumulative == [True, False]


async def test_an_unknown_ack_that_stands_for_many_ends_the_connection() -> None:
    """The broker has worked off none of them."""
    async with running(FakeBroker(server="ActiveMQ/5.18.4")) as rig:
        await rig.active()
        first = rig.connection
        rig.session.on_error("ack-1-1", "Unexpected ACK received for message-id [null]")
        assert rig.listener.receipts == []
        assert first.ended.done()
        await rig.active(2)
        assert rig.listener.cumulative == [True, False]


async def test_a_message_is_never_moved_by_a_connection_that_acknowledges_together() -> None:
    """Its ACK would take every message before it; the subscription is renewed, and the next one moves it."""
    async with running(FakeBroker(server="ActiveMQ/5.18.4")) as rig:
        await rig.active()
        first = rig.connection
        with pytest.raises(ConnectionLostError, match="moved by itself"):
            await rig.session.dead_letter(entry(), LETTER)
        assert first.commands == ["SUBSCRIBE"]
        await rig.active(2)
        (subscribed,) = rig.connection.headers("SUBSCRIBE")
        assert subscribed["ack"] == "client-individual"
        await rig.session.dead_letter(entry(epoch=2), LETTER)
        assert rig.connection.commands[1:] == ["BEGIN", "SEND", "ACK", "COMMIT"]
        assert all(state.active for state in rig.states)


async def test_any_other_error_ends_the_connection() -> None:
    """The socket stays open, but nobody knows what still works."""
    async with running() as rig:
        await rig.active()
        first = rig.connection
        rig.session.on_error("", "something is wrong")
        assert first.ended.done()
        await rig.active(2)


@pytest.mark.parametrize("error", [KeyError("message-id"), RecursionError("deep"), TypeError("a fault of ours")])
async def test_a_message_frame_that_cannot_be_read_ends_the_connection(error: Exception) -> None:
    """It is neither acknowledged nor skipped, whatever the reason: an ACK for many would take it along."""

    class Strict(Listener):
        def received(self, frames: Sequence[tuple[Mapping[str, str], bytes]]) -> None:  # noqa: ARG002
            raise error

    async with running() as rig:
        await rig.active()
        rig.session._consumer = Strict()
        connection = rig.connection
        rig.session.on_messages([({}, b"")])
        assert connection.ended.done()


async def test_a_dead_letter_is_a_copy_and_an_ack_in_one_transaction() -> None:
    """The COMMIT follows only after the copy was taken."""
    async with running() as rig:
        await rig.active()
        await rig.session.dead_letter(entry(properties={"a": "b"}), LETTER)
        assert rig.connection.commands[1:] == ["BEGIN", "SEND", "ACK", "COMMIT"]
        (sent,) = rig.connection.headers("SEND")
        assert sent["destination"] == "/queue/DLQ.orders"
        assert sent["a"] == "b"
        assert sent[dead_letters.REASON] == "no"
        (acked,) = rig.connection.headers("ACK")
        assert acked["id"] == "the-ack"
        names = {headers["transaction"] for _, headers, _ in rig.connection.frames[1:]}
        assert len(names) == 1


async def test_a_postponed_message_is_a_delayed_copy_to_its_own_queue() -> None:
    """In one transaction with the ACK."""
    async with running(retry=retry(strategy=RetryStrategy.SCHEDULED)) as rig:
        await rig.active()
        await rig.session.postpone(entry(properties={"a": "b"}), seconds=2.5, due=99)
        assert rig.connection.commands[1:] == ["BEGIN", "SEND", "ACK", "COMMIT"]
        (sent,) = rig.connection.headers("SEND")
        assert (sent["destination"], sent["AMQ_SCHEDULED_DELAY"], sent["a"]) == ("/queue/orders", "2500", "b")


async def test_what_cannot_be_copied_is_not_postponed() -> None:
    """It would come back without its body."""
    async with running(retry=retry(strategy=RetryStrategy.SCHEDULED)) as rig:
        await rig.active()
        with pytest.raises(RefusedError, match="Map, Object or Stream"):
            await rig.session.postpone(entry(kind=MessageKind.EMPTY, body=b""), seconds=2.5, due=99)
        assert rig.connection.commands == ["SUBSCRIBE"]


async def test_a_broker_with_the_redelivery_plugin_is_told_by_nack() -> None:
    """And by nothing else."""
    async with running(retry=retry(strategy=RetryStrategy.BROKER)) as rig:
        await rig.active()
        await rig.session.postpone(entry(), seconds=2.5, due=99)
        assert rig.connection.commands[1:] == ["NACK"]


async def test_a_refused_copy_is_never_committed() -> None:
    """The ACK alone would lose the message; the broker is asked to move it instead."""
    async with running(FakeBroker(refusals={"SEND": "not authorized to write"})) as rig:
        await rig.active()
        await rig.session.dead_letter(entry(), LETTER)
        assert "COMMIT" not in rig.connection.commands
        assert "ABORT" in rig.connection.commands
        assert rig.connection.commands[-1] == "NACK"


@pytest.mark.parametrize("kind", [MessageKind.TEXT, MessageKind.EMPTY])
async def test_a_broker_that_cannot_store_is_not_asked_to_move_a_message_itself(kind: MessageKind) -> None:
    """It would remove the message although it cannot store the dead letter either."""
    async with running(FakeBroker(refusals={"SEND": "No space left on device"})) as rig:
        await rig.active()
        with pytest.raises(RefusedError, match="No space left"):
            await rig.session.dead_letter(entry(kind=kind), LETTER)
        assert not {"NACK", "ACK", "COMMIT"} & set(rig.connection.commands)


async def test_a_message_that_cannot_be_copied_is_left_to_the_broker_with_its_story_beside_it() -> None:
    """The story first."""
    async with running() as rig:
        await rig.active()
        await rig.session.dead_letter(entry(kind=MessageKind.EMPTY, body=b""), LETTER)
        assert rig.connection.commands[1:] == ["SEND", "NACK"]
        (told,) = rig.connection.headers("SEND")
        assert told["destination"] == "/queue/DLQ.reasons.orders"
        assert told[dead_letters.ORIGINAL_MESSAGE_ID] == "ID:test-1"


async def test_a_message_of_an_earlier_connection_is_not_given_up_on_this_one() -> None:
    """Its ack id might mean another message here."""
    async with running() as rig:
        await rig.active()
        with pytest.raises(ConnectionLostError, match="send it again"):
            await rig.session.dead_letter(entry(epoch=0), LETTER)
        assert rig.connection.commands == ["SUBSCRIBE"]


async def test_the_subscription_is_renewed_after_many_dead_letters() -> None:
    """The broker never forgets ACKs of transactions, and slows down."""
    async with running() as rig:
        await rig.active()
        first = rig.connection
        for _ in range(1000):
            await rig.session.dead_letter(entry(), LETTER)
        await rig.active(2)
        assert first.commands[-1] == "DISCONNECT"


async def test_the_subscription_is_renewed_between_dead_letters() -> None:
    """A COMMIT whose receipt never came would have moved a message that nobody counts."""
    async with running() as rig:
        await rig.active()
        first = rig.connection
        moves = [rig.session.dead_letter(entry(), LETTER) for _ in range(1100)]
        results = await asyncio.gather(*moves, return_exceptions=True)
        assert first.ended.done()
        assert first.commands.count("COMMIT") == results.count(None) >= 1000


async def test_dead_letters_without_a_pause_do_not_put_the_renewal_off() -> None:
    """Of two at a time one is always on its way."""
    async with running() as rig:
        await rig.active()
        first = rig.connection

        async def give_up_many() -> None:
            for _ in range(1100):
                await rig.session.dead_letter(entry(), LETTER)

        results = await asyncio.gather(give_up_many(), give_up_many(), return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionLostError] * 2
        assert 1000 <= first.commands.count("COMMIT") <= 1002


async def test_closing_disconnects_in_order() -> None:
    """So that the broker has worked off everything written before."""
    async with running() as rig:
        await rig.active()
        await rig.session.close()
        assert rig.connection.commands[-1] == "DISCONNECT"
