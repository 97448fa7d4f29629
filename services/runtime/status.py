"""Errors on the wire: the one table between our error classes and gRPC codes, with google.rpc details, both ways."""

from collections.abc import Iterator
from typing import TypeVar

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from services.runtime import errors

DOMAIN = "penstock"
"""`google.rpc.ErrorInfo.domain` of every error of ours."""

DETAILS_KEY = "grpc-status-details-bin"

_Detail = TypeVar("_Detail", bound=Message)
_CODES: dict[type[errors.PenstockError], grpc.StatusCode] = {
    errors.InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
    errors.UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AbortedError: grpc.StatusCode.ABORTED,
    errors.ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.UnimplementedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}
_CLASSES = {code: cls for cls, code in _CODES.items()}

_WITHOUT_DEFAULT_REASON = (
    errors.OutOfRangeError,
    errors.NotFoundError,
    errors.AlreadyExistsError,
    errors.FailedPreconditionError,
    errors.AbortedError,
)

# A status travels in HTTP/2 trailers, which peers limit to 8 KiB; the message is in them twice.
_MAX_MESSAGE_BYTES = 1024
_MAX_VIOLATION_BYTES = 4096
_MAX_METADATA_CHARACTERS = 256


def code_of(error: errors.PenstockError) -> grpc.StatusCode:
    """The gRPC code of an error; subclasses have the code of the class they refine."""
    return next((_CODES[cls] for cls in type(error).__mro__ if cls in _CODES), grpc.StatusCode.INTERNAL)


def to_status(error: errors.PenstockError) -> status_pb2.Status:
    """The error as `google.rpc.Status` with ErrorInfo, BadRequest and RetryInfo, cut to what trailers can carry."""
    status = status_pb2.Status(code=code_of(error).value[0], message=cut(error.message, _MAX_MESSAGE_BYTES))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = value[:_MAX_METADATA_CHARACTERS]
    status.details.append(_packed(info))
    if isinstance(error, errors.InvalidArgumentError) and error.violations:
        status.details.append(_packed(_bad_request(error)))
    if isinstance(error, errors.RetryableError) and error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after * 1e9))
        status.details.append(_packed(retry))
    return status


def cut(text: str, limit: int) -> str:
    """The text, cut with an ellipsis to at most `limit` bytes of UTF-8."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"


def _bad_request(error: errors.InvalidArgumentError) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for shown, violation in enumerate(error.violations):
        bad.field_violations.add(field=cut(violation.field, 512), description=cut(violation.description, 1024))
        if bad.ByteSize() > _MAX_VIOLATION_BYTES and shown:
            del bad.field_violations[-1]
            bad.field_violations.add(field="", description=f"and {len(error.violations) - shown} more violations")
            break
    return bad


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def from_rpc_error(error: grpc.aio.AioRpcError | grpc.Call) -> errors.PenstockError:
    """What a failed call raises in a client: the class, reason, metadata, violations and pause that the server gave.

    A failure without our details (a proxy, gRPC itself) becomes the class of its code; CANCELLED by the other side,
    which is a server that stops, counts as unavailable.
    """
    message = error.details() or f"the call failed with {error.code().name}"
    status = _status_of(error)
    info = next(_unpacked(status, error_details_pb2.ErrorInfo()), None)
    ours = info is not None and info.domain == DOMAIN
    reason = info.reason if info is not None and ours else ""
    metadata = dict(info.metadata) if info is not None and ours else {}
    cls = errors.UnavailableError if error.code() is grpc.StatusCode.CANCELLED else _CLASSES.get(error.code())
    if cls is None:
        return errors.InternalError(message, reason=reason or "ERROR_REASON_INTERNAL", metadata=metadata)
    known = {"reason": reason} if reason else _fallback_reason(cls, message)
    if issubclass(cls, errors.InvalidArgumentError):
        return cls(message, violations=_violations(status), metadata=metadata, **known)
    if issubclass(cls, errors.RetryableError):
        return cls(message, retry_after=_retry_after(status), metadata=metadata, **known)
    return cls(message, metadata=metadata, **known)


def _fallback_reason(cls: type[errors.PenstockError], message: str) -> dict[str, str]:
    """The reason where the server gave none of ours: the class's default, as far as it has one."""
    if cls is errors.ResourceExhaustedError and "larger than max" in message:  # the words of gRPC's own size limit
        return {"reason": "ERROR_REASON_TOO_LARGE"}
    return {"reason": "ERROR_REASON_UNSPECIFIED"} if cls in _WITHOUT_DEFAULT_REASON else {}


def _status_of(error: grpc.aio.AioRpcError | grpc.Call) -> status_pb2.Status:
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:
                return status_pb2.Status()
    return status


def _unpacked(status: status_pb2.Status, kind: _Detail) -> Iterator[_Detail]:
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            message = type(kind)()
            detail.Unpack(message)
            yield message


def _violations(status: status_pb2.Status) -> tuple[errors.FieldViolation, ...]:
    return tuple(
        errors.FieldViolation(field=violation.field, description=violation.description)
        for bad in _unpacked(status, error_details_pb2.BadRequest())
        for violation in bad.field_violations
    )


def _retry_after(status: status_pb2.Status) -> float | None:
    retry = next(_unpacked(status, error_details_pb2.RetryInfo()), None)
    return None if retry is None else retry.retry_delay.ToNanoseconds() / 1e9
