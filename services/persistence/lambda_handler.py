"""Kinesis to the store as a Lambda function: `services.persistence.lambda_handler.handler`.

The event source mapping needs ReportBatchItemFailures among its FunctionResponseTypes, a retry limit and an on-failure
destination. The settings are those of the process, with `PENSTOCK_PERSISTENCE_STORE` dynamodb or cassandra.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from services.persistence.assembly import open_stream_recorder
from services.persistence.settings import PersistenceSettings
from services.persistence.stream import StreamRecord, StreamRecorder
from services.runtime.health import HealthBoard
from services.runtime.settings import load_settings

_MICROSECONDS = 1_000_000


async def answer(event: Mapping[str, Any], recorder: StreamRecorder) -> dict[str, Any]:
    """The lowest sequence number that has to come again, with all behind it; none when the batch is done.

    https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
    """
    first_failed = await recorder.take(records_of(event))
    failures = [] if first_failed is None else [{"itemIdentifier": first_failed.sequence_number}]
    return {"batchItemFailures": failures}


def records_of(event: Mapping[str, Any]) -> Sequence[StreamRecord]:
    """The records of a Kinesis event, in order of their sequence numbers."""
    return [
        StreamRecord(
            shard_id=record["eventID"].partition(":")[0],
            sequence_number=record["kinesis"]["sequenceNumber"],
            arrived_at=round(record["kinesis"]["approximateArrivalTimestamp"] * _MICROSECONDS),
            data=base64.b64decode(record["kinesis"]["data"]),
        )
        for record in event["Records"]
    ]


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
        return await answer(event, self._recorder)


handler = _Function()
