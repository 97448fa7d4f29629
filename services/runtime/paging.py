"""Pages of a listing: their size, and tokens that are opaque to callers, bound to their query, good after a restart."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.runtime.errors import InvalidArgumentError, invalid_field

# gRPC clients refuse messages above 4 MiB unless told otherwise.
_PAGE_BYTES = 3 * 1024 * 1024
_DIGEST_BYTES = 6

T = TypeVar("T")


def page_size(asked: int, *, default: int = 100, largest: int = 1000) -> int:
    """The entries of a page when `asked` for is what the caller's `page_size` says, 0 meaning `default`.

    Raises:
        InvalidArgumentError: it is negative or above `largest`.
    """
    if not 0 <= asked <= largest:
        raise invalid_field("page_size", f"{asked} is not between 1 and {largest}; 0 means {default}")
    return asked or default


def fitting(entries: Sequence[T], size: Callable[[T], int]) -> Sequence[T]:
    """As many of the first entries as one message takes, `size` giving their bytes; at least one if there is any."""
    total = 0
    for count, entry in enumerate(entries):
        total += size(entry)
        if total > _PAGE_BYTES and count:
            return entries[:count]
    return entries


def page_token(query: str, position: str) -> str:
    """The token of the page of `query`, a text that names all its conditions, that begins after `position`."""
    return base64.urlsafe_b64encode(_digest(query, position) + position.encode()).decode().rstrip("=")


def position_in(token: str, query: str, read: Callable[[str], T]) -> T | None:
    """What `read` makes of the position in a token; None for the empty token of the first page.

    Raises:
        InvalidArgumentError: the token is damaged or comes from another query.
    """
    if not token:
        return None
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = data[_DIGEST_BYTES:].decode()
        if data[:_DIGEST_BYTES] == _digest(query, position):
            return read(position)
    except ValueError:  # also binascii's and unicode's
        pass
    raise _foreign_token()


def _foreign_token() -> InvalidArgumentError:
    return invalid_field(
        "page_token",
        "was not issued for this query: leave it empty to begin with the first page",
        reason="ERROR_REASON_INVALID_PAGE_TOKEN",
    )


def _digest(query: str, position: str) -> bytes:
    return hashlib.sha256(f"{query}\n{position}".encode()).digest()[:_DIGEST_BYTES]
