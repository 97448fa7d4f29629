"""Ranges: a number finds those that hold it, whatever was filed before and taken out again."""

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.filtering.bitset import Bitset
from services.filtering.conditions import Numeric
from services.filtering.masks import BITSET, PORTABLE
from services.filtering.ranges import Ranges, spans_of

EVERY_BITSET = pytest.mark.parametrize("bits", list(dict.fromkeys((PORTABLE, BITSET))), ids=lambda bits: bits.__name__)
NUMBERS = st.integers(-4, 4).map(Decimal)
BOUNDS = st.none() | NUMBERS


@st.composite
def conditions(draw: st.DrawFn) -> Numeric:
    lower, upper = draw(BOUNDS), draw(BOUNDS)
    if lower is not None and upper is not None:
        lower, upper = min(lower, upper), max(lower, upper) + 1
    return Numeric(lower=lower, lower_inclusive=draw(st.booleans()), upper=upper, upper_inclusive=draw(st.booleans()))


RULES = st.lists(st.lists(conditions(), min_size=1, max_size=3), max_size=12)
PROBES = [Decimal(number) / 2 for number in range(-12, 13)]


def slots_in(bits: Bitset, mask: object, count: int) -> set[int]:
    """The slots of a mask, through the one operation that lists them."""
    return set(bits.pick(mask, [], list(range(count))))


def expected(rules: list[list[Numeric]], number: Decimal, filed: set[int]) -> set[int]:
    return {slot for slot in filed if any(condition.matches(number) for condition in rules[slot])}


@EVERY_BITSET
@given(rules=RULES, taken=st.sets(st.integers(0, 11)))
def test_ranges_hold_what_their_conditions_accept(bits: Bitset, rules: list[list[Numeric]], taken: set[int]) -> None:
    """Filed at once or one by one, overlapping or touching, and after some were taken out."""
    spans = [(span, slot) for slot, rule in enumerate(rules) for span in spans_of(rule)]
    at_once, one_by_one = Ranges(bits, spans), Ranges(bits)
    for span, slot in spans:
        one_by_one.flip(span, slot)
    left = set(range(len(rules)))
    for number in PROBES:
        for ranges in (at_once, one_by_one):
            assert slots_in(bits, ranges.holding(ranges.cell(number)), len(rules)) == expected(rules, number, left)
    before = at_once.copy()
    for span, slot in spans:
        if slot in taken:
            at_once.flip(span, slot)
    for number in PROBES:
        assert slots_in(bits, at_once.holding(at_once.cell(number)), len(rules)) == expected(
            rules, number, left - taken
        )
        assert slots_in(bits, before.holding(before.cell(number)), len(rules)) == expected(rules, number, left)


@EVERY_BITSET
def test_many_ranges_are_cut_into_stretches_and_joined_again(bits: Bitset) -> None:
    """Hundreds of bounds, so that stretches are split when they fill and vanish when they empty."""
    random = Random(7)
    rules = []
    for _ in range(400):
        lower = Decimal(random.randrange(300))
        rules.append([Numeric(lower=lower, upper=lower + random.randrange(1, 90), upper_inclusive=True)])
    ranges = Ranges(bits)
    for slot, rule in enumerate(rules):
        ranges.flip(spans_of(rule)[0], slot)
    filed = set(range(len(rules)))
    assert len(ranges._stretches) > 4
    for slot in random.sample(sorted(filed), 350):
        ranges.flip(spans_of(rules[slot])[0], slot)
        filed.discard(slot)
    for number in map(Decimal, range(0, 400, 7)):
        assert slots_in(bits, ranges.holding(ranges.cell(number)), len(rules)) == expected(rules, number, filed)
    for slot in filed:
        ranges.flip(spans_of(rules[slot])[0], slot)
    assert len(ranges._stretches) == 1
    assert not ranges._stretches[0].rest


def test_spans_of_one_rule_never_touch() -> None:
    """A slot that began twice at the same place would flip back."""
    touching = [
        Numeric(lower=Decimal(0), lower_inclusive=True, upper=Decimal(5)),
        Numeric(lower=Decimal(5), lower_inclusive=True, upper=Decimal(9)),
        Numeric(lower=Decimal(2), upper=Decimal(3)),
    ]
    assert len(spans_of(touching)) == 1
    assert len(spans_of([touching[0], Numeric(lower=Decimal(5), upper=Decimal(9))])) == 2
