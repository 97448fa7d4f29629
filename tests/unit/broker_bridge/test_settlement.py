"""When a message may be acknowledged, and when it is settled."""

from collections.abc import Sequence
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from broker_bridge.settlement import AckBatch, Entry, Ledger, State
from tests.unit.broker_bridge.builders import message


def received(ledger: Ledger, number: int, ack: str = "", *, now: float = 0.0) -> Entry:
    entry = ledger.receive(message(number), ack or f"ack-{number}", now=now)
    assert entry is not None
    return entry


def opened() -> Ledger:
    ledger = Ledger(gather=3, window=0.02)
    ledger.open_epoch()
    return ledger


def test_no_ack_is_due_before_a_message_is_worked_off() -> None:
    """Taking and dispatching acknowledge nothing."""
    ledger = opened()
    ledger.dispatch(received(ledger, 1))
    assert ledger.acks_due(now=99.0) is None
    assert ledger.in_flight() == 1


def test_a_single_ack_goes_out_at_once() -> None:
    """Nothing is gained by letting it wait."""
    ledger = opened()
    ledger.settle([received(ledger, 1)], now=0.0)
    batch = ledger.acks_due(now=0.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["ack-1"]


def test_acks_gather_while_a_receipt_is_awaited() -> None:
    """Until it comes, enough are there, or the window ends."""
    ledger = opened()
    entries = [received(ledger, number) for number in range(1, 6)]
    ledger.settle(entries[:1], now=0.0)
    first = ledger.acks_due(now=0.0)
    ledger.settle(entries[1:2], now=1.0)
    assert ledger.acks_due(now=1.0) is None
    assert ledger.next_due() == 1.02
    ledger.settle(entries[2:4], now=1.01)
    second = ledger.acks_due(now=1.01)
    assert second is not None
    assert list(second.ack_ids) == ["ack-2", "ack-3", "ack-4"]
    ledger.settle(entries[4:], now=2.0)
    assert ledger.acks_due(now=2.0) is None
    assert ledger.acks_due(now=2.02) is not None
    assert first is not None
    assert ledger.unconfirmed_since() == 0.0


def test_a_receipt_settles_every_ack_before_it() -> None:
    """Facts of the broker: frames of a connection are worked off in order."""
    ledger = opened()
    batches = []
    for number in (1, 2, 3):
        ledger.settle([received(ledger, number)], now=float(number))
        batches.append(ledger.acks_due(now=number + 0.1))
    second = batches[1]
    assert second is not None
    assert [entry.message.id for entry in ledger.confirm(second.receipt)] == ["ID:test-1", "ID:test-2"]
    assert ledger.in_flight() == 1
    assert ledger.confirm(second.receipt) == []
    assert ledger.confirm("unheard of") == []


def test_acks_of_a_lost_connection_are_dropped() -> None:
    """Its ack ids mean nothing to the broker, which sends the message again."""
    ledger = opened()
    entry = received(ledger, 1)
    ledger.dispatch(entry)
    ledger.open_epoch()
    assert ledger.settle([entry], now=0.0) == 1
    assert ledger.acks_due(now=9.0) is None
    assert ledger.in_flight() == 0


def test_no_receipt_of_a_lost_connection_is_waited_for() -> None:
    """It never comes: the next connection would be given up as one that does not confirm."""
    ledger = opened()
    ledger.settle([received(ledger, 1)], now=0.0)
    assert ledger.acks_due(now=0.0) is not None
    ledger.open_epoch()
    assert ledger.unconfirmed_since() is None
    assert ledger.idle()


def test_a_message_being_delivered_is_not_delivered_again_after_a_reconnection() -> None:
    """Its new ack id takes the place of the old one."""
    ledger = opened()
    entry = received(ledger, 1, "old")
    ledger.dispatch(entry)
    ledger.open_epoch()
    assert ledger.receive(message(1), "new", now=1.0) is None
    assert ledger.settle([entry], now=1.0) == 0
    batch = ledger.acks_due(now=1.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["new"]


def test_what_is_not_being_delivered_is_forgotten_with_its_connection() -> None:
    """The broker sends it again; what was worked off is known to the dedup records."""
    ledger = opened()
    waiting, settling, fresh = (received(ledger, number) for number in (1, 2, 3))
    assert ledger.wait(waiting)
    ledger.settle([settling], now=0.0)
    assert {entry.key for entry in ledger.open_epoch()} == {waiting.key, settling.key, fresh.key}
    assert ledger.in_flight() == 0
    assert not ledger.wait(waiting)


def test_a_message_sent_again_while_its_ack_is_due_is_acknowledged_by_its_new_id() -> None:
    """A broker may send a message twice on one connection, after a subscription was renewed."""
    ledger = opened()
    entry = received(ledger, 1, "first")
    ledger.settle([entry], now=0.0)
    assert ledger.acks_due(now=0.0) is not None
    assert ledger.receive(message(1), "second", now=0.5) is None
    batch = ledger.acks_due(now=1.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["second"]


def cumulative() -> Ledger:
    ledger = Ledger(gather=3, window=0.02)
    ledger.open_epoch(cumulative=True)
    return ledger


def test_a_cumulative_ack_stands_for_the_run_of_worked_off_messages_at_the_head() -> None:
    """By its last but one, and by its last with the receipt: of that one alone the broker synchronises its disk."""
    ledger = cumulative()
    entries = [received(ledger, number) for number in range(1, 6)]
    ledger.settle([entries[2], entries[0], entries[1]], now=0.0)
    batch = ledger.acks_due(now=0.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["ack-2", "ack-3"]
    assert ledger.confirm(batch.receipt) == entries[:3]
    assert ledger.in_flight() == 2


def test_a_single_message_takes_a_single_cumulative_ack() -> None:
    """Also right after many."""
    ledger = cumulative()
    entries = [received(ledger, number) for number in range(1, 5)]
    ledger.settle(entries[:3], now=0.0)
    assert ledger.acks_due(now=0.0) is not None
    ledger.settle(entries[3:], now=1.0)
    batch = ledger.acks_due(now=2.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["ack-4"]


def test_no_cumulative_ack_goes_over_an_open_message() -> None:
    """It would settle that too. How long those behind have waited is known, and nothing of it keeps a drain."""
    ledger = cumulative()
    first, second, third = (received(ledger, number) for number in (1, 2, 3))
    ledger.dispatch(first)
    ledger.settle([second], now=1.0)
    ledger.settle([third], now=2.0)
    assert ledger.acks_due(now=9.0) is None
    assert ledger.stalled_seconds(now=9.0) == 8.0
    assert not ledger.idle()
    ledger.wait(first)
    assert ledger.idle()
    assert ledger.stalled_seconds(now=9.0) == inf
    ledger.settle([first], now=3.0)
    batch = ledger.acks_due(now=3.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["ack-2", "ack-3"]
    assert ledger.stalled_seconds(now=9.0) == 0.0


def test_what_an_advance_leaves_behind_an_open_message_is_kept_back_from_then_on() -> None:
    """One batch settles what stands before the open message and what stands behind it."""
    ledger = cumulative()
    entries = [received(ledger, number) for number in range(1, 5)]
    ledger.settle([entries[0], entries[1], entries[3]], now=1.0)
    assert ledger.stalled_seconds(now=3.0) == 2.0
    ledger.wait(entries[2])
    assert ledger.stalled_seconds(now=3.0) == inf
    ledger.settle([entries[2]], now=4.0)
    assert ledger.stalled_seconds(now=9.0) == 0.0


def test_a_message_that_came_twice_is_acknowledged_at_its_own_places() -> None:
    """Its entry knows the later ack id alone, which would take what is open between them."""
    ledger = cumulative()
    twice, between = received(ledger, 1, "early"), received(ledger, 2)
    assert ledger.receive(message(1), "late", now=0.0) is None
    ledger.settle([twice], now=0.0)
    first = ledger.acks_due(now=0.0)
    assert first is not None
    assert list(first.ack_ids) == ["early"]
    ledger.settle([between], now=1.0)
    assert ledger.stalled_seconds(now=2.0) == 0.0
    second = ledger.acks_due(now=2.0)
    assert second is not None
    assert list(second.ack_ids) == ["ack-2", "late"]


def test_a_worked_off_message_that_comes_once_more_keeps_nothing_back() -> None:
    """Its new place is behind an open one at first."""
    ledger = cumulative()
    known, between = received(ledger, 1, "early"), received(ledger, 2)
    ledger.settle([known], now=0.0)
    assert ledger.receive(message(1), "late", now=1.0) is None
    assert ledger.stalled_seconds(now=3.0) == 2.0
    ledger.settle([between], now=4.0)
    assert ledger.stalled_seconds(now=9.0) == 0.0
    batch = ledger.acks_due(now=9.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["ack-2", "late"]


def test_a_new_connection_may_acknowledge_in_another_way() -> None:
    """What stalled is forgotten with the old one; what is being delivered is acknowledged by its new place."""
    ledger = cumulative()
    slow, quick = received(ledger, 1), received(ledger, 2)
    ledger.dispatch(slow)
    ledger.settle([quick], now=0.0)
    ledger.open_epoch()
    assert ledger.stalled_seconds(now=9.0) == 0.0
    received(ledger, 2, "again")
    assert ledger.receive(message(1), "again-1", now=1.0) is None
    ledger.settle([slow], now=1.0)
    batch = ledger.acks_due(now=1.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["again-1"]


def test_what_a_lost_connection_left_open_keeps_nothing_back() -> None:
    """The message comes again, and takes a new place. What was to be acknowledged is not, by ids of the old one."""
    ledger = cumulative()
    ledger.settle([received(ledger, 7)], now=0.0)
    received(ledger, 1)
    ledger.open_epoch(cumulative=True)
    ledger.settle([received(ledger, 1, "again")], now=0.0)
    batch = ledger.acks_due(now=0.0)
    assert batch is not None
    assert list(batch.ack_ids) == ["again"]


def test_the_oldest_message_and_idleness_are_known() -> None:
    """For health and for the drain: messages that merely wait do not keep the bridge."""
    ledger = opened()
    assert ledger.oldest() is None
    assert ledger.idle()
    first, second = received(ledger, 1, now=5.0), received(ledger, 2, now=7.0)
    assert ledger.oldest() == 5.0
    ledger.dispatch(first)
    assert ledger.dispatching() == [first]
    assert not ledger.idle()
    ledger.forget(first)
    assert ledger.oldest() == 7.0
    ledger.wait(second)
    assert ledger.idle()


class Settlement(RuleBasedStateMachine):
    """Any order of deliveries, outcomes, receipts and lost connections; the broker keeps what is not acknowledged."""

    worked = Bundle("worked")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(gather=2, window=0.5)
        self.now = 0.0
        self.delivered: set[str] = set()
        self.queue = [message(number) for number in range(8)]
        self.acks: dict[str, str] = {}
        self.sent: list[AckBatch] = []
        self.serial = 0
        self.connect(cumulative=False)

    @rule(cumulative=st.booleans())
    def connect(self, *, cumulative: bool) -> None:
        """The connection is lost and a new one opened: the broker will send everything it still has."""
        self.cumulative = cumulative
        self.ledger.open_epoch(cumulative=cumulative)
        self.acks.clear()
        self.sent.clear()

    @rule(target=worked)
    def take(self) -> Entry | None:
        """The broker sends one of its messages."""
        unsent = [item for item in self.queue if item.key not in self.acks.values()]
        if not unsent:
            return None
        self.serial += 1
        ack = f"ack-{self.serial}"
        self.acks[ack] = unsent[0].key
        entry = self.ledger.receive(unsent[0], ack, now=self.now)
        if entry is not None:
            self.ledger.dispatch(entry)
        return entry

    @rule(entry=consumes(worked))
    def succeed(self, entry: Entry | None) -> None:
        """The target took it."""
        if entry is not None and entry.state is State.DISPATCHING:
            self.delivered.add(entry.key)
            self.ledger.settle([entry], now=self.now)

    @rule(target=worked, entry=consumes(worked))
    def try_again(self, entry: Entry | None) -> Entry | None:
        """The target did not take it: it waits, and is delivered again unless its connection is gone."""
        if entry is None or entry.state is not State.DISPATCHING or not self.ledger.wait(entry):
            return None
        self.ledger.dispatch(entry)
        return entry

    @rule(seconds=st.floats(0, 1))
    def write(self, seconds: float) -> None:
        """Time passes and due ACKs reach the broker, which removes the messages."""
        self.now += seconds
        batch = self.ledger.acks_due(now=self.now)
        if batch is not None:
            self.sent.append(batch)
            removed = {self.acks[ack] for ack in self.acknowledged(batch.ack_ids)}
            assert removed <= self.delivered, "acknowledged before it was delivered"
            self.queue = [item for item in self.queue if item.key not in removed]

    def acknowledged(self, ack_ids: Sequence[str]) -> Sequence[str]:
        """What the broker takes the ACKs for, as its subscription was made."""
        sent = list(self.acks)
        return sent[: sent.index(ack_ids[-1]) + 1] if self.cumulative else ack_ids

    @rule()
    def confirm(self) -> None:
        """The newest receipt arrives."""
        if self.sent:
            self.ledger.confirm(self.sent[-1].receipt)
            self.sent.clear()

    @invariant()
    def nothing_is_lost(self) -> None:
        """A message that was not delivered is still with the broker."""
        assert {message(number).key for number in range(8)} - self.delivered <= {item.key for item in self.queue}

    def teardown(self) -> None:
        """Once everything is delivered, everything is acknowledged: nothing stays behind for ever."""
        for _ in range(len(self.queue)):
            entry = self.take()
            if entry is not None:
                self.succeed(entry)
        for known in self.ledger.dispatching():
            self.succeed(known)
        self.write(1.0)
        assert self.queue == []


TestSettlement = Settlement.TestCase
TestSettlement.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
