"""Branches filed under an exact value of one key, their access predicate: only messages that have the value meet them.

That pays for values that few others ask for, in an index of some size: their branches then cost a message nothing.
Those whose values are crowded are left to the columns.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple

from services.filtering.branch import Branch, Owner, exact_values
from services.filtering.message import Facets
from services.filtering.policy import Rule, satisfied
from services.filtering.values import Value

_FROM = 64  # branches in the index
_CROWD_DECIDED = 10  # that ask for a value, where the value decides
_FEW_VALUES = 8  # that are compared one after the other, since a set is large
_CROWD = 3  # that ask for a value, where a message that has it must be checked further


class Check(NamedTuple):
    """A rule that must hold beside the one that a branch is filed by. `compiled/match.c` reads it too."""

    key: str
    exact: Collection[Value] | None
    """One of them must be there; None where only `accepting` knows."""
    accepting: Callable[[Sequence[Value] | None], int | None] | None
    """`Rule.accepting`, where there is no `exact`."""


def checks_of(rules: Iterable[Rule]) -> tuple[Check, ...]:
    """The checks of rules."""
    return tuple(map(_check, rules))


def _check(rule: Rule) -> Check:
    values = exact_values(rule)
    if not values:
        return Check(rule.key, None, rule.accepting)
    return Check(rule.key, tuple(values) if len(values) <= _FEW_VALUES else frozenset(values), None)


class Filed(NamedTuple, Generic[Owner]):
    """A branch in the table. `compiled/match.c` reads it too."""

    owner: Owner
    checks: tuple[Check, ...]
    branch: Branch[Owner]


class AccessTable(Generic[Owner]):
    """Branches by (key, value). Changed only by whoever made it or its copy, before others see it."""

    def __init__(self) -> None:
        self._filed: dict[str, dict[Value, tuple[Filed[Owner], ...]]] = {}
        # How many branches of the index ask for each exact value, whether they are filed here or not.
        self._crowds: dict[str, dict[Value, int]] = {}

    def copy(self, keys: Iterable[str]) -> "AccessTable[Owner]":
        """The same, to be changed under these keys without changing this one."""
        copy = AccessTable[Owner]()
        copy._filed, copy._crowds = self._filed.copy(), self._crowds.copy()
        for key in keys:
            if key in self._crowds:
                copy._crowds[key] = self._crowds[key].copy()
            if key in self._filed:
                copy._filed[key] = self._filed[key].copy()
        return copy

    def __bool__(self) -> bool:
        return bool(self._filed)

    @property
    def filed(self) -> Mapping[str, Mapping[Value, tuple[Filed[Owner], ...]]]:
        """What is in the table, by key and value."""
        return self._filed

    def count(self, branch: Branch[Owner], by: int) -> None:
        """Counts a branch that is added to the index (1) or removed (-1)."""
        for rule in branch.rules:
            values = exact_values(rule)
            if values:
                crowd = self._crowds.setdefault(rule.key, {})
                for value in values:
                    crowd[value] = crowd.get(value, 0) + by
                    if not crowd[value]:
                        del crowd[value]
                if not crowd:
                    del self._crowds[rule.key]

    def rule_for(self, branch: Branch[Owner], total: int) -> Rule | None:
        """The rule under whose values a counted branch should be filed here; None leaves it to the columns."""
        if total < _FROM:
            return None
        limit = _CROWD if len(branch.rules) > 1 else _CROWD_DECIDED
        best: Rule | None = None
        for rule in branch.rules:
            values = exact_values(rule)
            if values:
                crowd = max(map(self._crowds[rule.key].__getitem__, values))
                if crowd <= limit:
                    best, limit = rule, crowd - 1
        return best

    def add(self, branch: Branch[Owner], rule: Rule) -> None:
        """Files a branch under the values of one of its rules."""
        filed = self._filed.setdefault(rule.key, {})
        entry = Filed(branch.owner, checks_of(other for other in branch.rules if other is not rule), branch)
        for value in exact_values(rule):
            filed[value] = (*filed.get(value, ()), entry)

    def remove(self, branch: Branch[Owner], rule: Rule) -> None:
        """Takes out a branch that is filed under the values of a rule."""
        filed = self._filed[rule.key]
        for value in exact_values(rule):
            filed[value] = tuple(entry for entry in filed[value] if entry.branch is not branch)
            if not filed[value]:
                del filed[value]
        if not filed:
            del self._filed[rule.key]

    def match(self, facets: Facets) -> list[Owner]:
        """The owners of the filed branches that a message satisfies; once for each of its branches."""
        found: list[Owner] = []
        several = False
        filed, values = self._filed, facets.values
        # Whichever is shorter leads: the keys that policies ask for, or those that the message has.
        for key in filed if len(filed) < len(values) else values:
            if key in filed and key in values:
                self._check(filed[key], values[key], facets, found)
                several = several or len(values[key]) > 1
        return list(dict.fromkeys(found)) if several else found

    def _check(
        self,
        filed: Mapping[Value, tuple[Filed[Owner], ...]],
        values: Sequence[Value],
        facets: Facets,
        found: list[Owner],
    ) -> None:
        for value in values:
            found.extend(
                entry.owner
                for entry in filed.get(value, ())
                if not entry.checks or satisfied(entry.branch.rules, facets)
            )
