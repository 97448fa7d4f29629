"""When a message may be acknowledged and when it is settled: a pure ledger of what was taken from the broker.

    received ──▶ dispatching ──▶ settling ──▶ settled
        ▲             │              (ACK sent)   (receipt)
        └── waiting ◀─┘ retry

An ACK is sent only after the message was worked off, and counts only when the broker has confirmed it: a receipt covers
every ACK sent before it on the same connection. A connection is an *epoch*; ack ids of an earlier epoch mean nothing
to the broker and are dropped, while deliveries begun in it run on: when the broker sends such a message again, its
new ack id takes the place of the old one, so that it is neither delivered twice nor acknowledged too early.

In a *cumulative* epoch an ACK takes every message before it with it (STOMP 1.2, `ack:client`). Then only the run of
worked-off messages at the head of what came is acknowledged, by the ACK of its last; one that is worked off behind an
open one has to wait.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from broker_bridge.message import Message
from broker_bridge.targets import ErrorClass, Rejected


class State(Enum):
    """Where a message is between broker and target."""

    RECEIVED = auto()
    DISPATCHING = auto()
    WAITING = auto()
    """For its next attempt."""
    SETTLING = auto()
    """Worked off; its ACK is sent or about to be."""


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """A message in flight. `received_at` is on the ledger's clock; `epoch` and `ack_id` are those of its last delivery.

    `excused` counts the attempts that failed for no fault of the message, by class. `accepted` and `rejected` tell
    which targets need not be asked again; `alone` that it is delivered by itself, because a delivery of several
    messages failed as a whole.
    """

    key: str
    message: Message
    epoch: int
    ack_id: str
    received_at: float
    state: State = State.RECEIVED
    attempt: int = 0
    excused: dict[ErrorClass, int] = field(default_factory=dict)
    alone: bool = False
    accepted: set[str] = field(default_factory=set)
    rejected: dict[str, Rejected] = field(default_factory=dict)
    first_failed_at: int = 0
    """Milliseconds since 1970; 0 when no attempt failed."""
    places: int = 0
    """How often it stands among what came by a connection that acknowledges many at once; nearly always once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AckBatch:
    """ACKs to be written in one go; the last asks for the receipt that confirms them all.

    In a cumulative epoch these are two: ActiveMQ synchronises its disk for every single message of an ACK that asks for
    a receipt, so that one takes the last message alone.
    """

    receipt: str
    ack_ids: Sequence[str]


