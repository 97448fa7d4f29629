"""Why does a message satisfy a policy, or not? Told for every key, in the order of the policy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.filtering.dialect import Dialect
from services.filtering.message import Facets, attribute_facets, body_facets
from services.filtering.policy import Policy, Rule
from services.filtering.topics import Message
from services.filtering.values import Constant, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyExplanation:
    """A key at JSON path `path`: the first condition that holds and the values of the message, as JSON or empty."""

    path: str
    satisfied: bool
    condition: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Whether the message satisfies the policy.

    All keys can be satisfied and the message still not match: the values lie in different elements of an array.
    """

    matches: bool
    keys: tuple[KeyExplanation, ...]


def explain(policy: Policy, dialect: Dialect, message: Message) -> Explanation:
    """How a message fares under a policy.

    Raises:
        MessageError: the message cannot be read.
    """
    facets = body_facets(message.body) if dialect.looks_at_body else attribute_facets(message.attributes)
    keys = tuple(_explain_key(rule, facets) for rule in sorted(policy.all_rules(), key=lambda rule: rule.start))
    return Explanation(matches=policy.accepts(facets), keys=keys)


def _explain_key(rule: Rule, facets: Facets) -> KeyExplanation:
    values = facets.values.get(rule.key)
    groups: list[Sequence[Value] | None] = [elements for _, elements in facets.elements.get(rule.key, ())]
    holding = (rule.accepting(group) for group in groups or [values]) if not facets.blank else iter(())
    position = next((found for found in holding if found is not None), None)
    return KeyExplanation(
        path=rule.path,
        satisfied=position is not None,
        condition="" if position is None else rule.texts[position],
        actual=_shown(values) if values else "",
    )


def _shown(values: Sequence[Value]) -> str:
    texts = [_shown_value(value) for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _shown_value(value: Value) -> str:
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    # Half a surrogate pair, which JSON may escape, is in no UTF-8: it is shown escaped again.
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
