"""Page tokens: opaque to callers, bound to the query they came from, good after a restart."""

import base64
import binascii
import hashlib

from services.runtime.errors import FieldViolation, InvalidArgumentError

_DIGEST_BYTES = 6


def page_token(query: str, position: str) -> str:
    """The token of the page of `query` that begins after `position`."""
    return base64.urlsafe_b64encode(_digest(query, position) + position.encode()).decode().rstrip("=")


def position_in(token: str, query: str) -> str:
    """The position in a token; empty for an empty token.

    Raises:
        InvalidArgumentError: the token is damaged or comes from another query.
    """
    if not token:
        return ""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = data[_DIGEST_BYTES:].decode()
    except (binascii.Error, ValueError):
        data, position = b"", ""
    if data[:_DIGEST_BYTES] != _digest(query, position):
        fault = "was not issued for this query: leave it empty to begin with the first page"
        raise InvalidArgumentError(
            f"page_token: {fault}",
            violations=[FieldViolation(field="page_token", description=fault)],
            reason="ERROR_REASON_INVALID_PAGE_TOKEN",
        )
    return position


def _digest(query: str, position: str) -> bytes:
    return hashlib.sha256(f"{query}\n{position}".encode()).digest()[:_DIGEST_BYTES]
