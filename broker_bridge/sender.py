"""Sends messages to the broker on a connection apart from those that consume.

A broker out of memory or disk stops reading from a connection that sends: the ACKs of a route must not stand behind.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker_bridge.broker import (
    BrokerAddress,
    Connect,
    ConnectFailedError,
    Connection,
    ConnectionLostError,
    OversizedError,
    UnconfirmedError,
)
from broker_bridge.frames import encode_frame
from broker_bridge.oversized import LARGE_BYTES

_TRIES_ALONE = 2  # a connection may end by chance, and once more beside it: what is too large ends every one


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Headers and body of a SEND."""

    headers: Mapping[str, str]
    body: bytes


class Sender:
    """One connection, opened when it is first needed and again after it was lost."""

    def __init__(self, connect: Connect, addresses: Sequence[BrokerAddress]) -> None:
        self._connect = connect
        self._addresses = addresses
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()
        self._alone = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def send(self, sendings: Sequence[Sending]) -> None:
        """Sends messages in order, all or none; returns when the broker has stored them.

        Raises:
            ConnectFailedError: no broker can be reached.
            ConnectionLostError: the connection ended: all were sent, or none.
            OversizedError: the broker ends the connection when it is sent them.
            RefusedError: the broker refused one of them; none was sent.
        """
        connection = await self._opened()
        try:
            await self._send(connection, sendings)
        except UnconfirmedError:
            raise
        except ConnectionLostError:
            largest = max(len(sending.body) for sending in sendings)  # each is a frame of its own
            if largest < LARGE_BYTES:
                raise
        else:
            return
        async with self._alone:
            for _ in range(_TRIES_ALONE):
                if not (ended := await self._sent_alone(sendings)):
                    return
        raise OversizedError(f"the broker ends the connection when it is sent {largest} bytes: {ended}")

    async def _sent_alone(self, sendings: Sequence[Sending]) -> str:
        """On a connection of their own: why it ended, empty when it did not."""
        connection = await self._open()
        try:
            await self._send(connection, sendings)
        except UnconfirmedError:
            raise
        except ConnectionLostError as error:
            return str(error)
        finally:
            await connection.close()
        return ""

    async def _send(self, connection: Connection, sendings: Sequence[Sending]) -> None:
        name = f"send-{next(self._numbers)}"
        if len(sendings) == 1:
            await connection.request(_frame(sendings[0], {"receipt": name}), name)
            return
        # One transaction costs the broker one synchronisation with its disk, whatever it holds.
        connection.write(encode_frame("BEGIN", {"transaction": name}))
        try:
            async with asyncio.TaskGroup() as group:
                for number, sending in enumerate(sendings):
                    receipt = f"{name}-{number}"
                    frame = _frame(sending, {"transaction": name, "receipt": receipt})
                    group.create_task(connection.request(frame, receipt))
        except BaseExceptionGroup as errors:
            _abort(connection, name)
            late = (error for error in errors.exceptions if isinstance(error, UnconfirmedError))
            raise next(late, errors.exceptions[0]) from None
        except asyncio.CancelledError:
            _abort(connection, name)
            raise
        committed = f"{name}-committed"
        await connection.request(encode_frame("COMMIT", {"transaction": name, "receipt": committed}), committed)

    async def server(self) -> str:
        """What the broker says it is. Raises ConnectFailedError."""
        return (await self._opened()).server

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _opened(self) -> Connection:
        async with self._opening:
            if self._connection is None or self._connection.ended.done():
                self._connection = await self._open()
            return self._connection

    async def _open(self) -> Connection:
        failures: list[str] = []
        for address in self._addresses:
            try:
                listener = _Listener()
                listener.connection = await self._connect(address, listener)
            except ConnectFailedError as error:
                failures.append(str(error))
            else:
                return listener.connection
        raise ConnectFailedError("; ".join(failures))


class _Listener:
    """Hears what a connection tells: nothing is subscribed there, and every receipt is awaited."""

    connection: Connection | None = None

    def on_messages(self, messages: Sequence[tuple[Mapping[str, str], bytes]]) -> None: ...

    def on_receipt(self, receipt: str) -> None: ...

    def on_error(self, receipt: str, reason: str) -> None:  # noqa: ARG002
        if self.connection is not None:
            self.connection.abort(reason)


def _abort(connection: Connection, transaction: str) -> None:
    """Takes back what was sent; with its connection a transaction ends anyhow."""
    with contextlib.suppress(ConnectionLostError):
        connection.write(encode_frame("ABORT", {"transaction": transaction}))


def _frame(sending: Sending, more: Mapping[str, str]) -> bytes:
    return encode_frame("SEND", {**sending.headers, **more}, sending.body)
