"""Subscriptions: read from messages and parameters with all faults, written so that they read back."""

import json

import pytest
from google.protobuf import json_format
from penstock.delivery.v1 import target_pb2
from penstock.filtering.v1 import subscription_pb2

from services.filtering.dialect import EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.filtering.subscription import _REQUIRED, parameter_value, read_parameter, read_subscription
from services.runtime.errors import InvalidArgumentError

VALID = {"topic": "t", "name": "s", "target": {"sqs": {"queue_url": "url"}}}


def document(**fields: object) -> subscription_pb2.Subscription:
    return json_format.ParseDict({**VALID, **fields}, subscription_pb2.Subscription())


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("FILTER_DIALECT_UNSPECIFIED", SNS_ATTRIBUTES),
        ("FILTER_DIALECT_SNS_ATTRIBUTES", SNS_ATTRIBUTES),
        ("FILTER_DIALECT_SNS_BODY", SNS_BODY),
        ("FILTER_DIALECT_EVENTBRIDGE", EVENTBRIDGE),
    ],
)
def test_dialect_is_that_of_the_enum(name: str, dialect: Dialect) -> None:
    """Unspecified means attributes."""
    assert read_subscription(document(dialect=name)).dialect is dialect


def test_all_faults_are_reported_at_once() -> None:
    """Names, target and policy."""
    with pytest.raises(InvalidArgumentError) as caught:
        read_subscription(document(topic="a/b", name="", target={}, filter_policy='{"a": [], "b": 1}'))
    assert [violation.field for violation in caught.value.violations] == [
        "topic",
        "name",
        "target",
        "filter_policy",
        "filter_policy",
    ]
    assert caught.value.reason == "ERROR_REASON_INVALID_FIELD"


def test_faulty_policy_alone_has_its_own_reason_and_the_words_of_aws() -> None:
    """The first fault in the message, all of them as violations."""
    with pytest.raises(InvalidArgumentError) as caught:
        read_subscription(document(filter_policy='{"a": [], "b": 1}'))
    assert caught.value.reason == "ERROR_REASON_INVALID_FILTER_POLICY"
    assert caught.value.message == (
        "subscription t/s is not valid: Invalid parameter: FilterPolicy: Empty arrays are not allowed\n"
        " at $.a, line 1, column 7\n and 1 more"
    )


def test_unknown_dialect_is_refused() -> None:
    """A number that names none."""
    with pytest.raises(InvalidArgumentError, match="dialect 99 is not known"):
        read_subscription(document(dialect=99))


def test_every_kind_of_target_needs_its_destination() -> None:
    """The table knows every kind, and an empty destination is a fault of its field."""
    assert list(_REQUIRED) == [field.name for field in target_pb2.Target.DESCRIPTOR.oneofs_by_name["kind"].fields]
    for kind, required in _REQUIRED.items():
        read_subscription(document(target={kind: {required: "somewhere"}}))
        with pytest.raises(InvalidArgumentError) as caught:
            read_subscription(document(target={kind: {}}))
        assert [violation.field for violation in caught.value.violations] == [f"target.{kind}.{required}"]


def test_parameter_value_reads_back_without_its_version() -> None:
    """The version is the parameter's, not part of the value."""
    given = read_subscription(document(filter_policy='{"é": ["x"]}', description="d", version=3))
    value = parameter_value(given)
    assert "version" not in json.loads(value)
    assert read_parameter("t", "s", value, 4) == given.with_version(4)


@pytest.mark.parametrize("target", [{"sqs": {"queue_url": "u"}}, {"sqs": {"queueUrl": "u"}}])
def test_parameter_may_use_both_spellings_and_leave_out_its_names(target: dict[str, dict[str, str]]) -> None:
    """They stand in the parameter's name."""
    found = read_parameter("t", "s", json.dumps({"target": target}), 2)
    assert (found.topic, found.name, found.target.sqs.queue_url, found.document.version) == ("t", "s", "u", 2)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "t/s is no JSON of penstock.filtering.v1.Subscription"),
        ("5", "is no JSON of penstock.filtering.v1.Subscription"),
        ("[" * 5000, "is no JSON of penstock.filtering.v1.Subscription"),
        ("{}", "target must be set: one of grpc, lambda_function"),
        ('{"target": {"pigeon": {}}}', "pigeon"),
        ('{"filter_policy": {"a": ["x"]}}', "filter_policy"),
        (json.dumps({**VALID, "topic": "other"}), "says other/s, but its parameter is that of t/s"),
        (json.dumps({**VALID, "filter_policy": '{"a": "x"}'}), '"a" must be an object or an array'),
    ],
)
def test_parameter_that_is_no_subscription_is_refused(value: str, words: str) -> None:
    """The error names the subscription and what is wrong."""
    with pytest.raises(InvalidArgumentError, match=words):
        read_parameter("t", "s", value, 1)
