"""Which fault of a chaos campaign brought a message twice."""

import pytest

from tests.integration.chaos import Fault, repeated

BRIDGE, BROKER = Fault.KILL_BRIDGE, Fault.KILL_BROKER


def test_what_was_in_flight_at_the_kill_of_a_bridge_is_due_to_it_also_after_the_next_fault() -> None:
    """The broker sends it again when it likes."""
    struck = [(100, BRIDGE), (200, BROKER)]
    arrivals = [(99, "a"), (101, "b"), (150, "c"), (210, "a"), (211, "b")]
    assert repeated(struck, arrivals, bound=1) == [(BRIDGE, 2), (BROKER, 0)]


def test_what_arrived_at_another_time_is_due_to_the_last_fault() -> None:
    """Far from the kill of the bridge it was not in flight."""
    struck = [(100, BRIDGE), (200, BROKER)]
    arrivals = [(97, "a"), (98, "b"), (99, "c"), (110, "d"), (120, "e"), (190, "f"), (210, "a"), (211, "f")]
    assert repeated(struck, arrivals, bound=1) == [(BRIDGE, 0), (BROKER, 2)]


def test_nothing_may_come_twice_before_the_first_fault() -> None:
    """There is no excuse for it."""
    with pytest.raises(AssertionError, match="1 messages arrived twice before"):
        repeated([(100, BRIDGE)], [(1, "a"), (2, "a")], bound=1)
