"""The error tree: every class says why in words of the API."""

import ast
import inspect
import re
from collections.abc import Callable

import pytest
from penstock.errors.v1 import error_reason_pb2

from services.runtime import errors
from services.runtime.errors import (
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
    ResourceExhaustedError,
    RetryableError,
    invalid_field,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, PenstockError)]
DEFAULTS = [
    (cls, parameter.default)
    for cls in CLASSES
    if (parameter := inspect.signature(cls).parameters["reason"]).default is not inspect.Parameter.empty
]


@pytest.mark.parametrize(("cls", "reason"), DEFAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_default_reason_is_a_value_of_the_enum(cls: type[PenstockError], reason: str) -> None:
    """A client switches on the reason; one that the enum does not know would be no contract."""
    assert reason in error_reason_pb2.ErrorReason.keys()  # noqa: SIM118 - an enum wrapper, not a mapping
    make: Callable[[str], PenstockError] = cls
    assert make("text").reason == reason


def test_enough_classes_have_a_default_reason() -> None:
    """The table above is built by inspection; an empty one would check nothing."""
    assert len(DEFAULTS) == 8


def test_every_reason_in_the_file_is_a_value_of_the_enum() -> None:
    """Also where a reason stands in a text rather than a default."""
    source = inspect.getsource(errors)
    assert set(re.findall(r"ERROR_REASON_[A-Z_]+", source)) <= set(error_reason_pb2.ErrorReason.keys())


def test_error_without_default_reason_wants_the_exact_one() -> None:
    """Not found says what was not found."""
    with pytest.raises(TypeError, match="reason"):
        NotFoundError("no parameter /a")  # type: ignore[call-arg]


def test_invalid_field_is_told_in_text_and_in_the_violation() -> None:
    """For people and for forms."""
    error = invalid_field("page_size", "is 7", reason="ERROR_REASON_TOO_LARGE")
    assert (error.message, error.reason) == ("page_size: is 7", "ERROR_REASON_TOO_LARGE")
    assert error.violations == (FieldViolation(field="page_size", description="is 7"),)


def test_error_carries_message_reason_and_metadata() -> None:
    """What the interceptor writes on the wire."""
    error = NotFoundError("no parameter /a", reason="ERROR_REASON_PARAMETER_NOT_FOUND", metadata={"name": "/a"})
    assert (str(error), error.message, error.reason, dict(error.metadata)) == (
        "no parameter /a",
        "no parameter /a",
        "ERROR_REASON_PARAMETER_NOT_FOUND",
        {"name": "/a"},
    )


def test_metadata_cannot_change_after_the_error_was_raised() -> None:
    """The caller's mapping and the error's are two."""
    given = {"name": "/a"}
    error = PenstockError("text", reason="ERROR_REASON_INTERNAL", metadata=given)
    given["name"] = "/b"
    assert error.metadata == {"name": "/a"}
    with pytest.raises(TypeError):
        error.metadata["name"] = "/c"  # type: ignore[index]


def test_invalid_argument_lists_every_violation() -> None:
    """All faults at once, each with its path."""
    violation = FieldViolation(field="name", description="must start with /")
    assert InvalidArgumentError("bad", violations=[violation, violation]).violations == (violation, violation)


def test_retryable_error_says_when_to_try_again() -> None:
    """Both errors that pass by themselves share one base, so that callers catch one class."""
    error = ResourceExhaustedError("full", retry_after=1.5)
    assert isinstance(error, RetryableError)
    assert error.retry_after == 1.5


def test_tree_in_the_docstring_names_every_class() -> None:
    """The drawing at the top is the table of contents."""
    drawn = set(re.findall(r"\w+Error", ast.get_docstring(ast.parse(inspect.getsource(errors))) or ""))
    assert drawn == {cls.__name__ for cls in CLASSES}
