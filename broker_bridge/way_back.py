"""The way back to the broker: what the loop of a route needs of it."""

from collections.abc import Callable
from typing import Protocol

from broker_bridge.broker import BrokerError
from broker_bridge.dead_letters import DeadLetter
from broker_bridge.message import Message
from broker_bridge.settlement import AckBatch, Entry


class Broker(Protocol):
    """What the loop needs of the broker."""

    def acknowledge(self, batch: AckBatch) -> None:
        """Sends ACKs on the current connection; the receipt comes back by `Pump.confirmed`. Never raises."""
        ...

    async def postpone(self, entry: Entry, *, seconds: float, due: int) -> None:
        """Leaves a message to the broker until its next attempt, as the route's strategy says. Raises BrokerError.

        `due` is the time of that attempt in milliseconds since 1970.
        """
        ...

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        """Moves a message to the dead letter queue and removes it from its own, both or none. Raises BrokerError."""
        ...


class MemoryBroker:
    """Keeps what is acknowledged and given up, and confirms at once. For tests and dry runs."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.dead: list[tuple[Message, DeadLetter]] = []
        self.postponed: list[tuple[Entry, float]] = []
        self.confirm: Callable[[str], None] = lambda _receipt: None
        self.failure: BrokerError | None = None

    def acknowledge(self, batch: AckBatch) -> None:
        self.acknowledged += batch.ack_ids
        self.confirm(batch.receipt)

    async def postpone(self, entry: Entry, *, seconds: float, due: int) -> None:  # noqa: ARG002
        if self.failure is not None:
            raise self.failure
        self.postponed.append((entry, seconds))

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        if self.failure is not None:
            raise self.failure
        self.dead.append((entry.message, letter))
