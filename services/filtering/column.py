"""Everything a set of policies asks of one key: which of them fail with the values a message has for it?

The rule of a branch under a key is a list of alternatives. Those that name what they accept are looked up by the value.
`anything-but` is turned round: what it forbids is looked up, and those that are not found accept.
"""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import islice
from typing import Any

from services.filtering.bitset import Bitset, Mask
from services.filtering.branch import is_doubtful
from services.filtering.conditions import Absent, AnythingBut, Condition, Exact, Numeric, Present
from services.filtering.lookup import Lookup
from services.filtering.policy import Rule
from services.filtering.ranges import Ranges, Span, spans_of
from services.filtering.slots import NONE, Slots, toggled
from services.filtering.values import Constant, Value

_LOT = 64  # masks that are combined at a time
_ENTRY_BYTES = 160  # of the memo beside the mask
_LONGEST_REMEMBERED = 512  # characters of the texts of a key, or eight for each of its values


class Column:
    """The rules on one key by the slots of their branches.

    Changed only by whoever made it or its copy, before others see it; but what it remembers grows with use.
    """

    def __init__(self, bits: Bitset) -> None:
        self._bits = bits
        self._memo: dict[Any, Mask] = {}  # by the value, where it is the only one, or by all of them
        self.rules = 0
        """Rules that are filed."""
        self.memo_limit = 0
        """Bytes of masks that it may remember, about; then it begins anew."""
        self._memo_bytes = 0
        self._cells: dict[tuple[int, int], Mask] = {}  # remembered for numbers that no condition names
        self.required: Slots = NONE
        """The branches that fail when the key has no value."""
        self._closed: Mask = bits.EMPTY  # the branches without anything-but: they fail with what is not looked up
        self._present: Mask = bits.EMPTY  # the branches that accept every value
        self._substantial: Mask = bits.EMPTY  # the branches that accept every value but null and the empty text
        self._accepted = Lookup()
        self._ranges = Ranges(bits)
        self._forbidden = Lookup()
        self._forbidden_everywhere = Lookup()

    def __bool__(self) -> bool:
        return self.rules > 0

    def copy(self) -> "Column":
        """The same, to be changed without changing this one; it remembers no masks."""
        copy = Column(self._bits)
        copy.rules, copy.required, copy._closed = self.rules, self.required, self._closed
        copy._present, copy._substantial = self._present, self._substantial
        copy._accepted, copy._ranges = self._accepted.copy(), self._ranges.copy()
        copy._forbidden, copy._forbidden_everywhere = self._forbidden.copy(), self._forbidden_everywhere.copy()
        return copy

    def fill(self, rules: Iterable[tuple[Rule, int]]) -> None:
        """Files the rules of many branches in an empty column, in ascending order of their slots."""
        kinds, spans = _Kinds(), list[tuple[Span, int]]()
        for rule, slot in rules:
            self.rules += 1
            if Numeric in kinds.note(rule, slot):
                spans.extend((span, slot) for span in _spans(rule))
            self._file(rule, slot, add=True, filling=True)
        self._flip(kinds)
        self._ranges = Ranges(self._bits, spans)

    def flip(self, rule: Rule, slot: int, *, add: bool) -> None:
        """Files the rule of a branch, or takes it out."""
        self.rules += 1 if add else -1
        kinds = _Kinds()
        kinds.note(rule, slot)
        self._flip(kinds)
        for span in _spans(rule):
            self._ranges.flip(span, slot)
        self._file(rule, slot, add=add)

    def failing(self, values: Sequence[Any]) -> Mask:
        """The slots whose rule does not accept the values of the key; the answer is remembered.

        `values` are a tuple of values, or, where they lie in elements of an array of objects, a tuple of such tuples.
        """
        first = values[0]
        alone = len(values) == 1 and not isinstance(first, tuple)
        key = first if alone else values
        mask = self._memo.get(key)
        if mask is not None:
            return mask
        if alone and isinstance(first, Decimal) and not self._names_number(first):
            return self._failing_in_cell(first)
        if alone and isinstance(first, str) and self._is_passed_over(first):
            return self._unnamed
        if isinstance(first, tuple):
            mask = self._by_lots(self._bits.meet, map(self._failing, values))
        else:
            mask = self._failing(values)
        if _length(values) <= _LONGEST_REMEMBERED:
            self._remember(self._memo, key, mask)
        return mask

    def _is_passed_over(self, text: str) -> bool:
        """Whether a text is surely named by nobody: such texts need not be remembered."""
        return bool(text) and not self._has_patterns and not any(text in table for table in self._tables)

    def plan(self) -> tuple[Any, ...]:
        """What `compiled/column.c` looks at, in the order of its `struct column`; of a complete column.

        Not kept here: a column that holds itself would outlive its index until the garbage collector comes.
        """
        has_numbers = any(lookup.numbers for lookup in self._lookups)
        counts_together = bool(self._forbidden_everywhere)
        firsts, stretches = self._ranges.plan
        columns = (self._memo, self.failing, self._unnamed, self._tables, firsts, stretches)
        return (*columns, self._has_patterns, has_numbers, counts_together)

    @property
    def _lookups(self) -> tuple[Lookup, ...]:
        return self._accepted, self._forbidden, self._forbidden_everywhere

    @cached_property
    def _tables(self) -> tuple[Mapping[Any, Slots], ...]:
        return tuple(lookup.table for lookup in self._lookups if lookup)

    @cached_property
    def _has_patterns(self) -> bool:
        return any(lookup.has_patterns for lookup in self._lookups)

    @cached_property
    def _unnamed(self) -> Mask:
        """The slots that fail with a text that nobody names."""
        accepting = self._bits.union([self._present, self._substantial])
        return self._bits.paint(self._closed, (), (), accepting)

    def _names_number(self, number: Decimal) -> bool:
        return any(lookup.numbers and number in lookup.table for lookup in self._lookups)

    def _failing_in_cell(self, number: Decimal) -> Mask:
        cell = self._ranges.cell(number)
        mask = self._cells.get(cell)
        if mask is None:
            accepting = self._bits.union([self._present, self._substantial, self._ranges.holding(cell)])
            mask = self._bits.paint(self._closed, (), (), accepting)
            self._remember(self._cells, cell, mask)
        return mask

    def _remember(self, memo: dict[Any, Mask], key: Any, mask: Mask) -> None:
        size = self._bits.weight(mask) + _ENTRY_BYTES
        self._memo_bytes += size
        if self._memo_bytes > self.memo_limit:
            self._memo.clear()
            self._cells.clear()
            self._memo_bytes = size
        memo[key] = mask

    def _failing(self, values: Sequence[Value]) -> Mask:
        if len(values) == 1:
            return self._failing_with(values[0])
        values = tuple(dict.fromkeys(values))
        apart = self._by_lots(self._bits.meet, map(self._failing_with, values))
        return self._bits.union([apart, self._failing_everywhere(values)])

    @staticmethod
    def _by_lots(combine: Callable[[Sequence[Mask]], Mask], masks: Iterator[Mask]) -> Mask:
        """The meeting or union of masks, of which an array of 100,000 elements must not hold as many at once."""
        result = next(masks)
        while lot := list(islice(masks, _LOT)):
            result = combine([result, *lot])
        return result

    def _failing_with(self, value: Value) -> Mask:
        forbidden = self._forbidden.hits(value) + self._forbidden_everywhere.hits(value)
        return self._bits.paint(self._closed, forbidden, self._accepted.hits(value), self._accepting(value))

    def _accepting(self, value: Value) -> Mask:
        """The slots that accept a value for its presence or its size."""
        if not isinstance(value, str | Constant):
            masks = [self._present, self._substantial, self._ranges.holding(self._ranges.cell(value))]
        elif value == "" or value is Constant.NULL:
            masks = [self._present]
        else:
            masks = [self._present, self._substantial]
        return self._bits.union(masks)

    def _failing_everywhere(self, values: Sequence[Value]) -> Mask:
        """The slots that one of the values is forbidden to, wherever it stands, and that accept none of them."""
        forbidden = [slots for value in values for slots in self._forbidden_everywhere.hits(value)]
        if not forbidden:
            return self._bits.EMPTY
        accepted = [slots for value in values for slots in self._accepted.hits(value)]
        accepting = self._by_lots(self._bits.union, map(self._accepting, values))
        return self._bits.paint(self._bits.EMPTY, forbidden, accepted, accepting)

    def _flip(self, kinds: "_Kinds") -> None:
        self.required = _symmetric_difference(self.required, kinds.required)
        self._closed = self._bits.flipped(self._closed, kinds.closed)
        self._present = self._bits.flipped(self._present, kinds.present)
        self._substantial = self._bits.flipped(self._substantial, kinds.substantial)

    def _file(self, rule: Rule, slot: int, *, add: bool, filling: bool = False) -> None:
        file_exact = Lookup.append_exact if filling else Lookup.file_exact
        conditions = rule.conditions
        # As a set: what stands twice would be taken out by the second.
        for condition in set(conditions) if len(conditions) > 1 else conditions:
            if isinstance(condition, Exact):
                file_exact(self._accepted, condition.value, slot)
            elif isinstance(condition, AnythingBut):
                if is_doubtful(rule):
                    continue  # neither forbids anything alone: left to verification
                lookup = self._forbidden_everywhere if condition.every else self._forbidden
                for value in condition.values:
                    file_exact(lookup, value, slot)
                for pattern in set(condition.patterns):
                    lookup.file(pattern, slot, add=add)
            elif not isinstance(condition, Numeric | Present | Absent):
                self._accepted.file(condition, slot, add=add)


