"""When one ACK may stand for many messages, and when it must not."""

import pytest

from broker_bridge.acknowledging import Acknowledging

KNOWN = "ActiveMQ/5.18.4"


class Clocked:
    """The choice of a route with a clock of its own."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.now = 1000.0
        self.remembered = True
        self.choice = Acknowledging(allowed=allowed, now=lambda: self.now)

    def begin(self, server: str = KNOWN) -> bool:
        return self.choice.begin(server, remembered=self.remembered)

    def one_by_one(self) -> str:
        return self.choice.one_by_one("a message is to be moved")

    def renewal(self, *, stalled: float = 0.0) -> str:
        return self.choice.renewal(stalled=stalled, remembered=self.remembered)


def test_messages_are_acknowledged_together_from_the_start() -> None:
    """And for as long as nothing speaks against it."""
    clocked = Clocked()
    assert clocked.begin()
    assert clocked.renewal() == ""
    assert clocked.renewal(stalled=0.4) == ""


@pytest.mark.parametrize(
    ("server", "together"),
    [
        ("ActiveMQ/5.18.0", True),
        ("ActiveMQ/5.19.1", True),
        ("ActiveMQ/6.1.8", True),
        ("ActiveMQ/10.0", True),
        ("ActiveMQ/5.17.7", False),
        ("ActiveMQ/4.99", False),
        ("ActiveMQ-Artemis/2.31.0 ActiveMQ Artemis Messaging Engine", False),
        ("", False),
    ],
)
def test_only_a_broker_known_to_do_it_well_is_asked_for_it(*, server: str, together: bool) -> None:
    """Older ones may forget a message they could not write, and remember every message that was acknowledged so."""
    clocked = Clocked()
    assert clocked.begin(server) is together
    clocked.now += 1e6
    assert clocked.renewal(stalled=9.0) == "" or together


def test_a_route_that_does_not_allow_it_is_never_renewed_for_it() -> None:
    """Lanes, say."""
    clocked = Clocked(allowed=False)
    assert not clocked.begin()
    assert clocked.one_by_one() == ""
    clocked.now += 1e6
    assert clocked.renewal(stalled=9.0) == ""


def test_a_message_that_keeps_others_from_being_acknowledged_ends_it() -> None:
    """Until no message did for a while."""
    clocked = Clocked()
    clocked.begin()
    clocked.now += 100
    assert "one by one for 60 s" in clocked.renewal(stalled=0.5)
    assert not clocked.begin()
    clocked.now += 59
    assert clocked.renewal() == ""
    clocked.now += 1
    assert "together again" in clocked.renewal()
    assert clocked.begin()


def test_a_message_to_be_moved_ends_it_and_each_further_one_puts_its_return_off() -> None:
    """A dead letter takes an ACK of its own."""
    clocked = Clocked()
    clocked.begin()
    clocked.now += 100
    assert "to be moved" in clocked.one_by_one()
    assert not clocked.begin()
    clocked.now += 50
    assert clocked.one_by_one() == ""
    clocked.now += 50
    assert clocked.renewal() == ""
    clocked.now += 10
    assert clocked.renewal() != ""


def test_a_connection_does_not_begin_so_while_nobody_remembers_what_was_delivered() -> None:
    """What is kept back could be delivered again by another bridge, or after a restart. One that has begun goes on."""
    clocked = Clocked()
    clocked.remembered = False
    assert not clocked.begin()
    clocked.now += 1e6
    assert clocked.renewal() == ""
    clocked.remembered = True
    assert clocked.renewal() == ""
    clocked.now += 60
    assert clocked.renewal() != ""
    assert clocked.begin()
    clocked.remembered = False
    assert clocked.renewal() == ""


def test_the_pause_grows_while_it_never_lasts_and_is_short_again_once_it_did() -> None:
    """A route of slow deliveries is not renewed every minute."""
    clocked = Clocked()
    pauses = []
    for lasted in (1, 1, 1, 1, 1, 1, 1, 1, 5000):
        assert clocked.begin()
        clocked.now += lasted
        assert clocked.renewal(stalled=1.0)
        clocked.begin()
        began = clocked.now
        while not clocked.renewal():
            clocked.now += 10
        pauses.append(clocked.now - began)
    assert pauses == [120, 240, 480, 960, 1920, 3600, 3600, 3600, 60]
