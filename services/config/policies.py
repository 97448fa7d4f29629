"""The policies of a parameter: when it deletes itself, and when its watchers are told of something.

`[{"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": "2027-01-01T00:00:00.000Z"}},
  {"Type": "ExpirationNotification", "Version": "1.0", "Attributes": {"Before": "15", "Unit": "Days"}},
  {"Type": "NoChangeNotification", "Version": "1.0", "Attributes": {"After": "20", "Unit": "Days"}}]`
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.config.parameter import Parameter

MAX_POLICIES = 10
MAX_POLICIES_LENGTH = 4096

EXPIRATION = "Expiration"
EXPIRATION_NOTIFICATION = "ExpirationNotification"
NO_CHANGE_NOTIFICATION = "NoChangeNotification"

_SECONDS = {"Days": 86_400.0, "Hours": 3_600.0}
_AMOUNT_ATTRIBUTE = {EXPIRATION_NOTIFICATION: "Before", NO_CHANGE_NOTIFICATION: "After"}


class PolicyError(ValueError):
    """A policy that breaks a rule; `ssm_error` is the name of Parameter Store's error for it."""

    def __init__(self, message: str, *, ssm_error: str = "InvalidPolicyAttributeException") -> None:
        super().__init__(message)
        self.ssm_error = ssm_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy: `seconds` is the expiry since the epoch, or the span before the expiry or after the last change."""

    type: str
    seconds: float
    text: str


def parse_policies(text: str) -> tuple[Policy, ...]:
    """The policies in a JSON array; none in an empty text.

    Raises:
        PolicyError: the text or one of its policies breaks a rule.
    """
    if len(text) > MAX_POLICIES_LENGTH:
        raise PolicyError(f"has {len(text)} characters, at most {MAX_POLICIES_LENGTH} are allowed")
    try:
        entries = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError):
        raise PolicyError("is not JSON: an array of policies is expected") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PolicyError("is not a JSON array of objects")
    if len(entries) > MAX_POLICIES:
        fault = f"has {len(entries)} policies, at most {MAX_POLICIES} are allowed"
        raise PolicyError(fault, ssm_error="PoliciesLimitExceededException")
    policies = tuple(map(_policy, entries))
    _check_together(policies)
    return policies


def policies_text(policies: Sequence[Policy]) -> str:
    """The JSON array of some policies; empty for none."""
    return f"[{','.join(policy.text for policy in policies)}]" if policies else ""


def expiry_of(policies: Sequence[Policy]) -> float | None:
    """When the policies let a parameter delete itself."""
    return next((policy.seconds for policy in policies if policy.type == EXPIRATION), None)


def notices(parameter: Parameter) -> list[tuple[float, str]]:
    """When which notification of a parameter is due, the earliest first."""
    policies = parse_policies(parameter.policies) if parameter.policies else ()
    dues = [(_due(policy, parameter), policy.type) for policy in policies if policy.type != EXPIRATION]
    return sorted((due, kind) for due, kind in dues if due is not None)


def first_notice(parameter: Parameter) -> float | None:
    """When the first notification after its writing is due; None when there is none."""
    return next((due for due, _ in notices(parameter) if due > parameter.modified_at), None)


def status_of(policy: Policy, parameter: Parameter, now: float) -> str:
    """Parameter Store's word for how far a policy is."""
    due = _due(policy, parameter)
    return "Finished" if due is not None and due <= now else "Pending"


def _due(policy: Policy, parameter: Parameter) -> float | None:
    match policy.type:
        case "Expiration":
            return policy.seconds
        case "ExpirationNotification":
            return None if parameter.expires_at is None else parameter.expires_at - policy.seconds
        case _:
            return parameter.modified_at + policy.seconds


def _check_together(policies: Sequence[Policy]) -> None:
    types = [policy.type for policy in policies]
    if types.count(EXPIRATION) > 1:
        fault = f"has {types.count(EXPIRATION)} policies of type {EXPIRATION}, one is allowed"
        raise PolicyError(fault, ssm_error="IncompatiblePolicyException")


def _policy(entry: Mapping[str, Any]) -> Policy:
    kind, attributes = entry.get("Type"), entry.get("Attributes")
    if kind not in (EXPIRATION, *_AMOUNT_ATTRIBUTE):
        fault = f"Type is {str(kind)[:80]!r}, not {EXPIRATION}, {EXPIRATION_NOTIFICATION} or {NO_CHANGE_NOTIFICATION}"
        raise PolicyError(fault, ssm_error="InvalidPolicyTypeException")
    if entry.get("Version") != "1.0":
        raise PolicyError(f"the Version of a policy is 1.0, not {str(entry.get('Version'))[:20]!r}")
    if not isinstance(attributes, dict):
        raise PolicyError(f"{kind} needs Attributes, an object")
    seconds = _timestamp(attributes) if kind == EXPIRATION else _span(kind, attributes)
    return Policy(type=kind, seconds=seconds, text=json.dumps(entry, separators=(",", ":")))


def _timestamp(attributes: Mapping[str, Any]) -> float:
    text = attributes.get("Timestamp")
    try:
        when = datetime.fromisoformat(str(text))
    except ValueError:
        raise PolicyError(f"Timestamp {str(text)[:40]!r} is not a time like 2027-01-01T00:00:00.000Z") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _span(kind: str, attributes: Mapping[str, Any]) -> float:
    name = _AMOUNT_ATTRIBUTE[kind]
    amount, unit = str(attributes.get(name, "")), attributes.get("Unit")
    if unit not in _SECONDS:
        raise PolicyError(f"Unit of {kind} is {str(unit)[:20]!r}, not Days or Hours")
    if not (amount.isascii() and amount.isdigit() and 1 <= len(amount) <= 5 and int(amount) > 0):  # noqa: PLR2004
        raise PolicyError(f"{name} of {kind} is {amount[:20]!r}, not a whole number from 1 to 99999")
    return int(amount) * _SECONDS[unit]
