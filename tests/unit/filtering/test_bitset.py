"""Masks: the compiled operations answer as the portable ones."""

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.filtering.bitset import Bitset
from services.filtering.masks import BITSET, PORTABLE, compiled

needs_compiled = pytest.mark.skipif(
    compiled() is None, reason="services/filtering/_bitset.c is not built: there was no C compiler, or no Python.h"
)
BOTH = (PORTABLE, BITSET)
MOST = 700
SLOTS = st.lists(st.integers(0, MOST - 1), max_size=20).map(lambda slots: array("I", sorted(slots)))
LISTS = st.lists(SLOTS, max_size=4)


def slots_in(bits: Bitset, mask: Any) -> list[int]:
    """The slots of a mask, through the one operation that lists them."""
    return bits.sift({}, {}, {(): bits.EMPTY}, lambda _shape: bits.EMPTY, mask, list(range(MOST)))


@needs_compiled
@given(base=SLOTS, added=LISTS, removed=LISTS, without=SLOTS)
def test_masks_are_painted_alike(base: Any, added: list[Any], removed: list[Any], without: Any) -> None:
    """Added first, then removed, whatever the sizes."""
    portable, built = (
        slots_in(bits, bits.paint(bits.flipped(bits.EMPTY, base), added, removed, bits.flipped(bits.EMPTY, without)))
        for bits in BOTH
    )
    assert portable == built


@needs_compiled
@given(lists=st.lists(SLOTS, min_size=1, max_size=4))
def test_masks_are_combined_alike(lists: list[Any]) -> None:
    """Flipped, united and met; a mask that is longer than another has what the other lacks."""
    answers = []
    for bits in BOTH:
        masks = [bits.flipped(bits.EMPTY, slots) for slots in lists]
        twice = bits.flipped(masks[0], lists[-1])
        answers.append([slots_in(bits, mask) for mask in (twice, bits.union(masks), bits.meet(masks))])
    assert answers[0] == answers[1]


@needs_compiled
@given(
    alive=SLOTS,
    failing=st.dictionaries(st.sampled_from("abc"), st.tuples(SLOTS, st.booleans()), max_size=3),
    shape=SLOTS,
    keys=st.sets(st.sampled_from("abcd")),
)
def test_messages_are_sifted_alike(alive: Any, failing: dict[str, Any], shape: Any, keys: set[str]) -> None:
    """Masks remembered or computed, for keys that are known or not."""
    answers = []
    for bits in BOTH:
        masks = {key: bits.flipped(bits.EMPTY, slots) for key, (slots, _) in failing.items()}
        columns = {
            key: ({("v",): masks[key]} if remembered else {}, lambda _values, mask=masks[key]: mask)
            for key, (_, remembered) in failing.items()
        }
        asked: list[tuple[str, ...]] = []

        def failing_without(wanted: tuple[str, ...], bits: Bitset = bits, asked: list[Any] = asked) -> Any:
            asked.append(wanted)
            return bits.flipped(bits.EMPTY, shape)

        mask = bits.flipped(bits.EMPTY, alive)
        values = dict.fromkeys(sorted(keys), ("v",))
        answers.append((bits.sift(values, columns, {}, failing_without, mask, list(range(MOST))), asked))
    assert answers[0] == answers[1]


@needs_compiled
def test_compiled_operations_refuse_what_they_cannot_read() -> None:
    """An error, never memory that is not theirs."""
    with pytest.raises(TypeError):
        BITSET.paint("text", [], [], BITSET.EMPTY)
    with pytest.raises(TypeError):
        BITSET.flipped(b"odd", array("I"))
    with pytest.raises(TypeError):
        BITSET.flipped(BITSET.EMPTY, [1, 2])
    with pytest.raises(TypeError):
        BITSET.sift({"a": ("v",)}, {"a": 5}, {}, lambda _shape: BITSET.EMPTY, BITSET.EMPTY, [])  # type: ignore[dict-item]
    with pytest.raises(IndexError):
        BITSET.sift({}, {}, {(): BITSET.EMPTY}, len, BITSET.flipped(BITSET.EMPTY, array("I", (3,))), ["owner"])
    with pytest.raises(IndexError):
        BITSET.meet([])
    with pytest.raises(ZeroDivisionError):
        BITSET.sift({}, {}, {}, lambda _shape: 1 // 0, BITSET.EMPTY, [])
