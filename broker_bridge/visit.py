"""A short connection to the broker, to look at a queue or take single messages out of it."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Self, TypeAlias

from broker_bridge.broker import (
    BrokerAddress,
    BrokerError,
    Connect,
    ConnectFailedError,
    Connection,
    ConnectionLostError,
)
from broker_bridge.frames import acks, encode_frame, subscribe
from broker_bridge.message import to_stomp
from broker_bridge.transfer import transfer

Frame: TypeAlias = tuple[Mapping[str, str], bytes]
_IDLE_SECONDS = 2.0
_BROWSE_PREFETCH = 100
_TAKEN_AHEAD = 1000
_SELECTED = 100  # ids in a selector: keeps it below the broker's longest header


class Visit:
    """An asynchronous context manager; every method raises BrokerError."""

    def __init__(self, connect: Connect, addresses: Sequence[BrokerAddress]) -> None:
        self._connect = connect
        self._addresses = addresses
        self._numbers = itertools.count(1)
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        failures: list[str] = []
        for address in self._addresses:
            try:
                self._connection = await self._connect(address, self)
            except ConnectFailedError as error:
                failures.append(str(error))
            else:
                return self
        raise ConnectFailedError("; ".join(failures))

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    def on_messages(self, messages: Sequence[Frame]) -> None:
        for message in messages:
            self._frames.put_nowait(message)

    def on_receipt(self, receipt: str) -> None:
        """Every receipt is awaited; none comes here."""

    def on_error(self, receipt: str, reason: str) -> None:  # noqa: ARG002
        if self._connection is not None:
            self._connection.abort(reason)

    async def browse(self, queue: str, *, selector: str = "") -> AsyncGenerator[Frame, None]:
        """The oldest messages of a queue, which stay there: `maxBrowsePageSize` of them, 400 by default."""
        name = await self._subscribe(queue, prefetch=_BROWSE_PREFETCH, selector=selector, browser=True)
        while (frame := await self._next(name))[0].get("browser") != "end":
            yield frame

    async def consume(self, queue: str) -> AsyncGenerator[Frame, None]:
        """The messages of a queue, oldest first, to be deleted or moved by the caller; what it leaves stays.

        Ends when no more come, or when the caller has left a thousand.
        """
        name = await self._subscribe(queue, prefetch=_TAKEN_AHEAD)
        try:
            while True:
                yield await self._next(name)
        except _NothingMoreError:
            return
        finally:
            await self._unsubscribe(name)

    async def select(self, queue: str, header: str, values: Collection[str]) -> AsyncGenerator[Frame, None]:
        """The messages whose JMS header or property has one of these values, each of which one message has at most."""
        wanted = sorted(values)
        for start in range(0, len(wanted), _SELECTED):
            some = wanted[start : start + _SELECTED]
            missing = len(some)
            name = await self._subscribe(queue, prefetch=missing, selector=selector_of(header, some))
            try:
                while missing:
                    yield await self._next(name)
                    missing -= 1
            except _NothingMoreError:
                continue
            finally:
                await self._unsubscribe(name)

    async def move(self, ack_id: str, headers: Mapping[str, str], body: bytes) -> None:
        """Sends a message as these headers say and removes the original."""
        await transfer(self._open(), f"move-{next(self._numbers)}", headers=headers, body=body, ack_id=ack_id)

    async def delete(self, ack_id: str) -> None:
        receipt = f"delete-{next(self._numbers)}"
        await self._open().request(acks([ack_id], receipt=receipt), receipt)

    async def _subscribe(self, queue: str, *, prefetch: int, selector: str = "", browser: bool = False) -> str:
        name = f"visit-{next(self._numbers)}"
        frames = subscribe(name, to_stomp(queue), selector=selector, prefetch=prefetch, receipt=name, browser=browser)
        await self._open().request(frames, name)
        return name

    async def _unsubscribe(self, name: str) -> None:
        receipt = f"end-{name}"
        await self._open().request(encode_frame("UNSUBSCRIBE", {"id": name, "receipt": receipt}), receipt)

    async def _next(self, subscription: str) -> Frame:
        """The next message of a subscription."""
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                while True:
                    headers, body = await self._frames.get()
                    if headers.get("subscription") == subscription:
                        return headers, body
        except TimeoutError:
            raise _NothingMoreError(f"the broker sent nothing for {_IDLE_SECONDS:g} s") from None

    def _open(self) -> Connection:
        if self._connection is None:
            raise ConnectionLostError("not connected")
        return self._connection


class _NothingMoreError(BrokerError):
    """No message came in time."""


def selector_of(header: str, values: Sequence[str]) -> str:
    """The JMS selector of the messages whose header or property has one of these values."""
    listed = ",".join("'{}'".format(value.replace("'", "''")) for value in values)
    return f"{header} IN ({listed})"
