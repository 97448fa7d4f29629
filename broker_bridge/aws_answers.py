"""What the error answers of AWS APIs mean for a message, told alike for all of them."""

from botocore.exceptions import BotoCoreError, ClientError

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
_SERVER_ERROR = 500
_SHOWN_CHARACTERS = 500


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
