"""When a container serves: an answer in its own protocol, since an open port is only Docker's proxy."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock.testing.errors import PartFailedError

from deploy.local.part import PartNotReadyError

_PAUSE_SECONDS = 0.1

Probe = Callable[[], Coroutine[Any, Any, None]]
"""One attempt, bounded in time; raises `PartNotReadyError` until the part answers."""


def wait_until_ready(
    probe: Probe,
    *,
    name: str,
    ending: Callable[[], str],
    logs: Callable[[], str],
    timeout_seconds: float,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when `probe` succeeds.

    Args:
        probe: asked until it succeeds.
        name: of the part, for messages.
        ending: how the part ended, nothing while it runs; one that ended is not waited for.
        logs: what it printed, for the message of a failure.
        timeout_seconds: the longest wait.
        now: the clock, in seconds.
        sleep: how the pause between two attempts is spent.

    Raises:
        PartFailedError: it ended, or did not answer in time; with the last reason and the end of its log.
    """
    end = now() + timeout_seconds
    with ThreadPoolExecutor(1) as thread:  # the caller's own thread may have a running event loop
        while True:
            try:
                thread.submit(asyncio.run, probe()).result()
            except PartNotReadyError as error:
                reason = str(error)
            else:
                return
            if ended := ending():
                raise PartFailedError(f"{name} ended before it was ready ({ended}):\n{_tail(logs())}")
            if now() >= end:
                raise PartFailedError(
                    f"{name} is not ready after {timeout_seconds:g} s ({reason}); the end of its log:\n{_tail(logs())}"
                )
            sleep(_PAUSE_SECONDS)


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (no output)"
