"""Allowed patterns and JSON Schemas come from callers: they are applied in a child process that a hard limit ends.

Python's engine for regular expressions backtracks, its compiler goes through case-insensitive ranges character by
character, and meanwhile nothing else of its process runs: a hostile pattern would stop the service. Schemas hold
patterns too.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from services.runtime.errors import InternalError, invalid_field

_CHILD = Path(__file__).with_name("pattern_process.py")


class PatternProcess:
    """Matches values in one child process, started at the first use and again after it was ended.

    `cpu_seconds` is the processor time one match may take.
    """

    def __init__(self, *, cpu_seconds: float = 0.5) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pattern")

    async def matches(self, pattern: str, value: str) -> bool:
        """Whether the whole value matches the pattern.

        Raises:
            InvalidArgumentError: the pattern is no regular expression, or the match took longer than it may.
        """
        reply = await self._asked("pattern", pattern, value)
        if isinstance(reply, bool):
            return reply
        fault = f"matching the value takes more than {self._cpu_seconds:g} s of processor time: simplify the pattern"
        if reply is not None:
            fault = f"is not a regular expression: {reply}"
        raise invalid_field("allowed_pattern", fault)

    async def violations(self, schema: str, value: str | None) -> Sequence[str]:
        """What a value, JSON text, violates of a JSON Schema, without the value itself; None checks the schema alone.

        Raises:
            InvalidArgumentError: the schema is none, refers to others, or takes longer than it may.
        """
        reply = await self._asked("schema", schema, value)
        if isinstance(reply, list):
            return reply
        fault = f"applying it takes more than {self._cpu_seconds:g} s of processor time: simplify it"
        raise invalid_field("json_schema", fault if reply is None else f"is not a JSON Schema: {reply}")

    async def close(self) -> None:
        """End the child process."""
        if self._process:
            self._process.kill()
        await asyncio.to_thread(self._thread.shutdown)
        if self._process:
            self._ended(self._process)

    async def _asked(self, kind: str, rule: str, value: str | None) -> object:
        """The child's reply; None when the limit ended it."""
        question = json.dumps([kind, rule, value]).encode() + b"\n"
        # One thread: a question whose caller went away is still answered before the next one is asked.
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question)
        return json.loads(answer) if answer else None

    def _ask(self, question: bytes) -> bytes:
        """The answer to a question; empty when the limit ended the child."""
        process = self._process = self._process or self._started()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(question)
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer and (code := self._ended(process)) != -signal.SIGVTALRM:
            raise InternalError(f"the process that matches patterns ended with code {code}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        # Ctrl-C is for the service, which then ends its child.
        command = (sys.executable, "-I", str(_CHILD), str(self._cpu_seconds))
        return subprocess.Popen(  # noqa: S603 - our own script
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        self._process = None
        with suppress(BrokenPipeError), process:  # closes the pipes and waits
            pass
        return process.returncode
