"""When a message may be acknowledged and when it is settled: a pure ledger of what was taken from the broker.

    received ──▶ dispatching ──▶ settling ──▶ settled
        ▲             │              (ACK sent)   (receipt)
        └── waiting ◀─┘ retry

An ACK is sent only after the message was worked off, and counts only when the broker has confirmed it: a receipt covers
every ACK sent before it on the same connection. A connection is an *epoch*; ack ids of an earlier epoch mean nothing
to the broker and are dropped, while deliveries begun in it run on: when the broker sends such a message again, its
new ack id takes the place of the old one, so that it is neither delivered twice nor acknowledged too early.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AckBatch:
    """ACKs to be written in one go; the last asks for the receipt that confirms them all."""

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

    def open_epoch(self) -> list[Entry]:
        """A new connection: what the broker will send again is forgotten, and returned.

        Kept are messages being dispatched: their outcome still counts. Those already worked off are forgotten too:
        their ACK may or may not have been applied, and the dedup record knows them when they come again.
        """
        self._epoch += 1
        self._pending.clear()
        self._unconfirmed.clear()
        kept = {key: entry for key, entry in self._entries.items() if entry.state is State.DISPATCHING}
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
            return entry
        known.epoch, known.ack_id = self._epoch, ack_id
        if known.state is State.SETTLING:
            self._add_pending(known, now)
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
        dropped = 0
        for entry in entries:
            entry.state = State.SETTLING
            if entry.epoch == self._epoch:
                self._add_pending(entry, now)
            else:
                self._remove(entry)
                dropped += 1
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
        return AckBatch(receipt=receipt, ack_ids=[entry.ack_id for entry in entries])

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

    def in_flight(self) -> int:
        return len(self._entries)

    def in_flight_bytes(self) -> int:
        """Of the bodies."""
        return self._bytes

    def idle(self) -> bool:
        """Whether no delivery runs and every ACK is confirmed. Messages merely waiting do not count."""
        return (
            not self._pending
            and not self._unconfirmed
            and all(entry.state in (State.RECEIVED, State.WAITING) for entry in self._entries.values())
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

    def _add_pending(self, entry: Entry, now: float) -> None:
        if not self._pending:
            self._pending_since = now
        self._pending.append(entry)
