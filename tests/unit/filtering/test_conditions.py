"""Each operator on single values and on several."""

import ipaddress
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.filtering.conditions import (
    Absent,
    AnythingBut,
    Cidr,
    EqualsIgnoreCase,
    Exact,
    Numeric,
    Prefix,
    Present,
    Suffix,
    Wildcard,
    fold,
)
from services.filtering.values import Constant, Value, exact_number

NETWORK = ipaddress.ip_network("10.0.0.0/24")


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (Exact(value=Decimal(1)), Decimal("1.0"), True),
        (Exact(value=Decimal(1)), Constant.TRUE, False),
        (Exact(value=Decimal(1)), "1", False),
        (Exact(value="true"), Constant.TRUE, False),
        (Exact(value=Decimal("0.3")), Decimal("0.30000000000000004"), False),
        (Exact(value=Decimal("3.015e2")), Decimal("301.500"), True),
        (Exact(value=Decimal(2**53)), Decimal(2**53 + 1), False),
        (Prefix(text=""), "anything", True),
        (Prefix(text=""), Decimal(5), False),
        (Prefix(text="é", ignore_case=True), "État", True),
        (Suffix(text=".png"), "a.png", True),
        (Suffix(text=".png"), "a.PNG", False),
        (EqualsIgnoreCase(text="abc"), "aBc", True),
        (EqualsIgnoreCase(text="abc"), Decimal(1), False),
        (Numeric(lower=Decimal(0), upper=Decimal(5), upper_inclusive=True), Decimal(5), True),
        (Numeric(lower=Decimal(0), upper=Decimal(5)), Decimal(5), False),
        (Numeric(lower=Decimal(0)), Decimal(0), False),
        (Numeric(lower=Decimal(0), lower_inclusive=True), Decimal("-0.0"), True),
        (Numeric(upper=Decimal(5)), "1", False),
        (Numeric(lower=Decimal(0)), Decimal("1e-999999999"), True),
        (Numeric(lower=Decimal(2**53)), Decimal(2**53 + 1), True),
        (Numeric(upper=Decimal(1)), Constant.FALSE, False),
        (Cidr(network=NETWORK), "10.0.0.7", True),
        (Cidr(network=NETWORK), "10.0.1.7", False),
        (Cidr(network=NETWORK), "::ffff:10.0.0.7", False),
        (Cidr(network=NETWORK), "10.0.0.07", False),
        (Cidr(network=NETWORK), "10.0.0.7%eth0", False),
        (Cidr(network=NETWORK), Decimal(167772167), False),
        (Present(strict=True), "", False),
        (Present(strict=True), Constant.NULL, False),
        (Present(strict=True), Constant.FALSE, True),
        (Present(strict=False), Constant.NULL, True),
        (Absent(), "x", False),
    ],
)  # fmt: skip
def test_condition_on_a_value(condition: Exact, value: Value, *, expected: bool) -> None:
    """The table of the operators."""
    assert condition.matches(value) is expected


@pytest.mark.parametrize(
    ("segments", "value", "expected"),
    [
        (("",), "", True),
        (("",), "a", False),
        (("", ""), "", True),
        (("", ""), "anything\nat all", True),
        (("a", "b"), "ab", True),
        (("a", "b"), "a-b", True),
        (("ab", "b"), "ab", False),
        (("a", "b", "c"), "a-c", False),
        (("a", "b", "c"), "abbc", True),
        (("a", "bc", "c"), "abc", False),
        (("", "x", ""), "axb", True),
        (("a", "a", "a"), "aa", False),
        (("", "a", "a", ""), "a", False),
        (("", "ab", "ba", ""), "aba", False),
    ],
)
def test_wildcard_segments(segments: tuple[str, ...], value: str, *, expected: bool) -> None:
    """First and last are anchored, inner ones may not overlap."""
    assert Wildcard(segments=segments).matches(value) is expected


@given(pattern=st.text("ab*", max_size=8).filter(lambda text: "**" not in text), value=st.text("ab", max_size=8))
def test_wildcard_matches_as_a_regular_expression(pattern: str, value: str) -> None:
    """Over an alphabet so small that segments overlap."""
    expected = re.fullmatch(pattern.replace("*", ".*"), value) is not None
    assert Wildcard(segments=tuple(pattern.split("*"))).matches(value) is expected


def test_wildcard_with_many_stars_is_not_exponential() -> None:
    """A pattern on which backtracking matchers take forever."""
    assert not Wildcard(segments=("a",) * 200 + ("b",)).matches("a" * 20_000)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("Straße", "sTRASSE", False),
        ("Straße", "sTRAßE", True),
        ("É", "é", True),
        ("İ", "i̇", True),
        ("İ", "i", False),
        ("\N{GREEK SMALL LETTER SIGMA}", "\N{GREEK SMALL LETTER FINAL SIGMA}", False),
        ("k", "\N{KELVIN SIGN}", False),
        ("\N{GREEK CAPITAL LETTER SIGMA}", "\N{GREEK SMALL LETTER SIGMA}", True),
    ],
)
def test_folding_follows_event_ruler(left: str, right: str, *, equal: bool) -> None:
    """The pairs that were measured on event-ruler."""
    assert (fold(left) == fold(right)) is equal


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    """A folded operand and a folded value meet in one form."""
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(("every", "expected"), [(True, False), (False, True)])
def test_anything_but_on_an_array_follows_its_mode(*, every: bool, expected: bool) -> None:
    """Amazon SNS wants no listed element, EventBridge one unlisted element."""
    condition = AnythingBut(values=frozenset({Decimal(100), Decimal(500)}), every=every)
    assert condition.accepts([Decimal(100), Decimal(50)]) is expected


@pytest.mark.parametrize("every", [True, False])
def test_anything_but_refuses_an_array_of_listed_values(*, every: bool) -> None:
    """Whatever the mode."""
    condition = AnythingBut(values=frozenset({Decimal(100), Decimal(500)}), every=every)
    assert not condition.accepts([Decimal(100), Decimal(500)])


def test_anything_but_accepts_other_types_and_null() -> None:
    """Listed strings say nothing about numbers and null."""
    condition = AnythingBut(values=frozenset({"x"}), patterns=(Prefix(text="p"),))
    assert [condition.matches(value) for value in (Decimal(1), Constant.NULL, "y", "x", "pq")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("text", ["", "1_000", " 1", "NaN", "Infinity", "1e", "0x10", "٣", "1e1000000000000000000000"])
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    """Forms that Python's Decimal would take, and exponents it cannot."""
    with pytest.raises(ValueError, match=r"decimal number|exponent"):
        exact_number(text)
