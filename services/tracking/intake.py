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

from services.tracking.arrivals import Arrival, arrival, arrivals_of, plain, require_batch
from services.tracking.core import CORE, Core
from services.tracking.event import MAX_TEXT, TrackingEvent, event_fault, program_id_fault, shown, uuid7
from services.tracking.facts import best_time, correct_clock, is_robot
from services.tracking.frames import event_prefix
from services.tracking.lookup import Finding
from services.tracking.privacy import IpAddresses, kept_address
from services.tracking.results import ACCEPTED, DECISIONS, DUPLICATE, INVALID, WRONG_CHECKSUM, Outcome, encoded_refusal
from services.tracking.verdict import Verdict, verdict_of
from services.tracking.window import DedupWindow

Source = tracking_event_pb2.EventSource
Response = tracking_service_pb2.BatchTrackEventsResponse

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
        """Takes a payload; the future, which may be that of other payloads too, is done once it is durable.

        The future does not heed `cancel`. Raises ResourceExhaustedError when the log is full.
        """


@dataclass(slots=True)
class _Decided:
    """A batch after the decision: the answer, and what has to become durable before it may be given."""

    batch: int
    answer: list[bytes] = field(default_factory=list)
    message_ids: list[bytes] = field(default_factory=list)
    payload: list[bytes] = field(default_factory=list)
    earlier: set["asyncio.Future[None]"] = field(default_factory=set)
    counts: dict[Outcome, int] = field(default_factory=dict)


