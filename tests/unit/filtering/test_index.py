"""The index answers as the policies one by one, and as a second reading of the language."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.filtering.bitset import Bitset
from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.filtering.faults import PolicyError
from services.filtering.index import Index
from services.filtering.masks import BITSET, PORTABLE
from services.filtering.message import (
    NOTHING,
    AttributeType,
    attribute_facets,
    body_document,
    body_facets,
    document_facets,
)
from services.filtering.policy import Policy, parse_policy
from tests.unit.filtering import reference
from tests.unit.filtering.generated import BODIES, ELEMENT_BODIES, ELEMENT_POLICIES, policies

EVERY_BITSET = list(dict.fromkeys((PORTABLE, BITSET)))


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
    indexes = [Index(enumerate(parsed), bits) for bits in EVERY_BITSET]
    for body in bodies:
        document = body_document(json.dumps(body).encode())
        facets = document_facets(document)
        expected = {
            position for position, policy in enumerate(written) if reference.accepts(policy, body, dialect.name)
        }
        for index in indexes:
            assert set(index.match(facets)) == expected
            assert set(index.match_document(document)) == expected
        assert {position for position, policy in enumerate(parsed) if policy.accepts(facets)} == expected


def test_empty_index_matches_nothing() -> None:
    """No policies, no matches, and no need to look at a message."""
    index = Index[int]([])
    assert set(index.match(body_facets(b'{"a": 1}'))) == set()
    assert not index.needs_message


def test_catch_all_needs_no_message() -> None:
    """A blank policy accepts what has no attribute and no readable body."""
    index = Index([(7, Policy())])
    assert not index.needs_message
    assert set(index.match(NOTHING)) == {7}


def test_policy_is_found_by_each_of_its_exact_values() -> None:
    """A policy filed under several values is one match, also when a message has all of them."""
    index = Index(enumerate(eventbridge('{"a": ["x", "y"]}')))
    assert set(index.match(body_facets(b'{"a": "x"}'))) == {0}
    assert set(index.match(body_facets(b'{"a": ["x", "y"]}'))) == {0}
    assert set(index.match(body_facets(b'{"a": "z"}'))) == set()


def test_filed_policy_is_verified_by_its_other_keys() -> None:
    """The access predicate alone decides nothing."""
    index = Index(enumerate(eventbridge('{"a": ["x"], "b": [{"prefix": "p"}]}', '{"a": ["x"]}')))
    assert set(index.match(body_facets(b'{"a": "x", "b": "q"}'))) == {1}


def test_policy_with_an_exact_value_beside_another_condition_is_not_filed() -> None:
    """An exact value in an array with other conditions need not be there."""
    index = Index(enumerate(eventbridge('{"a": ["x", {"prefix": "y"}]}')))
    assert set(index.match(body_facets(b'{"a": "yes"}'))) == {0}


def test_values_of_different_types_share_no_slot() -> None:
    """True, 1, 1.0 and "1" are two values in JSON terms apart from the equal numbers."""
    index = Index(enumerate(eventbridge('{"a": [true]}', '{"a": [1]}', '{"a": ["1"]}', '{"a": [1.0]}')))
    assert set(index.match(body_facets(b'{"a": true}'))) == {0}
    assert set(index.match(body_facets(b'{"a": 1.00}'))) == {1, 3}
    assert set(index.match(body_facets(b'{"a": "1"}'))) == {2}


def test_message_without_attributes_satisfies_only_policies_without_keys() -> None:
    """Amazon SNS: exists false asks for at least one attribute."""
    written = ('{"a": [{"exists": false}]}', "{}")
    index = Index((place, parse_policy(text, SNS_ATTRIBUTES)) for place, text in enumerate(written))
    assert set(index.match(attribute_facets({}))) == {1}
    assert set(index.match(attribute_facets({"b": (AttributeType.STRING, "")}))) == {0, 1}


def test_selective_policies_are_found_among_many() -> None:
    """They are filed under their rarest value, where nobody else meets them; the crowded value files none."""
    texts = [f'{{"kind": ["order"], "id": [{number}]}}' for number in range(2000)]
    index = Index(enumerate(eventbridge(*texts)))
    assert index.match(body_facets(b'{"kind": "order", "id": 1234}')) == [1234]
    assert not index._columns
    assert max(map(len, index._access._filed["id"].values())) == 1
    assert "kind" not in index._access._filed


WRITTEN = st.one_of(policies(), ELEMENT_POLICIES)
SEED = st.integers(0, 2**32)


@pytest.mark.parametrize("bits", EVERY_BITSET, ids=lambda bits: bits.__name__)
@pytest.mark.parametrize("dialect", [EVENTBRIDGE, SNS_BODY], ids=lambda dialect: dialect.name)
@settings(max_examples=8, deadline=None)
@given(
    written=st.lists(WRITTEN, min_size=10, max_size=30),
    bodies=st.lists(st.one_of(BODIES, ELEMENT_BODIES), min_size=1, max_size=6),
    seed=SEED,
)
def test_changed_index_answers_as_one_built_anew(
    bits: Bitset, dialect: Dialect, written: list[dict[str, Any]], bodies: list[dict[str, Any]], seed: int
) -> None:
    """Policies put, replaced and deleted in any order; no ghosts are left, and an index in hand does not change."""
    random = Random(seed)
    parsed = [read(json.dumps(policy), replace(dialect, max_combinations=None)) for policy in written]
    documents = [body_document(json.dumps(body).encode()) for body in bodies]
    index, in_force = Index[int](bits=bits), dict[int, Policy]()
    for _ in range(60):
        before = index, dict(in_force)
        index, in_force = changed(index, in_force, parsed, random)
        for state, policies_then in ((index, in_force), before):
            check(state, policies_then, random.choice(documents))
    for document in documents:
        check(index, in_force, document)
    assert len(index) == len(in_force)
    for owner in list(in_force):
        index = index.changed({}, [owner])
    assert not index.needs_message
    assert not index._columns
    assert not index._access._filed
    assert not index._access._crowds


def changed(
    index: Index[int], in_force: dict[int, Policy], parsed: list[Policy], random: Random
) -> tuple[Index[int], dict[int, Policy]]:
    """One step: a few policies put, or a few deleted, one that is not there among them."""
    owners = random.sample(range(40), random.randrange(1, 4))
    if random.random() < 0.6:
        put = {owner: random.choice(parsed) for owner in owners}
        return index.changed(put), in_force | put
    return index.changed({}, owners), {owner: policy for owner, policy in in_force.items() if owner not in owners}


def check(index: Index[int], in_force: dict[int, Policy], document: dict[str, Any]) -> None:
    """The index answers as the policies one by one, for facets and for documents, and names nobody twice."""
    facets = document_facets(document)
    expected = {owner for owner, policy in in_force.items() if policy.accepts(facets)}
    for found in (index.match(facets), index.match_document(document)):
        assert len(found) == len(set(found))
        assert set(found) == expected


@pytest.mark.parametrize("bits", EVERY_BITSET, ids=lambda bits: bits.__name__)
@settings(max_examples=10, deadline=None)
@given(
    written=st.lists(policies(), min_size=5, max_size=20),
    bodies=st.lists(BODIES, min_size=1, max_size=4),
    copies=st.integers(4, 12),
)
def test_index_of_many_policies_answers_as_they_do_one_by_one(
    bits: Bitset, written: list[dict[str, Any]], bodies: list[dict[str, Any]], copies: int
) -> None:
    """So many that some are filed by an exact value, and crowded ones in the columns."""
    parsed = [read(json.dumps(policy), EVENTBRIDGE) for policy in written]
    in_force = dict(enumerate(parsed * copies))
    index = Index(in_force.items(), bits=bits)
    for body in bodies:
        check(index, in_force, body_document(json.dumps(body).encode()))


def test_thousands_of_wildcards_on_one_key_are_not_tried_one_by_one() -> None:
    """A value meets those whose longest piece it has."""
    texts = [f'{{"file": [{{"wildcard": "*{number:05}*x*"}}]}}' for number in range(5000)]
    index = Index(enumerate(eventbridge(*texts)))
    assert max(map(len, index._columns["file"]._accepted._wildcards.values())) == 1
    assert index.match(body_facets(b'{"file": "a/01234/b/x"}')) == [1234]
    assert index.match(body_facets(b'{"file": "a/x/01234"}')) == []


def test_long_values_are_not_remembered() -> None:
    """What senders choose must not fill the memory."""
    index = Index(enumerate(eventbridge('{"a": [{"prefix": "x"}]}')))
    for number in range(10):
        assert index.match(body_facets(b'{"a": "x%d%s"}' % (number, b"y" * 1000))) == [0]
    assert not index._columns["a"]._memo


def test_what_is_remembered_is_bounded() -> None:
    """A full memo begins anew."""
    index = Index(enumerate(eventbridge('{"a": [{"prefix": "x"}]}')))
    column = index._columns["a"]
    column.memo_limit = 5000
    for number in range(500):
        assert index.match(body_facets(b'{"a": "x%d"}' % number)) == [0]
        assert len(column._memo) <= 5000 // 160
