"""What can go wrong, in the words every Penstock process uses.

    PenstockError
    ├── InvalidArgumentError      the request is wrong whatever the state is; carries field violations
    ├── OutOfRangeError           a position or revision outside what exists
    ├── UnauthenticatedError      the caller is not known
    ├── PermissionDeniedError     the caller is known and may not do this
    ├── NotFoundError
    ├── AlreadyExistsError
    ├── FailedPreconditionError   the state forbids it; repeating the call does not help
    ├── AbortedError              a compare-and-set was lost; read again, then repeat
    ├── RetryableError            the same call may succeed later; carries when to try again
    │   ├── ResourceExhaustedError    a bound is reached
    │   └── UnavailableError          a part is away
    ├── DeadlineExceededError
    ├── UnimplementedError
    └── InternalError             a fault of ours

Domain files raise these; `services.runtime.status` alone knows which gRPC status each one becomes. The bridge and the
Lambda handlers use the same tree to choose between retry and dead letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One faulty field of a request: `field` is its path (`subscription.filter_policy`), `description` what to do."""

    field: str
    description: str


class PenstockError(Exception):
    """The root of the tree. The message tells what, which value, where, and what to do; it never holds a secret.

    `reason` is the name of a value of `penstock.errors.v1.ErrorReason`, `metadata` names the things involved with the
    keys that this value documents. A class without a default reason wants the exact one: not found, but what?
    """

    def __init__(self, message: str, *, reason: str, metadata: Mapping[str, str] = _NO_METADATA) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = MappingProxyType(dict(metadata))


class InvalidArgumentError(PenstockError):
    """The request is wrong whatever the state of the service; `violations` lists every faulty field."""

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[FieldViolation] = (),
        reason: str = "ERROR_REASON_INVALID_FIELD",
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.violations = tuple(violations)


def invalid_field(field: str, description: str, *, reason: str = "ERROR_REASON_INVALID_FIELD") -> InvalidArgumentError:
    """The error of one faulty field; its message is `field: description`."""
    violation = FieldViolation(field=field, description=description)
    return InvalidArgumentError(f"{field}: {description}", violations=[violation], reason=reason)


class OutOfRangeError(PenstockError):
    """A position, page or revision lies outside what exists."""


class UnauthenticatedError(PenstockError):
    """The caller did not prove who it is."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "ERROR_REASON_UNAUTHENTICATED",
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)


class PermissionDeniedError(PenstockError):
    """The caller is known and may not do this."""

    def __init__(
        self, message: str, *, reason: str = "ERROR_REASON_FORBIDDEN", metadata: Mapping[str, str] = _NO_METADATA
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)


class NotFoundError(PenstockError):
    """The named thing does not exist."""


class AlreadyExistsError(PenstockError):
    """A thing of this name exists already."""


class FailedPreconditionError(PenstockError):
    """The state of the service forbids it; the caller has to change something before it repeats the call."""


class AbortedError(PenstockError):
    """A compare-and-set was lost to another writer: read the new version, then repeat."""


class RetryableError(PenstockError):
    """The same call may succeed later; `retry_after` is the advised pause in seconds, None when nobody knows."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        reason: str,
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class ResourceExhaustedError(RetryableError):
    """A bound (queue, disk, size, rate) is reached."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        reason: str = "ERROR_REASON_OVERLOADED",
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        super().__init__(message, retry_after=retry_after, reason=reason, metadata=metadata)


class UnavailableError(RetryableError):
    """A part that is needed is away."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        reason: str = "ERROR_REASON_DEPENDENCY_UNAVAILABLE",
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        super().__init__(message, retry_after=retry_after, reason=reason, metadata=metadata)


class DeadlineExceededError(PenstockError):
    """The time the caller granted is used up."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "ERROR_REASON_DEADLINE_PASSED",
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)


class UnimplementedError(PenstockError):
    """This version does not offer it."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "ERROR_REASON_NOT_IMPLEMENTED",
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)


class InternalError(PenstockError):
    """A fault of ours; the caller gets the request id, the log has the rest."""

    def __init__(
        self, message: str, *, reason: str = "ERROR_REASON_INTERNAL", metadata: Mapping[str, str] = _NO_METADATA
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
