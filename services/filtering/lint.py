"""Findings about a valid policy that is probably not what its author meant."""

from services.filtering.conditions import Absent, AnythingBut, Condition, Exact, Present
from services.filtering.dialect import Dialect
from services.filtering.faults import Fault, Findings
from services.filtering.policy import OR, Policy, Rule
from services.filtering.values import Constant

_SEVERAL = 2


def warnings(text: str, policy: Policy, dialect: Dialect) -> tuple[Fault, ...]:
    """What is doubtful in a valid policy, in the order of the text."""
    findings = Findings(text)
    if not any(policy.all_rules()):
        findings.add("The policy accepts every message", "$", 0)
    for rule in policy.all_rules():
        for message in _about(rule, dialect):
            findings.add(message, rule.path, rule.start)
    return findings.in_order()


def _about(rule: Rule, dialect: Dialect) -> list[str]:
    found = []
    kinds = [type(condition) for condition in rule.conditions]
    if kinds.count(AnythingBut) >= _SEVERAL:
        found.append("Several anything-but conditions in one array are alternatives: together they accept nearly all")
    if Absent in kinds and Present in kinds:
        found.append("The key is satisfied by every message: it may exist or not")
    if len(set(rule.conditions)) < len(rule.conditions):
        found.append("A condition stands twice in the array")
    if rule.key.rpartition(".")[2] == OR:
        found.append(
            "$or is the name of a field here: alternatives are an array of two or more objects without operator names"
        )
    if not dialect.looks_at_body and all(map(_is_literal, rule.conditions)):
        found.append("Attributes have true, false and null only within a String.Array: no String or Number matches")
    return found


def _is_literal(condition: Condition) -> bool:
    return isinstance(condition, Exact) and isinstance(condition.value, Constant)
