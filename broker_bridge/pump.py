"""The one loop of a route: take, filter, deliver, acknowledge; retry what failed, give up what keeps failing.

    inbox ─▶ prepare ─▶ filter ─▶ claim ─▶ deliver to each target ─▶ done ─▶ ACK
                │          │                     │
              poison   away: wait         failed: wait, or dead letter

Everything happens per batch; only failures cost something per message. A message is delivered once to each target
that took it, however often the others have to be asked again.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from broker_bridge.acknowledger import Acknowledger
from broker_bridge.claims import Claims, claim
from broker_bridge.clock import Clock
from broker_bridge.dead_letters import DeadLetter
from broker_bridge.dedup import Dedup
from broker_bridge.failures import Failures, reasons_of
from broker_bridge.fan_out import Attempt, FanOut
from broker_bridge.filtering import FilteringUnavailableError, Match, MessageFilter, fixed_destinations
from broker_bridge.inbox import Inbox
from broker_bridge.map_message import read_transformed
from broker_bridge.message import decode_message
from broker_bridge.namesakes import Namesakes
from broker_bridge.parcel import Parcel
from broker_bridge.postponement import postponed
from broker_bridge.preparation import PoisonError, prepare
from broker_bridge.replies import Answers
from broker_bridge.retry_queue import RetryQueue
from broker_bridge.routes import Route
from broker_bridge.settlement import Entry, Ledger, State
from broker_bridge.source import is_wildcard
from broker_bridge.stats import RouteStats, Snapshot
from broker_bridge.targets import ErrorClass, Targets
from broker_bridge.way_back import Broker
from broker_bridge.window import Window

_RENEW_SECONDS = 5.0
_FILTER_PAUSE_SECONDS = 1.0
_FAULT_PAUSE_SECONDS = 1.0
_ELSEWHERE_PAUSE_SECONDS = 0.05
_EARLY_SECONDS = 0.05
_NEVER_ENDED = "the attempts before did not come to an end: the bridge stopped or lost its connection during each"


class Pump:
    """Delivers the messages of one route, or of a lane of it. Its methods are called on the event loop.

    `delivering` holds the keys being delivered now; the lanes of a route share it.
    """

    def __init__(
        self,
        route: Route,
        *,
        broker: Broker,
        message_filter: MessageFilter,
        targets: Targets,
        answers: Answers,
        dedup: Dedup,
        clock: Clock,
        stats: RouteStats | None = None,
        delivering: set[str] | None = None,
    ) -> None:
        self.route = route
        self.stats = stats or RouteStats()
        self._broker = broker
        self._filter = message_filter
        self._fan_out = FanOut(route.name, targets)
        self._answers = answers
        self._dedup = dedup
        self._clock = clock
        self._ledger = Ledger()
        self._namesakes = Namesakes(self._ledger) if is_wildcard(route.source) else None
        self._window = Window(
            messages=route.prefetch, max_bytes=route.max_in_flight_bytes // (route.lanes or 1), now=clock.monotonic
        )
        self._acks = Acknowledger(self._ledger, broker.acknowledge, clock.monotonic)
        self._inbox = Inbox(route.batch)
        self._waiting = RetryQueue(self._inbox.put_back if route.lanes else self._inbox.put, clock.monotonic)
        # After a reconnection a message may come by another lane while the first one still delivers it.
        self._delivering = set() if delivering is None else delivering
        self._failures = Failures(
            route, broker=broker, dedup=dedup, ledger=self._ledger, clock=clock, stats=self.stats, hold=self._hold
        )
        self._quiet = asyncio.Event()
        self._log = structlog.get_logger("pump").bind(route=route.name)

    # What the connection tells.

    def opened(self, *, cumulative: bool = False) -> int:
        """A new connection: returns its epoch. Everything not being delivered right now will come again."""
        self._ledger.open_epoch(cumulative=cumulative)
        self._inbox.clear()
        if self._namesakes:
            self._namesakes.begin()
        for entry, due in self._waiting.clear():
            self._failures.remember(entry, due)
        self._tell_quiet()
        return self._ledger.epoch

    def received(self, frames: Sequence[tuple[Mapping[str, str], bytes]]) -> None:
        """MESSAGE frames of the current connection."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        self.stats.received += len(frames)
        entries = []
        for headers, body in frames:
            message = decode_message(headers, body, source=self.route.source, received_at=wall)
            if self.route.transform_maps:
                message = read_transformed(message)
            waited = postponed(message)
            self._window.received(len(body))
            if self._namesakes and self._namesakes.leaves(message):
                continue
            entry = self._ledger.receive(waited.message if waited else message, headers["ack"], now=now)
            if entry is None:
                continue
            # A broker without a scheduler sends a delayed copy at once, and any broker what came by a lost connection.
            pause = self._failures.recall(entry, waited)
            if pause > _EARLY_SECONDS and not self.route.lanes:
                self._hold([entry], pause)
            else:
                entries.append(entry)
        self._inbox.put(entries)
        self._acks.send_due()

    def confirmed(self, receipt: str) -> None:
        """The broker confirmed ACKs."""
        if settled := self._acks.confirm(receipt):
            self.stats.settled += settled
            self.stats.last_settled_at = self._clock.wall()
        self._tell_quiet()

    def snapshot(self) -> Snapshot:
        oldest = self._ledger.oldest()
        age = 0.0 if oldest is None else self._clock.monotonic() - oldest
        return Snapshot(
            route=self.route.name,
            stats=self.stats,
            in_flight=self._ledger.in_flight(),
            in_flight_bytes=self._ledger.in_flight_bytes(),
            oldest_age=age,
        )

    def unconfirmed_seconds(self) -> float:
        """How long the oldest ACKs have waited for their receipt."""
        since = self._ledger.unconfirmed_since()
        return 0.0 if since is None else self._clock.monotonic() - since

    def stalled_seconds(self) -> float:
        """For how long messages could not be acknowledged because of one before them."""
        return self._ledger.stalled_seconds(now=self._clock.monotonic())

    def is_remembered(self) -> bool:
        """Whether other bridges, and this one after a restart, know what was delivered."""
        return self._dedup.available

    def prefetch(self) -> int:
        return self._window.size

    def is_idle(self) -> bool:
        return not self._ledger.in_flight()

    def renewal(self) -> str:
        in_flight, in_flight_bytes = self._ledger.in_flight(), self._ledger.in_flight_bytes()
        why = self._window.renewal(in_flight=in_flight, in_flight_bytes=in_flight_bytes)
        return why or (self._namesakes.renewal() if self._namesakes else "")

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

    async def abandon(self) -> None:
        """What is being delivered will not be waited for: that is no fault of the messages."""
        keys = [entry.key for entry in self._ledger.dispatching()]
        if keys:
            await self._dedup.excuse(keys, ErrorClass.UNAVAILABLE)

    async def _work(self) -> None:
        while True:
            entries = self._not_delivered_elsewhere(await self._inbox.take())
            keys = [entry.key for entry in entries]
            self._delivering.update(keys)
            for entry in entries:
                self._ledger.dispatch(entry)
            try:
                await self._deliver(entries)
            except Exception:  # noqa: BLE001 - a fault of ours must neither lose a message nor stop the route
                self._log.exception("delivering a batch failed", messages=[entry.message.id for entry in entries])
                self._hold([entry for entry in entries if entry.state is State.DISPATCHING], _FAULT_PAUSE_SECONDS)
            self._delivering.difference_update(keys)
            self._inbox.finished()
            self._tell_quiet()

    def _not_delivered_elsewhere(self, entries: Sequence[Entry]) -> list[Entry]:
        elsewhere = [entry for entry in entries if entry.key in self._delivering]
        if elsewhere:
            self._hold(elsewhere, _ELSEWHERE_PAUSE_SECONDS)
        return [entry for entry in entries if entry not in elsewhere] if elsewhere else list(entries)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self._dedup.renew([entry.key for entry in self._ledger.dispatching()])

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        poison: list[tuple[Entry, str]] = []
        unburied: list[tuple[Entry, DeadLetter]] = []
        attempts: list[Attempt] = []
        for entry in entries:
            if letter := self._failures.unburied(entry):
                unburied.append((entry, letter))
                continue
            try:
                attempts.append(Attempt(entry, prepare(entry.message, self.route, attempt=entry.attempt + 1)))
            except PoisonError as error:
                poison.append((entry, str(error)))
        if attempts:  # first: the ACKs of what is delivered give a broker room that has none for dead letters
            await self._deliver_sound(attempts)
        for entry, letter in unburied:
            await self._failures.bury(entry, letter)
        for entry, reason in poison:
            entry.attempt += 1
            await self._failures.give_up(entry, reason, ErrorClass.POISON)

    async def _deliver_sound(self, attempts: Sequence[Attempt]) -> None:
        matches = await self._match([attempt.parcel for attempt in attempts])
        if matches is None:
            self._hold([attempt.entry for attempt in attempts], _FILTER_PAUSE_SECONDS)
            return
        claims = await self._claim(attempts, matches)
        await self._fan_out.deliver(claims.mine)
        await self._answer(claims.mine)
        await self._conclude(claims.mine)
        for entry in claims.worn_out:
            await self._failures.give_up(entry, _NEVER_ENDED, ErrorClass.POISON)

    async def _match(self, parcels: Sequence[Parcel]) -> Sequence[Match] | None:
        """Where the messages go; None when nobody can say now, which is no attempt of theirs."""
        if not self.route.filter_topic:
            return [fixed_destinations(self.route.targets)] * len(parcels)
        try:
            return await self._filter.match(self.route.filter_topic, parcels)
        except FilteringUnavailableError:
            return None

    async def _claim(self, attempts: Sequence[Attempt], matches: Sequence[Match]) -> Claims:
        """Which attempts may be made; what was delivered before is settled, what others deliver waits."""
        claims = await claim(attempts, matches, self._dedup, self.route.retry)
        for entry, seconds in claims.busy:
            self._hold([entry], seconds)
        self.stats.duplicates += len(claims.duplicates)
        self._settle(claims.duplicates)
        return claims

    async def _answer(self, attempts: Sequence[Attempt]) -> None:
        """Before the messages are noted as done: whoever asked shall not wait in vain when the bridge dies."""
        for attempt in attempts:
            if attempt.unread:
                self.stats.unsent_replies += len(attempt.unread)
                self._log.warning("no reply", message_id=attempt.entry.message.id, reasons=attempt.unread[:5])
        replies = [
            self._answers.send(attempt.entry.message, reply, self.stats)
            for attempt in attempts
            if attempt.entry.message.reply_to
            for reply in attempt.replies
        ]
        if replies:
            await asyncio.gather(*replies)

    async def _conclude(self, attempts: Sequence[Attempt]) -> None:
        """Settles what succeeded, at once and together; then what failed, one by one."""
        good = [attempt for attempt in attempts if attempt.retry is None and not attempt.entry.rejected]
        if good:
            await self._dedup.done([attempt.entry.key for attempt in good])
            self._settle([attempt.entry for attempt in good])
        self.stats.delivered += sum(bool(attempt.entry.accepted) for attempt in good)
        self.stats.filtered += sum(not attempt.entry.accepted for attempt in good)
        await self._failures.excuse(attempts)
        jitter = self._clock.random()  # one for all: what failed together is tried together
        for attempt in attempts:
            if attempt.retry is not None:
                await self._failures.again(attempt.entry, attempt.retry, jitter)
            elif attempt.entry.rejected:
                rejections = list(attempt.entry.rejected.values())
                await self._failures.give_up(attempt.entry, reasons_of(rejections), rejections[0].error_class)

    # Settlement and waiting.

    def _settle(self, entries: Sequence[Entry]) -> None:
        self.stats.dropped_acks += self._acks.settle(entries)

    def _hold(self, entries: Sequence[Entry], seconds: float) -> None:
        """Tries the messages again later; they stay unacknowledged. Those of a lost connection come by themselves."""
        held = [entry for entry in entries if self._ledger.wait(entry)]
        if len(held) < len(entries):
            due = self._clock.monotonic() + seconds
            for entry in entries:
                if entry.state is not State.WAITING:
                    self._failures.remember(entry, due)
        if held and self.route.lanes:
            self._inbox.block()
        self._waiting.put(held, seconds)

    def _tell_quiet(self) -> None:
        if self._ledger.idle():
            self._quiet.set()
