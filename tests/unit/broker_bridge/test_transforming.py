"""How to subscribe although a single message may end every connection."""

from collections.abc import Sequence

import pytest

from broker_bridge.transforming import Frame, Transforming
from tests.unit.broker_bridge.builders import ManualClock


class Broker:
    """Sends its messages in order, as far as the window and the poison in them allow."""

    def __init__(self, messages: Sequence[str]) -> None:
        self.messages = list(messages)
        self.clock = ManualClock()
        self.subject = Transforming(wanted=True, now=self.clock)
        self.dead: list[str] = []
        self.delivered: list[str] = []

    def live(self) -> None:
        """One connection, to its end or until nothing is left to send."""
        terms = self.subject.begin(prefetch=100)
        while self.messages:
            window = self.messages[: terms.prefetch]
            poison = "poison" in window and bool(terms.transformation)
            sent = window[: window.index("poison")] if poison else window
            frames: list[Frame] = [({}, b"" if name == "poison" else name.encode()) for name in sent]
            marked = self.subject.received(frames) if frames else []
            if poison and terms.prefetch > 1:  # the ACKs do not get through any more
                break
            for headers, body in marked:
                self.messages.pop(0)
                (self.dead if "transformation-error" in headers else self.delivered).append(body.decode())
            if poison:
                break
            self.clock.seconds += 0.01
            if self.subject.renewal(idle=True):
                return
        else:
            self.clock.seconds += 60
            self.subject.renewal(idle=True)
            return
        self.subject.ended()


@pytest.mark.parametrize(
    "messages", [["poison"], ["a", "b", "poison", "c"], ["poison", "poison", "a", "poison"], ["a"] * 150 + ["poison"]]
)
def test_every_poison_is_taken_out_and_nothing_else(messages: list[str]) -> None:
    """Whatever stands around it; afterwards messages flow as before."""
    broker = Broker(messages)
    for _ in range(200):
        if broker.messages:
            broker.live()
    assert broker.messages == []
    assert len(broker.dead) == messages.count("poison")
    assert broker.delivered == [name for name in messages if name != "poison"]
    broker.live()
    assert broker.subject.begin(prefetch=100).prefetch == 100


def test_a_broker_that_goes_away_later_changes_nothing() -> None:
    """Nor does one that cannot be reached."""
    clock = ManualClock()
    subject = Transforming(wanted=True, now=clock)
    for _ in range(10):
        assert subject.begin(prefetch=100).prefetch == 100
        clock.seconds += 5
        subject.ended()


def test_without_maps_nothing_is_transformed() -> None:
    """However connections end."""
    subject = Transforming(wanted=False, now=ManualClock())
    for _ in range(10):
        terms = subject.begin(prefetch=100)
        assert (terms.transformation, terms.prefetch) == ("", 100)
        subject.ended()
