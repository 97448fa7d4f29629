"""The window of message ids: how much it remembers, and what it takes back."""

import gc

from services.tracking.window import DedupWindow


def add(window: DedupWindow, message_id: str, batch: int) -> None:
    window.new_ids[message_id] = batch
    window.turn()


def knows(window: DedupWindow, message_id: str) -> bool:
    return message_id in window.new_ids or message_id in window.before


def test_the_last_ids_are_remembered_and_memory_is_bounded() -> None:
    """At least the capacity, never more than twice as many and one."""
    window, batch = DedupWindow(10), 1
    for number in range(1000):
        add(window, str(number), batch)
        assert all(knows(window, str(recent)) for recent in range(max(0, number - 9), number + 1))
        assert len(window) <= 22
    assert not knows(window, "900")


def test_forgotten_ids_are_new_again() -> None:
    """In whichever generation they are by now."""
    window, batch = DedupWindow(1), 1
    for message_id in ("a", "b", "c"):
        add(window, message_id, batch)
    window.forget(["a", "b", "c"], batch)
    assert not any(knows(window, message_id) for message_id in ("a", "b", "c"))


def test_the_id_of_another_batch_is_not_forgotten() -> None:
    """A refused batch must not make room for a repetition of an accepted one."""
    window, accepted, refused = DedupWindow(10), 1, 2
    add(window, "a", accepted)
    window.forget(["a"], refused)
    assert knows(window, "a")


def test_the_garbage_collector_does_not_look_through_the_ids() -> None:
    """Hundreds of thousands of them, many times a second, would cost a tenth of the intake's time."""
    window = DedupWindow(10)
    add(window, "a", window.next_batch())
    assert not gc.is_tracked(window.new_ids)
