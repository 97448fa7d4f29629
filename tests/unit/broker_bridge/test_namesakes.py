"""Messages of one id from several queues of a wildcard."""

from dataclasses import replace

from broker_bridge.message import Message
from broker_bridge.namesakes import Namesakes
from broker_bridge.settlement import Ledger
from tests.unit.broker_bridge.builders import message


class Arrivals:
    """A connection that brings messages to a ledger."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.namesakes = Namesakes(self.ledger)
        self.ledger.open_epoch()

    def takes(self, queue: str, number: int = 1) -> bool:
        """Whether a message is taken, not left to the broker."""
        arrived = in_queue(queue, number)
        if self.namesakes.leaves(arrived):
            return False
        if entry := self.ledger.receive(arrived, f"ack-{queue}-{number}", now=0.0):
            self.ledger.dispatch(entry)
        return True

    def settle(self, queue: str, number: int = 1) -> None:
        """The message is worked off, and its ACK confirmed."""
        (entry,) = (entry for entry in self.ledger.dispatching() if entry.key == in_queue(queue, number).key)
        self.ledger.settle([entry], now=0.0)
        batch = self.ledger.acks_due(now=1.0)
        assert batch is not None
        self.ledger.confirm(batch.receipt)


def in_queue(queue: str, number: int = 1) -> Message:
    return replace(message(number), destination=f"queue://orders.{queue}")


def test_a_second_message_of_an_id_is_left_while_the_first_is_in_flight() -> None:
    """And only then, and only from another queue."""
    arrivals = Arrivals()
    assert arrivals.takes("a")
    assert arrivals.takes("a")
    assert not arrivals.takes("b")
    assert not arrivals.takes("c")
    assert arrivals.takes("b", number=2)
    arrivals.settle("a")
    assert arrivals.takes("b")


def test_what_was_left_is_asked_for_when_those_before_it_are_settled() -> None:
    """All of them: each new connection may have to leave some again."""
    arrivals = Arrivals()
    for number in (1, 2, 3):
        assert arrivals.takes("a", number)
    for number in (1, 2):
        assert not arrivals.takes("b", number)
    assert arrivals.namesakes.renewal() == ""
    arrivals.settle("a", 1)
    assert arrivals.namesakes.renewal() == ""
    arrivals.settle("a", 2)
    assert "one queue after the other" in arrivals.namesakes.renewal()
    arrivals.namesakes.begin()
    assert arrivals.namesakes.renewal() == ""


def test_what_is_known_of_ids_stays_small() -> None:
    """However many messages come by one connection."""
    arrivals = Arrivals()
    for number in range(5000):
        assert not arrivals.namesakes.leaves(in_queue("a", number))
    assert len(arrivals.namesakes._first) <= 1001
