"""The version that comes of a put: what is kept, what is replaced, and what cannot become of a parameter."""

from dataclasses import replace

import pytest

from services.config.next_version import next_version, pattern_after
from services.config.parameter import Parameter, ParameterType, Sealed, Tier
from services.config.store import check_expected_version
from services.config.update import ParameterUpdate
from services.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
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


def test_no_value_stands_in_the_repr_of_a_version() -> None:
    """A value may be a secret, also where its type was forgotten."""
    assert "old" not in repr(CURRENT)


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