class Ledger:
    """Everything taken from the broker and not settled yet. Times are seconds of the caller's clock.

    ACKs gather while a receipt is awaited and go out together when it comes, when `gather` of them are there, or after
    `window` seconds: confirmation then costs almost nothing, and a single ACK is not delayed.
    """

    def __init__(self, *, gather: int = 100, window: float = 0.02) -> None:
        self._gather = gather
        self._window = window
        self._epoch = 0
        self._cumulative = False
        self._arrived: deque[tuple[str, Entry]] = deque()
        """Of a cumulative epoch: ack ids in the order of the broker, without those that may be acknowledged."""
        self._last_acks: deque[str] = deque(maxlen=2)
        self._kept_back = 0
        """Places of messages that are worked off, behind an open one."""
        self._stalled_since: float | None = None
        self._entries: dict[str, Entry] = {}
        self._bytes = 0
        self._pending: list[Entry] = []
        self._pending_since = 0.0
        self._unconfirmed: deque[tuple[str, float, Sequence[Entry]]] = deque()
        self._receipts = 0

    @property
    def epoch(self) -> int:
        """The current connection, counted from 1; 0 before the first."""
        return self._epoch

    def open_epoch(self, *, cumulative: bool = False) -> list[Entry]:
        """A new connection: what the broker will send again is forgotten, and returned.

        Kept are messages being dispatched: their outcome still counts. Those already worked off are forgotten too:
        their ACK may or may not have been applied, and the dedup record knows them when they come again.
        """
        self._epoch += 1
        self._cumulative = cumulative
        self._arrived.clear()
        self._last_acks.clear()
        self._kept_back = 0
        self._stalled_since = None
        self._pending.clear()
        self._unconfirmed.clear()
        kept = {key: entry for key, entry in self._entries.items() if entry.state is State.DISPATCHING}
        for entry in kept.values():
            entry.places = 0
        dropped = [entry for entry in self._entries.values() if entry.key not in kept]
        self._entries = kept
        self._bytes = sum(len(entry.message.body) for entry in kept.values())
        return dropped

    def receive(self, message: Message, ack_id: str, *, now: float) -> Entry | None:
        """A delivery on the current connection.

        None when the message is in flight already: its ack id is then renewed.
        """
        key = message.key
        known = self._entries.get(key)
        if known is None:
            entry = Entry(key=key, message=message, epoch=self._epoch, ack_id=ack_id, received_at=now)
            self._entries[key] = entry
            self._bytes += len(message.body)
            self._arrive(entry)
            return entry
        known.epoch, known.ack_id = self._epoch, ack_id
        if known.state is State.SETTLING:
            known.places = 0  # those it has are counted already
            self._arrive(known)
            self._settled([known], now)
        else:
            self._arrive(known)
        return None

    def dispatch(self, entry: Entry) -> None:
        entry.state = State.DISPATCHING

    def wait(self, entry: Entry) -> bool:
        """The message waits for its next attempt. False when its connection is gone: the broker will send it again."""
        if entry.epoch != self._epoch:
            self._remove(entry)
            return False
        entry.state = State.WAITING
        return True

    def settle(self, entries: Iterable[Entry], *, now: float) -> int:
        """Takes note that messages are worked off and their ACKs due; how many of them a lost connection makes void."""
        due, dropped = [], 0
        for entry in entries:
            entry.state = State.SETTLING
            if entry.epoch == self._epoch:
                due.append(entry)
            else:
                self._remove(entry)
                dropped += 1
        self._settled(due, now)
        return dropped

    def forget(self, entry: Entry) -> None:
        """The message was settled by other means than an ACK of this ledger: a transaction or a NACK."""
        self._remove(entry)

    def acks_due(self, *, now: float) -> AckBatch | None:
        """The ACKs that must be written now; None when there are none, or they may still gather."""
        if not self._pending or (self._unconfirmed and self.next_due() > now and len(self._pending) < self._gather):
            return None
        entries, self._pending = self._pending, []
        self._receipts += 1
        receipt = f"ack-{self._epoch}-{self._receipts}"
        self._unconfirmed.append((receipt, now, entries))
        ack_ids = list(self._last_acks) if self._cumulative else [entry.ack_id for entry in entries]
        self._last_acks.clear()
        return AckBatch(receipt=receipt, ack_ids=ack_ids)

    def next_due(self) -> float:
        """When gathered ACKs must go out at the latest; infinity when there are none."""
        return self._pending_since + self._window if self._pending else float("inf")

    def confirm(self, receipt: str) -> list[Entry]:
        """The messages that are settled by a receipt: those of its batch and of every earlier one."""
        if not any(receipt == sent for sent, _, _ in self._unconfirmed):
            return []
        settled: list[Entry] = []
        while self._unconfirmed:
            sent, _, entries = self._unconfirmed.popleft()
            settled += entries
            if sent == receipt:
                break
        for entry in settled:
            self._remove(entry)
        return settled

    def unconfirmed_since(self) -> float | None:
        """When the oldest batch of ACKs without a receipt was written; None when all are confirmed."""
        return self._unconfirmed[0][1] if self._unconfirmed else None

    def stalled_seconds(self, *, now: float) -> float:
        """For how long messages that are worked off have been kept from their ACK by an open one before them.

        Infinity while that one waits for its next attempt; 0 when nothing is kept back.
        """
        if self._stalled_since is None:
            return 0.0
        _, head = self._arrived[0]
        return float("inf") if head.state is State.WAITING else now - self._stalled_since

    def in_flight(self) -> int:
        return len(self._entries)

    def holds(self, key: str) -> bool:
        """Whether the message of this key is in flight."""
        return key in self._entries

    def in_flight_bytes(self) -> int:
        """Of the bodies."""
        return self._bytes

    def idle(self) -> bool:
        """Whether no delivery runs and every ACK that may be sent is confirmed. Messages that wait do not count."""
        return (
            not self._pending
            and not self._unconfirmed
            and not any(entry.state is State.DISPATCHING for entry in self._entries.values())
        )

    def oldest(self) -> float | None:
        """When the message longest in flight was received."""
        # Messages are entered in the order they came, and a message never moves.
        return next(iter(self._entries.values())).received_at if self._entries else None

    def dispatching(self) -> list[Entry]:
        """The messages being delivered now."""
        return [entry for entry in self._entries.values() if entry.state is State.DISPATCHING]

    def _remove(self, entry: Entry) -> None:
        if self._entries.pop(entry.key, None) is not None:
            self._bytes -= len(entry.message.body)

    def _arrive(self, entry: Entry) -> None:
        if self._cumulative:
            # With its ack id of now: a message that comes twice has two places, and the entry knows the last alone.
            self._arrived.append((entry.ack_id, entry))
            entry.places += 1

    def _settled(self, entries: Sequence[Entry], now: float) -> None:
        """Makes the ACKs of worked-off messages due, as far as the epoch allows."""
        due = self._head_run(entries, now) if self._cumulative else entries
        if due and not self._pending:
            self._pending_since = now
        self._pending += due

    def _head_run(self, settled: Sequence[Entry], now: float) -> Sequence[Entry]:
        """Takes out what may be acknowledged by the ACK of its last, now that these are worked off too."""
        run = []
        self._kept_back += sum(entry.places for entry in settled)
        while self._arrived and self._arrived[0][1].state is State.SETTLING:
            ack_id, entry = self._arrived.popleft()
            self._last_acks.append(ack_id)
            run.append(entry)
        self._kept_back -= len(run)
        if not self._kept_back:
            self._stalled_since = None
        elif run or self._stalled_since is None:
            self._stalled_since = now
        return run
