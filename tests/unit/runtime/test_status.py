"""Errors on the wire and back."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.runtime import errors
from services.runtime.errors import FieldViolation, InvalidArgumentError, PenstockError, UnavailableError
from services.runtime.status import DETAILS_KEY, DOMAIN, code_of, cut, from_rpc_error, to_status

REASON = "ERROR_REASON_PARAMETER_NOT_FOUND"
TABLE = [
    (errors.InvalidArgumentError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.OutOfRangeError, grpc.StatusCode.OUT_OF_RANGE),
    (errors.UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (errors.PermissionDeniedError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.NotFoundError, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExistsError, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FailedPreconditionError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.AbortedError, grpc.StatusCode.ABORTED),
    (errors.ResourceExhaustedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceededError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.UnimplementedError, grpc.StatusCode.UNIMPLEMENTED),
    (errors.InternalError, grpc.StatusCode.INTERNAL),
]


def received(error: PenstockError) -> PenstockError:
    """The error as a client gets it."""
    status = to_status(error)
    trailers = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()), ("x-request-id", "1"))
    return from_rpc_error(grpc.aio.AioRpcError(code_of(error), grpc.aio.Metadata(), trailers, status.message))


def bare(code: grpc.StatusCode, details: str | None = None) -> PenstockError:
    """What a failure without details becomes."""
    return from_rpc_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details))


@pytest.mark.parametrize(
    ("cls", "code"), TABLE, ids=lambda value: getattr(value, "__name__", getattr(value, "name", ""))
)
def test_error_has_its_code_and_comes_back_as_itself(cls: type[PenstockError], code: grpc.StatusCode) -> None:
    """Class, message, reason and metadata survive the wire."""
    error = cls("no parameter /a", reason=REASON, metadata={"name": "/a"})
    assert code_of(error) is code
    back = received(error)
    assert type(back) is cls
    assert (back.message, back.reason, dict(back.metadata)) == ("no parameter /a", REASON, {"name": "/a"})


def test_every_class_is_in_the_table() -> None:
    """A new class must get a code; the two that only group others are never raised."""
    grouping = {PenstockError, errors.RetryableError}
    classes = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, PenstockError)}
    assert classes - grouping == {cls for cls, _code in TABLE}


def test_subclass_has_the_code_of_what_it_refines() -> None:
    """Services may be more exact without touching the table."""

    class NoSuchProgramError(errors.NotFoundError):
        """A refinement."""

    assert code_of(NoSuchProgramError("x", reason=REASON)) is grpc.StatusCode.NOT_FOUND


def test_details_are_those_of_google_rpc() -> None:
    """What any gRPC client library can read."""
    status = to_status(
        InvalidArgumentError("bad", violations=[FieldViolation(field="name", description="must start with /")])
    )
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.domain, info.reason) == (DOMAIN, "ERROR_REASON_INVALID_FIELD")
    assert [(v.field, v.description) for v in bad.field_violations] == [("name", "must start with /")]


def test_violations_and_pause_come_back() -> None:
    """What a client shows and how long it waits."""
    violation = FieldViolation(field="name", description="must start with /")
    invalid = received(InvalidArgumentError("bad", violations=[violation]))
    away = received(UnavailableError("away", retry_after=1.25))
    assert isinstance(invalid, InvalidArgumentError)
    assert isinstance(away, UnavailableError)
    assert invalid.violations == (violation,)
    assert away.retry_after == 1.25


def test_status_always_fits_into_trailers() -> None:
    """Peers limit header lists to 8 KiB, and the message travels twice; what was left out is counted."""
    violations = [FieldViolation(field=f"policy.key{n}", description="é" * 2000) for n in range(500)]
    error = InvalidArgumentError("ü" * 5000, violations=violations, metadata={"k": "v" * 5000})
    status = to_status(error)
    assert len(status.SerializeToString()) * 4 / 3 < 8192
    back = received(error)
    assert isinstance(back, InvalidArgumentError)
    assert back.violations[-1].description == f"and {500 - len(back.violations) + 1} more violations"


@pytest.mark.parametrize(("text", "limit", "result"), [("short", 5, "short"), ("longer", 5, "lo…"), ("üüü", 5, "ü…")])
def test_cut_text_keeps_whole_characters(text: str, limit: int, result: str) -> None:
    """A limit in bytes must not break UTF-8."""
    assert cut(text, limit) == result
    assert len(result.encode()) <= limit


@pytest.mark.parametrize(
    ("code", "cls", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError, "ERROR_REASON_DEPENDENCY_UNAVAILABLE"),
        (grpc.StatusCode.CANCELLED, errors.UnavailableError, "ERROR_REASON_DEPENDENCY_UNAVAILABLE"),
        (grpc.StatusCode.NOT_FOUND, errors.NotFoundError, "ERROR_REASON_UNSPECIFIED"),
        (grpc.StatusCode.UNKNOWN, errors.InternalError, "ERROR_REASON_INTERNAL"),
    ],
)
def test_failure_without_our_details_becomes_the_class_of_its_code(
    code: grpc.StatusCode, cls: type[PenstockError], reason: str
) -> None:
    """Proxies and gRPC itself know nothing of our reasons."""
    error = bare(code)
    assert type(error) is cls
    assert error.reason == reason
    assert code.name in error.message


def test_size_limit_of_grpc_is_told_from_overload() -> None:
    """Too large stays too large: a retry would never help."""
    error = bare(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (20 vs. 10)")
    assert error.reason == "ERROR_REASON_TOO_LARGE"
    assert bare(grpc.StatusCode.RESOURCE_EXHAUSTED).reason == "ERROR_REASON_OVERLOADED"


def test_damaged_or_foreign_details_are_ignored() -> None:
    """Bytes from a network are data, not a promise."""
    damaged = grpc.aio.Metadata((DETAILS_KEY, b"\xff\xff\xff"))
    error = from_rpc_error(grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), damaged, "gone"))
    assert (type(error), error.message) == (errors.NotFoundError, "gone")

    status = status_pb2.Status(code=5)
    status.details.add().Pack(error_details_pb2.ErrorInfo(domain="googleapis.com", reason="THEIRS"))
    foreign = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()))
    error = from_rpc_error(grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), foreign, "gone"))
    assert error.reason == "ERROR_REASON_UNSPECIFIED"
