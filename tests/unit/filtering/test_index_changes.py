"""A long life of an index: random subscriptions put, replaced and deleted; at the end it is as one built anew.

PENSTOCK_INDEX_CHANGES sets the number of steps (`make differential` takes 100,000).
"""

import gc
import json
import os
import secrets
import weakref
from random import Random
from typing import Any

import pytest

from services.filtering.bitset import Bitset
from services.filtering.dialect import EVENTBRIDGE
from services.filtering.index import Index
from services.filtering.masks import BITSET, PORTABLE
from services.filtering.message import body_document, document_facets
from services.filtering.policy import Policy, parse_policy
from tests.integration.event_ruler_pairs import event, pattern

CHANGES = int(os.environ.get("PENSTOCK_INDEX_CHANGES", "3000"))
_OWNERS = 400
_ASKED_EVERY = 20
_LOOK_EVERY = 500


@pytest.mark.parametrize("bits", list(dict.fromkeys((PORTABLE, BITSET))), ids=lambda bits: bits.__name__)
def test_changed_index_is_as_one_built_anew(bits: Bitset) -> None:
    """The same answers, the same structure, nothing left behind; compared again and again on the way."""
    seed = secrets.randbits(32)
    random = Random(seed)
    policies = [parse_policy(json.dumps(pattern(random)), EVENTBRIDGE) for _ in range(1500)]
    documents = [body_document(json.dumps(event(random)).encode()) for _ in range(60)]
    index, in_force = Index[int](bits=bits), dict[int, Policy]()
    for step in range(1, CHANGES + 1):
        owner = random.randrange(_OWNERS)
        if random.random() < 0.6:
            in_force[owner] = random.choice(policies)
            index = index.changed({owner: in_force[owner]})
        else:
            in_force.pop(owner, None)
            index = index.changed({}, [owner])
        if step % _ASKED_EVERY:
            continue
        document = random.choice(documents)
        view = document_facets(document)
        expected = {owner for owner, policy in in_force.items() if policy.accepts(view)}
        assert set(index.match_document(document)) == set(index.match(view)) == expected, f"step {step}, {seed=}"
        if step % _LOOK_EVERY == 0:
            check_structure(index, Index(in_force.items(), bits), seed)
    anew = Index(in_force.items(), bits)
    for document in documents:
        assert set(index.match_document(document)) == set(anew.match_document(document)), f"{seed=}"


def check_structure(index: Index[int], anew: Index[int], seed: int) -> None:
    """Nothing of what was deleted is left: the same branches, as many rules of each key, the same crowds."""
    assert len(index) == len(anew), f"{seed=}"
    assert index._access._crowds == anew._access._crowds, f"{seed=}"
    assert sum(branch is not None for branch in index._branches) + len(index._free) == len(index._branches)
    filed = {entry.branch for table in index._access._filed.values() for entries in table.values() for entry in entries}
    slots = {b for b in index._branches if b is not None}
    branches = {b for homes in index._homes.values() for b, _ in homes}
    assert branches == slots | filed, f"{seed=}"
    for key, column in index._columns.items():
        assert column.rules == sum(rule.key == key for branch in slots for rule in branch.rules), f"{key}, {seed=}"
        lookups = (column._accepted, column._forbidden, column._forbidden_everywhere)
        for lookup in lookups:
            assert all(lookup._entries.values()), f"{key}, {seed=}"
            assert all(lookup._wildcards.values()), f"{key}, {seed=}"


@pytest.mark.parametrize("count", [1, 70, 600])
def test_index_is_empty_when_everything_is_deleted(count: int) -> None:
    """Whatever its size was: no slot, no column, no value, no crowd."""
    random = Random(count)
    policies = [parse_policy(json.dumps(pattern(random)), EVENTBRIDGE) for _ in range(count)]
    index = Index(enumerate(policies))
    for owner in range(count):
        index = index.changed({}, [owner])
    assert not index.needs_message
    assert not index._columns
    assert not index._access._crowds
    assert not index._access._filed


@pytest.mark.parametrize("bits", list(dict.fromkeys((PORTABLE, BITSET))), ids=lambda bits: bits.__name__)
def test_index_that_is_replaced_is_freed_at_once(bits: Bitset) -> None:
    """It does not wait for the garbage collector: one change after the other would fill the memory meanwhile."""
    random = Random(5)
    policies = [parse_policy(json.dumps(pattern(random)), EVENTBRIDGE) for _ in range(100)]
    index = Index(enumerate(policies), bits)
    index.match_document(body_document(b'{"a": "x", "b": [1, 2]}'))
    parts: list[weakref.ref[Any]] = [weakref.ref(index), *map(weakref.ref, index._columns.values())]
    gc.disable()
    try:
        index = index.changed(dict(enumerate(policies)))
        assert not [part for part in parts if part() is not None]
    finally:
        gc.enable()
