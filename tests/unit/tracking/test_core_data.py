"""Core data records become programs; what is none is told with its field."""

import json

import pytest

from services.runtime.errors import InvalidArgumentError
from services.tracking.core_data import legacy_fields, program_of
from services.tracking.program import Program

# As in data.json of the reference architecture: the customer's number is a text of digits.
REFERENCE = {
    "programId": "212313",
    "programName": "program2",
    "checksum": "212313",
    "customerId": "120",
    "customerName": "customer2",
    "messageId": "",
    "userAgent": "",
    "valid": True,
}


def test_a_record_of_the_reference_is_a_program() -> None:
    """Fields of events in it are left out."""
    program = program_of(json.dumps(REFERENCE).encode())
    expected = ("212313", "program2", "212313", 120, "customer2", True)
    assert (
        program.program_id,
        program.name,
        program.checksum,
        program.customer_id,
        program.customer_name,
        program.enabled,
    ) == expected


def test_values_that_were_encoded_twice_are_clean() -> None:
    """The quotes that the reference's updater stores are no part of a value; numbers and words may be texts."""
    quoted = {name: json.dumps(value) for name, value in REFERENCE.items()} | {"programId": 212313, "valid": '"FALSE"'}
    program = program_of(json.dumps(quoted).encode())
    assert (program.program_id, program.name, program.customer_id, program.enabled) == (
        "212313",
        "program2",
        120,
        False,
    )


def test_a_program_without_valid_accepts_events() -> None:
    """Only programId is needed."""
    assert program_of(b'{"programId": "p"}').enabled


def test_legacy_fields_are_clean() -> None:
    """They are what the record said, of the right types."""
    program = Program(program_id="p", name="n", checksum="c", customer_id=7, customer_name="m", enabled=False)
    assert program_of(json.dumps(legacy_fields(program)).encode()).to_proto() == program.to_proto()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "program_id"),
        (b'{"programId": ["p"]}', "programId: is"),
        (b'{"programId": true}', "programId: is True"),
        (b'{"programId": "p", "customerId": "many"}', "customerId: is 'many', not a number"),
        (b'{"programId": "p", "customerId": 2147483648}', "beyond 32 bits"),
        (b'{"programId": "p", "customerId": null}', "customerId: is None"),
        (b'{"programId": "p", "valid": "perhaps"}', "neither true nor false"),
        (b'{"programId": "p", "valid": 2}', "neither true nor false"),
    ],
)
def test_what_is_no_program_is_refused(data: bytes, complaint: str) -> None:
    """The message names the field and its value."""
    with pytest.raises(InvalidArgumentError, match=complaint):
        program_of(data)
