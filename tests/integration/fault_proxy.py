"""A TCP proxy that behaves like a bad network: slow, lossy, cut off, or silent with its connections open."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from deploy.local.ports import LOOPBACK, free_port_numbers

_CHUNK = 16_384
_RETRANSMISSION_SECONDS = 0.2  # Linux's least retransmission time-out, tcp(7)


@dataclass(slots=True, kw_only=True)
class Faults:
    """What every chunk of up to 16 KiB meets on its way; times are seconds.

    `loss` is the share of chunks that are lost once, which a TCP peer sees as the wait for their retransmission.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    bytes_per_second: float | None = None

    def wait(self, chunk: bytes, dice: random.Random) -> float:
        """How long this chunk takes."""
        seconds = self.delay + dice.random() * self.jitter
        if dice.random() < self.loss:
            seconds += _RETRANSMISSION_SECONDS
        return seconds + (len(chunk) / self.bytes_per_second if self.bytes_per_second else 0.0)


class FaultProxy:
    """Listens on a port of its own and passes everything on to `target`; change `faults` at any time.

    `connections` counts those that came, `added_seconds` sums up what the faults have cost.
    """

    def __init__(self, target: str, *, seed: int = 0) -> None:
        (self.port,) = free_port_numbers(1)
        self.faults = Faults()
        self.connections = 0
        self.added_seconds = 0.0
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._dice = random.Random(seed)
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def fall_silent(self) -> None:
        """Connections stay open and nothing passes, until `speak`."""
        self._speaks.clear()

    def speak(self) -> None:
        """Everything passes again, what was held back included."""
        self._speaks.set()

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        ways = [asyncio.create_task(self._pass_on(*way)) for way in ((reader, far_writer), (far_reader, writer))]
        self._tasks.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for task in ways:
            task.cancel()
        for end in pair:
            end.transport.abort()
        self._writers -= pair
        self._tasks.difference_update(ways)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                seconds = self.faults.wait(chunk, self._dice)
                self.added_seconds += seconds
                await asyncio.sleep(seconds)
                await self._speaks.wait()
                writer.write(chunk)
                await writer.drain()

    def close(self) -> None:
        """End everything that is in progress."""
        self.cut()
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def fault_proxy(target: str) -> AsyncIterator[FaultProxy]:
    """A proxy before `target` (`host:port`), without faults at first."""
    proxy = FaultProxy(target)
    server = await asyncio.start_server(proxy.accept, LOOPBACK, proxy.port)
    try:
        yield proxy
    finally:
        server.close()
        proxy.close()
