"""One question and its answer in a part's own protocol: the only proof that the part serves."""

import asyncio

from deploy.local.part import PartNotReadyError

_PROBE_SECONDS = 2.0
_LONGEST_ANSWER = 64 * 1024


async def ask(port: int, question: bytes, *, until: bytes, name: str, host: str = "127.0.0.1") -> bytes:
    """Send `question` to a port of this machine and read up to and including `until`, within two seconds.

    Raises:
        PartNotReadyError: nobody listens, the peer hangs up, or it stays mute.
    """
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, limit=_LONGEST_ANSWER)
            try:
                writer.write(question)
                await writer.drain()
                return await reader.readuntil(until)
            finally:
                writer.close()
    except TimeoutError as error:
        raise PartNotReadyError(f"{name} on port {port} accepts connections and does not answer") from error
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise PartNotReadyError(f"{name} on port {port} does not answer: {error}") from error
