"""Policies that act at their time: expiries and notices. What came due while it was away is done at its start."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from services.config.parameter import Parameter, ParameterEvent
from services.config.store import ParameterStore
from services.runtime.errors import ResourceExhaustedError

_LONGEST_WAIT_SECONDS = 30.0  # the wall clock may be set, which no timer hears of


class Expiry:
    """Acts on what is due in a store. Construct it before the first write; `run` is a background task."""

    def __init__(self, store: ParameterStore, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._changed = asyncio.Event()
        store.on_commit(self._look_at)

    async def run(self) -> None:
        """Sweeps whenever something is due, until cancelled."""
        while True:
            self._changed.clear()
            wait = await self.sweep()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def sweep(self) -> float:
        """Does what is due now; answers after how many seconds to look again."""
        due = await self._store.next_due()
        if due is not None and due <= self._now():
            try:
                await self._store.act_on_due(self._now())
            except ResourceExhaustedError as error:  # the health board tells of it
                return error.retry_after or _LONGEST_WAIT_SECONDS
            due = await self._store.next_due()
        return _LONGEST_WAIT_SECONDS if due is None else min(max(due - self._now(), 0.0), _LONGEST_WAIT_SECONDS)

    def _look_at(self, events: Sequence[ParameterEvent]) -> None:
        if any(isinstance(event, Parameter) and (event.expires_at or event.policies) for event in events):
            self._changed.set()
