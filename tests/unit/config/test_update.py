"""The rules of a put, every limit on both sides."""

from dataclasses import replace

import pytest

from services.config.parameter import ParameterType
from services.config.update import ParameterUpdate, check_update, is_label
from services.runtime.errors import FieldViolation, InvalidArgumentError

NOW = 1000.0
UPDATE = ParameterUpdate(name="/a", value="v")


@pytest.mark.parametrize(
    "update",
    [
        replace(UPDATE, value="x" * 8192),
        replace(UPDATE, name="/penstock/subscriptions/topic/name", value="x" * 786_432),
        replace(UPDATE, value="{ {a}}"),
        replace(UPDATE, value='{"a":{"b":{}}}'),
        replace(UPDATE, value="}} {{"),
        replace(UPDATE, description="x" * 1024),
        replace(UPDATE, allowed_pattern="x" * 1024),
        replace(UPDATE, allowed_pattern="[[a]"),
        replace(UPDATE, allowed_pattern=""),
        replace(UPDATE, expected_version=0),
        replace(UPDATE, expires_at=NOW + 0.001),
        replace(UPDATE, expires_at=253402300799.0),
        replace(UPDATE, tags={"k" * 128: "v" * 256}),
        replace(UPDATE, tags={"Größe _.:/=+-@": ""}),
    ],
    ids=lambda update: repr(update)[:60],
)
def test_updates_within_the_limits_are_accepted(update: ParameterUpdate) -> None:
    """The last value that is allowed."""
    assert check_update(update, now=NOW) == update.name


@pytest.mark.parametrize(
    ("update", "field", "fault"),
    [
        (replace(UPDATE, name="/a/"), "name", "a level is empty"),
        (replace(UPDATE, value=""), "value", "empty"),
        (replace(UPDATE, value="x" * 8193), "value", "8193 bytes, at most 8192"),
        (replace(UPDATE, name="/penstock/x", value="x" * 786_433), "value", "786433 bytes, at most 786432"),
        (replace(UPDATE, value="ü" * 4097), "value", "8194 bytes"),
        (replace(UPDATE, value="{{ssm:x}}"), "value", "reserved"),
        (replace(UPDATE, expected_version=-1), "expected_version", "negative"),
        (replace(UPDATE, description="x" * 1025), "description", "1025 characters"),
        (replace(UPDATE, allowed_pattern="x" * 1025), "allowed_pattern", "1025 characters"),
        (replace(UPDATE, data_type="int"), "data_type", "not one of text, integer"),
        (replace(UPDATE, expires_at=NOW), "expires_at", "past"),
        (replace(UPDATE, expires_at=253402300800.0), "expires_at", "9999"),
        (replace(UPDATE, tags={"": "v"}), "tags['']", "1 to 128"),
        (replace(UPDATE, tags={"k" * 129: "v"}), "tags", "1 to 128"),
        (replace(UPDATE, tags={"k": "v" * 257}), "tags['k']", "257 characters"),
        (replace(UPDATE, tags={"k": "a*b"}), "tags['k']", "only letters"),
        (replace(UPDATE, tags={f"{number}*": "" for number in range(51)}), "tags", "has 51 tags, at most 50"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_updates_beyond_a_limit_are_refused(update: ParameterUpdate, field: str, fault: str) -> None:
    """The field and the rule are named."""
    with pytest.raises(InvalidArgumentError) as caught:
        check_update(update, now=NOW)
    (violation,) = caught.value.violations
    assert violation.field.startswith(field)
    assert fault in violation.description


def test_a_pattern_is_not_compiled_on_the_event_loop() -> None:
    """Compiling can take seconds: the registry leaves it to the child process, and passes on what it found."""
    assert check_update(replace(UPDATE, allowed_pattern="("), now=NOW) == "/a"


def test_all_faults_are_told_at_once() -> None:
    """One answer is enough to repair an update."""
    update = ParameterUpdate(name="a b", value="", data_type="x", allowed_pattern="(")
    found = FieldViolation(field="allowed_pattern", description="is not a regular expression")
    with pytest.raises(InvalidArgumentError) as caught:
        check_update(update, now=NOW, found=[found])
    fields = {violation.field for violation in caught.value.violations}
    assert fields == {"name", "value", "data_type", "allowed_pattern"}


def test_no_value_stands_in_an_error_or_repr() -> None:
    """A value may be a secret, also where its type was forgotten."""
    update = ParameterUpdate(name="a b", value="s3cret{{s3cret}}", type=ParameterType.SECURE_STRING)
    with pytest.raises(InvalidArgumentError) as caught:
        check_update(update, now=NOW)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(update)


@pytest.mark.parametrize("label", ["stable", "v1", "_x", "a" * 100, "Prod.eu-1", "myaws"])
def test_labels(label: str) -> None:
    """Letters, digits, `.-_`, up to 100."""
    assert is_label(label)


@pytest.mark.parametrize("label", ["", "1st", "aws", "AWSx", "ssm-1", "a b", "ä", "a" * 101, "a\n"])
def test_malformed_labels(label: str) -> None:
    """Beginning with a digit, aws or ssm; other characters; too long."""
    assert not is_label(label)
