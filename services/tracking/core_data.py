"""Core data as the reference architecture's stream carries it: a JSON object per program.

    programId, programName, checksum, customerId (number or digits), customerName, valid, userAgent, messageId

The reference's updater stored the JSON text of each value, so that texts came back in quotes, and so did what was
written on from there. Values are clean here: one pair of quotes around a text is taken off.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from penstock.tracking.v1.program_pb2 import Program as ProgramMessage

from services.runtime.errors import InvalidArgumentError, invalid_field
from services.tracking.program import Program


def program_of(data: bytes) -> Program:
    """The program in a core data record. One without `valid` accepts events.

    Raises:
        InvalidArgumentError: no JSON object, or a field is missing or wrong.
    """
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError(f"core data is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidArgumentError("core data is not a JSON object")
    return Program.from_proto(
        ProgramMessage(
            program_id=_text(fields, "programId"),
            name=_text(fields, "programName"),
            checksum=_text(fields, "checksum"),
            customer_id=_number(fields, "customerId"),
            customer_name=_text(fields, "customerName"),
            enabled=_truth(fields, "valid"),
        )
    )


def legacy_fields(program: Program) -> dict[str, Any]:
    """The same program as the reference has it, without the fields that belong to an event."""
    return {
        "programId": program.program_id,
        "programName": program.name,
        "checksum": program.checksum,
        "customerId": program.customer_id,
        "customerName": program.customer_name,
        "valid": program.enabled,
    }


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise invalid_field(name, f"is {value!r}, not a text")
    return _clean(value) if isinstance(value, str) else str(value)


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    try:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError  # noqa: TRY004, TRY301 - one refusal for all
        number = int(_clean(value)) if isinstance(value, str) else value
    except ValueError:
        raise invalid_field(name, f"is {value!r}, not a number") from None
    if not -(2**31) <= number < 2**31:
        raise invalid_field(name, f"is {number}, beyond 32 bits")
    return number


def _truth(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, True)
    match _clean(value).lower() if isinstance(value, str) else value:
        case True | "true":
            return True
        case False | "false":
            return False
    raise invalid_field(name, f"is {value!r}, neither true nor false")


def _clean(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if is_quoted else text
