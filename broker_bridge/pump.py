"""The one loop of a route: take, filter, deliver, acknowledge; retry what failed, give up what keeps failing.

    inbox ─▶ prepare ─▶ filter ─▶ claim ─▶ deliver to each target ─▶ done ─▶ ACK
                │          │                     │
              poison   away: wait         failed: wait, or dead letter

Everything happens per batch; only failures cost something per message. A message is delivered once to each target
that took it, however often the others have to be asked again.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from broker_bridge.acknowledger import Acknowledger
from broker_bridge.broker import BrokerError
from broker_bridge.dead_letters import DeadLetter, legible
from broker_bridge.dedup import Busy, Claimed, Dedup, Done
from broker_bridge.fan_out import Attempt, FanOut
from broker_bridge.filtering import FilteringUnavailableError, Match, MessageFilter, Unmatched, fixed_destinations
from broker_bridge.inbox import Inbox
from broker_bridge.message import Message, decode_message
from broker_bridge.parcel import Parcel
from broker_bridge.preparation import PoisonError, prepare
from broker_bridge.retry_policy import EXCUSED, Tries
from broker_bridge.retry_queue import RetryQueue
from broker_bridge.retry_settings import MAX_WAIT_SECONDS
from broker_bridge.routes import Route
from broker_bridge.settlement import AckBatch, Entry, Ledger, State
from broker_bridge.stats import RouteStats, Snapshot
from broker_bridge.targets import ErrorClass, Rejected, Retry, Targets

_RENEW_SECONDS = 5.0
_FILTER_PAUSE_SECONDS = 1.0
_BURY_PAUSE_SECONDS = 1.0
_FAULT_PAUSE_SECONDS = 1.0
_MAX_UNBURIED = 10_000


class Broker(Protocol):
    """What the loop needs of the broker."""

    def acknowledge(self, batch: AckBatch) -> None:
        """Sends ACKs on the current connection; the receipt comes back by `Pump.confirmed`. Never raises."""
        ...

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        """Moves a message to the dead letter queue and removes it from its own, both or none. Raises BrokerError."""
        ...


class MemoryBroker:
    """Keeps what is acknowledged and given up, and confirms at once. For tests and dry runs."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.dead: list[tuple[Message, DeadLetter]] = []
        self.confirm: Callable[[str], None] = lambda _receipt: None
        self.failure: BrokerError | None = None

    def acknowledge(self, batch: AckBatch) -> None:
        self.acknowledged += batch.ack_ids
        self.confirm(batch.receipt)

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        if self.failure is not None:
            raise self.failure
        self.dead.append((entry.message, letter))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """`monotonic` in seconds for durations, `wall` in milliseconds since 1970, `random` in [0, 1) for jitter."""

    monotonic: Callable[[], float]
    wall: Callable[[], int]
    random: Callable[[], float]


