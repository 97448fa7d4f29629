"""Which of many policies does a message satisfy? Answered by looking up, not by trying them all.

Every branch of a policy that asks for exact values of some key is filed under those values (its access predicate): only
messages that carry one of them meet it. The others are tried for each message. Candidates are verified by the policy's
own conditions, so the index can never answer differently from the policies one by one.

An index is immutable: a change of a topic builds a new one aside, which then takes the place of the old in one step.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.filtering.conditions import Exact
from services.filtering.message import Facets
from services.filtering.policy import Policy, Rule, satisfied
from services.filtering.values import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """One way to satisfy the policy at a position."""

    position: int
    rules: tuple[Rule, ...]


class Index:
    """The positions of the policies that accept a message. Safe to use from several threads: nothing ever changes."""

    def __init__(self, policies: Iterable[tuple[int, Policy]]) -> None:
        branches = [
            _Branch(position=position, rules=branch) for position, policy in policies for branch in policy.branches()
        ]
        crowd = Counter(entry for branch in branches for rule in branch.rules for entry in _entries(rule))
        self._catch_all = frozenset(branch.position for branch in branches if not branch.rules)
        self._tried: list[_Branch] = []
        self._filed: dict[str, dict[Value, list[_Branch]]] = {}
        for branch in branches:
            if branch.rules:
                self._file(branch, crowd)

    @property
    def needs_message(self) -> bool:
        """Whether the answer depends on the message at all; otherwise `match(NOTHING)` is it."""
        return bool(self._tried or self._filed)

    def match(self, facets: Facets) -> set[int]:
        """The positions of the policies that accept a message."""
        found = set(self._catch_all)
        if facets.blank:
            return found
        for branch in self._tried:
            if branch.position not in found and satisfied(branch.rules, facets):
                found.add(branch.position)
        # Whichever is shorter leads: the keys that policies ask for, or those that the message has.
        for key in min(self._filed, facets.values, key=len):
            filed, values = self._filed.get(key), facets.values.get(key)
            if filed and values:
                self._verify(filed, values, facets, found)
        return found

    def _verify(
        self, filed: dict[Value, list[_Branch]], values: Sequence[Value], facets: Facets, found: set[int]
    ) -> None:
        for value in values:
            for branch in filed.get(value, ()):
                if branch.position not in found and satisfied(branch.rules, facets):
                    found.add(branch.position)

    def _file(self, branch: _Branch, crowd: Counter[tuple[str, Value]]) -> None:
        """Files a branch where the fewest others are, or else among those that are tried for every message."""
        choices = [
            (sum(crowd[entry] for entry in entries), entries) for rule in branch.rules if (entries := _entries(rule))
        ]
        if not choices:
            self._tried.append(branch)
            return
        _, entries = min(choices, key=lambda choice: choice[0])
        for key, value in entries:
            self._filed.setdefault(key, {}).setdefault(value, []).append(branch)


def _entries(rule: Rule) -> Sequence[tuple[str, Value]]:
    """The (key, value) pairs of which a message must have one; none when other conditions could satisfy the rule."""
    values = [condition.value for condition in rule.conditions if isinstance(condition, Exact)]
    return [(rule.key, value) for value in set(values)] if len(values) == len(rule.conditions) else []
