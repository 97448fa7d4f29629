"""The port to a message broker: one connection, which lives once and ends for good.

BrokerError
├── ConnectFailedError    no connection: nobody there, no answer in time, the login refused
├── ConnectionLostError   the connection ended; what was not confirmed may or may not have happened
│   └── UnconfirmedError  we ended it, because the broker did not confirm a frame in time
└── RefusedError          the broker answered a frame with ERROR; the connection may still live
    ├── ForbiddenError    because the user may not do it: the broker itself is well
    └── OversizedError    the broker ends every connection on which it is sent the frame
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class BrokerError(Exception):
    """The root of the tree; the message names the broker and its reason."""


class ConnectFailedError(BrokerError):
    """There is no connection."""


class ConnectionLostError(BrokerError):
    """The connection ended."""


class UnconfirmedError(ConnectionLostError):
    """The broker did not confirm a frame in time."""


class RefusedError(BrokerError):
    """The broker refused a frame."""


class ForbiddenError(RefusedError):
    """The user the bridge logs in as may not do what a frame asks."""


class OversizedError(RefusedError):
    """The broker does not take a frame of this size."""


def refusal(address: "BrokerAddress", reason: str) -> RefusedError:
    """What an ERROR frame means. ActiveMQ says `User x is not authorized to write to: queue://DLQ.orders`."""
    kind = ForbiddenError if "not authorized" in reason else RefusedError
    return kind(f"{address}: {reason}")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens for STOMP."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"stomp{'+ssl' if self.tls else ''}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in; the password is never shown."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


class Handler(Protocol):
    """Who hears what a connection receives, on the event loop and in the order of the wire."""

    def on_messages(self, messages: Sequence[tuple[Mapping[str, str], bytes]]) -> None:
        """MESSAGE frames that arrived together: headers with escapes undone, and body."""
        ...

    def on_receipt(self, receipt: str) -> None:
        """A RECEIPT that no `request` waits for."""
        ...

    def on_error(self, receipt: str, reason: str) -> None:
        """An ERROR that no `request` waits for; `receipt` is that of the refused frame, or empty."""
        ...


class Connection(Protocol):
    """A connection that is logged in. Use it on the event loop only; no method blocks."""

    @property
    def server(self) -> str:
        """What the broker says it is, such as `ActiveMQ/5.19.1`."""
        ...

    @property
    def address(self) -> BrokerAddress: ...

    @property
    def ended(self) -> "asyncio.Future[str]":
        """Resolves with the reason when the connection has ended."""
        ...

    def write(self, frames: bytes) -> None:
        """Queues frames for writing, in order. Raises ConnectionLostError when the connection has ended."""
        ...

    async def request(self, frames: bytes, receipt: str) -> None:
        """Queues frames of which the last asks for `receipt`, and waits for it; in vain, the connection is given up.

        Raises:
            RefusedError: the broker answered with ERROR.
            UnconfirmedError: it gave no answer in time.
            ConnectionLostError: the connection ended before the answer came.
        """
        ...

    async def close(self) -> None:
        """DISCONNECT after everything queued, confirmed within a bounded time; the socket is closed in any case."""
        ...

    def abort(self, reason: str) -> None:
        """Ends the connection at once."""
        ...


class Connect(Protocol):
    """Opens connections."""

    async def __call__(self, address: BrokerAddress, handler: Handler, *, client_id: str = "") -> Connection:
        """A connection that is logged in. Raises ConnectFailedError.

        `client_id` is that of JMS, which a durable subscription belongs to; one connection at a time may have it.
        """
        ...
