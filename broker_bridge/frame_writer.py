"""Writes frames to a socket in a thread of its own: `sendall` has no time-out, and must not hold up the event loop."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

_QUEUED_WRITES = 10_000
_JOINED_BYTES = 256 * 1024


class Wire(Protocol):
    """A socket, or TLS over one."""

    def sendall(self, data: bytes, /) -> None: ...


class WriterFullError(Exception):
    """The peer has stopped reading: too many writes wait."""


class FrameWriter:
    """Keeps the order of what is put; what waits is joined into few writes. `failed` is called in the thread.

    `written_at` is when the last write ended, on the monotonic clock.
    """

    def __init__(self, connected: Wire, *, name: str, failed: Callable[[], None]) -> None:
        self.written_at = time.monotonic()
        self._socket = connected
        self._failed = failed
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED_WRITES)
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, frames: bytes) -> None:
        """Queues frames. Raises WriterFullError."""
        try:
            self._queue.put_nowait(frames)
        except queue.Full:
            raise WriterFullError(f"{_QUEUED_WRITES} writes are waiting") from None

    def end(self) -> None:
        """Ends the thread after what is queued; a thread that waits in a write ends when the socket is shut down."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def _run(self) -> None:
        while True:
            parts, goes_on = self._joined()
            try:
                self._socket.sendall(b"".join(parts))
            except OSError:
                self._failed()
                return
            self.written_at = time.monotonic()
            if not goes_on:
                return

    def _joined(self) -> tuple[list[bytes], bool]:
        """What waits, at least one part, and whether more may follow."""
        parts: list[bytes] = []
        size = 0
        while not parts or (size < _JOINED_BYTES and not self._queue.empty()):
            frames = self._queue.get()
            if frames is None:
                return parts, False
            parts.append(frames)
            size += len(frames)
        return parts, True
