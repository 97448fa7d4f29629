"""Ascending lists of slots that are never changed in place: a change answers with a new list."""

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Slots = array[int]
else:
    Slots = array  # generic for type checkers only

NONE: Slots = array("I")
"""No slot."""


def toggled(slots: Slots, slot: int) -> Slots:
    """The list with a slot more, or without it when it is in it."""
    if not slots or slots[-1] < slot:
        return slots + array("I", (slot,))
    place = bisect_left(slots, slot)
    if slots[place] == slot:
        return slots[:place] + slots[place + 1 :]
    return slots[:place] + array("I", (slot,)) + slots[place:]
