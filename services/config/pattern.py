"""Allowed patterns are regular expressions of callers: matching runs in a child process that a hard limit ends.

Python's engine backtracks, and meanwhile nothing else of its process runs: a hostile pattern would stop the service.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from services.runtime.errors import FieldViolation, InternalError, InvalidArgumentError

_CHILD = Path(__file__).with_name("pattern_process.py")


class PatternProcess:
    """Matches values in one child process, started at the first use and again after it was ended.

    `cpu_seconds` is the processor time one match may take.
    """

    def __init__(self, *, cpu_seconds: float = 0.5) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def matches(self, pattern: str, value: str) -> bool:
        """Whether the whole value matches the pattern.

        Raises:
            InvalidArgumentError: the match took longer than it may.
        """
        question = json.dumps([pattern, value]).encode() + b"\n"
        async with self._turn:
            answer = await self._asked(question)
        if answer:
            return bool(json.loads(answer))
        fault = f"matching the value takes more than {self._cpu_seconds:g} s of processor time: simplify the pattern"
        raise InvalidArgumentError(
            f"allowed_pattern: {fault}", violations=[FieldViolation(field="allowed_pattern", description=fault)]
        )

    async def close(self) -> None:
        """End the child process."""
        process, self._process = self._process, None
        if process and process.returncode is None:
            process.kill()
            await process.wait()

    async def _asked(self, question: bytes) -> bytes:
        """The answer to a question; empty when the limit ended the child."""
        process = self._process or await self._started()
        self._process = None  # a caller that is cancelled while the child computes leaves it to be ended
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(question)
            await process.stdin.drain()
            answer = await process.stdout.readline()
        except ConnectionError:
            answer = b""
        except asyncio.CancelledError:
            process.kill()
            raise
        if answer:
            self._process = process
            return answer
        if await process.wait() != -signal.SIGVTALRM:
            raise InternalError(f"the process that matches patterns ended with code {process.returncode}")
        return b""

    async def _started(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_CHILD),
            str(self._cpu_seconds),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the service, which then ends its child
        )
