"""Kinesis to the store as a Lambda function: `services.persistence.lambda_handler.handler`.

The event source mapping needs ReportBatchItemFailures among its FunctionResponseTypes, a retry limit and an on-failure
destination. The settings are those of the process, with `PENSTOCK_PERSISTENCE_STORE` dynamodb or cassandra.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from services.persistence.assembly import open_stream_recorder
from services.persistence.settings import PersistenceSettings
from services.persistence.stream import StreamRecorder
from services.runtime.health import HealthBoard
from services.runtime.kinesis_event import answer, records_of
from services.runtime.settings import load_settings


class _Function:
    """What lives as long as the function's environment: an event loop and the open store."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._recorder: StreamRecorder | None = None

    def __call__(self, event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        return self._runner.run(self._answer(event))

    async def _answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        if self._recorder is None:
            # Lambda ends an environment without a word: what is opened here is never closed.
            settings = load_settings(PersistenceSettings)
            self._recorder = await open_stream_recorder(settings, HealthBoard(), AsyncExitStack())
        return answer(await self._recorder.take(records_of(event)))


handler = _Function()
