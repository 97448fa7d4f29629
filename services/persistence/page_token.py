"""Page tokens: a place in a listing, bound to the query it was made for."""

import base64
import binascii
import struct
from hashlib import blake2b

from services.persistence.store import EventQuery, Position
from services.runtime.errors import FieldViolation, InvalidArgumentError

# Fingerprint of the query, then the position; big-endian.
_LAYOUT = struct.Struct(">8sqq")


def encode_page_token(query: EventQuery, position: Position) -> str:
    """URL-safe text that `decode_page_token` takes back for the same query."""
    packed = _LAYOUT.pack(_fingerprint(query), position.occurred_at, position.ordinal)
    return base64.urlsafe_b64encode(packed).decode()


def decode_page_token(query: EventQuery, token: str) -> Position | None:
    """The position in `token`; None for the empty token of the first page.

    Raises:
        InvalidArgumentError: the token is malformed or belongs to another query.
    """
    if not token:
        return None
    try:
        fingerprint, occurred_at, ordinal = _LAYOUT.unpack(base64.b64decode(token.encode(), b"-_", validate=True))
    except (binascii.Error, struct.error):
        raise _invalid("is not a page token of this service") from None
    if fingerprint != _fingerprint(query):
        raise _invalid("belongs to another query: repeat program_id, from_time and until_time of the first page")
    return Position(occurred_at=occurred_at, ordinal=ordinal)


def _fingerprint(query: EventQuery) -> bytes:
    return blake2b(repr((query.program_id, query.from_time, query.until_time)).encode(), digest_size=8).digest()


def _invalid(description: str) -> InvalidArgumentError:
    violation = FieldViolation(field="page_token", description=description)
    return InvalidArgumentError(
        f"page_token: {description}", violations=(violation,), reason="ERROR_REASON_INVALID_PAGE_TOKEN"
    )
