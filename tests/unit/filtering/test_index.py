"""The index answers as the policies one by one, and as a second reading of the language."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.filtering.faults import PolicyError
from services.filtering.index import Index
from services.filtering.message import NOTHING, AttributeType, attribute_facets, body_facets
from services.filtering.policy import Policy, parse_policy
from tests.unit.filtering import reference
from tests.unit.filtering.generated import BODIES, ELEMENT_BODIES, ELEMENT_POLICIES, policies


def eventbridge(*texts: str) -> list[Policy]:
    return [parse_policy(text, EVENTBRIDGE) for text in texts]


@pytest.mark.parametrize("dialect", [EVENTBRIDGE, SNS_BODY], ids=lambda dialect: dialect.name)
@settings(max_examples=200, deadline=None)
@given(written=st.lists(policies(), max_size=6), bodies=st.lists(BODIES, min_size=1, max_size=4))
def test_index_answers_as_a_second_reading_of_the_language(
    dialect: Dialect, written: list[dict[str, Any]], bodies: list[dict[str, Any]]
) -> None:
    """Over all operators, nested keys, alternatives and arrays of objects."""
    check_against_the_second_reading(dialect, written, bodies)


@pytest.mark.parametrize("dialect", [EVENTBRIDGE, SNS_BODY], ids=lambda dialect: dialect.name)
@settings(max_examples=300, deadline=None)
@given(written=st.lists(ELEMENT_POLICIES, min_size=1, max_size=4), bodies=st.lists(ELEMENT_BODIES, max_size=4))
def test_index_keeps_to_the_same_element_as_the_second_reading(
    dialect: Dialect, written: list[dict[str, Any]], bodies: list[dict[str, Any]]
) -> None:
    """Arrays of objects, with few names and values so that elements nearly fit."""
    check_against_the_second_reading(dialect, written, bodies)


def read(text: str, dialect: Dialect) -> Policy:
    """The policy; one with more alternatives than are taken is no example."""
    try:
        return parse_policy(text, dialect)
    except PolicyError as error:
        assume([fault.message for fault in error.faults] != ["Filter policy is too complex"])
        raise


def check_against_the_second_reading(
    dialect: Dialect, written: list[dict[str, Any]], bodies: list[dict[str, Any]]
) -> None:
    """The index, the policies one by one and the second reading agree on every body."""
    unlimited = replace(dialect, max_combinations=None)
    parsed = [read(json.dumps(policy), unlimited) for policy in written]
    index = Index(enumerate(parsed))
    for body in bodies:
        facets = body_facets(json.dumps(body).encode())
        expected = {
            position for position, policy in enumerate(written) if reference.accepts(policy, body, dialect.name)
        }
        assert index.match(facets) == expected
        assert {position for position, policy in enumerate(parsed) if policy.accepts(facets)} == expected


def test_empty_index_matches_nothing() -> None:
    """No policies, no matches, and no need to look at a message."""
    index = Index([])
    assert index.match(body_facets(b'{"a": 1}')) == set()
    assert not index.needs_message


def test_catch_all_needs_no_message() -> None:
    """A blank policy accepts what has no attribute and no readable body."""
    index = Index([(7, Policy())])
    assert not index.needs_message
    assert index.match(NOTHING) == {7}


def test_policy_is_found_by_each_of_its_exact_values() -> None:
    """A policy filed under several values is one match, also when a message has all of them."""
    index = Index(enumerate(eventbridge('{"a": ["x", "y"]}')))
    assert index.match(body_facets(b'{"a": "x"}')) == {0}
    assert index.match(body_facets(b'{"a": ["x", "y"]}')) == {0}
    assert index.match(body_facets(b'{"a": "z"}')) == set()


def test_filed_policy_is_verified_by_its_other_keys() -> None:
    """The access predicate alone decides nothing."""
    index = Index(enumerate(eventbridge('{"a": ["x"], "b": [{"prefix": "p"}]}', '{"a": ["x"]}')))
    assert index.match(body_facets(b'{"a": "x", "b": "q"}')) == {1}


def test_policy_with_an_exact_value_beside_another_condition_is_not_filed() -> None:
    """An exact value in an array with other conditions need not be there."""
    index = Index(enumerate(eventbridge('{"a": ["x", {"prefix": "y"}]}')))
    assert index.match(body_facets(b'{"a": "yes"}')) == {0}


def test_values_of_different_types_share_no_slot() -> None:
    """True, 1, 1.0 and "1" are two values in JSON terms apart from the equal numbers."""
    index = Index(enumerate(eventbridge('{"a": [true]}', '{"a": [1]}', '{"a": ["1"]}', '{"a": [1.0]}')))
    assert index.match(body_facets(b'{"a": true}')) == {0}
    assert index.match(body_facets(b'{"a": 1.00}')) == {1, 3}
    assert index.match(body_facets(b'{"a": "1"}')) == {2}


def test_message_without_attributes_satisfies_only_policies_without_keys() -> None:
    """Amazon SNS: exists false asks for at least one attribute."""
    written = ('{"a": [{"exists": false}]}', "{}")
    index = Index((place, parse_policy(text, SNS_ATTRIBUTES)) for place, text in enumerate(written))
    assert index.match(attribute_facets({})) == {1}
    assert index.match(attribute_facets({"b": (AttributeType.STRING, "")})) == {0, 1}


def test_selective_policies_are_found_among_many() -> None:
    """Only the candidates under the rarest value are verified; the crowded value leads to the same answer."""
    texts = [f'{{"kind": ["order"], "id": [{number}]}}' for number in range(2000)]
    index = Index(enumerate(eventbridge(*texts)))
    assert index.match(body_facets(b'{"kind": "order", "id": 1234}')) == {1234}
    assert max(len(branches) for values in index._filed.values() for branches in values.values()) == 1
