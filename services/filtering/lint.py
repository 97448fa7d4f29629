"""Findings about a valid policy that is probably not what its author meant.

Whether conditions accept every value is tried on *witnesses*: the values that the conditions name, some next to these,
and values that nobody names. A warning is not worth a proof.
"""

from collections.abc import Iterator, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from itertools import pairwise

from services.filtering.conditions import (
    Absent,
    AnythingBut,
    Cidr,
    Condition,
    EqualsIgnoreCase,
    Exact,
    Numeric,
    Prefix,
    Present,
    Suffix,
    Wildcard,
)
from services.filtering.dialect import Dialect
from services.filtering.faults import Fault, Findings
from services.filtering.operators import RESERVED_NAMES
from services.filtering.policy import OR, Policy, Rule
from services.filtering.values import Constant, Value

_SEVERAL = 2
_MAX_TRIALS = 1_000_000  # witnesses times conditions; beyond, nothing is said of a key
_UNNAMED = "\ue000"  # a text that no policy names: of the characters for private use
_ANYTHING: tuple[Value, ...] = (_UNNAMED, "", Decimal("0.5"), *Constant)
_APPROXIMATE = Context(prec=50, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def warnings(text: str, policy: Policy, dialect: Dialect) -> tuple[Fault, ...]:
    """What is doubtful in a valid policy, in the order of the text."""
    findings = Findings(text)
    if not any(policy.all_rules()):
        findings.add("The policy accepts every message", "$", 0)
    elif _accepts_all(policy):
        whole = "every message" if dialect.looks_at_body else "every message that has an attribute"
        findings.add(f"The policy accepts {whole}", "$", 0)
    for rule in policy.all_rules():
        for message in (*_about_conditions(rule), *_about_key(rule, dialect)):
            findings.add(message, rule.path, rule.start)
    if dialect.looks_at_body:
        for rule, below in dict(_values_with_members(policy)).items():
            message = f"`{below}` is asked for too, but a value has no members: hardly any message has both"
            findings.add(message, rule.path, rule.start)
    return findings.in_order()


def _about_conditions(rule: Rule) -> Iterator[str]:
    kinds = [type(condition) for condition in rule.conditions]
    everything = _accepts_every_value(rule)
    if kinds.count(AnythingBut) >= _SEVERAL:
        yield "Several anything-but conditions in one array are alternatives: together they accept nearly all"
    elif everything and Absent in kinds:
        yield "The key is satisfied by every message: it may exist or not, and every value is accepted"
    elif everything and len(kinds) > 1:
        yield "The conditions accept every value together: only that the key exists is asked"
    elif Absent in kinds and Present in kinds:
        yield "The key is satisfied by every message in which it is neither null nor empty: it may exist or not"
    if len(set(rule.conditions)) < len(rule.conditions):
        yield "A condition stands twice in the array"


def _about_key(rule: Rule, dialect: Dialect) -> Iterator[str]:
    name = rule.key.rpartition(".")[2]
    if name == OR:
        yield "$or is the name of a field here: alternatives are an array of two or more objects without operator names"
    if dialect.looks_at_body and "." in rule.key and name in RESERVED_NAMES:
        yield f'{name} is the name of a key here, not an operator: conditions stand in an array, [{{"{name}": ...}}]'
    if not dialect.looks_at_body and all(map(_is_literal, rule.conditions)):
        yield "Attributes have true, false and null only within a String.Array: no String or Number can ever match"


def _is_literal(condition: Condition) -> bool:
    return isinstance(condition, Exact) and isinstance(condition.value, Constant)


def _values_with_members(policy: Policy) -> Iterator[tuple[Rule, str]]:
    """The keys that must have a value and are named together with a key below them, and this other key."""
    for branch in policy.branches():
        valued = {rule.key: rule for rule in branch if not any(isinstance(each, Absent) for each in rule.conditions)}
        for key in valued:
            parent = valued.get(key.rpartition(".")[0])
            if parent is not None and "." in key:
                yield parent, key


def _accepts_all(policy: Policy) -> bool:
    """Whether every rule holds for every message, and of every choice an alternative does."""
    return all(
        any(isinstance(condition, Absent) for condition in rule.conditions) and _accepts_every_value(rule)
        for rule in policy.rules
    ) and all(any(map(_accepts_all, choice)) for choice in policy.choices)


def _accepts_every_value(rule: Rule) -> bool:
    """Whether the rule holds for whatever values the key has, one or several; as far as the witnesses tell."""
    if any(rule.accepting([value]) is None for value in _ANYTHING):
        return False
    named = list(dict.fromkeys(witness for condition in rule.conditions for witness in _witnesses(condition)))
    if len(named) * len(rule.conditions) > _MAX_TRIALS:
        return False
    together = [*_ANYTHING, *named, *_between(rule.conditions)]
    return all(rule.accepting([value]) is not None for value in together) and rule.accepting(together) is not None


def _witnesses(condition: Condition) -> Iterator[Value]:
    """Values that a condition tells from others."""
    match condition:
        case Exact():
            yield condition.value
        case Prefix() | Suffix() | EqualsIgnoreCase():
            text = condition.text
            yield from (text, text.swapcase(), text + _UNNAMED, _UNNAMED + text)
        case Wildcard():
            yield from ("".join(condition.segments), _UNNAMED.join(condition.segments))
        case Cidr():
            yield str(condition.network.network_address)
        case AnythingBut():
            yield from condition.values
            for pattern in condition.patterns:
                yield from _witnesses(pattern)


def _between(conditions: Sequence[Condition]) -> Iterator[Decimal]:
    """Numbers at, around and between the bounds of ranges."""
    ranges = [condition for condition in conditions if isinstance(condition, Numeric)]
    bounds = sorted({bound for each in ranges for bound in (each.lower, each.upper) if bound is not None})
    if bounds:
        yield from (_APPROXIMATE.subtract(bounds[0], Decimal(1)), *bounds, _APPROXIMATE.add(bounds[-1], Decimal(1)))
    for lower, upper in pairwise(bounds):
        yield _APPROXIMATE.divide(_APPROXIMATE.add(lower, upper), Decimal(2))
