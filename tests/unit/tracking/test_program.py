"""Programs: what is valid, when, and what they write into their events."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.tracking.v1 import program_pb2
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.errors import InvalidArgumentError
from services.tracking.program import Program, timestamp


def at(seconds: float) -> Timestamp:
    return timestamp(seconds)


def test_a_program_survives_the_round_trip_through_its_message() -> None:
    """Nothing is lost, the version included."""
    message = program_pb2.Program(
        program_id="p-1",
        name="Spring",
        checksum="c",
        customer_id=7,
        customer_name="Shop",
        enabled=True,
        valid_from=at(100.25),
        valid_until=at(200.000001),
        version=3,
    )
    assert Program.from_proto(message).to_proto() == message


def test_every_faulty_field_is_reported() -> None:
    """Three faults, three violations with their paths."""
    message = program_pb2.Program(
        program_id="no spaces", name="n" * 513, valid_from=at(20), valid_until=at(10), customer_name="ok"
    )
    with pytest.raises(InvalidArgumentError) as caught:
        Program.from_proto(message)
    fields = [violation.field for violation in caught.value.violations]
    assert fields == ["program.program_id", "program.name", "program.valid_until"]


def test_times_in_milliseconds_are_refused() -> None:
    """They would lie thousands of years ahead."""
    with pytest.raises(InvalidArgumentError, match="valid_from is 1700000000000 s"):
        Program.from_proto(program_pb2.Program(program_id="p", valid_from=Timestamp(seconds=1_700_000_000_000)))


@pytest.mark.parametrize(
    ("program", "now", "refusal"),
    [
        (Program(program_id="p"), 0.0, None),
        (Program(program_id="p", enabled=False), 0.0, "program p is switched off"),
        (Program(program_id="p", valid_from=10.0), 9.9, "program p is not valid before 1970-01-01T00:00:10Z"),
        (Program(program_id="p", valid_from=10.0), 10.0, None),
        (Program(program_id="p", valid_until=10.0), 9.9, None),
        (Program(program_id="p", valid_until=10.0), 10.0, "program p was valid until 1970-01-01T00:00:10Z"),
    ],
)
def test_switch_and_window_decide_about_now(program: Program, now: float, refusal: str | None) -> None:
    """The beginning is inclusive, the end exclusive."""
    assert program.refusal(now) == refusal


def test_the_stamp_replaces_what_a_client_claimed() -> None:
    """Also where the program itself has nothing to say."""
    claimed = TrackingEvent(
        program_id="p", message_id="m", customer_id=99, program_name="liar", customer_name="liar", cookie_id="c"
    )
    program = Program.from_proto(program_pb2.Program(program_id="p", name="Spring"))
    stamped = TrackingEvent.FromString(claimed.SerializeToString() + program.stamp)
    assert stamped == TrackingEvent(program_id="p", message_id="m", program_name="Spring", cookie_id="c")
