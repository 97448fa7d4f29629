"""The rules of a put, every limit on both sides, and the version that comes of it."""

from dataclasses import replace

import pytest

from services.config.parameter import Parameter, ParameterType, Sealed, Tier
from services.config.update import (
    ParameterUpdate,
    check_expected_version,
    check_update,
    is_label,
    next_version,
    pattern_after,
)
from services.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
)

NOW = 1000.0
UPDATE = ParameterUpdate(name="/a", value="v")
CURRENT = Parameter(
    name="/a",
    type=ParameterType.STRING,
    value="old",
    version=4,
    revision=70,
    modified_at=5.0,
    labels=("stable",),
    description="what for",
    allowed_pattern="[a-z]+",
    data_type="text",
    expires_at=5000.0,
    tier=Tier.ADVANCED,
    tags={"team": "lab"},
)


def seal(value: str, name: str, version: int) -> Sealed:
    return Sealed(f"{name}|{version}|{len(value)}".encode())


def after(update: ParameterUpdate, current: Parameter | None = CURRENT) -> Parameter:
    return next_version(update, current, name="/a", revision=71, now=NOW, seal=seal)


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
    assert "old" not in repr(CURRENT)


def test_a_first_version_has_defaults() -> None:
    """A String of data type text, version 1."""
    written = after(UPDATE, None)
    assert written == Parameter(
        name="/a", type=ParameterType.STRING, value="v", version=1, revision=71, modified_at=NOW, data_type="text"
    )


def test_fields_not_sent_keep_their_values() -> None:
    """Only the value changes; labels stay with the old version."""
    written = after(UPDATE)
    expected = replace(CURRENT, value="v", version=5, revision=71, modified_at=NOW, labels=())
    assert written == expected


def test_fields_sent_replace_what_was_there() -> None:
    """Empty texts remove, tags are added."""
    update = replace(UPDATE, description="", allowed_pattern="", data_type="json", value="1", expires_at=6000.0)
    written = after(replace(update, tags={"team": "web", "new": ""}))
    assert (written.description, written.allowed_pattern, written.data_type) == ("", "", "json")
    assert written.expires_at == 6000.0
    assert written.tags == {"team": "web", "new": ""}


def test_a_secret_is_sealed_for_its_version() -> None:
    """The plaintext is not in the version that is stored."""
    current = replace(CURRENT, type=ParameterType.SECURE_STRING)
    assert after(UPDATE, current).value == Sealed(b"/a|5|1")


def test_the_type_cannot_change() -> None:
    """Repeating the type is fine."""
    assert after(replace(UPDATE, type=ParameterType.STRING)).type is ParameterType.STRING
    with pytest.raises(FailedPreconditionError, match="is a String and cannot become a SecureString") as caught:
        after(replace(UPDATE, type=ParameterType.SECURE_STRING))
    assert caught.value.reason == "ERROR_REASON_PARAMETER_TYPE_MISMATCH"


def test_the_value_has_the_data_type_of_the_parameter() -> None:
    """Also when the update does not name it; a secret value is not shown."""
    current = replace(CURRENT, data_type="integer")
    with pytest.raises(InvalidArgumentError, match="'v' is not of the parameter's data type integer"):
        after(UPDATE, current)
    with pytest.raises(InvalidArgumentError, match="the value is not of the parameter's data type integer"):
        after(UPDATE, replace(current, type=ParameterType.SECURE_STRING))


def test_a_list_is_text() -> None:
    """Data types say nothing about the items of a list."""
    update = replace(UPDATE, type=ParameterType.STRING_LIST, value="1,2", data_type="integer")
    with pytest.raises(InvalidArgumentError, match="StringList has the data type text"):
        after(update, None)


def test_a_parameter_has_50_tags() -> None:
    """Those it has and those that are added count together."""
    tags = {f"k{number}": "" for number in range(49)}
    assert len(after(replace(UPDATE, tags=tags)).tags) == 50
    with pytest.raises(InvalidArgumentError, match="51 tags"):
        after(replace(UPDATE, tags=tags | {"more": ""}))


@pytest.mark.parametrize("expected", [None, 4])
def test_the_expected_version_may_be_current(expected: int | None) -> None:
    """Or nothing may be expected."""
    check_expected_version("/a", expected, CURRENT)


def test_another_version_than_expected_is_a_conflict() -> None:
    """The error carries both versions."""
    with pytest.raises(AbortedError, match="has version 4, not 3") as caught:
        check_expected_version("/a", 3, CURRENT)
    assert caught.value.metadata == {"name": "/a", "expected_version": "3", "current_version": "4"}
    with pytest.raises(AbortedError, match="has version 0, not 3"):
        check_expected_version("/a", 3, None)
    with pytest.raises(AbortedError, match="has version 4, not 3"):
        after(replace(UPDATE, expected_version=3))


def test_expecting_nothing_where_there_is_one() -> None:
    """Creating twice is told apart from losing a race."""
    check_expected_version("/a", 0, None)
    with pytest.raises(AlreadyExistsError):
        check_expected_version("/a", 0, CURRENT)


def test_the_pattern_is_the_new_one_or_the_one_that_is_there() -> None:
    """An empty one removes it."""
    assert pattern_after(UPDATE, CURRENT) == "[a-z]+"
    assert pattern_after(UPDATE, None) == ""
    assert pattern_after(replace(UPDATE, allowed_pattern=""), CURRENT) == ""
    assert pattern_after(replace(UPDATE, allowed_pattern="x"), CURRENT) == "x"


@pytest.mark.parametrize("label", ["stable", "v1", "_x", "a" * 100, "Prod.eu-1", "myaws"])
def test_labels(label: str) -> None:
    """Letters, digits, `.-_`, up to 100."""
    assert is_label(label)


@pytest.mark.parametrize("label", ["", "1st", "aws", "AWSx", "ssm-1", "a b", "ä", "a" * 101, "a\n"])
def test_malformed_labels(label: str) -> None:
    """Beginning with a digit, aws or ssm; other characters; too long."""
    assert not is_label(label)
