"""Conditions filed so that a value finds those that accept it, without any of the others being tried.

Each condition is filed under an *entry*: the exact value, or a piece of text with what it is a piece of (the beginning,
the end, the inside, the whole in folded case), or the leading bits of an address. A value looks up each piece of itself
whose *shape*, kind and length, some condition has. So the cost grows with the number of shapes, not of conditions.
Wildcards are filed under their longest piece, and those found under it are tried.
"""

import ipaddress
from array import array
from collections.abc import Hashable, Iterator, Mapping
from decimal import Decimal
from enum import IntEnum, auto
from typing import TypeVar

from services.filtering.conditions import Cidr, Condition, EqualsIgnoreCase, Prefix, Suffix, Wildcard, fold
from services.filtering.slots import NONE, Slots, toggled
from services.filtering.values import Value

_LONGEST_INSIDE = 6  # characters of an inner piece of a wildcard: a value has many pieces, of every length there is


class _Kind(IntEnum):
    BEGINNING = auto()
    END = auto()
    INSIDE = auto()
    FOLDED = auto()
    FOLDED_BEGINNING = auto()
    FOLDED_END = auto()
    IPV4 = auto()
    IPV6 = auto()


_Shape = tuple[_Kind, int]
"""A kind of piece and its length, in characters or bits; 0 where the piece is the whole."""

_FOLDED = frozenset({_Kind.FOLDED, _Kind.FOLDED_BEGINNING, _Kind.FOLDED_END})
_ADDRESS = frozenset({_Kind.IPV4, _Kind.IPV6})


class Lookup:
    """Slots by the conditions they wait for. Changed only by whoever made it or its copy, before others see it."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, Slots] = {}
        self._wildcards: dict[Hashable, dict[Wildcard, Slots]] = {}
        self._shapes: dict[_Shape, int] = {}
        self.numbers = 0
        """Numbers that conditions are filed under."""

    def copy(self) -> "Lookup":
        """The same, to be changed without changing this one."""
        copy = Lookup()
        copy._entries = self._entries.copy()
        copy._wildcards = self._wildcards.copy()
        copy._shapes = self._shapes.copy()
        copy.numbers = self.numbers
        return copy

    def file_exact(self, value: Value, slot: int) -> None:
        """Files the exact value for a slot, or takes it out when it is filed."""
        before = len(self._entries)
        _toggle(self._entries, value, slot)
        if isinstance(value, Decimal):
            self.numbers += len(self._entries) - before

    def append_exact(self, value: Value, slot: int) -> None:
        """Files the exact value for the highest slot so far, in a lookup that shares no lists: they grow in place."""
        slots = self._entries.get(value)
        if slots is None:
            self._entries[value] = array("I", (slot,))
            self.numbers += isinstance(value, Decimal)
        elif slots[-1] != slot:
            slots.append(slot)

    def file(self, condition: Condition, slot: int, *, add: bool) -> None:
        """Files a condition, of one of the kinds this module imports, for a slot; or takes it out."""
        shape, piece = _filed(condition)
        self._shapes[shape] = self._shapes.get(shape, 0) + (1 if add else -1)
        if not self._shapes[shape]:
            del self._shapes[shape]
        if isinstance(condition, Wildcard):
            bucket = dict(self._wildcards.get((shape, piece), {}))
            _toggle(bucket, condition, slot)
            self._wildcards[shape, piece] = bucket
            if not bucket:
                del self._wildcards[shape, piece]
        else:
            _toggle(self._entries, (shape, piece), slot)

    def __bool__(self) -> bool:
        return bool(self._entries or self._wildcards)

    @property
    def table(self) -> Mapping[Hashable, Slots]:
        """What is filed, by the entry: exact values among them."""
        return self._entries

    @property
    def has_patterns(self) -> bool:
        """Whether conditions are filed under anything but exact values."""
        return bool(self._shapes)

    def hits(self, value: Value) -> list[Slots]:
        """The slots of the conditions that accept a value; a slot is in several lists when several do."""
        found: list[Slots] = []
        if not self._entries and not self._wildcards:
            return found
        if exact := self._entries.get(value):
            found.append(exact)
        if isinstance(value, str) and self._shapes:
            for entry in self._pieces(value):
                if slots := self._entries.get(entry):
                    found.append(slots)
                if bucket := self._wildcards.get(entry):
                    found.extend(slots for wildcard, slots in bucket.items() if wildcard.matches(value))
        return found

    def _pieces(self, text: str) -> Iterator[tuple[_Shape, Hashable]]:
        """The entries under which conditions on a text can stand, each once."""
        folded = fold(text) if any(kind in _FOLDED for kind, _ in self._shapes) else ""
        address = _address(text) if any(kind in _ADDRESS for kind, _ in self._shapes) else None
        for shape in self._shapes:
            kind, length = shape
            if kind is _Kind.FOLDED:
                yield shape, folded
            elif kind in _ADDRESS:
                if address is not None and address.version == (4 if kind is _Kind.IPV4 else 6):
                    yield shape, int(address) >> (address.max_prefixlen - length)
            elif kind is _Kind.INSIDE:
                for piece in {text[start : start + length] for start in range(len(text) - length + 1)}:
                    yield shape, piece
            else:
                source = folded if kind in _FOLDED else text
                if length <= len(source):
                    at_end = kind in (_Kind.END, _Kind.FOLDED_END)
                    yield shape, source[len(source) - length :] if at_end else source[:length]


def _filed(condition: Condition) -> tuple[_Shape, Hashable]:
    """Where a condition other than an exact value is filed."""
    match condition:
        case Prefix(text=text, ignore_case=ignore_case):
            return (_Kind.FOLDED_BEGINNING if ignore_case else _Kind.BEGINNING, len(text)), text
        case Suffix(text=text, ignore_case=ignore_case):
            return (_Kind.FOLDED_END if ignore_case else _Kind.END, len(text)), text
        case EqualsIgnoreCase(text=text):
            return (_Kind.FOLDED, 0), text
        case Wildcard(segments=segments):
            return _longest_piece(segments)
        case Cidr(network=network):
            bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            return (_Kind.IPV4 if network.version == 4 else _Kind.IPV6, network.prefixlen), bits  # noqa: PLR2004
    raise TypeError(f"{condition!r} is not looked up")


def _longest_piece(segments: tuple[str, ...]) -> tuple[_Shape, str]:
    place, longest = max(enumerate(segments), key=lambda segment: len(segment[1]))
    if place == 0:
        return (_Kind.BEGINNING, len(longest)), longest
    if place == len(segments) - 1:
        return (_Kind.END, len(longest)), longest
    piece = longest[:_LONGEST_INSIDE]
    return (_Kind.INSIDE, len(piece)), piece


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


_Entry = TypeVar("_Entry")


def _toggle(entries: dict[_Entry, Slots], entry: _Entry, slot: int) -> None:
    slots = toggled(entries.get(entry, NONE), slot)
    if slots:
        entries[entry] = slots
    else:
        del entries[entry]
