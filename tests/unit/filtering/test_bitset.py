"""Masks: the compiled operations answer as the portable ones."""

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.filtering import masks
from services.filtering.bitset import Bitset
from services.filtering.masks import BITSET, PORTABLE, compiled

needs_compiled = pytest.mark.skipif(
    compiled() is None, reason="services/filtering/compiled is not built: there was no C compiler, or no Python.h"
)
BOTH = (PORTABLE, BITSET)
MOST = 700
SLOTS = st.lists(st.integers(0, MOST - 1), max_size=20).map(lambda slots: array("I", sorted(slots)))
NAMES = [f"owner {slot}" for slot in range(MOST)]
LISTS = st.lists(SLOTS, max_size=4)


def slots_in(bits: Bitset, mask: Any) -> list[int]:
    """The slots of a mask, through the one operation that lists them."""
    return bits.pick(mask, [], list(range(MOST)))


@pytest.mark.parametrize("error", [ModuleNotFoundError("not built"), ImportError("undefined symbol")], ids=repr)
def test_only_what_was_not_built_is_done_without(error: ImportError, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was built and cannot be loaded says so, instead of being slow without a word."""

    def import_module(_name: str) -> None:
        raise error

    monkeypatch.setattr(masks, "import_module", import_module)
    if isinstance(error, ModuleNotFoundError):
        assert compiled() is None
    else:
        with pytest.raises(ImportError, match="undefined symbol"):
            compiled()


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
@given(alive=SLOTS, failing=LISTS)
def test_owners_are_picked_alike(alive: Any, failing: list[Any]) -> None:
    """Those of slots that fail nowhere, in the order of the slots."""
    answers = [
        bits.pick(bits.flipped(bits.EMPTY, alive), [bits.flipped(bits.EMPTY, slots) for slots in failing], NAMES)
        for bits in BOTH
    ]
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
        BITSET.pick(BITSET.EMPTY, [7], [])
    with pytest.raises(IndexError):
        BITSET.pick(BITSET.flipped(BITSET.EMPTY, array("I", (3,))), [], ["owner"])
    with pytest.raises(IndexError):
        BITSET.meet([])
