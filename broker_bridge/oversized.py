"""Messages that are too large to be sent back to the broker: it ends the connection instead of taking the frame.

STOMP does not tell the limit (ActiveMQ's `wireFormat.maxFrameSize`; larger messages do arrive, from producers on other
connectors), and a connection ends for many reasons. So a large message during whose copy the connection ended is
suspected, and copied with no other copy beside it the next time: when that ends the connection too, it is too large.
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
        self._suspects: set[str] = set()
        self._found: dict[str, None] = {}  # a set that keeps its order
        self._turn = asyncio.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._found

    @contextlib.asynccontextmanager
    async def copying(self, key: str, size: int, ended: "asyncio.Future[str]") -> AsyncGenerator[None, None]:
        """Surrounds the copy of a message of so many bytes. `ended` is that of its connection.

        Raises ConnectionLostError when the copy's turn comes after the end.
        """
        async with self._turn if self._suspects else contextlib.nullcontext():
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
        self._suspects.discard(key)

    def _blame(self, key: str) -> None:
        if key not in self._suspects:
            self._suspects.add(key)
            return
        self._suspects.discard(key)
        self._found[key] = None
        if len(self._found) > _MAX_REMEMBERED:
            del self._found[next(iter(self._found))]
