"""Core data from a Kinesis stream to Redis as a Lambda function: `services.tracking.lambda_handler.handler`.

A program is written as a whole and announced in the same transaction, so every intake drops what it has cached. The
event source mapping needs ReportBatchItemFailures among its FunctionResponseTypes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from pydantic import Field, SecretStr

from services.runtime.aws import aws_client
from services.runtime.errors import InvalidArgumentError, RetryableError
from services.runtime.kinesis_event import FailedRecord, FailureQueue, StreamRecord, answer, records_of
from services.runtime.settings import ServiceSettings, load_settings, settings_config
from services.tracking.core_data import program_of
from services.tracking.program_store import ProgramStore


class CoreDataSettings(ServiceSettings):
    """Settings of the function."""

    model_config = settings_config("PENSTOCK_CORE_DATA_")

    redis_url: SecretStr = Field(description="Redis or Valkey that holds the programs; rediss:// for TLS.")
    redis_prefix: str = Field(default="penstock", min_length=1, description="Prefix of its keys and channels.")
    legacy_channel: str = Field(
        default="", description="Channel of the reference architecture; set, its hashes and messages are written too."
    )
    failure_queue_url: str = Field(min_length=1, description="SQS queue for records that are no programs.")
    aws_region: str = Field(default="us-east-1", min_length=1, description="AWS region of the queue.")
    aws_endpoint_url: str | None = Field(default=None, description="Where SQS is called instead of AWS.")


class CoreDataUpdater:
    """Puts the programs of records, in order: of two versions of a program the later one stays."""

    def __init__(self, programs: ProgramStore, failures: FailureQueue) -> None:
        self._programs = programs
        self._failures = failures

    async def take(self, records: Sequence[StreamRecord]) -> StreamRecord | None:
        """The first record that has to come again, with all behind it; None when all are done."""
        for record in records:
            try:
                await self._take(record)
            except RetryableError as error:
                structlog.get_logger(component="core data").warning(
                    "records have to come again", sequence_number=record.sequence_number, reason=error.message
                )
                return record
        return None

    async def _take(self, record: StreamRecord) -> None:
        try:
            await self._programs.put(program_of(record.data))
        except InvalidArgumentError as error:
            await self._failures.add([FailedRecord(record=record, data=record.data, reason=error.message)])


class _Function:
    """What lives as long as the function's environment: an event loop and the connections."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._updater: CoreDataUpdater | None = None

    def __call__(self, event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        return self._runner.run(self._answer(event))

    async def _answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._updater = self._updater or _updater(load_settings(CoreDataSettings))
        return answer(await self._updater.take(records_of(event)))


def _updater(settings: CoreDataSettings) -> CoreDataUpdater:
    from services.runtime.sqs_failures import SqsFailureQueue  # noqa: PLC0415 - only where it runs
    from services.tracking.redis_store import RedisProgramStore  # noqa: PLC0415

    store = RedisProgramStore(
        settings.redis_url.get_secret_value(), prefix=settings.redis_prefix, legacy_channel=settings.legacy_channel
    )
    client = aws_client("sqs", region=settings.aws_region, endpoint_url=settings.aws_endpoint_url)
    return CoreDataUpdater(store, SqsFailureQueue(client, settings.failure_queue_url))


handler = _Function()
