"""What the error answers of AWS APIs mean for a message, told alike for all of them."""

from collections.abc import Mapping
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from broker_bridge.targets import ErrorClass, Outcome, Rejected, Retry

THROTTLES = frozenset(
    {
        "EC2ThrottledException",
        "KMSThrottling",
        "KMSThrottlingException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
NOT_THE_SERVICE = (ResponseParserError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What boto3 raises, and the reading of an answer, when something else answers in a service's place."""
_SERVER_ERROR = 500
_SHOWN_CHARACTERS = 500


def cannot_be_read(service: str, error: Exception) -> Outcome:
    """What it means for a message that not the service has answered: a proxy's page, a wrong endpoint.

    A fault of ours looks the same: the log tells where it was raised.
    """
    structlog.get_logger("aws_answers").warning("an answer cannot be read", service=service, exc_info=error)
    reason = f"what answers in place of {service} is not {service}: {type(error).__name__}: {error}"
    return Retry(reason=reason[:_SHOWN_CHARACTERS], error_class=ErrorClass.UNAVAILABLE)


def refuse_page(response: Mapping[str, Any]) -> None:
    """Raises ValueError when an answer of any form would do, and this one is a page for people."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if headers.get("content-type", "").startswith("text/html"):
        raise ValueError("an HTML page")


def said(service: str, code: str, message: str) -> str:
    """The words of a service as a reason, cut to 500 characters."""
    return f"{service} answered {code}: {message}"[:_SHOWN_CHARACTERS]


def one_failed(service: str, code: str, message: str, *, sender_fault: bool = False) -> Outcome:
    """One message of a batch that a service did not take."""
    reason = said(service, code, message)
    if code in THROTTLES:
        return Retry(reason=reason, error_class=ErrorClass.THROTTLED)
    if sender_fault:
        return Rejected(reason=reason)
    return Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE)


def call_failed(
    service: str, error: ClientError | BotoCoreError, *, shared: bool, poison: frozenset[str] = frozenset()
) -> Outcome:
    """What a call that failed as a whole means for each of its messages.

    `poison` are the codes by which the service refuses a message for what it is; with `shared` there were several
    messages, and one may be to blame.
    """
    if isinstance(error, BotoCoreError):
        return Retry(reason=f"{service} does not answer: {error}", error_class=ErrorClass.UNAVAILABLE)
    detail = error.response.get("Error", {})
    code = detail.get("Code", "")
    reason = said(service, code, detail.get("Message", ""))
    if code in THROTTLES:
        return Retry(reason=reason, error_class=ErrorClass.THROTTLED)
    if code in poison and not shared:
        return Rejected(reason=reason, error_class=ErrorClass.POISON)
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_ERROR:
        return Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE)
    return Retry(reason=reason, error_class=ErrorClass.REFUSED)
