"""Random policies and messages over a small alphabet, so that they meet often."""

from typing import Any

from hypothesis import strategies as st

_TEXTS = st.sampled_from(["", "a", "b", "ab", "ba", "aab", "A", "Ab", "a*b", "10.0.0.1", "10.0.1.1", "::1"])
_NUMBERS = st.sampled_from([0, 1, -1, 2, 10, 0.5, 1.5])
_LITERALS = st.sampled_from([True, False, None])
_SCALARS = st.one_of(_TEXTS, _NUMBERS, _LITERALS)
_NAMES = st.sampled_from(["a", "b", "c", "d"])
_FULL_TEXTS = _TEXTS.filter(bool)
_WILDCARDS = st.sampled_from(["*", "a*", "*b", "a*b", "*a*", "a\\*b", "*a*b*", "", "ab"])
_OPERATORS = st.one_of(
    st.builds(lambda text: {"prefix": text}, _TEXTS),
    st.builds(lambda text: {"prefix": {"equals-ignore-case": text}}, _TEXTS),
    st.builds(lambda text: {"suffix": text}, _TEXTS),
    st.builds(lambda text: {"suffix": {"equals-ignore-case": text}}, _TEXTS),
    st.builds(lambda text: {"equals-ignore-case": text}, _TEXTS),
    st.builds(lambda text: {"wildcard": text}, _WILDCARDS),
    st.builds(lambda flag: {"exists": flag}, st.booleans()),
    st.builds(lambda text: {"cidr": text}, st.sampled_from(["10.0.0.0/24", "10.0.0.1/32", "::/0", "0.0.0.0/0"])),
    st.builds(lambda op, number: {"numeric": [op, number]}, st.sampled_from(["=", "<", "<=", ">", ">="]), _NUMBERS),
    st.builds(
        lambda low, bottom, high: {"numeric": [low, bottom, high, bottom + 1.5]},
        st.sampled_from([">", ">="]), _NUMBERS, st.sampled_from(["<", "<="]),
    ),
    st.builds(lambda value: {"anything-but": value}, st.one_of(_TEXTS, _NUMBERS)),
    st.builds(lambda values: {"anything-but": values}, st.lists(_TEXTS, min_size=1, max_size=3)),
    st.builds(lambda values: {"anything-but": values}, st.lists(_NUMBERS, min_size=1, max_size=3)),
    st.builds(
        lambda name, texts: {"anything-but": {name: texts}},
        st.sampled_from(["prefix", "suffix", "equals-ignore-case"]),
        st.one_of(_FULL_TEXTS, st.lists(_FULL_TEXTS, min_size=1, max_size=2)),
    ),
    st.builds(lambda text: {"anything-but": {"wildcard": text}}, _WILDCARDS),
)  # fmt: skip
CONDITIONS = st.lists(st.one_of(_SCALARS, _OPERATORS), min_size=1, max_size=3)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """A valid policy, at most three levels deep, each path named once."""
    return draw(_levels(2))


@st.composite
def _levels(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    names = draw(st.lists(_NAMES, unique=True, max_size=3, min_size=0 if depth == 2 else 1))
    policy: dict[str, Any] = {}
    for name in names:
        nested = depth and draw(st.integers(0, 3)) == 0
        policy[name] = draw(_levels(depth - 1)) if nested else draw(CONDITIONS)
    free = [name for name in "abcd" if name not in names]
    if free and draw(st.integers(0, 2)) == 0:
        alternatives = st.dictionaries(st.sampled_from(free), CONDITIONS, min_size=1, max_size=2)
        policy["$or"] = draw(st.lists(alternatives, min_size=2, max_size=3))
    return policy


BODIES = st.dictionaries(
    _NAMES,
    st.recursive(
        _SCALARS,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)),
        max_leaves=8,
    ),
    max_size=4,
)

FEW = st.sampled_from(["x", "y", 1])
LISTED = st.one_of(
    st.lists(FEW, min_size=1, max_size=1),
    st.builds(lambda value: [{"anything-but": [value]}], FEW),
    st.just([{"exists": False}]),
)
ELEMENT_POLICIES = st.fixed_dictionaries(
    {"a": st.dictionaries(st.sampled_from("bc"), LISTED, min_size=1)},
    optional={
        "$or": st.lists(st.builds(lambda value: {"a": {"d": [value]}}, FEW), min_size=2, max_size=2),
        "e": LISTED,
    },
)
"""Policies on the elements of one array, an alternative of `$or` among them."""
_ELEMENTS = st.dictionaries(st.sampled_from("bcd"), st.one_of(FEW, st.lists(FEW, min_size=1, max_size=2)))
ELEMENT_BODIES = st.fixed_dictionaries(
    {"a": st.one_of(st.lists(_ELEMENTS, max_size=4), st.lists(st.lists(_ELEMENTS, max_size=2), max_size=2))},
    optional={"e": st.lists(FEW, max_size=3)},
)
"""Arrays of small objects, also within arrays."""
