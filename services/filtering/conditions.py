"""What a policy can ask of one value. Each operator is a value of its own; all are pure.

A key holds a list of conditions and is satisfied when one of them accepts the values the message has for the key.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.filtering.values import Constant, Value


class Condition:
    """One condition of a key; every kind of condition is a subclass."""

    __slots__ = ()

    def matches(self, value: Value) -> bool:
        """Whether one value satisfies the condition."""
        raise NotImplementedError

    def accepts(self, values: Sequence[Value]) -> bool:
        """Whether the values of a key (one, or the elements of an array; never none) satisfy the condition."""
        return any(map(self.matches, values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(Condition):
    """The very value, of the same JSON type; numbers by their value: `1` equals `1.0`."""

    value: Value

    def matches(self, value: Value) -> bool:
        return value == self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix(Condition):
    """Texts that begin so; an empty prefix accepts every text and no number. With `ignore_case`, `text` is folded."""

    text: str
    ignore_case: bool = False

    def matches(self, value: Value) -> bool:
        return isinstance(value, str) and (fold(value) if self.ignore_case else value).startswith(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suffix(Condition):
    """Texts that end so. With `ignore_case`, `text` is folded."""

    text: str
    ignore_case: bool = False

    def matches(self, value: Value) -> bool:
        return isinstance(value, str) and (fold(value) if self.ignore_case else value).endswith(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualsIgnoreCase(Condition):
    """Texts equal but for upper and lower case; `text` is folded."""

    text: str

    def matches(self, value: Value) -> bool:
        return isinstance(value, str) and fold(value) == self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Wildcard(Condition):
    """Texts made of `segments` in this order with anything between them; the first and the last are anchored.

    The leftmost place is always the best for an inner segment, so nothing is ever tried twice: the cost is bounded by
    the length of the pattern times the length of the value.
    """

    segments: tuple[str, ...]

    def matches(self, value: Value) -> bool:
        if not isinstance(value, str):
            return False
        if len(self.segments) == 1:
            return value == self.segments[0]
        first, *inner, last = self.segments
        position, end = len(first), len(value) - len(last)
        if end < position or not (value.startswith(first) and value.endswith(last)):
            return False
        for segment in inner:
            found = value.find(segment, position, end)
            if found < 0:
                return False
            position = found + len(segment)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric(Condition):
    """Numbers in a range; a bound of None is open. Exact decimals: nothing is rounded."""

    lower: Decimal | None = None
    lower_inclusive: bool = False
    upper: Decimal | None = None
    upper_inclusive: bool = False

    def matches(self, value: Value) -> bool:
        if not isinstance(value, Decimal):
            return False
        if self.lower is not None and not (value >= self.lower if self.lower_inclusive else value > self.lower):
            return False
        return self.upper is None or (value <= self.upper if self.upper_inclusive else value < self.upper)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cidr(Condition):
    """Texts that are an IP address of the network, of the same version."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network

    def matches(self, value: Value) -> bool:
        if not isinstance(value, str) or "%" in value:
            return False
        try:
            return ipaddress.ip_address(value) in self.network
        except ValueError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Present(Condition):
    """`exists: true`. EventBridge counts null and the empty text as present, Amazon SNS does not (`strict`)."""

    strict: bool

    def matches(self, value: Value) -> bool:
        return not self.strict or (value is not Constant.NULL and value != "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Condition):
    """`exists: false`. Accepts no value; the key is satisfied when the message has none for it."""

    def matches(self, value: Value) -> bool:  # noqa: ARG002 - a value is there, that is all that counts
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnythingBut(Condition):
    """A value that is neither listed nor matches one of the patterns.

    For an array, EventBridge asks for one such element, Amazon SNS for nothing but such elements (`every`).
    """

    values: frozenset[Value] = frozenset()
    patterns: tuple[Condition, ...] = ()
    every: bool = False

    def matches(self, value: Value) -> bool:
        return value not in self.values and not any(pattern.matches(value) for pattern in self.patterns)

    def accepts(self, values: Sequence[Value]) -> bool:
        return (all if self.every else any)(map(self.matches, values))


def fold(text: str) -> str:
    """The form in which texts that differ in case alone are equal, character by character.

    As in event-ruler `é` and `É` are equal, `İ` and `i̇` too; not so `ß` and `SS`, the two small sigmas, `k` and the
    Kelvin sign. `str.lower` and `str.casefold` each differ in some of these.
    """
    return text.lower() if text.isascii() else "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    lower = character.lower()
    reversible = lower.upper() == character or character == "İ"
    return lower if reversible else character