def _spans(rule: Rule) -> list[Span]:
    numeric = [condition for condition in rule.conditions if isinstance(condition, Numeric)]
    return spans_of(numeric) if numeric else []


def _length(values: Sequence[Any]) -> int:
    return sum(
        len(value) if isinstance(value, str) else _length(value) if isinstance(value, tuple) else 8 for value in values
    )


class _Kinds:
    """Slots by what holds for their rule as a whole."""

    def __init__(self) -> None:
        self.required, self.closed, self.present, self.substantial = (array("I") for _ in range(4))

    def note(self, rule: Rule, slot: int) -> Collection[type[Condition]]:
        """Takes up the slot of a rule; answers with the kinds of its conditions."""
        conditions = rule.conditions
        kinds: Collection[type[Condition]] = tuple(map(type, conditions))
        if Absent not in kinds:
            self.required.append(slot)
        if AnythingBut not in kinds:
            self.closed.append(slot)
        if Present in kinds:  # one dialect knows one kind of it
            strict = any(condition.strict for condition in conditions if isinstance(condition, Present))
            (self.substantial if strict else self.present).append(slot)
        return kinds


def _symmetric_difference(slots: Slots, others: Slots) -> Slots:
    if not slots:
        return others
    for slot in others:
        slots = toggled(slots, slot)
    return slots
