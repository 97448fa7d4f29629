"""One way through the alternatives of a policy: what the index files."""

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.filtering.conditions import AnythingBut, Exact
from services.filtering.policy import Policy, Rule
from services.filtering.values import Value

Owner = TypeVar("Owner", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class Branch(Generic[Owner]):
    """The rules that must hold together for the policy of an owner to be satisfied."""

    owner: Owner
    rules: tuple[Rule, ...]
    doubtful: bool
    """Whether a rule has several anything-but, of which none forbids anything alone: columns take it for satisfied."""


def branches_of(owner: Owner, policy: Policy) -> Iterator[Branch[Owner]]:
    """The branches of a policy."""
    for rules in policy.branches():
        yield Branch(owner, rules, any(map(is_doubtful, rules)))


def is_doubtful(rule: Rule) -> bool:
    """Whether alternatives of a rule are anything-but and anything-but."""
    conditions = rule.conditions
    return len(conditions) > 1 and sum(isinstance(condition, AnythingBut) for condition in conditions) > 1


def exact_values(rule: Rule) -> Collection[Value]:
    """The values of which a message must have one; none when another condition could satisfy the rule."""
    conditions = rule.conditions
    if len(conditions) == 1:  # as most: this is asked of every rule that is filed
        (only,) = conditions
        return (only.value,) if isinstance(only, Exact) else ()
    values = {condition.value for condition in conditions if isinstance(condition, Exact)}
    return values if all(isinstance(condition, Exact) for condition in conditions) else ()
