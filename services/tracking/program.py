"""A program, the core data that events are checked against, and what it says about an event now."""

from dataclasses import dataclass, replace
from typing import Self

from google.protobuf.timestamp_pb2 import Timestamp
from penstock.tracking.v1 import program_pb2

from services.runtime.errors import FieldViolation, InvalidArgumentError
from services.tracking.event import MAX_TEXT, TrackingEvent, is_plausible, program_id_fault, shown

# Explicit defaults of the fields a program fills in. Protobuf merges concatenated messages field by field, the last
# value winning, so these clear what a client may have sent where the program has nothing to say.
_CLEARED = b"\x18\x00\x2a\x00\x32\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An advertising program. Times are seconds since 1970; None leaves that side open.

    `version` counts the puts, from 1; 0 means not stored yet. `stamp` holds the fields an event takes over from its
    program, encoded: appended to the bytes of an event it replaces whatever the client sent there.
    """

    program_id: str
    name: str = ""
    checksum: str = ""
    customer_id: int = 0
    customer_name: str = ""
    enabled: bool = True
    valid_from: float | None = None
    valid_until: float | None = None
    version: int = 0
    stamp: bytes = b""

    @classmethod
    def from_proto(cls, message: program_pb2.Program) -> Self:
        """The program in a message.

        Raises:
            InvalidArgumentError: with one violation per faulty field.
        """
        violations = list(_violations(message))
        if violations:
            text = "; ".join(violation.description for violation in violations)
            raise InvalidArgumentError(
                f"program {shown(message.program_id)} is not valid: {text}",
                violations=violations,
                reason="ERROR_REASON_INVALID_FIELD",
            )
        return cls(
            program_id=message.program_id,
            name=message.name,
            checksum=message.checksum,
            customer_id=message.customer_id,
            customer_name=message.customer_name,
            enabled=message.enabled,
            valid_from=_seconds(message.valid_from) if message.HasField("valid_from") else None,
            valid_until=_seconds(message.valid_until) if message.HasField("valid_until") else None,
            version=message.version,
            stamp=_stamp(message),
        )

    def to_proto(self) -> program_pb2.Program:
        """The message of this program."""
        message = program_pb2.Program(
            program_id=self.program_id,
            name=self.name,
            checksum=self.checksum,
            customer_id=self.customer_id,
            customer_name=self.customer_name,
            enabled=self.enabled,
            version=self.version,
        )
        if self.valid_from is not None:
            message.valid_from.CopyFrom(timestamp(self.valid_from))
        if self.valid_until is not None:
            message.valid_until.CopyFrom(timestamp(self.valid_until))
        return message

    def with_version(self, version: int) -> Self:
        """The same program as another version."""
        return replace(self, version=version)

    def refusal(self, now: float) -> str | None:
        """Why events are refused at `now`, seconds since 1970; None while the program is valid."""
        if not self.enabled:
            return f"program {self.program_id} is switched off"
        if self.valid_from is not None and now < self.valid_from:
            return f"program {self.program_id} is not valid before {timestamp(self.valid_from).ToJsonString()}"
        if self.valid_until is not None and now >= self.valid_until:
            return f"program {self.program_id} was valid until {timestamp(self.valid_until).ToJsonString()}"
        return None


def timestamp(seconds: float) -> Timestamp:
    """The protobuf time of seconds since 1970, to the microsecond."""
    microseconds = round(seconds * 1_000_000)
    return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9


def _stamp(message: program_pb2.Program) -> bytes:
    filled = TrackingEvent(
        customer_id=message.customer_id, program_name=message.name, customer_name=message.customer_name
    )
    return _CLEARED + filled.SerializeToString()


def _violations(message: program_pb2.Program) -> list[FieldViolation]:
    found = []
    if fault := program_id_fault(message.program_id):
        found.append(FieldViolation(field="program.program_id", description=fault))
    for field in ("name", "checksum", "customer_name"):
        length = len(getattr(message, field))
        if length > MAX_TEXT:
            text = f"{field} has {length} characters; the limit is {MAX_TEXT}"
            found.append(FieldViolation(field=f"program.{field}", description=text))
    for field in ("valid_from", "valid_until"):
        moment = getattr(message, field)
        if not is_plausible(moment):
            text = f"{field} is {moment.seconds} s after 1970; it must lie between 1970 and 2100"
            found.append(FieldViolation(field=f"program.{field}", description=text))
    bounded = message.HasField("valid_from") and message.HasField("valid_until")
    if bounded and _seconds(message.valid_from) >= _seconds(message.valid_until):
        text = "valid_until must be later than valid_from"
        found.append(FieldViolation(field="program.valid_until", description=text))
    return found
