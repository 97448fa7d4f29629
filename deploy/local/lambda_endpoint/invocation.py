"""One call of a function, and how it ended."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

REQUEST_LIMIT_BYTES = 6 * 1024 * 1024  # Lambda quotas: synchronous invocation, request and response
EVENT_LIMIT_BYTES = 1024 * 1024  # Lambda quotas: asynchronous invocation (256 KB until October 2025)
RESPONSE_LIMIT_BYTES = REQUEST_LIMIT_BYTES + 100  # as Lambda's own error text gives it
LOG_TAIL_BYTES = 4096  # API_Invoke, LogType


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """What a worker is given: `payload` is the JSON event, `client_context` a JSON object or empty."""

    request_id: str
    function: str
    payload: bytes
    client_context: str = ""
    trace_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one attempt: the handler's JSON answer, or the error document with its type."""

    payload: bytes
    error_type: str = ""
    error_message: str = ""
    log_tail: bytes = b""

    @property
    def failed(self) -> bool:
        return bool(self.error_type)

    def with_log(self, log_tail: bytes) -> "Outcome":
        return replace(self, log_tail=log_tail)


def handler_error(document: bytes) -> Outcome:
    """The outcome of an error document that a runtime posted; it is passed on to the caller as it is."""
    try:
        fields = json.loads(document)
    except ValueError:
        fields = {}
    if not isinstance(fields, Mapping):
        fields = {}
    return Outcome(
        payload=document,
        error_type=str(fields.get("errorType") or "Runtime.Unknown"),
        error_message=str(fields.get("errorMessage") or ""),
    )


def platform_error(error_type: str, message: str) -> Outcome:
    """The outcome of an attempt that the platform ended, in Lambda's own words."""
    document = {"errorType": error_type, "errorMessage": message}
    return Outcome(payload=json.dumps(document).encode(), error_type=error_type, error_message=message)


def timed_out(request_id: str, seconds: float) -> Outcome:
    return platform_error(
        "Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
    )


def exited(request_id: str, return_code: int) -> Outcome:
    """`return_code` as asyncio gives it: negative for a signal."""
    how = f"signal: {-return_code}" if return_code < 0 else f"exit status {return_code}"
    return platform_error("Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited with error: {how}")


def response_too_large() -> Outcome:
    return platform_error(
        "Function.ResponseSizeTooLarge",
        f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes).",
    )
