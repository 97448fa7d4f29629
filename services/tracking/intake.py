"""The decision about events: well-formed, new, of a valid program? Those that pass become durable before the answer.

events ──▶ a fault? INVALID ──▶ id seen? DUPLICATE ──▶ program? UNKNOWN, EXPIRED; its checksum? INVALID
       ──▶ stamped with program, verdict, time, source ──▶ log (durable) ──▶ ACCEPTED, or UNVERIFIED
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from penstock.tracking.v1 import tracking_event_pb2, tracking_service_pb2

from services.runtime.errors import invalid_field
from services.tracking.event import TrackingEvent, event_fault, needs_check, program_id_fault, shown, uuid7
from services.tracking.frames import event_prefix
from services.tracking.lookup import Finding, Unknown
from services.tracking.program import timestamp
from services.tracking.window import Batch, DedupWindow

Outcome = tracking_event_pb2.TrackOutcome
Source = tracking_event_pb2.EventSource
Response = tracking_service_pb2.BatchTrackEventsResponse

ACCEPTED = tracking_event_pb2.TRACK_OUTCOME_ACCEPTED
DUPLICATE = tracking_event_pb2.TRACK_OUTCOME_DUPLICATE
UNKNOWN_PROGRAM = tracking_event_pb2.TRACK_OUTCOME_UNKNOWN_PROGRAM
EXPIRED_PROGRAM = tracking_event_pb2.TRACK_OUTCOME_EXPIRED_PROGRAM
INVALID = tracking_event_pb2.TRACK_OUTCOME_INVALID
UNVERIFIED = tracking_event_pb2.TRACK_OUTCOME_UNVERIFIED

DECISIONS = (ACCEPTED, DUPLICATE, UNKNOWN_PROGRAM, EXPIRED_PROGRAM, INVALID, UNVERIFIED)
MAX_BATCH = 5000
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
    """What a program means for its events now: they are refused for `reason`, or stored with `stamp`."""

    outcome: Outcome
    reason: str = ""
    checksum: str = ""
    stamp: bytes = b""


@dataclass(slots=True)
class _Decided:
    """A batch after the decision: the answer, and what has to become durable before it may be given."""

    response: Response = field(default_factory=Response)
    batch: Batch = field(default_factory=Batch)
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
        now: clock in seconds since 1970.
        new_id: a message id for an event that has none.
    """

    def __init__(
        self,
        *,
        programs: Programs,
        log: EventLog,
        window: DedupWindow,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = uuid7,
    ) -> None:
        self._programs = programs
        self._log = log
        self._window = window
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
        verdicts = await self._verdicts(set(program_ids), source)
        decided = self._decide(events, [verdicts[program_id] for program_id in program_ids])
        waiting = decided.earlier
        if decided.message_ids:
            waiting.add(self._append(decided))
        for durable in waiting:
            await asyncio.shield(durable)
        for outcome, count in decided.counts.items():
            self.counts[outcome] += count
        return decided.response

    async def _verdicts(self, program_ids: set[str], source: Source) -> Mapping[str, _Verdict]:
        faults = {program_id: fault for program_id in program_ids if (fault := program_id_fault(program_id))}
        found = await self._programs.find(program_ids - faults.keys())
        now = self._now()
        received = self._received
        received.source = source
        moment = timestamp(now)
        # Merged with a time the client may have sent there, a zero would leave the client's nanoseconds.
        received.received_at.seconds, received.received_at.nanos = moment.seconds, moment.nanos | 1
        stamp = received.SerializeToString()
        verdicts = {program_id: _verdict(program_id, finding, now, stamp) for program_id, finding in found.items()}
        for program_id, fault in faults.items():
            verdicts[program_id] = _Verdict(outcome=INVALID, reason=fault)
        return verdicts

    def _decide(self, events: Sequence[TrackingEvent], verdicts: Sequence[_Verdict]) -> _Decided:
        """Runs without interruption, so that of two equal ids exactly one is new.

        Everything an event costs, it costs here: hence local names, and no call that only some events need.
        """
        decided = _Decided()
        add, payload, counts, batch = decided.response.results.add, decided.payload, decided.counts, decided.batch
        new_ids, before = self._window.new_ids, self._window.before
        for event, verdict in zip(events, verdicts, strict=True):
            message_id = event.message_id
            if not message_id:
                message_id = event.message_id = self._new_id()
            body = event.SerializeToString()
            size = len(body)
            if needs_check(event, message_id, size) and (reason := event_fault(event, size)):
                outcome = INVALID
            elif verdict.checksum and event.checksum not in ("", verdict.checksum):
                outcome, reason = INVALID, f"checksum {shown(event.checksum)} is not that of program {event.program_id}"
            elif earlier := new_ids.get(message_id) or before.get(message_id):
                outcome, reason = DUPLICATE, "this message id was accepted before"
                if earlier.durable is not None:
                    decided.earlier.add(earlier.durable)
            elif verdict.reason:
                outcome, reason = verdict.outcome, verdict.reason
            else:
                stamp = verdict.stamp
                size += len(stamp)
                payload += (_PREFIXES[size] if size < _PREFIXED else event_prefix(size), body, stamp)
                new_ids[message_id] = batch
                decided.message_ids.append(message_id)
                counts[verdict.outcome] += 1
                add(outcome=verdict.outcome, message_id=message_id)
                continue
            counts[outcome] += 1
            add(outcome=outcome, message_id=message_id, reason=reason)
        self._window.turn()
        return decided

    def _append(self, decided: _Decided) -> "asyncio.Future[None]":
        batch, message_ids = decided.batch, decided.message_ids
        try:
            durable = self._log.append(b"".join(decided.payload), len(message_ids))
        except BaseException:
            self._window.forget(message_ids, batch)
            raise

        def settle(durable: "asyncio.Future[None]") -> None:
            batch.durable = None
            if durable.cancelled() or durable.exception() is not None:
                self._window.forget(message_ids, batch)

        batch.durable = durable
        durable.add_done_callback(settle)
        return durable


def _verdict(program_id: str, finding: Finding, now: float, received: bytes) -> _Verdict:
    if finding is Unknown.ABSENT:
        return _Verdict(outcome=UNKNOWN_PROGRAM, reason=f"program {program_id} does not exist")
    if finding is Unknown.UNVERIFIED:
        return _Verdict(outcome=UNVERIFIED, stamp=received + _VERDICT_STAMPS[UNVERIFIED])
    if reason := finding.refusal(now):
        return _Verdict(outcome=EXPIRED_PROGRAM, reason=reason)
    stamp = finding.stamp + received + _VERDICT_STAMPS[ACCEPTED]
    return _Verdict(outcome=ACCEPTED, checksum=finding.checksum, stamp=stamp)


_VERDICT_STAMPS = {outcome: TrackingEvent(verdict=outcome).SerializeToString() for outcome in (ACCEPTED, UNVERIFIED)}
