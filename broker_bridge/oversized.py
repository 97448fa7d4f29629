"""Messages that are too large to be sent back to the broker: it ends the connection instead of taking the frame.

STOMP does not tell the limit (ActiveMQ's `wireFormat.maxFrameSize`; larger messages do arrive, from producers on other
connectors), and a connection ends for many reasons. So a large message during whose copy the connection ended is
suspected, and copied with no other copy beside it the next time: when that ends the connection too, it is too large.
A suspect that never comes again (somebody else took it) keeps nobody waiting.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from broker_bridge.broker import ConnectionLostError, UnconfirmedError

LARGE_BYTES = 64 * 1024
"""No broker is so narrow that it refuses less."""
_MAX_REMEMBERED = 1000


class Oversized:
    """Which messages of a route are suspected, and which are too large."""

    def __init__(self) -> None:
        self._suspects: dict[str, None] = {}  # sets that keep their order
        self._found: dict[str, None] = {}
        self._copies = 0
        self._alone = 0  # copies of suspects, and those that wait for their turn
        self._ended = asyncio.Event()

    def __contains__(self, key: str) -> bool:
        return key in self._found

    @contextlib.asynccontextmanager
    async def copying(self, key: str, size: int, ended: "asyncio.Future[str]") -> AsyncGenerator[None, None]:
        """Surrounds the copy of a message of so many bytes. `ended` is that of its connection.

        Raises ConnectionLostError when the copy's turn comes after the end.
        """
        async with self._turn(alone=key in self._suspects):
            if ended.done():  # at the copy of another one
                raise ConnectionLostError(ended.result())
            try:
                yield
            except UnconfirmedError:  # the broker is slow or full: that says nothing of the message
                raise
            except ConnectionLostError:
                if size >= LARGE_BYTES:
                    self._blame(key)
                raise
        self._suspects.pop(key, None)

    @contextlib.asynccontextmanager
    async def _turn(self, *, alone: bool) -> AsyncGenerator[None, None]:
        """Several at the same time, or one alone, before whose turn no other one begins."""
        self._alone += alone
        try:
            while self._copies if alone else self._alone:
                self._ended.clear()
                await self._ended.wait()
            self._copies += 1
            try:
                yield
            finally:
                self._copies -= 1
        finally:
            self._alone -= alone
            self._ended.set()

    def _blame(self, key: str) -> None:
        if key in self._suspects:
            del self._suspects[key]
            _remember(self._found, key)
        else:
            _remember(self._suspects, key)


def _remember(keys: dict[str, None], key: str) -> None:
    keys[key] = None
    if len(keys) > _MAX_REMEMBERED:
        del keys[next(iter(keys))]
