"""How many messages the broker may send ahead."""

import random

from broker_bridge.window import Window
from tests.unit.broker_bridge.builders import ManualClock

MIB = 1024 * 1024


def test_small_messages_leave_the_window_as_the_route_has_it() -> None:
    """Nothing is renewed."""
    window = Window(messages=1000, max_bytes=64 * MIB, now=ManualClock())
    for _ in range(1000):
        window.received(1024)
    assert window.renewal(in_flight=1000, in_flight_bytes=1000 * 1024) == ""
    assert window.size == 1000


def test_large_messages_make_it_small() -> None:
    """As many as fit, one at least; a single larger message passes."""
    window = Window(messages=1000, max_bytes=64 * MIB, now=ManualClock())
    for _ in range(7):
        window.received(10 * MIB)
    assert "are in flight" in window.renewal(in_flight=7, in_flight_bytes=70 * MIB)
    assert window.size == 3
    window.renewal(in_flight=2, in_flight_bytes=200 * MIB)
    assert window.size == 1
    assert window.renewal(in_flight=1, in_flight_bytes=100 * MIB) == ""


def test_it_grows_again_after_a_while() -> None:
    """When that is worth a renewal."""
    clock = ManualClock()
    window = Window(messages=1000, max_bytes=64 * MIB, now=clock)
    window.received(100 * MIB)
    window.renewal(in_flight=2, in_flight_bytes=200 * MIB)
    for _ in range(1000):
        window.received(1024)
    assert window.renewal(in_flight=1, in_flight_bytes=1024) == ""
    clock.seconds += 10
    assert "smaller" in window.renewal(in_flight=1, in_flight_bytes=1024)
    assert window.size == 1000


def test_however_sizes_change_renewals_are_few_and_bytes_bounded() -> None:
    """A simulated broker that fills every window it is given."""
    chance = random.Random(3)
    clock = ManualClock()
    window = Window(messages=1000, max_bytes=16 * MIB, now=clock)
    flight: list[int] = []
    renewals = most = 0
    for step in range(20_000):
        clock.seconds += 0.01
        large = step // 5000 % 2
        size = chance.randrange(2 * MIB) if large else chance.randrange(4096)
        window.received(size)
        flight.append(size)
        if window.renewal(in_flight=len(flight), in_flight_bytes=sum(flight)):
            renewals += 1
            flight.clear()
        most = max(most, sum(flight))
        del flight[: max(len(flight) - window.size + 1, 0)]
    assert most <= 18 * MIB
    assert renewals < 40
