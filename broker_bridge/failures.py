"""What becomes of messages that could not be delivered: they wait, here or in the broker, or are given up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from broker_bridge.broker import BrokerError, ConnectionLostError, RefusedError, UnconfirmedError
from broker_bridge.clock import Clock
from broker_bridge.dead_letters import DeadLetter, legible
from broker_bridge.dedup import Dedup
from broker_bridge.fan_out import Attempt
from broker_bridge.postponement import Postponed
from broker_bridge.retry_policy import EXCUSED, RetryStrategy, Tries
from broker_bridge.retry_settings import MAX_WAIT_SECONDS
from broker_bridge.routes import Route
from broker_bridge.settlement import Entry, Ledger
from broker_bridge.stats import RouteStats
from broker_bridge.targets import ErrorClass, Rejected, Retry
from broker_bridge.way_back import Broker

_BURY_PAUSE_SECONDS = 1.0
# While a broker has no room for a message it reads nothing from its connection, not even the ACKs that would make room.
_NO_ROOM_PAUSE_SECONDS = 60.0
# One that refuses to store, most likely for want of disk, is not asked again for every message.
_REFUSED_PAUSE_SECONDS = 5.0
_MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    """What targets said about a message that comes again by itself; without the message, which may be large.

    It shall not be tried before `due`, on the clock that only goes forward.
    """

    due: float
    first_failed_at: int
    alone: bool
    accepted: set[str]
    rejected: dict[str, Rejected]


class Failures:
    """The failures of one route. `hold` lets messages wait unacknowledged for so many seconds."""

    def __init__(
        self,
        route: Route,
        *,
        broker: Broker,
        dedup: Dedup,
        ledger: Ledger,
        clock: Clock,
        stats: RouteStats,
        hold: Callable[[Sequence[Entry], float], None],
    ) -> None:
        self._route = route
        self._broker = broker
        self._dedup = dedup
        self._ledger = ledger
        self._clock = clock
        self._stats = stats
        self._hold = hold
        # Decided, but the broker did not take them yet; kept over reconnections for their reasons.
        self._unburied: dict[str, DeadLetter] = {}
        self._no_room_until = 0.0
        self._remembered: dict[str, _Remembered] = {}
        self._log = structlog.get_logger("failures").bind(route=route.name)

    async def excuse(self, attempts: Sequence[Attempt]) -> None:
        """Failures that are not the message's fault shall not count against it, not even after a restart."""
        for error_class in EXCUSED:
            entries = [a.entry for a in attempts if a.retry is not None and a.retry.error_class is error_class]
            for entry in entries:
                entry.excused[error_class] = entry.excused.get(error_class, 0) + 1
            if entries:
                await self._dedup.excuse([entry.key for entry in entries], error_class)

    async def again(self, entry: Entry, retry: Retry, jitter: float) -> None:
        entry.first_failed_at = entry.first_failed_at or self._clock.wall()
        tries = Tries(begun=entry.attempt, excused=entry.excused)
        wait = self._route.retry.wait(retry.error_class, tries, lambda: jitter)
        if wait is None:
            await self.give_up(entry, reasons_of([retry, *entry.rejected.values()]), retry.error_class)
            return
        self._stats.retried += 1
        wait = max(wait, min(retry.after or 0.0, MAX_WAIT_SECONDS))
        if retry.error_class is ErrorClass.REFUSED and self._route.retry.strategy is not RetryStrategy.LOCAL:
            await self._postpone(entry, wait)
        else:
            self._hold([entry], wait)

    async def _postpone(self, entry: Entry, seconds: float) -> None:
        ack_id = entry.ack_id
        if self._no_room_seconds() > 0:
            self._hold([entry], seconds)
            return
        try:
            await self._broker.postpone(entry, seconds=seconds, due=self._clock.wall() + int(seconds * 1000))
        except BrokerError as error:
            self._note_room(error)
            self._log.info("a message waits in the bridge", message_id=entry.message.id, reason=str(error))
            self._hold([entry], seconds)
            return
        if entry.ack_id != ack_id:  # it was back before the broker's answer: the entry stands for it now
            self._hold([entry], seconds)
            return
        self._ledger.forget(entry)
        self.remember(entry, due=0.0)

    def remember(self, entry: Entry, due: float) -> None:
        """The message will come again from the broker, which knows nothing of its wait, nor of what targets said."""
        self._remembered[entry.key] = _Remembered(
            due=due,
            first_failed_at=entry.first_failed_at,
            alone=entry.alone,
            accepted=entry.accepted,
            rejected=entry.rejected,
        )
        if len(self._remembered) > _MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def recall(self, entry: Entry, waited: Postponed | None) -> float:
        """What is known of a message that comes again: from its copy, and more from this process.

        Returns for how many seconds it still has to wait; none when not positive.
        """
        pause = 0.0
        if waited is not None:
            entry.attempt, entry.first_failed_at = waited.attempts, waited.first_failed_at
            entry.accepted.update(waited.accepted)
            pause = (waited.due - self._clock.wall()) / 1000
        if before := self._remembered.pop(entry.key, None):
            entry.first_failed_at, entry.alone = before.first_failed_at, before.alone
            entry.accepted, entry.rejected = before.accepted, before.rejected
            pause = max(pause, before.due - self._clock.monotonic())
        # A new connection may take at once what the old one did not take.
        return 0.0 if entry.key in self._unburied else pause

    async def give_up(self, entry: Entry, reason: str, error_class: ErrorClass) -> None:
        letter = DeadLetter(
            reason=legible(reason),
            error_class=error_class,
            attempts=entry.attempt,
            first_failed_at=entry.first_failed_at or self._clock.wall(),
            route=self._route.name,
        )
        await self.bury(entry, letter)

    def unburied(self, entry: Entry) -> DeadLetter | None:
        """The story of a message that is given up, and that the broker has not taken yet."""
        return self._unburied.get(entry.key)

    async def bury(self, entry: Entry, letter: DeadLetter) -> None:
        if (pause := self._no_room_seconds()) > 0:
            self._bury_later(entry, letter, pause)
            return
        try:
            await self._broker.dead_letter(entry, letter)
        except BrokerError as error:
            # The session tells of a connection that is lost: once for each letter is enough here.
            if not (isinstance(error, ConnectionLostError) and entry.key in self._unburied):
                self._log.warning("a dead letter could not be written", message_id=entry.message.id, reason=str(error))
            self._note_room(error)
            if isinstance(error, RefusedError):
                self._pause(_REFUSED_PAUSE_SECONDS)
            self._bury_later(entry, letter, _BURY_PAUSE_SECONDS)
            return
        self._unburied.pop(entry.key, None)
        # When it is replayed it is a new message. Noted before the ledger is told, so that a drain waits for it.
        await self._dedup.forget([entry.key])
        self._ledger.forget(entry)
        self._stats.dead_lettered += 1
        self._stats.settled += 1
        self._stats.last_settled_at = self._clock.wall()
        self._stats.delivered += bool(entry.accepted)
        self._log.warning(
            "dead letter",
            message_id=entry.message.id,
            reason=letter.reason[:500],
            error_class=letter.error_class.value,
            attempts=letter.attempts,
        )

    def _no_room_seconds(self) -> float:
        """How long nothing shall be sent to the broker beside ACKs; none when not positive."""
        return self._no_room_until - self._clock.monotonic()

    def _note_room(self, error: BrokerError) -> None:
        if isinstance(error, UnconfirmedError):
            self._pause(_NO_ROOM_PAUSE_SECONDS)

    def _pause(self, seconds: float) -> None:
        self._no_room_until = max(self._no_room_until, self._clock.monotonic() + seconds)

    def _bury_later(self, entry: Entry, letter: DeadLetter, seconds: float) -> None:
        self._unburied[entry.key] = letter
        if len(self._unburied) > _MAX_REMEMBERED:  # those the broker did take without our hearing of it
            del self._unburied[next(iter(self._unburied))]
        self._hold([entry], seconds)


def reasons_of(outcomes: Sequence[Retry | Rejected]) -> str:
    """Several failures as one reason."""
    return "; ".join(outcome.reason for outcome in outcomes)
