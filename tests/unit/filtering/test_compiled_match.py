"""The compiled match: what it decides itself it decides as Python does, and what it leaves it leaves."""

import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.filtering.dialect import EVENTBRIDGE, SNS_BODY, Dialect
from services.filtering.index import Index
from services.filtering.masks import BITSET, compiled
from services.filtering.message import InvalidBodyError, document_facets
from services.filtering.policy import Policy, parse_policy

pytestmark = pytest.mark.skipif(
    compiled() is None, reason="services/filtering/compiled is not built: there was no C compiler, or no Python.h"
)
KEYS = ["a", "b", "n", "o.a", "o.b"]
TEXTS = ["", "x", "y", "xy", "X", "10.0.0.1"]
NUMBERS = [Decimal(number) for number in ("-1", "0", "0.5", "1", "1.0", "2", "9007199254740993")]
SCALARS = st.sampled_from([*TEXTS, *NUMBERS, None, True, False])
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["a", "b", "n", "z", "o.a"]), VALUES, max_size=4
).flatmap(
    lambda flat: st.dictionaries(st.just("o"), st.dictionaries(st.sampled_from("ab"), VALUES), max_size=1).map(
        lambda nested: {**flat, **nested}
    )
)  # fmt: skip


def conditions(random: Random) -> list[Any]:
    kinds: list[Any] = [
        random.choice(TEXTS), random.choice([0, 1, 2, 0.5]), random.choice([None, True, False]),
        {"exists": random.random() < 0.5}, {"prefix": "x"}, {"suffix": "y"}, {"equals-ignore-case": "x"},
        {"anything-but": random.sample(TEXTS, 2)}, {"anything-but": [0, 1]}, {"anything-but": {"prefix": "x"}},
        {"numeric": [">", random.choice([0, 1])]}, {"numeric": [">=", 0, "<", random.choice([1, 2])]},
        {"cidr": "10.0.0.0/24"}, {"wildcard": "*x*"},
    ]  # fmt: skip
    return [random.choice(kinds) for _ in range(random.choice([1, 1, 2]))]


def written(random: Random) -> dict[str, Any]:
    policy: dict[str, Any] = {key: conditions(random) for key in random.sample(KEYS, random.randrange(1, 4))}
    if random.random() < 0.2:
        policy["$or"] = [{"p": conditions(random)}, {"q": conditions(random)}]
    return policy


@pytest.mark.parametrize("dialect", [EVENTBRIDGE, SNS_BODY], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("count", [3, 90])  # branches are filed by their values from 64 on
@settings(max_examples=25, deadline=None)
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_documents_are_matched_as_their_facets(
    dialect: Dialect, count: int, documents: list[dict[str, Any]], seed: int
) -> None:
    """Flat and nested; branches in columns and filed by their values; decided here and not left to Python."""
    random = Random(seed)
    policies = [parse_policy(json.dumps(written(random)), dialect) for _ in range(count)]
    index = Index(enumerate(policies))
    for document in documents:
        facets = document_facets(document)
        found = BITSET.match(index._plan, document)
        if not ("o" in document and "o.a" in document):
            assert found is not None, "left to Python, which this should not need"
        expected = {owner for owner, policy in enumerate(policies) if policy.accepts(facets)}
        for answer in (index.match_document(document), index.match(facets), *([] if found is None else [found])):
            assert len(answer) == len(set(answer))
            assert set(answer) == expected


def test_arrays_of_objects_and_names_that_lead_to_one_path_are_left_to_python() -> None:
    """They need more than a value for each key."""
    index = Index([(1, parse_policy('{"a.b": ["x"]}', EVENTBRIDGE))])
    for document in ({"a": [{"b": "x"}]}, {"a": {"b": "x"}, "a.b": "y"}, {"a": {"b": [["x"]]}}):
        assert BITSET.match(index._plan, document) is None
        assert index.match_document(document) == [1]


def test_depth_is_refused_by_python() -> None:
    """At the same depth with and without the compiled core."""
    document: dict[str, Any] = {"a": "x"}
    for _ in range(64):
        document = {"o": document}
    index = Index([(1, parse_policy('{"a": [{"exists": false}]}', EVENTBRIDGE))])
    assert index.match_document(document) == index.match(document_facets(document)) == [1]
    with pytest.raises(InvalidBodyError):
        index.match_document({"o": document})


def test_what_fails_in_python_fails_the_match() -> None:
    """An error of what the compiled core calls is an error of the match, not an answer."""
    index = Index([(1, parse_policy('{"a": ["x"]}', EVENTBRIDGE))])
    fields, *rest = index._plan
    filed, number, column = fields["a"]
    assert column
    broken = {"a": (filed, number, (column[0], {}.__getitem__, *column[2:6], True, *column[7:]))}
    with pytest.raises(KeyError):
        BITSET.match((broken, *rest), {"a": "x"})


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 5, 7])
def test_plans_of_another_make_are_refused(place: int) -> None:
    """An error, never memory that is not theirs."""
    index = Index([(1, parse_policy('{"a": ["x"]}', EVENTBRIDGE)), (2, Policy())])
    plan = list(index._plan)
    plan[place] = "other"
    with pytest.raises(TypeError):
        BITSET.match(tuple(plan), {"a": "x"})
    plan = list(index._plan)
    for other in (tuple(plan[:8]), plan, None, ({"a": 5}, *plan[1:]), ({"a": (None, 7, None, 1)}, *plan[1:])):
        with pytest.raises(TypeError):
            BITSET.match(other, {"a": "x"})
    with pytest.raises(TypeError):
        BITSET.match(index._plan, [])  # type: ignore[arg-type]


def test_several_anything_but_of_a_key_are_decided_by_asking_them() -> None:
    """No table says what they forbid together."""
    policy = parse_policy('{"a": [{"anything-but": ["x"]}, {"anything-but": ["x", "y"]}]}', EVENTBRIDGE)
    index = Index([(1, policy)])
    assert BITSET.match(index._plan, {"a": "x"}) == []
    assert BITSET.match(index._plan, {"a": "y"}) == BITSET.match(index._plan, {"a": ["x", "z"]}) == [1]
