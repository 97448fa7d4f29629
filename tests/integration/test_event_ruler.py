"""The `eventbridge` dialect decides as event-ruler itself, AWS's own engine, in a Java process beside the tests.

Patterns and events are random, with a seed of its own in every run; a failure names it. PENSTOCK_EVENT_RULER_PAIRS sets
how many pairs are tried (`make differential` tries many), PENSTOCK_EVENT_RULER_SEED repeats a run.
"""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from bench.event_ruler import EventRuler
from deploy.local.jars import JarsError
from deploy.local.part import PartError
from services.filtering.conditions import Absent
from services.filtering.dialect import EVENTBRIDGE
from services.filtering.faults import PolicyError
from services.filtering.index import Index
from services.filtering.message import Facets, body_document, document_facets
from services.filtering.policy import Policy, parse_policy
from tests.integration.event_ruler_pairs import Json, event, pattern

PAIRS = int(os.environ.get("PENSTOCK_EVENT_RULER_PAIRS", "30000"))
SEED = int(os.environ.get("PENSTOCK_EVENT_RULER_SEED") or secrets.randbits(32))
_AT_ONCE = 50  # patterns, and events, that are put together


@pytest.fixture(scope="module")
def event_ruler() -> Iterator[EventRuler]:
    """The Java process; skipped where it cannot be had."""
    try:
        oracle = EventRuler()
    except JarsError as error:
        pytest.skip(f"event-ruler's jars cannot be had: {error}")
    except PartError as error:
        pytest.skip(f"event-ruler cannot be run: {error}")
    with oracle:
        yield oracle


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A pattern and an event, and what both sides say."""

    pattern: Json
    event: Json
    ours: bool
    theirs: bool

    def __str__(self) -> str:
        return f"{json.dumps(self.pattern)} on {json.dumps(self.event)}: ours {self.ours}, event-ruler {self.theirs}"


def test_random_pairs_are_decided_alike(event_ruler: EventRuler) -> None:
    """Valid for one, valid for the other; and every pattern matches the same events, the index with all at once."""
    random, tried, left_out, matches = Random(SEED), 0, 0, 0
    while tried < PAIRS:
        patterns = [pattern(random) for _ in range(_AT_ONCE)]
        events = [event(random) for _ in range(_AT_ONCE)]
        policies = valid_for_both(event_ruler, patterns)
        index = Index(policies.items())
        answers = event_ruler.match(events)
        for message, theirs in zip(events, answers, strict=True):
            document = body_document(json.dumps(message).encode())
            facets = document_facets(document)
            ours = set(index.match_document(document))
            assert ours == set(index.match(facets)), f"{json.dumps(message)} (seed {SEED})"
            for number, policy in policies.items():
                tried += 1
                matches += number in ours
                if (number in ours) == (number in theirs):
                    continue
                if looks_for_absence_in_elements(policy, facets):
                    left_out += 1
                    continue
                pair = Pair(
                    pattern=patterns[number],
                    event=message,
                    ours=number in ours,
                    theirs=alone(event_ruler, patterns[number], message),
                )
                event_ruler.rules(patterns)
                assert pair.ours == pair.theirs, f"{pair} (seed {SEED})"
    assert matches > tried / 50, "patterns and events hardly meet: the comparison says little"
    assert left_out < tried / 1000


def valid_for_both(event_ruler: EventRuler, patterns: list[Json]) -> dict[int, Policy]:
    """The policies, each taken by both sides."""
    policies = {}
    for number, (written, answer) in enumerate(zip(patterns, event_ruler.rules(patterns), strict=True)):
        try:
            policies[number] = parse_policy(json.dumps(written), EVENTBRIDGE)
        except PolicyError as error:
            pytest.fail(f"{json.dumps(written)} is refused here: {error}; event-ruler says {answer} (seed {SEED})")
        assert answer == "ok", f"{json.dumps(written)} is taken here; event-ruler says {answer} (seed {SEED})"
    return policies


def looks_for_absence_in_elements(policy: Policy, facets: Facets) -> bool:
    """An accepted difference: `exists: false` on a key that some element of an array of objects has.

    event-ruler asks the element that the keys before it in the alphabet have chosen, and the whole message if there are
    none; here it is the whole message in any case.
    """
    return any(
        rule.key in facets.elements and any(isinstance(condition, Absent) for condition in rule.conditions)
        for rule in policy.all_rules()
    )


def alone(event_ruler: EventRuler, written: Json, message: Json) -> bool:
    """What event-ruler says without other rules beside it.

    With them it errs: wildcards within anything-but lose or win values by what other rules have on the key.
    """
    event_ruler.rules([written])
    return event_ruler.match([message]) == [[0]]


REFUSED = [
    {"a": "x"}, {"a": []}, {"a": {}}, {"a": [["x"]]}, {"a": [{"begins": "x"}]}, {"a": [{"prefix": "x", "suffix": "y"}]},
    {"a": [{"prefix": 5}]}, {"a": [{"suffix": 5}]}, {"a": [{"exists": "x"}]}, {"a": [{"cidr": "10.0.0.0"}]},
    {"a": [{"cidr": "10.0.0.0/x"}]}, {"a": [{"cidr": "10.0.0/8"}]}, {"a": [{"numeric": []}]}, {"a": [{"numeric": [5]}]},
    {"a": [{"numeric": ["~", 5]}]}, {"a": [{"numeric": ["=", "5"]}]}, {"a": [{"numeric": ["<", 5, ">", 3]}]},
    {"a": [{"numeric": [">", 5, 6]}]}, {"a": [{"numeric": [">", 5, ">", 6]}]}, {"a": [{"numeric": [">", 5, "<", 5]}]},
    {"a": [{"numeric": [">", 1, "<", 5, "<"]}]}, {"a": [{"wildcard": "a**b"}]}, {"a": [{"wildcard": "a\\b"}]},
    {"a": [{"anything-but": ["x", 1]}]}, {"a": [{"anything-but": [None]}]}, {"a": [{"anything-but": {"cidr": "x"}}]},
    {"a": [{"anything-but": {"prefix": ""}}]}, {"a": [{"anything-but": {"suffix": 5}}]}, {"a": [{"anything-but": {}}]},
    {"a": [{}]}, {"a": [{"suffix": {}}]}, {"a": [{"wildcard": "é**"}]}, {"a": [{"wildcard": "é\\x"}]},
]  # fmt: skip


def test_invalid_patterns_are_refused_alike(event_ruler: EventRuler) -> None:
    """And the first line of our first fault is event-ruler's, where AWS's text is known."""
    differing = []
    for written, answer in zip(REFUSED, event_ruler.rules(REFUSED), strict=True):
        assert answer.startswith("refused: "), f"{written}: event-ruler takes it"
        with pytest.raises(PolicyError) as caught:
            parse_policy(json.dumps(written), EVENTBRIDGE)
        ours = caught.value.faults[0].message
        if ours != answer.removeprefix("refused: "):
            differing.append((written, ours, answer))
    assert differing == []
