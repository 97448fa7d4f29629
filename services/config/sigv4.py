"""AWS Signature Version 4 as a server checks it: the request was signed with the secret of its access key, just now.

The rules are those of "Create a signed AWS API request": canonical request, string to sign, derived key.
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

MAX_SKEW_SECONDS = 300.0
_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "ssm"
_MUST_BE_SIGNED = ("host", "x-amz-date", "x-amz-target")
_HEADER = re.compile(
    rf"{_ALGORITHM} Credential=(?P<key>[^/,\s]+)/(?P<day>\d{{8}})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/"
    r"aws4_request,\s*SignedHeaders=(?P<headers>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class SignatureError(Exception):
    """The request is not signed as it must be; `code` is AWS's name for the fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What is signed of a POST to `/`: the headers by their lower-case names, and the body."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which access key a request claims, and for which region."""

    key_id: str
    region: str


def claimed_scope(request: SignedRequest) -> Scope | None:
    """What the Authorization header claims, unproven; None without a well-formed one."""
    found = _HEADER.fullmatch(request.headers.get("authorization", ""))
    return Scope(key_id=found["key"], region=found["region"]) if found else None


def verified_scope(request: SignedRequest, secret_of: Callable[[str], str | None], now: float) -> Scope:
    """The access key that has signed the request; `secret_of` gives the secret of a key id, None for an unknown one.

    Raises:
        SignatureError: unsigned, signed wrongly or by an unknown key, or more than five minutes ago or ahead.
    """
    authorization = request.headers.get("authorization")
    if not authorization:
        raise SignatureError("MissingAuthenticationTokenException", "The request is not signed.")
    found = _HEADER.fullmatch(authorization)
    if not found or found["service"] != _SERVICE:
        fault = f"Authorization is not `{_ALGORITHM} Credential=, SignedHeaders=, Signature=` for {_SERVICE}."
        raise SignatureError("IncompleteSignatureException", fault)
    signed = found["headers"].split(";")
    missing = [name for name in _MUST_BE_SIGNED if name not in signed]
    if missing or any(name not in request.headers for name in signed):
        raise SignatureError("IncompleteSignatureException", f"Headers must be signed and present: {_MUST_BE_SIGNED}.")
    secret = secret_of(found["key"])
    if secret is None:
        raise SignatureError("UnrecognizedClientException", "The access key is not known to this service.")
    _check_time(request.headers["x-amz-date"], found["day"], now)
    expected = _signature(request, found, signed, secret)
    if not hmac.compare_digest(expected, found["signature"]):
        fault = "The request signature we calculated does not match the signature you provided: check the secret key."
        raise SignatureError("InvalidSignatureException", fault)
    return Scope(key_id=found["key"], region=found["region"])


def _check_time(date: str, day: str, now: float) -> None:
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SignatureError("IncompleteSignatureException", "X-Amz-Date is not like 20260131T235959Z.") from None
    if not date.startswith(day):
        raise SignatureError("InvalidSignatureException", "The day of the credential is not that of X-Amz-Date.")
    if abs(now - signed_at) > MAX_SKEW_SECONDS:
        fault = f"Signature expired: {date} is more than {MAX_SKEW_SECONDS:g} s away from this server's clock."
        raise SignatureError("InvalidSignatureException", fault)


def _signature(request: SignedRequest, found: "re.Match[str]", signed: list[str], secret: str) -> str:
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed)
    payload = hashlib.sha256(request.body).hexdigest()
    canonical = f"POST\n/\n\n{headers}\n{found['headers']}\n{payload}"
    scope = f"{found['day']}/{found['region']}/{_SERVICE}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = _signing_key(secret, found["day"], found["region"])
    text = f"{_ALGORITHM}\n{request.headers['x-amz-date']}\n{scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()


@functools.lru_cache(maxsize=256)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    """The key of a day, which every request of it is signed with."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
