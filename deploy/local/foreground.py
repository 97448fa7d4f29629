"""Runs a stack until a signal ends it; the first one stops it in order, the second kills everything at once."""

import asyncio
import os
import signal
from collections.abc import Callable

from deploy.local.stack import EmbeddedStack

_KILLED = 130  # what shells give for a command ended by Ctrl-C


async def run_until_signal(stack: EmbeddedStack, *, ready: Callable[[], None], stopping: Callable[[str], None]) -> None:
    """Enter `stack`, call `ready`, leave it on SIGINT, SIGTERM or SIGHUP (named to `stopping`).

    Raises what entering the stack raises.
    """
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if len(received) > 1:
            stack.kill_all()
            os._exit(_KILLED)
        stopping(number.name)
        if main is not None:
            main.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        async with stack:
            ready()
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