class Intake:
    """Takes events for one process; safe for use by any number of tasks of one event loop.

    Args:
        programs: finds the programs of events.
        log: makes accepted events durable.
        window: the message ids accepted lately.
        ip_addresses: what is kept of the addresses of visitors.
        late_seconds: an event that occurred longer ago is marked as late.
        core: the compiled part, or what stands for it.
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
        core: Core = CORE,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = uuid7,
    ) -> None:
        self._programs = programs
        self._log = log
        self._window = window
        self._ip_addresses = ip_addresses
        self._late_seconds = late_seconds
        self._core = core
        self._now = now
        self._new_id = new_id
        self._received = TrackingEvent()
        self._unsettled: dict[asyncio.Future[None], list[tuple[int, Sequence[bytes]]]] = {}
        self.counts: dict[Outcome, int] = dict.fromkeys(DECISIONS, 0)
        """Events answered so far, by outcome; not those of calls that failed, which clients send again."""

    async def track(self, events: Sequence[TrackingEvent], source: Source) -> Response:
        """The results of 1 to 5000 events, in order, once everything they confirm is durable.

        Events without `message_id` are given one. An event that repeats one still on its way to the disk waits for it.

        Raises:
            InvalidArgumentError: too few or too many events.
            ResourceExhaustedError: the log is full; no event of the batch was stored.
            InternalError: the disk failed; nothing is known about the events.
            UnavailableError: the process is ending; the same.
        """
        require_batch(len(events))
        now = self._now()
        arrivals = [self._arrived(event, now) for event in events]
        return Response.FromString(await self._take(arrivals, source, now))

    async def track_encoded(self, request: bytes, source: Source, address: str = "") -> bytes:
        """The same for a serialized BatchTrackEventsRequest; the answer is a serialized BatchTrackEventsResponse.

        `address` is that of the visitor, where the caller knows better than the events.

        Raises:
            InvalidArgumentError: also for bytes that are no such request.
        """
        now = self._now()
        # Nearly every batch is accepted as a whole, without looking at its events one by one.
        if program_ids := self._core.programs_of(request):
            verdicts = await self._verdicts(program_ids, now)
            reception = self._reception(source, now, address)
            decided = self._accept_all(request, verdicts, reception, now - self._late_seconds)
            if decided is not None:
                return await self._settled(decided)
        arrivals = [
            item if type(item) is tuple else self._arrived(item, now)  # type: ignore[arg-type]
            for item in arrivals_of(request, self._core)
        ]
        return await self._take(arrivals, source, now, address)

    def _arrived(self, event: TrackingEvent, now: float) -> Arrival:
        """Any event, completed by what it may lack: id, address, time by our clock. Or with its fault."""
        if not event.message_id:
            event.message_id = self._new_id()
        address = event.ip_address
        if address and len(address) <= MAX_TEXT:
            event.ip_address = kept_address(address, self._ip_addresses)
        if found := plain(event, address_kept=len(address) <= MAX_TEXT):
            return found
        if fault := event_fault(event, event.ByteSize()):
            return arrival(event, 0, b"", fault)
        correct_clock(event, now)
        return arrival(event, best_time(event).seconds, event.SerializeToString())

    async def _take(self, arrivals: Sequence[Arrival], source: Source, now: float, address: str = "") -> bytes:
        verdicts = await self._verdicts({arrived[0] for arrived in arrivals}, now)
        return await self._settled(
            self._decide(arrivals, verdicts, self._reception(source, now, address), now - self._late_seconds)
        )

    async def _settled(self, decided: _Decided) -> bytes:
        """The answer, once what it confirms is durable."""
        if decided.message_ids:
            decided.earlier.add(self._append(decided))
        for durable in decided.earlier:
            await durable
        for outcome, count in decided.counts.items():
            self.counts[outcome] += count
        return b"".join(decided.answer)

    async def _verdicts(self, program_ids: AbstractSet[bytes], now: float) -> Mapping[bytes, Verdict]:
        """What each program, or what is wrong with its id, means for its events."""
        names = [program_id.decode() for program_id in program_ids]
        faults = {name: fault for name in names if (fault := program_id_fault(name))}
        findings: Mapping[str, Finding | str] = await self._programs.find(set(names) - faults.keys())
        if faults:
            findings = {**findings, **faults}
        return {
            program_id: verdict_of(name, findings[name], now)
            for program_id, name in zip(program_ids, names, strict=True)
        }

    def _reception(self, source: Source, now: float, address: str) -> bytes:
        """How, when and from where events came, encoded, to replace what a client sent in these fields."""
        received, moment = self._received, self._received.received_at
        microseconds = round(now * 1_000_000)
        received.source = source
        received.ip_address = kept_address(address, self._ip_addresses) if len(address) <= MAX_TEXT else ""
        # Merged with a time the client may have sent there, a zero would leave the client's nanoseconds.
        moment.seconds, moment.nanos = microseconds // 1_000_000, microseconds % 1_000_000 * 1000 | 1
        return received.SerializeToString()

    def _accept_all(
        self, request: bytes, verdicts: Mapping[bytes, Verdict], reception: bytes, late_before: float
    ) -> _Decided | None:
        """As `_decide`, but only for a batch of which every event is plain, new and accepted."""
        window, batch = self._window, self._window.next_batch()
        terms = {program_id: verdict.terms for program_id, verdict in verdicts.items() if verdict.outcome == ACCEPTED}
        accepted = self._core.accept_all(
            request, terms, reception, window.new_ids, window.before, batch, late_before, is_robot
        )
        if accepted is None:
            return None
        answer, payload, message_ids = accepted
        window.turn()
        return _Decided(
            batch=batch,
            answer=[answer],
            payload=[payload],
            message_ids=message_ids,
            counts={ACCEPTED: len(message_ids)},
        )

    def _decide(
        self, arrivals: Sequence[Arrival], verdicts: Mapping[bytes, Verdict], reception: bytes, late_before: float
    ) -> _Decided:
        """Runs without interruption, so that of two equal ids exactly one is new.

        Everything an event costs, it costs here: hence local names, and no call that only some events need.
        """
        decided = _Decided(batch=self._window.next_batch())
        answer, payload, counts, message_ids = decided.answer, decided.payload, decided.counts, decided.message_ids
        new_ids, before, batch = self._window.new_ids, self._window.before, decided.batch
        added = {program_id: verdict.added_bytes + len(reception) for program_id, verdict in verdicts.items()}
        reason: str | None
        for program_id, message_id, user_agent, checksum, seconds, body, fault in arrivals:
            verdict = verdicts[program_id]
            if fault is not None:
                outcome, reason = INVALID, fault
            elif verdict.checksum and checksum not in (b"", verdict.checksum):
                outcome, reason = WRONG_CHECKSUM, f"checksum {shown(checksum.decode())} is not that of its program"
            elif earlier := new_ids.get(message_id) or before.get(message_id):
                outcome, reason = DUPLICATE, "this message id was accepted before"
                if (durable := self._window.in_flight.get(earlier)) is not None:
                    decided.earlier.add(durable)
            elif verdict.reason:
                outcome, reason = verdict.outcome, verdict.reason
            else:
                end = verdict.ends[is_robot(user_agent) + 2 * (0 < seconds < late_before)]
                size = len(body) + added[program_id]
                prefix = _PREFIXES[size] if size < _PREFIXED else event_prefix(size)
                payload += (prefix, body, reception, verdict.stamp, end)
                answer += (verdict.templates[len(message_id)], message_id)
                new_ids[message_id] = batch
                message_ids.append(message_id)
                counts[verdict.outcome] = counts.get(verdict.outcome, 0) + 1
                continue
            answer += encoded_refusal(outcome, message_id, reason)
            counts[outcome] = counts.get(outcome, 0) + 1
        self._window.turn()
        return decided

    def _append(self, decided: _Decided) -> "asyncio.Future[None]":
        try:
            durable = self._log.append(b"".join(decided.payload), len(decided.message_ids))
        except BaseException:
            self._window.forget(decided.message_ids, decided.batch)
            raise
        batches = self._unsettled.get(durable)
        if batches is None:
            batches = self._unsettled[durable] = []
            durable.add_done_callback(self._settle)
        batches.append((decided.batch, decided.message_ids))
        self._window.in_flight[decided.batch] = durable
        return durable

    def _settle(self, durable: "asyncio.Future[None]") -> None:
        stored = not durable.cancelled() and durable.exception() is None
        for batch, message_ids in self._unsettled.pop(durable):
            del self._window.in_flight[batch]
            if not stored:
                self._window.forget(message_ids, batch)
