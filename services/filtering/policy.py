"""Filter policy text -> what must hold, or every fault with its place.

A policy is an object: every key must be satisfied, each by one of the conditions in its array; `$or` holds alternative
objects, of which one must be satisfied as a whole. See `docs/filter-policies.md`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from services.filtering.conditions import Absent, Condition
from services.filtering.dialect import MAX_BRANCHES, MAX_FILED_CONDITIONS, Dialect
from services.filtering.document import Array, DocumentError, Member, Node, Object, parse_document
from services.filtering.faults import Findings, PolicyError, RefusedError, member_path
from services.filtering.message import Elements, Facets, share_an_element
from services.filtering.operators import RESERVED_NAMES, read_condition
from services.filtering.values import Value

OR = "$or"
MAX_COMPLEXITY = 2**63 - 1
_ALTERNATIVES = 2
MAX_ALTERNATIVES = 2 * MAX_BRANCHES
"""Alternatives that are read: with more, counted where they nest too, there are more than `MAX_BRANCHES` branches."""
NO_NESTING = "Filter policy scope MessageAttributes does not support nested filter policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A key and its conditions. `texts` are the conditions as they stand in the policy."""

    key: str
    """The names down to the values, joined by dots."""
    path: str
    """The JSON path of the key in the policy."""
    start: int
    """Where the key stands in the text of the policy, in characters from 0."""
    depth: int
    conditions: tuple[Condition, ...]
    texts: tuple[str, ...]

    def accepting(self, values: Sequence[Value] | None) -> int | None:
        """Position of the first condition that holds for the values of the key, None for a key without values."""
        for position, condition in enumerate(self.conditions):
            if condition.accepts(values) if values else isinstance(condition, Absent):
                return position
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Every rule must be satisfied, and of every choice one alternative. Without any, all messages are accepted."""

    rules: tuple[Rule, ...] = ()
    choices: tuple[tuple["Policy", ...], ...] = ()

    def branches(self) -> Iterator[tuple[Rule, ...]]:
        """The policy without choices: it is satisfied when all rules of one branch are."""
        if not self.choices:  # as most are
            yield self.rules
            return
        for alternatives in product(*self.choices):
            for parts in product(*(alternative.branches() for alternative in alternatives)):
                yield self.rules + tuple(rule for part in parts for rule in part)

    @property
    def branch_count(self) -> int:
        """The number of branches."""
        return prod(sum(alternative.branch_count for alternative in choice) for choice in self.choices)

    @property
    def filed_conditions(self) -> int:
        """The conditions of all branches, each as often as branches have it."""
        branches = self.branch_count
        filed = branches * sum(len(rule.conditions) for rule in self.rules)
        for choice in self.choices:
            # Each alternative stands in as many branches as the other choices have ways.
            others = branches // sum(alternative.branch_count for alternative in choice)
            filed += others * sum(alternative.filed_conditions for alternative in choice)
        return filed

    def all_rules(self) -> Iterator[Rule]:
        """The rules of every alternative."""
        yield from self.rules
        for choice in self.choices:
            for alternative in choice:
                yield from alternative.all_rules()

    @property
    def complexity(self) -> int:
        """Value combinations as Amazon SNS counts them: arrays multiply, each times its depth; alternatives add up.

        `MAX_COMPLEXITY` stands for that many and more.
        """
        own = prod(len(rule.texts) * rule.depth for rule in self.rules)
        choices = prod(sum(alternative.complexity for alternative in choice) for choice in self.choices)
        return min(own * choices, MAX_COMPLEXITY)

    def accepts(self, facets: Facets) -> bool:
        """Whether a message satisfies the policy."""
        return any(satisfied(branch, facets) for branch in self.branches())


def satisfied(rules: Sequence[Rule], facets: Facets) -> bool:
    """Whether a message satisfies all rules, those on arrays of objects within the same elements."""
    if facets.blank and rules:
        return False
    places: list[list[Elements]] = []
    for rule in rules:
        groups = facets.elements.get(rule.key) if facets.elements else None
        if groups is None:
            if rule.accepting(facets.values.get(rule.key)) is None:
                return False
            continue
        places.append([place for place, values in groups if rule.accepting(values) is not None])
        if not places[-1]:
            return False
    return share_an_element(places)


def parse_policy(text: str, dialect: Dialect) -> Policy:
    """The policy a text states; blank text accepts every message.

    Raises:
        PolicyError: with every fault; where the text is no JSON, with the first.
    """
    findings = Findings(text)
    policy = _PolicyReader(text, dialect, findings).read() if text.strip() else Policy()
    if policy is None or findings:
        raise PolicyError(findings.in_order(), policy.complexity if policy else 0)
    return policy


class _PolicyReader:
    def __init__(self, text: str, dialect: Dialect, findings: Findings) -> None:
        self._text = text
        self._dialect = dialect
        self._findings = findings
        self._alternatives = 0

    def read(self) -> Policy | None:
        """The policy as far as it could be read; None of a text that is no JSON object."""
        limit = self._dialect.max_policy_bytes
        if limit is not None and len(self._text.encode(errors="surrogatepass")) > limit:
            self._refuse(f"Filter policy can not be larger than {limit} bytes", "$", 0)
            return None
        try:
            document = parse_document(self._text)
        except DocumentError as error:
            self._refuse(f"failed to parse JSON. {error}", "$", error.offset)
            return None
        if not isinstance(document, Object):
            self._refuse("Filter is not an object", "$", document.start)
            return None
        policy = self._object(document, (), "$", set())
        self._check_limits(policy, document)
        return policy

    def _refuse(self, message: str, path: str, offset: int) -> None:
        self._findings.add(message, path, offset)

    def _check_limits(self, policy: Policy, document: Object) -> None:
        limit, rules = self._dialect.max_keys, list(policy.all_rules())
        keys = {rule.key.partition(".")[0] if self._dialect.looks_at_body else rule.key for rule in rules}
        if limit is not None and len(keys) > limit:
            self._refuse(f"Filter policy can not have more than {limit} keys", "$", document.start)
        combinations = self._dialect.max_combinations
        too_many = combinations is not None and policy.complexity > combinations
        if too_many or self._explodes(policy):
            self._refuse("Filter policy is too complex", "$", document.start)

    def _explodes(self, policy: Policy) -> bool:
        """Whether its alternatives would fill the index; told without expanding them."""
        branches = policy.branch_count
        if self._alternatives > MAX_ALTERNATIVES or branches > MAX_BRANCHES:
            return True
        return branches > 1 and policy.filed_conditions > MAX_FILED_CONDITIONS

    def _object(self, node: Object, names: tuple[str, ...], path: str, seen: set[str]) -> Policy:
        """Reads one level; `seen` are the keys that hold beside it, and takes up those of this level."""
        rules: list[Rule] = []
        choices: list[tuple[Policy, ...]] = []
        present: set[str] = set()
        alternatives: list[tuple[Member, Array]] = []
        for member in node.members:
            here = member_path(path, member.name)
            if member.name in present:
                self._repeated((*names, member.name), here, member)
                continue
            present.add(member.name)
            if member.name == OR and isinstance(member.node, Array) and _holds_alternatives(member.node):
                alternatives.append((member, member.node))
                continue
            part = self._member(member, (*names, member.name), here, seen)
            rules.extend(part.rules)
            choices.extend(part.choices)
        for member, array in alternatives:
            choices.append(self._choice(array, names, member_path(path, member.name), seen))
        return Policy(rules=tuple(rules), choices=tuple(choices))

    def _choice(self, array: Array, names: tuple[str, ...], path: str, seen: set[str]) -> tuple[Policy, ...]:
        read: list[Policy] = []
        keys: set[str] = set()
        for position, item in enumerate(array.items):
            assert isinstance(item, Object)
            self._alternatives += 1
            if self._alternatives > MAX_ALTERNATIVES:
                break
            here = f"{path}[{position}]"
            if not item.members:
                self._refuse("Empty objects are not allowed", here, item.start)
            beside = set(seen)
            read.append(self._object(item, names, here, beside))
            keys |= beside
        seen |= keys
        return tuple(read)

    def _member(self, member: Member, names: tuple[str, ...], path: str, seen: set[str]) -> Policy:
        node = member.node
        if isinstance(node, Object):
            return self._nested(node, names, path, seen)
        if not isinstance(node, Array):
            self._refuse(f'"{member.name}" must be an object or an array', path, node.start)
            return Policy()
        if not node.items:
            self._refuse("Empty arrays are not allowed", path, node.start)
            return Policy()
        key = ".".join(names)
        if key in seen:
            self._repeated(names, path, member)
        seen.add(key)
        found = [self._condition(item, f"{path}[{position}]") for position, item in enumerate(node.items)]
        rule = Rule(
            key=key,
            path=path,
            start=member.start,
            depth=len(names),
            conditions=tuple(condition for condition in found if condition is not None),
            texts=tuple(self._text[item.start : item.end] for item in node.items),
        )
        return Policy(rules=(rule,))

    def _condition(self, node: Node, path: str) -> Condition | None:
        try:
            return read_condition(node, path, self._dialect)
        except RefusedError as error:
            self._refuse(str(error), error.path, error.offset)
            return None

    def _nested(self, node: Object, names: tuple[str, ...], path: str, seen: set[str]) -> Policy:
        if not self._dialect.looks_at_body:
            self._refuse(NO_NESTING, path, node.start)
        elif not node.members:
            self._refuse("Empty objects are not allowed", path, node.start)
        else:
            return self._object(node, names, path, seen)
        return Policy()

    def _repeated(self, names: tuple[str, ...], path: str, member: Member) -> None:
        self._refuse(f"Path `{'.'.join(names)}` cannot be allowed multiple times", path, member.start)


def _holds_alternatives(array: Array) -> bool:
    """Whether the value of `$or` is a choice; otherwise `$or` is the name of an ordinary field."""
    return len(array.items) >= _ALTERNATIVES and all(
        isinstance(item, Object) and not any(member.name in RESERVED_NAMES for member in item.members)
        for item in array.items
    )
