"""Sets of slots as Python's integers: the portable form of what `_bitset.c` does faster, with the same results.

A *mask* is a set of slots, small numbers from 0; what it is made of is known here alone. *Slots* are an ascending
`array('I')`. Both are immutable by agreement: an operation answers with a new one.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    def sift(
        self,
        values: Mapping[str, Any],
        columns: Mapping[str, tuple[dict[Any, Mask], Callable[[Any], Mask]]],
        shapes: dict[tuple[str, ...], Mask],
        failing_without: Callable[[tuple[str, ...]], Mask],
        alive: Mask,
        owners: Sequence[Owner],
    ) -> list[Owner]:
        """The owners of the slots in `alive` that fail in no key, in the order of the slots.

        `columns` has, for each key that some policy names, the memo of the masks of slots that fail with given values,
        and who computes one that is not in it; `shapes` and `failing_without` the same for the keys of `columns` that
        the message has: the slots that fail for want of another one.
        """
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


def sift(
    values: Mapping[str, Any],
    columns: Mapping[str, tuple[dict[Any, int], Callable[[Any], int]]],
    shapes: dict[tuple[str, ...], int],
    failing_without: Callable[[tuple[str, ...]], int],
    alive: int,
    owners: Sequence[Owner],
) -> list[Owner]:
    known = [(key, *columns[key]) for key in values if key in columns]
    shape = tuple(key for key, _, _ in known)
    failed = shapes.get(shape)
    if failed is None:
        failed = failing_without(shape)
    for key, memo, failing in known:
        value = values[key]
        mask = memo.get(value)
        failed |= failing(value) if mask is None else mask
    return [owners[slot] for slot in _slots(alive & ~failed)]


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
