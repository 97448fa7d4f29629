"""Ranges of numbers filed so that a number finds those it lies in, however many there are and however they overlap.

The bounds of all ranges cut the number line at *edges*. The set of ranges a number lies in changes only there: it is
kept as a mask for the beginning of every *stretch* of the line, and beside it the slots that flip at each edge within.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.filtering.bitset import Bitset, Mask
from services.filtering.conditions import Numeric
from services.filtering.slots import NONE, Slots, toggled

_FLIPS = 96
"""Flips within a stretch after its first edge, at most, but for those at a single edge."""


class _Place(NamedTuple):
    """Where an edge is: at a number, or just after it."""

    number: Decimal
    after: bool


Span = tuple[_Place | None, _Place | None]
"""Where a range begins and where it has ended; None is infinitely far."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """The slots whose range begins or ends at a place."""

    place: _Place
    slots: Slots


class _Stretch(NamedTuple):
    """The line from `edge` on, None for its beginning, up to the next stretch. `compiled/column.c` reads it too."""

    edge: _Edge | None
    mask: Mask
    """Holds from `edge` to `rest[0]`."""
    rest: tuple[_Edge, ...]
    numbers: list[Decimal]
    """Where the edges of `rest` are."""
    flips: Slots
    """The slots of all of them, one edge after the other."""
    ends: list[int]
    """Where the flips of the first so many edges end."""

    def passed(self, number: Decimal) -> int:
        """How many edges of the rest are not after a number."""
        passed = bisect_right(self.numbers, number)
        if passed and self.numbers[passed - 1] == number and self.rest[passed - 1].place.after:
            passed -= 1
        return passed

    def after(self, passed: int, bits: Bitset) -> Mask:
        """The slots whose ranges hold the numbers after so many edges of the rest."""
        end = self.ends[passed]
        return bits.flipped(self.mask, self.flips[:end]) if end else self.mask


def _stretch(edge: _Edge | None, mask: Mask, rest: tuple[_Edge, ...]) -> _Stretch:
    flips, ends = array("I"), [0]
    for within in rest:
        flips.extend(within.slots)
        ends.append(len(flips))
    return _Stretch(edge, mask, rest, [within.place.number for within in rest], flips, ends)


class Ranges:
    """Slots by the range of numbers they accept. Changed only by whoever made it or its copy, before others see it."""

    def __init__(self, bits: Bitset, spans: Iterable[tuple[Span, int]] = ()) -> None:
        self._bits = bits
        edges: dict[_Place, list[int]] = {}
        unbounded: list[int] = []
        for (start, end), slot in spans:
            (unbounded if start is None else edges.setdefault(start, [])).append(slot)
            if end is not None:
                edges.setdefault(end, []).append(slot)
        mask = bits.flipped(bits.EMPTY, array("I", sorted(unbounded))) if unbounded else bits.EMPTY
        # Decimals compare slowly: floats, which never order them wrongly, leave the exact comparison little to do.
        nearly = sorted(edges, key=lambda place: float(place.number))
        every = [_Edge(place, array("I", sorted(edges[place]))) for place in sorted(nearly)]
        self._stretches = list(self._cut(None, mask, every))
        self._firsts = [stretch.edge.place.number for stretch in self._stretches if stretch.edge]

    def copy(self) -> "Ranges":
        """The same, to be changed without changing this one."""
        ranges = Ranges(self._bits)
        ranges._stretches, ranges._firsts = self._stretches.copy(), self._firsts.copy()
        return ranges

    @property
    def plan(self) -> tuple[list[Decimal], list[_Stretch]]:
        """For `compiled/column.c`: where all stretches but the first begin, and the stretches."""
        return self._firsts, self._stretches

    def cell(self, number: Decimal) -> tuple[int, int]:
        """Where a number lies: numbers of the same cell lie in the same ranges."""
        holding = bisect_right(self._firsts, number)
        if holding and self._firsts[holding - 1] == number:
            holding = self._holding(_Place(number, after=False))
        return holding, self._stretches[holding].passed(number)

    def holding(self, cell: tuple[int, int]) -> Mask:
        """The slots of the ranges that hold the numbers of a cell."""
        stretch, passed = cell
        return self._stretches[stretch].after(passed, self._bits)

    def flip(self, span: Span, slot: int) -> None:
        """Files a range for a slot, or takes it out when it is filed. The ranges of one slot must not touch."""
        start, end = span
        only = array("I", (slot,))
        begin = 0 if start is None else self._from(start)
        for number in range(begin, len(self._stretches) if end is None else self._from(end)):
            stretch = self._stretches[number]
            self._stretches[number] = stretch._replace(mask=self._bits.flipped(stretch.mask, only))
        bounds = [place for place in span if place is not None]
        # Stretches are cut when both edges are right: the masks they begin with are made from the edges before.
        for place in bounds:
            self._flip_at(place, slot)
        for place in bounds:
            self._cut_at(place)

    def _holding(self, place: _Place) -> int:
        """The stretch that a place lies in: the last that does not begin after it."""
        number = bisect_right(self._firsts, place.number)
        edge = self._stretches[number].edge
        return number - 1 if edge is not None and edge.place > place else number

    def _from(self, place: _Place) -> int:
        """The first stretch that begins at the place or after it."""
        number = self._holding(place)
        edge = self._stretches[number].edge
        return number if edge is not None and edge.place == place else number + 1

    def _flip_at(self, place: _Place, slot: int) -> None:
        number = self._holding(place)
        stretch = self._stretches[number]
        if stretch.edge is not None and stretch.edge.place == place:
            slots = toggled(stretch.edge.slots, slot)
            if slots:
                self._stretches[number] = stretch._replace(edge=_Edge(place, slots))
                return
            before = self._stretches[number - 1]
            self._stretches[number - 1 : number + 1] = [_stretch(before.edge, before.mask, before.rest + stretch.rest)]
            del self._firsts[number - 1]
            return
        rest = list(stretch.rest)
        index = bisect_left(rest, place, key=lambda edge: edge.place)
        known = rest[index].slots if index < len(rest) and rest[index].place == place else None
        slots = toggled(NONE if known is None else known, slot)
        rest[index : index + (known is not None)] = [_Edge(place, slots)] if slots else []
        self._stretches[number] = _stretch(stretch.edge, stretch.mask, tuple(rest))

    def _cut_at(self, place: _Place) -> None:
        """Cuts the stretch a place lies in, if its edges have become too many."""
        number = self._holding(place)
        stretch = self._stretches[number]
        if len(stretch.flips) > _FLIPS:
            cut = list(self._cut(stretch.edge, stretch.mask, stretch.rest))
            self._stretches[number : number + 1] = cut
            self._firsts[number:number] = [later.edge.place.number for later in cut[1:] if later.edge]

    def _cut(self, edge: _Edge | None, mask: Mask, rest: Iterable[_Edge]) -> Iterator[_Stretch]:
        """The line from an edge on, in stretches with few flips."""
        collected: list[_Edge] = []
        flips = array("I")
        for following in rest:
            if len(following.slots) > _FLIPS or (collected and len(flips) + len(following.slots) > _FLIPS):
                yield _stretch(edge, mask, tuple(collected))
                edge, mask = following, self._bits.flipped(mask, flips + following.slots)
                collected, flips = [], array("I")
            else:
                collected.append(following)
                flips += following.slots
        yield _stretch(edge, mask, tuple(collected))


def spans_of(conditions: Iterable[Numeric]) -> list[Span]:
    """The parts of the line that the conditions accept together: ascending, none touching another."""
    bounds = [_bounds(condition) for condition in conditions]
    if len(bounds) == 1:
        return bounds
    spans: list[Span] = []
    for start, end in sorted(bounds, key=lambda span: (span[0] is not None, span[0])):
        if spans and _reaches(spans[-1][1], start):
            begun, reached = spans[-1]
            spans[-1] = (begun, None if reached is None or end is None else max(reached, end))
        else:
            spans.append((start, end))
    return spans


def _bounds(condition: Numeric) -> Span:
    lower, upper = condition.lower, condition.upper
    start = None if lower is None else _Place(lower, after=not condition.lower_inclusive)
    end = None if upper is None else _Place(upper, after=condition.upper_inclusive)
    return start, end


def _reaches(end: _Place | None, start: _Place | None) -> bool:
    return end is None or start is None or start <= end
