"""Sets of slots as Python's integers: the portable form of what `compiled/` does faster, with the same results.

A *mask* is a set of slots, small numbers from 0; what it is made of is known here alone. *Slots* are an ascending
`array('I')`. Both are immutable by agreement: an operation answers with a new one.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

Mask = Any
Slots = Sequence[int]
Owner = TypeVar("Owner")


class Bitset(Protocol):
    """The operations on masks."""

    @property
    def EMPTY(self) -> Mask:  # noqa: N802 - a constant of a module
        """No slot."""
        ...

    def paint(self, base: Mask, added: Sequence[Slots], removed: Sequence[Slots], without: Mask) -> Mask:
        """`base` and the slots of `added`, but neither those of `removed` nor of the mask `without`."""
        ...

    def flipped(self, mask: Mask, slots: Slots) -> Mask:
        """`mask` with each of the slots taken out that is in it, and put in that is not, one after the other."""
        ...

    def union(self, masks: Sequence[Mask]) -> Mask:
        """The slots of any of the masks."""
        ...

    def meet(self, masks: Sequence[Mask]) -> Mask:
        """The slots that are in each of the masks, at least one of which is given."""
        ...

    def weight(self, mask: Mask) -> int:
        """The bytes that a mask occupies, about."""
        ...

    def pick(self, alive: Mask, failing: Sequence[Mask], owners: Sequence[Owner | None]) -> list[Owner]:
        """The owners, which they have, of the slots in `alive` that are in none of the masks, by the order of slots."""
        ...

    def match(self, plan: Any, document: dict[str, Any]) -> list[Any] | None:
        """What `Index.match` answers for the facets of a document, at once; None leaves it to that."""
        ...


EMPTY = 0


def paint(base: int, added: Sequence[Slots], removed: Sequence[Slots], without: int) -> int:
    return (base | _mask(added)) & ~(_mask(removed) | without)


def flipped(mask: int, slots: Slots) -> int:
    if len(slots) == 1:
        return mask ^ 1 << slots[0]
    octets = bytearray(max(slots, default=0) // 8 + 1)
    for slot in slots:
        octets[slot >> 3] ^= 1 << (slot & 7)
    return mask ^ int.from_bytes(octets, "little")


def union(masks: Sequence[int]) -> int:
    result = 0
    for mask in masks:
        result |= mask
    return result


def meet(masks: Sequence[int]) -> int:
    result = masks[0]
    for mask in masks[1:]:
        result &= mask
    return result


def weight(mask: int) -> int:
    return mask.bit_length() // 8 + 36


def pick(alive: int, failing: Sequence[int], owners: Sequence[Owner]) -> list[Owner]:
    return [owners[slot] for slot in _slots(alive & ~union(failing))]


def match(_plan: Any, _document: dict[str, Any]) -> None:
    return None


_WORD = 64
_WORD_BYTES = 8
_FEW = 512  # slots, up to which the lowest bit of the whole integer is cheaper than cutting it into words


def _slots(mask: int) -> Iterable[int]:
    found: list[int] = []
    if mask < 1 << _FEW:
        while mask:
            lowest = mask & -mask
            found.append(lowest.bit_length() - 1)
            mask ^= lowest
        return found
    count = -(-mask.bit_length() // _WORD)
    for number, word in enumerate(struct.unpack(f"<{count}Q", mask.to_bytes(count * _WORD_BYTES, "little"))):
        while word:
            lowest = word & -word
            found.append(number * _WORD + lowest.bit_length() - 1)
            word ^= lowest  # noqa: PLW2901 - its bits are used up
    return found


def _mask(lists: Sequence[Slots]) -> int:
    """The union of several lists of slots."""
    lists = [slots for slots in lists if slots]
    if not lists:
        return 0
    if len(lists) == 1 and len(lists[0]) == 1:
        return 1 << lists[0][0]
    octets = bytearray(max(slots[-1] for slots in lists) // 8 + 1)
    for slots in lists:
        for slot in slots:
            octets[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(octets, "little")
