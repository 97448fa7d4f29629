"""The window of message ids: how much it remembers, and what it takes back."""

import gc

from services.tracking.window import DedupWindow


def add(window: DedupWindow, message_id: bytes, batch: int) -> None:
    window.new_ids[message_id] = batch
    window.turn()


def knows(window: DedupWindow, message_id: bytes) -> bool:
    return message_id in window.new_ids or message_id in window.before


def test_the_last_ids_are_remembered_and_memory_is_bounded() -> None:
    """At least the capacity, never more than twice as many and one."""
    window, batch = DedupWindow(10), 1
    for number in range(1000):
        add(window, b"%d" % number, batch)
        assert all(knows(window, b"%d" % recent) for recent in range(max(0, number - 9), number + 1))
        assert len(window) <= 22
    assert not knows(window, b"900")


def test_forgotten_ids_are_new_again() -> None:
    """In whichever generation they are by now."""
    window, batch = DedupWindow(1), 1
    for message_id in (b"a", b"b", b"c"):
        add(window, message_id, batch)
    window.forget([b"a", b"b", b"c"], batch)
    assert not any(knows(window, message_id) for message_id in (b"a", b"b", b"c"))


def test_the_id_of_another_batch_is_not_forgotten() -> None:
    """A refused batch must not make room for a repetition of an accepted one."""
    window, accepted, refused = DedupWindow(10), 1, 2
    add(window, b"a", accepted)
    window.forget([b"a"], refused)
    assert knows(window, b"a")


def test_the_garbage_collector_does_not_look_through_the_ids() -> None:
    """Hundreds of thousands of them, many times a second, would cost a tenth of the intake's time."""
    window = DedupWindow(10)
    add(window, b"a", window.next_batch())
    assert not gc.is_tracked(window.new_ids)
