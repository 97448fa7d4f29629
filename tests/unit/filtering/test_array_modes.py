"""How anything-but reads arrays is a mode of each subscription: both live in one index, in every dialect."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.filtering.bitset import Bitset
from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.filtering.faults import PolicyError
from services.filtering.index import Index
from services.filtering.masks import BITSET, PORTABLE
from services.filtering.message import AttributeType, attribute_facets, body_facets
from services.filtering.policy import Policy, parse_policy
from tests.unit.filtering import reference
from tests.unit.filtering.generated import BODIES, policies

MODES = {"none-listed": True, "one-unlisted": False}
_ANYTHING_BUT = st.one_of(
    st.builds(lambda texts: {"anything-but": texts}, st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1)),
    st.builds(lambda numbers: {"anything-but": numbers}, st.lists(st.sampled_from([0, 1]), min_size=1)),
    st.builds(
        lambda name, text: {"anything-but": {name: text}},
        st.sampled_from(["prefix", "suffix", "equals-ignore-case", "wildcard"]),
        st.sampled_from(["a", "b", "ab"]),
    ),
)
_CONDITIONS = st.lists(st.one_of(_ANYTHING_BUT, st.sampled_from(["a", 1]), st.just({"exists": False})), min_size=1)
_NEGATIVE = st.dictionaries(st.sampled_from("ab"), _CONDITIONS, min_size=1)
_SCALARS = st.sampled_from(["a", "b", "ab", "B", 0, 1, None, ""])
_ARRAYS = st.dictionaries(st.sampled_from("ab"), st.one_of(_SCALARS, st.lists(_SCALARS, max_size=3)))
_WRITTEN = st.lists(
    st.tuples(st.one_of(policies(), _NEGATIVE), st.sampled_from([SNS_BODY, EVENTBRIDGE]), st.sampled_from(list(MODES))),
    min_size=1,
    max_size=6,
)


def read(text: str, dialect: Dialect) -> Policy:
    """The policy; one with more alternatives than are taken is no example."""
    try:
        return parse_policy(text, dialect)
    except PolicyError as error:
        assume([fault.message for fault in error.faults] != ["Filter policy is too complex"])
        raise


@pytest.mark.parametrize(
    "bits", list(dict.fromkeys((PORTABLE, BITSET))), ids=["portable", "compiled"][: 1 + (BITSET is not PORTABLE)]
)
@settings(max_examples=60, deadline=None)
@given(written=_WRITTEN, bodies=st.lists(st.one_of(BODIES, _ARRAYS), min_size=1, max_size=4))
def test_one_index_answers_both_modes_of_both_body_dialects_as_the_second_reading(
    bits: Bitset, written: list[tuple[dict[str, Any], Dialect, str]], bodies: list[dict[str, Any]]
) -> None:
    """The index of a topic mixes what its subscriptions are written in."""
    parsed = [
        read(json.dumps(policy), replace(dialect.unlimited, every_element=MODES[mode]))
        for policy, dialect, mode in written
    ]
    index = Index(enumerate(parsed), bits=bits)
    for body in bodies:
        facets = body_facets(json.dumps(body).encode())
        expected = {
            place
            for place, (policy, dialect, mode) in enumerate(written)
            if reference.accepts(policy, body, f"{dialect.name}/{mode}")
        }
        assert set(index.match(facets)) == expected
        assert {place for place, policy in enumerate(parsed) if policy.accepts(facets)} == expected


@pytest.mark.parametrize("dialect", [SNS_ATTRIBUTES, SNS_BODY, EVENTBRIDGE], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("values", "none_listed", "one_unlisted"),
    [("[50, 60]", True, True), ("[100, 50]", False, True), ("[100, 500]", False, False), ("[50]", True, True)],
)
def test_the_mode_decides_over_an_array_that_is_listed_in_part(
    dialect: Dialect, values: str, *, none_listed: bool, one_unlisted: bool
) -> None:
    """The example on which the documents of AWS contradict each other, in every dialect."""
    text = '{"price": [{"anything-but": [100, 500]}]}'
    both = {mode: parse_policy(text, replace(dialect, every_element=every)) for mode, every in MODES.items()}
    facets = (
        body_facets(f'{{"price": {values}}}'.encode())
        if dialect.looks_at_body
        else attribute_facets({"price": (AttributeType.STRING_ARRAY, values)})
    )
    expected = {"none-listed": none_listed, "one-unlisted": one_unlisted}
    assert {mode: policy.accepts(facets) for mode, policy in both.items()} == expected
    assert set(Index(both.items()).match(facets)) == {mode for mode, wanted in expected.items() if wanted}
