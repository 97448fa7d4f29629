"""The decision about events: well-formed, new, of a valid program? Those that pass become durable before the answer.

events ──▶ a fault? INVALID ──▶ checksum? WRONG_CHECKSUM ──▶ id seen? DUPLICATE ──▶ program? UNKNOWN, EXPIRED
       ──▶ stamped with program, verdict, time, source, facts ──▶ log (durable) ──▶ ACCEPTED, or UNVERIFIED
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from penstock.tracking.v1 import tracking_event_pb2, tracking_service_pb2

from services.runtime.errors import invalid_field
from services.tracking.event import (
    LATEST_SECONDS,
    MAX_MESSAGE_ID,
    MAX_TEXT,
    SECOND_NANOS,
    TrackingEvent,
    event_fault,
    program_id_fault,
    shown,
    uuid7,
)
from services.tracking.facts import best_time, correct_clock, is_robot
from services.tracking.frames import event_prefix
from services.tracking.lookup import Finding, Unknown
from services.tracking.privacy import IpAddresses, kept_address
from services.tracking.program import timestamp
from services.tracking.results import encoded_refusal, success_templates
from services.tracking.window import DedupWindow

Outcome = tracking_event_pb2.TrackOutcome
Source = tracking_event_pb2.EventSource
Response = tracking_service_pb2.BatchTrackEventsResponse

ACCEPTED = tracking_event_pb2.TRACK_OUTCOME_ACCEPTED
DUPLICATE = tracking_event_pb2.TRACK_OUTCOME_DUPLICATE
UNKNOWN_PROGRAM = tracking_event_pb2.TRACK_OUTCOME_UNKNOWN_PROGRAM
EXPIRED_PROGRAM = tracking_event_pb2.TRACK_OUTCOME_EXPIRED_PROGRAM
INVALID = tracking_event_pb2.TRACK_OUTCOME_INVALID
UNVERIFIED = tracking_event_pb2.TRACK_OUTCOME_UNVERIFIED
WRONG_CHECKSUM = tracking_event_pb2.TRACK_OUTCOME_WRONG_CHECKSUM

DECISIONS = (ACCEPTED, DUPLICATE, UNKNOWN_PROGRAM, EXPIRED_PROGRAM, INVALID, UNVERIFIED, WRONG_CHECKSUM)
MAX_BATCH = 5000
LATE_SECONDS = 86_400.0
_PREFIXED = 1024
_PREFIXES = tuple(event_prefix(size) for size in range(_PREFIXED))


class Programs(Protocol):
    """Finds programs by id; see `lookup.ProgramLookup`."""

    async def find(self, program_ids: AbstractSet[str]) -> Mapping[str, Finding]:
        """What is known about each of these well-formed ids."""


class EventLog(Protocol):
    """Makes payloads durable; see `group_commit.DurableLog`."""

    def append(self, payload: bytes, count: int) -> "asyncio.Future[None]":
        """Takes a payload; the future is done once it is durable. Raises ResourceExhaustedError when full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What a program means for its events now: they are refused for `reason`, or stored with one of `stamps`.

    A stamp holds what the intake knows about an event, encoded: appended to the event's bytes it replaces whatever the
    client sent in those fields. There is one per combination of facts, see `_MARKS`.
    """

    outcome: Outcome
    reason: str = ""
    checksum: str = ""
    stamps: Sequence[bytes] = ()
    templates: Sequence[bytes] = ()
    """Of the result of a stored event, see `results`."""


@dataclass(slots=True)
class _Decided:
    """A batch after the decision: the answer, and what has to become durable before it may be given."""

    batch: int
    answer: list[bytes] = field(default_factory=list)
    message_ids: list[str] = field(default_factory=list)
    payload: list[bytes] = field(default_factory=list)
    earlier: set["asyncio.Future[None]"] = field(default_factory=set)
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(DECISIONS, 0))


class Intake:
    """Takes events for one process; safe for use by any number of tasks of one event loop.

    Args:
        programs: finds the programs of events.
        log: makes accepted events durable.
        window: the message ids accepted lately.
        ip_addresses: what is kept of the addresses of visitors.
        late_seconds: an event that occurred longer ago is marked as late.
        now: clock in seconds since 1970.
        new_id: a message id for an event that has none.
    """

    def __init__(
        self,
        *,
        programs: Programs,
        log: EventLog,
        window: DedupWindow,
        ip_addresses: IpAddresses = IpAddresses.ANONYMISED,
        late_seconds: float = LATE_SECONDS,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = uuid7,
    ) -> None:
        self._programs = programs
        self._log = log
        self._window = window
        self._ip_addresses = ip_addresses
        self._late_seconds = late_seconds
        self._now = now
        self._new_id = new_id
        self._received = TrackingEvent()
        self.counts: dict[Outcome, int] = dict.fromkeys(DECISIONS, 0)
        """Events answered so far, by outcome; not those of calls that failed, which clients send again."""

    async def track(self, events: Sequence[TrackingEvent], source: Source) -> Response:
        """The results of 1 to 5000 events, in order, once everything they confirm is durable.

        Events without `message_id` are given one. An event that repeats one still on its way to the disk waits for it.

        Raises:
            InvalidArgumentError: too few or too many events.
            ResourceExhaustedError: the log is full; no event of the batch was stored.
            InternalError: the disk failed; nothing is known about the events.
        """
        if not 0 < len(events) <= MAX_BATCH:
            raise invalid_field("events", f"has {len(events)} entries; a batch has 1 to {MAX_BATCH}")
        program_ids = [event.program_id for event in events]
        found = await self._find(set(program_ids))
        now = self._now()
        verdicts = self._verdicts(found, now, source)
        decided = self._decide(events, [verdicts[program_id] for program_id in program_ids], now)
        waiting = decided.earlier
        if decided.message_ids:
            waiting.add(self._append(decided))
        for durable in waiting:
            await asyncio.shield(durable)
        for outcome, count in decided.counts.items():
            self.counts[outcome] += count
        return Response.FromString(b"".join(decided.answer))

    async def _find(self, program_ids: set[str]) -> Mapping[str, Finding | str]:
        """What is known about each program, or what is wrong with its id."""
        faults = {program_id: fault for program_id in program_ids if (fault := program_id_fault(program_id))}
        return {**faults, **await self._programs.find(program_ids - faults.keys())}

    def _verdicts(self, found: Mapping[str, Finding | str], now: float, source: Source) -> Mapping[str, _Verdict]:
        received = self._received
        received.source = source
        moment = timestamp(now)
        # Merged with a time the client may have sent there, a zero would leave the client's nanoseconds.
        received.received_at.seconds, received.received_at.nanos = moment.seconds, moment.nanos | 1
        stamp = received.SerializeToString()
        return {program_id: _verdict(program_id, finding, now, stamp) for program_id, finding in found.items()}

    def _decide(self, events: Sequence[TrackingEvent], verdicts: Sequence[_Verdict], now: float) -> _Decided:
        """Runs without interruption, so that of two equal ids exactly one is new.

        Everything an event costs, it costs here: hence local names, and no call that only some events need.
        """
        decided = _Decided(batch=self._window.next_batch())
        answer, payload, counts, message_ids = decided.answer, decided.payload, decided.counts, decided.message_ids
        new_ids, before, batch = self._window.new_ids, self._window.before, decided.batch
        late_before = now - self._late_seconds
        reason: str | None
        for event, verdict in zip(events, verdicts, strict=True):
            message_id, body, occurred = event.message_id, event.SerializeToString(), event.occurred_at
            seconds = occurred.seconds
            if (
                0 < len(message_id) <= MAX_MESSAGE_ID
                and len(body) <= MAX_TEXT  # too small for a text that is too long
                and 0 <= seconds < LATEST_SECONDS
                and 0 <= occurred.nanos < SECOND_NANOS
                and not event.attributes
                and not event.ip_address
                and not event.HasField("sent_at")
                and not event.HasField("corrected_at")
            ):
                reason = None
            else:
                reason = self._prepare(event, len(body), now)
                message_id, body, seconds = event.message_id, event.SerializeToString(), best_time(event).seconds
            if reason is not None:
                outcome = INVALID
            elif verdict.checksum and event.checksum not in ("", verdict.checksum):
                outcome, reason = WRONG_CHECKSUM, f"checksum {shown(event.checksum)} is not that of its program"
            elif earlier := new_ids.get(message_id) or before.get(message_id):
                outcome, reason = DUPLICATE, "this message id was accepted before"
                if (durable := self._window.in_flight.get(earlier)) is not None:
                    decided.earlier.add(durable)
            elif verdict.reason:
                outcome, reason = verdict.outcome, verdict.reason
            else:
                stamp = verdict.stamps[is_robot(event.user_agent) + 2 * (0 < seconds < late_before)]
                size = len(body) + len(stamp)
                payload += (_PREFIXES[size] if size < _PREFIXED else event_prefix(size), body, stamp)
                new_ids[message_id] = batch
                message_ids.append(message_id)
                counts[verdict.outcome] += 1
                encoded = message_id.encode()
                answer += (verdict.templates[len(encoded)], encoded)
                continue
            answer += encoded_refusal(outcome, message_id, reason)
            counts[outcome] += 1
        self._window.turn()
        return decided

    def _prepare(self, event: TrackingEvent, size: int, now: float) -> str | None:
        """Completes an event that may need it: id, time by our clock, address. Returns its fault, if it has one."""
        event.message_id = event.message_id or self._new_id()
        if fault := event_fault(event, size):
            return fault
        event.ip_address = kept_address(event.ip_address, self._ip_addresses)
        correct_clock(event, now)
        return None

    def _append(self, decided: _Decided) -> "asyncio.Future[None]":
        batch, message_ids, in_flight = decided.batch, decided.message_ids, self._window.in_flight
        try:
            durable = self._log.append(b"".join(decided.payload), len(message_ids))
        except BaseException:
            self._window.forget(message_ids, batch)
            raise

        def settle(durable: "asyncio.Future[None]") -> None:
            del in_flight[batch]
            if durable.cancelled() or durable.exception() is not None:
                self._window.forget(message_ids, batch)

        in_flight[batch] = durable
        durable.add_done_callback(settle)
        return durable


def _verdict(program_id: str, finding: Finding | str, now: float, received: bytes) -> _Verdict:
    if isinstance(finding, str):
        return _Verdict(outcome=INVALID, reason=finding)
    if finding is Unknown.ABSENT:
        return _Verdict(outcome=UNKNOWN_PROGRAM, reason=f"program {program_id} does not exist")
    if finding is Unknown.UNVERIFIED:
        return _stored(UNVERIFIED, received)
    if reason := finding.refusal(now):
        return _Verdict(outcome=EXPIRED_PROGRAM, reason=reason)
    return _stored(ACCEPTED, finding.stamp + received, finding.checksum)


def _stored(outcome: Outcome, stamp: bytes, checksum: str = "") -> _Verdict:
    whole = stamp + _VERDICT_STAMPS[outcome]
    stamps = [whole + marks for marks in _MARKS]
    return _Verdict(outcome=outcome, checksum=checksum, stamps=stamps, templates=_TEMPLATES[outcome])


_VERDICT_STAMPS = {outcome: TrackingEvent(verdict=outcome).SerializeToString() for outcome in (ACCEPTED, UNVERIFIED)}
_TEMPLATES = {outcome: success_templates(outcome) for outcome in (ACCEPTED, UNVERIFIED)}
# By 1 for a robot plus 2 for a late event. False is written out too: the last value wins, also over a client's true.
_MARKS = [bytes((0xA8, 0x01, is_bot, 0xB0, 0x01, is_late)) for is_late in (0, 1) for is_bot in (0, 1)]