class Pump:
    """Delivers the messages of one route. Its methods are called on the event loop."""

    def __init__(
        self,
        route: Route,
        *,
        broker: Broker,
        message_filter: MessageFilter,
        targets: Targets,
        dedup: Dedup,
        clock: Clock,
        stats: RouteStats | None = None,
    ) -> None:
        self.route = route
        self.stats = stats or RouteStats()
        self._broker = broker
        self._filter = message_filter
        self._fan_out = FanOut(route.name, targets)
        self._dedup = dedup
        self._clock = clock
        self._ledger = Ledger()
        self._acks = Acknowledger(self._ledger, broker.acknowledge, clock.monotonic)
        self._inbox = Inbox(route.batch)
        self._waiting = RetryQueue(self._inbox.put, clock.monotonic)
        # Decided, but the broker did not take them yet; kept over reconnections for their reasons.
        self._unburied: dict[str, DeadLetter] = {}
        self._quiet = asyncio.Event()
        self._log = structlog.get_logger("pump").bind(route=route.name)

    # What the connection tells.

    def opened(self) -> int:
        """A new connection: returns its epoch. Everything not being delivered right now will come again."""
        self._ledger.open_epoch()
        self._inbox.clear()
        self._waiting.clear()
        return self._ledger.epoch

    def received(self, frames: Sequence[tuple[Mapping[str, str], bytes]]) -> None:
        """MESSAGE frames of the current connection."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        self.stats.received += len(frames)
        entries = []
        for headers, body in frames:
            message = decode_message(headers, body, source=self.route.source, received_at=wall)
            entry = self._ledger.receive(message, headers["ack"], now=now)
            if entry is not None:
                entries.append(entry)
        self._inbox.put(entries)
        self._acks.send_due()

    def confirmed(self, receipt: str) -> None:
        """The broker confirmed ACKs."""
        self.stats.settled += self._acks.confirm(receipt)
        self._tell_quiet()

    def snapshot(self) -> Snapshot:
        oldest = self._ledger.oldest()
        age = 0.0 if oldest is None else self._clock.monotonic() - oldest
        return Snapshot(route=self.route.name, stats=self.stats, in_flight=self._ledger.in_flight(), oldest_age=age)

    def unconfirmed_seconds(self) -> float:
        """How long the oldest ACKs have waited for their receipt."""
        since = self._ledger.unconfirmed_since()
        return 0.0 if since is None else self._clock.monotonic() - since

    # The loop.

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.route.concurrency):
                group.create_task(self._work())
            group.create_task(self._renew())

    async def drain(self) -> None:
        """Begins no delivery any more, and returns when those that run are settled and confirmed."""
        self._inbox.close()
        self._waiting.clear()
        self._acks.send_due()
        while not self._ledger.idle():
            self._quiet.clear()
            await self._quiet.wait()

    async def _work(self) -> None:
        while True:
            entries = await self._inbox.take()
            for entry in entries:
                self._ledger.dispatch(entry)
            try:
                await self._deliver(entries)
            except Exception:  # noqa: BLE001 - a fault of ours must neither lose a message nor stop the route
                self._log.exception("delivering a batch failed", messages=[entry.message.id for entry in entries])
                self._hold([entry for entry in entries if entry.state is State.DISPATCHING], _FAULT_PAUSE_SECONDS)
            self._inbox.finished()
            self._tell_quiet()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self._dedup.renew([entry.key for entry in self._ledger.dispatching()])

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        poison: list[tuple[Entry, str]] = []
        attempts: list[Attempt] = []
        for entry in entries:
            if letter := self._unburied.get(entry.key):
                await self._bury(entry, letter)
                continue
            try:
                attempts.append(Attempt(entry, prepare(entry.message, self.route, attempt=entry.attempt + 1)))
            except PoisonError as error:
                poison.append((entry, str(error)))
        if attempts:
            await self._deliver_sound(attempts)
        for entry, reason in poison:
            entry.attempt += 1
            await self._give_up(entry, reason, ErrorClass.POISON)

    async def _deliver_sound(self, attempts: Sequence[Attempt]) -> None:
        matches = await self._match([attempt.parcel for attempt in attempts])
        if matches is None:
            self._hold([attempt.entry for attempt in attempts], _FILTER_PAUSE_SECONDS)
            return
        mine = await self._claim(list(zip(attempts, matches, strict=True)))
        await self._fan_out.deliver(mine)
        await self._conclude(mine)

    async def _match(self, parcels: Sequence[Parcel]) -> Sequence[Match] | None:
        """Where the messages go; None when nobody can say now, which is no attempt of theirs."""
        if not self.route.filter_topic:
            return [fixed_destinations(self.route.targets)] * len(parcels)
        try:
            return await self._filter.match(self.route.filter_topic, parcels)
        except FilteringUnavailableError:
            return None

    async def _claim(self, pairs: Sequence[tuple[Attempt, Match]]) -> list[Attempt]:
        """The attempts that may be made; what was delivered before is settled, what others deliver waits."""
        claims = await self._dedup.claim([attempt.entry.key for attempt, _ in pairs])
        mine, duplicates = [], []
        for (attempt, match), claim in zip(pairs, claims, strict=True):
            if isinstance(claim, Done):
                duplicates.append(attempt.entry)
            elif isinstance(claim, Busy):
                self._hold([attempt.entry], claim.seconds)
            elif self.route.retry.is_worn_out(claim.tries()):
                await self._exhausted(attempt.entry, claim)
            else:
                mine.append(self._claimed(attempt, claim, match))
        self.stats.duplicates += len(duplicates)
        self._settle(duplicates)
        return mine

    def _claimed(self, attempt: Attempt, claim: Claimed, match: Match) -> Attempt:
        entry = attempt.entry
        if claim.attempt != attempt.parcel.attempt:
            attempt.parcel = replace(attempt.parcel, attempt=claim.attempt)
        entry.attempt, entry.excused = claim.attempt, dict(claim.tries().excused)
        if isinstance(match, Unmatched):
            attempt.retry = Retry(reason=match.reason, error_class=match.error_class)
        else:
            attempt.destinations = [
                place for place in match if place.name not in entry.accepted and place.name not in entry.rejected
            ]
        return attempt

    async def _exhausted(self, entry: Entry, claim: Claimed) -> None:
        entry.attempt = claim.attempt - 1
        reason = "the attempts before did not come to an end: the bridge stopped or lost its connection during each"
        await self._give_up(entry, reason, ErrorClass.POISON)

    async def _conclude(self, attempts: Sequence[Attempt]) -> None:
        """Settles what succeeded, at once and together; then what failed, one by one."""
        good = [attempt for attempt in attempts if attempt.retry is None and not attempt.entry.rejected]
        if good:
            await self._dedup.done([attempt.entry.key for attempt in good])
            self._settle([attempt.entry for attempt in good])
        self.stats.delivered += sum(bool(attempt.entry.accepted) for attempt in good)
        self.stats.filtered += sum(not attempt.entry.accepted for attempt in good)
        await self._excuse(attempts)
        jitter = self._clock.random()  # one for all: what failed together is tried together
        for attempt in attempts:
            if attempt.retry is not None:
                await self._again(attempt.entry, attempt.retry, jitter)
            elif attempt.entry.rejected:
                rejections = list(attempt.entry.rejected.values())
                await self._give_up(attempt.entry, _reasons(rejections), rejections[0].error_class)

    async def _excuse(self, attempts: Sequence[Attempt]) -> None:
        """Failures that are not the message's fault shall not count against it, not even after a restart."""
        for error_class in EXCUSED:
            entries = [a.entry for a in attempts if a.retry is not None and a.retry.error_class is error_class]
            for entry in entries:
                entry.excused[error_class] = entry.excused.get(error_class, 0) + 1
            if entries:
                await self._dedup.excuse([entry.key for entry in entries], error_class)

    async def _again(self, entry: Entry, retry: Retry, jitter: float) -> None:
        entry.first_failed_at = entry.first_failed_at or self._clock.wall()
        tries = Tries(begun=entry.attempt, excused=entry.excused)
        wait = self.route.retry.wait(retry.error_class, tries, lambda: jitter)
        if wait is None:
            await self._give_up(entry, _reasons([retry, *entry.rejected.values()]), retry.error_class)
            return
        self.stats.retried += 1
        self._hold([entry], max(wait, min(retry.after or 0.0, MAX_WAIT_SECONDS)))

    async def _give_up(self, entry: Entry, reason: str, error_class: ErrorClass) -> None:
        letter = DeadLetter(
            reason=legible(reason),
            error_class=error_class,
            attempts=entry.attempt,
            first_failed_at=entry.first_failed_at or self._clock.wall(),
            route=self.route.name,
        )
        await self._bury(entry, letter)

    async def _bury(self, entry: Entry, letter: DeadLetter) -> None:
        try:
            await self._broker.dead_letter(entry, letter)
        except BrokerError as error:
            self._log.warning("a dead letter could not be written", message_id=entry.message.id, reason=str(error))
            self._unburied[entry.key] = letter
            if len(self._unburied) > _MAX_UNBURIED:  # those the broker did take without our hearing of it
                del self._unburied[next(iter(self._unburied))]
            self._hold([entry], _BURY_PAUSE_SECONDS)
            return
        self._unburied.pop(entry.key, None)
        # When it is replayed it is a new message. Noted before the ledger is told, so that a drain waits for it.
        await self._dedup.forget([entry.key])
        self._ledger.forget(entry)
        self.stats.dead_lettered += 1
        self.stats.settled += 1
        self.stats.delivered += bool(entry.accepted)
        self._log.warning(
            "dead letter",
            message_id=entry.message.id,
            reason=letter.reason[:500],
            error_class=letter.error_class.value,
            attempts=letter.attempts,
        )

    # Settlement and waiting.

    def _settle(self, entries: Sequence[Entry]) -> None:
        self.stats.dropped_acks += self._acks.settle(entries)

    def _hold(self, entries: Sequence[Entry], seconds: float) -> None:
        """Tries the messages again later; they stay unacknowledged. Those of a lost connection come by themselves."""
        self._waiting.put([entry for entry in entries if self._ledger.wait(entry)], seconds)

    def _tell_quiet(self) -> None:
        if self._ledger.idle():
            self._quiet.set()


def _reasons(outcomes: Sequence[Retry | Rejected]) -> str:
    return "; ".join(outcome.reason for outcome in outcomes)
