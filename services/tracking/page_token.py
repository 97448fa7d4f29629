"""Page tokens of ListPrograms: the last id of a page, in a form that says it is nothing to build by hand."""

import base64
import binascii

from services.runtime.errors import FieldViolation, InvalidArgumentError
from services.tracking.event import program_id_fault

_PREFIX = b"p1:"


def encode_page_token(program_id: str) -> str:
    """The token of the page after this program."""
    return base64.urlsafe_b64encode(_PREFIX + program_id.encode()).decode()


def decode_page_token(token: str) -> str:
    """The program after which a page begins; empty for the empty token.

    Raises:
        InvalidArgumentError: the token is not one of ours.
    """
    if not token:
        return ""
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
        program_id = data.removeprefix(_PREFIX).decode()
    except (binascii.Error, ValueError):
        data, program_id = b"", ""
    if not data.startswith(_PREFIX) or program_id_fault(program_id):
        violation = FieldViolation(field="page_token", description="is not a page token of ListPrograms")
        raise InvalidArgumentError(
            "page_token is not one of ListPrograms: pass on `next_page_token` as it came",
            violations=[violation],
            reason="ERROR_REASON_INVALID_PAGE_TOKEN",
        )
    return program_id
