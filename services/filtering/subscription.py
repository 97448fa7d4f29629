"""A subscription: interest in the messages of a topic, and where they go.

Written as the proto3 JSON of `penstock.filtering.v1.Subscription` it is the value of a parameter.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf import json_format
from penstock.delivery.v1 import target_pb2
from penstock.filtering.v1 import subscription_pb2

from services.filtering.dialect import Dialect
from services.filtering.faults import PolicyError
from services.filtering.languages import AWS, STORED, Languages
from services.filtering.policy import NO_NESTING, Policy, parse_policy
from services.runtime.errors import FieldViolation, InvalidArgumentError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_REQUIRED = {
    "grpc": "address",
    "lambda_function": "function_name",
    "sqs": "queue_url",
    "sns": "topic_arn",
    "kinesis": "stream",
    "queue": "destination",
    "http": "url",
}
"""The field without which a target of each kind leads nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A valid subscription. `document` is the message it was read from; its version is 0 until it is stored.

    `dialect` has no limits any more: they were for the one who put it.
    """

    document: subscription_pb2.Subscription
    dialect: Dialect
    policy: Policy

    @property
    def topic(self) -> str:
        return self.document.topic

    @property
    def name(self) -> str:
        return self.document.name

    @property
    def target(self) -> target_pb2.Target:
        return self.document.target

    def with_version(self, version: int) -> "Subscription":
        """The same, stored as a version."""
        document = subscription_pb2.Subscription()
        document.CopyFrom(self.document)
        document.version = version
        return Subscription(document=document, dialect=self.dialect, policy=self.policy)


def read_subscription(document: subscription_pb2.Subscription, languages: Languages = AWS) -> Subscription:
    """The subscription a message states, its policy within the limits of the languages.

    Raises:
        InvalidArgumentError: with every fault; reason INVALID_FILTER_POLICY when only the policy is wrong.
    """
    violations = [*_name_faults(document), *_target_faults(document.target)]
    policy, policy_faults = Policy(), list[FieldViolation]()
    try:
        language = languages.read(document.dialect, document.anything_but_arrays)
        policy = parse_policy(document.filter_policy, language)
    except InvalidArgumentError as error:
        violations.extend(error.violations)
    except PolicyError as error:
        policy_faults = policy_violations(error)
    if violations or policy_faults:
        raise _invalid(document, violations, policy_faults)
    stored = subscription_pb2.Subscription()
    stored.CopyFrom(document)
    dialect = STORED.read(document.dialect, document.anything_but_arrays)
    return Subscription(document=stored, dialect=dialect, policy=policy)


def policy_violations(error: PolicyError) -> list[FieldViolation]:
    """The faults of a policy as violations of the field that carries it."""
    return [FieldViolation(field="filter_policy", description=str(fault)) for fault in error.faults]


def refusal(fault: str) -> str:
    """The first fault of a policy as Amazon SNS refuses it; one of its texts is not introduced by the field."""
    return f"Invalid parameter: {'' if fault.startswith(NO_NESTING) else 'FilterPolicy: '}{fault}"


def _invalid(
    document: subscription_pb2.Subscription, violations: list[FieldViolation], policy_faults: list[FieldViolation]
) -> InvalidArgumentError:
    every = violations + policy_faults
    if violations:
        reason, what = "ERROR_REASON_INVALID_FIELD", "; ".join(violation.description for violation in every)
    else:
        reason = "ERROR_REASON_INVALID_FILTER_POLICY"
        what = refusal(policy_faults[0].description)
        what += f"\n and {len(every) - 1} more" if len(every) > 1 else ""
    text = f"subscription {document.topic}/{document.name} is not valid: {what}"
    return InvalidArgumentError(text, reason=reason, violations=every)


def _name_faults(document: subscription_pb2.Subscription) -> Iterator[FieldViolation]:
    for field, value in (("topic", document.topic), ("name", document.name)):
        if not _NAME.fullmatch(value):
            rule = f"{field} {value[:80]!r} must be 1 to 256 letters, digits, `-` and `_`"
            yield FieldViolation(field=field, description=rule)


def _target_faults(target: target_pb2.Target) -> Iterator[FieldViolation]:
    kind = target.WhichOneof("kind")
    if kind is None:
        yield FieldViolation(field="target", description=f"target must be set: one of {', '.join(_REQUIRED)}")
    elif not getattr(getattr(target, kind), _REQUIRED[kind]):
        field = f"target.{kind}.{_REQUIRED[kind]}"
        yield FieldViolation(field=field, description=f"{field} must not be empty")


def read_parameter(topic: str, name: str, value: str, version: int) -> Subscription:
    """The subscription that a parameter value holds; topic and name may be left out, the parameter's name has them.

    Raises:
        InvalidArgumentError: no proto3 JSON of a Subscription, of another topic or name, or not valid.
    """
    try:
        document = json_format.Parse(value, subscription_pb2.Subscription())
    except json_format.ParseError as error:
        text = f"subscription {topic}/{name} is no JSON of penstock.filtering.v1.Subscription: {error}"
        raise InvalidArgumentError(text, reason="ERROR_REASON_INVALID_FIELD") from None
    stated = (document.topic or topic, document.name or name)
    if stated != (topic, name):
        text = f"the subscription says {'/'.join(stated)}, but its parameter is that of {topic}/{name}"
        raise InvalidArgumentError(text, reason="ERROR_REASON_INVALID_FIELD")
    document.topic, document.name, document.version = topic, name, version
    return read_subscription(document, STORED)


def parameter_value(subscription: Subscription) -> str:
    """The value that `read_parameter` reads."""
    unversioned = subscription.with_version(0).document
    # As UTF-8: escaped, two bytes of it would become six and a long policy exceed what a parameter holds.
    return json_format.MessageToJson(unversioned, preserving_proto_field_name=True, ensure_ascii=False)
