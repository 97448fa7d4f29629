"""Subscriptions: read from messages and parameters with all faults, written so that they read back."""

import json
from dataclasses import replace

import pytest
from google.protobuf import json_format
from penstock.delivery.v1 import target_pb2
from penstock.filtering.v1 import subscription_pb2

from services.filtering.dialect import DIALECTS, EVENTBRIDGE, MAX_POLICY_BYTES, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.filtering.languages import Languages
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
    assert read_subscription(document(dialect=name)).dialect == dialect.unlimited


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


def test_refused_nesting_is_told_as_amazon_sns_does() -> None:
    """The one text about a policy that its field does not introduce."""
    with pytest.raises(InvalidArgumentError) as caught:
        read_subscription(document(filter_policy='{"a": {"b": ["x"]}}'))
    first = caught.value.message.splitlines()[0]
    assert first == (
        "subscription t/s is not valid: Invalid parameter: "
        "Filter policy scope MessageAttributes does not support nested filter policy"
    )


def test_what_is_stored_stays_valid_whatever_the_limits_are() -> None:
    """A limit is for the one who puts: seven keys are refused there, and read where they are stored."""
    given = document(filter_policy=json.dumps({f"k{number}": ["x"] for number in range(7)}))
    with pytest.raises(InvalidArgumentError, match="can not have more than 5 keys"):
        read_subscription(given)
    generous = Languages({**DIALECTS, "sns-attributes": replace(SNS_ATTRIBUTES, max_keys=7)})
    put = read_subscription(given, generous)
    assert read_parameter("t", "s", parameter_value(put), 1) == put.with_version(1)


@pytest.mark.parametrize("letter", ["x", '\\"', "é", "€"])
def test_policy_of_full_length_fits_a_parameter(letter: str) -> None:
    """Escaping what need not be escaped would make it too long."""
    size = len(letter.encode())
    text = '{"k": ["' + letter * ((MAX_POLICY_BYTES - 12) // size) + '"]}'
    put = read_subscription(document(filter_policy=text))
    assert len(parameter_value(put).encode()) <= 3 * MAX_POLICY_BYTES - 1024


@pytest.mark.parametrize(
    ("dialect", "mode", "every"),
    [
        ("FILTER_DIALECT_SNS_BODY", "UNSPECIFIED", True),
        ("FILTER_DIALECT_SNS_BODY", "ONE_UNLISTED", False),
        ("FILTER_DIALECT_SNS_ATTRIBUTES", "NONE_LISTED", True),
        ("FILTER_DIALECT_EVENTBRIDGE", "UNSPECIFIED", False),
        ("FILTER_DIALECT_EVENTBRIDGE", "NONE_LISTED", True),
    ],
)
def test_a_subscription_says_how_anything_but_reads_arrays(dialect: str, mode: str, *, every: bool) -> None:
    """Otherwise its dialect does; it is stored with the subscription."""
    given = document(dialect=dialect, anything_but_arrays=f"ANYTHING_BUT_ARRAYS_{mode}")
    put = read_subscription(given)
    assert put.dialect.every_element is every
    assert read_parameter("t", "s", parameter_value(put), 1).dialect == put.dialect


def test_unknown_array_mode_is_refused() -> None:
    """Beside an unknown dialect, with a violation each."""
    with pytest.raises(InvalidArgumentError) as caught:
        read_subscription(document(dialect=99, anything_but_arrays=98))
    assert [violation.field for violation in caught.value.violations] == ["dialect", "anything_but_arrays"]


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
