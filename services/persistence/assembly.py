"""The stores of one process, built from its settings; the only place that knows all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import TypeVar

import structlog

from services.persistence.recorder import EventRecorder
from services.persistence.retention import RetainedEvents
from services.persistence.settings import PersistenceSettings
from services.persistence.sqlite import SqliteEventStore
from services.persistence.store import EventStore, MemoryEventStore
from services.persistence.stream import StreamRecorder
from services.persistence.told_store import ToldStore
from services.runtime.aws import aws_client
from services.runtime.errors import FailedPreconditionError, UnavailableError
from services.runtime.health import HealthBoard
from services.runtime.kinesis_event import FailureQueue
from services.runtime.retry import Backoff

Hook = Callable[[], Awaitable[None]]
T = TypeVar("T")
_REPLICAS = 3


@dataclass(slots=True, kw_only=True)
class Stores:
    """Where events and conversions lie, and what runs beside them."""

    events: EventStore
    conversions: EventStore
    tasks: list[Hook] = field(default_factory=list)


async def open_stores(settings: PersistenceSettings, health: HealthBoard, stack: AsyncExitStack) -> Stores:
    """Open what the settings name; `stack` closes it. Waits for a database that is away.

    Raises:
        FailedPreconditionError: tables or files cannot be used as they are.
    """
    openers = {"memory": _memory, "sqlite": _sqlite, "dynamodb": _dynamodb, "cassandra": _cassandra}
    stores = await _patiently(lambda: openers[settings.store](settings, health, stack))
    if settings.store in ("dynamodb", "cassandra"):
        # The health stays SERVING: without calls nothing would show that the store is back.
        stores.events = ToldStore(stores.events, lambda text: health.set("store", True, text))
        stores.conversions = ToldStore(stores.conversions, lambda text: health.set("conversions", True, text))
    if settings.retention_seconds is not None:
        events = RetainedEvents(stores.events, seconds=settings.retention_seconds)
        conversions = RetainedEvents(stores.conversions, seconds=settings.retention_seconds)
        stores.events, stores.conversions = events, conversions
        stores.tasks += [events.purge_forever, conversions.purge_forever]
    return stores


async def open_stream_recorder(
    settings: PersistenceSettings, health: HealthBoard, stack: AsyncExitStack
) -> StreamRecorder:
    """What a Lambda function stores the records of a stream with.

    Raises:
        FailedPreconditionError: see `open_stores`; also when there is no failure queue.
    """
    stores = await open_stores(settings, health, stack)
    return StreamRecorder(EventRecorder(stores.events), await failure_queue(settings))


async def failure_queue(settings: PersistenceSettings) -> FailureQueue:
    """The queue of the settings."""
    from services.runtime.sqs_failures import SqsFailureQueue  # noqa: PLC0415 - botocore takes a second

    if not settings.failure_queue_url:
        raise FailedPreconditionError(
            f"{settings.variable('failure_queue_url')} is not set: records that are no events have nowhere to go",
            reason="ERROR_REASON_INVALID_FIELD",
        )
    client = await asyncio.to_thread(
        aws_client, "sqs", region=settings.aws_region, endpoint_url=settings.aws_endpoint_url
    )
    return SqsFailureQueue(client, settings.failure_queue_url)


async def add_consumer(settings: PersistenceSettings, stores: Stores, health: HealthBoard) -> None:
    """Let this process read the stream of the settings, if they name one.

    Raises:
        FailedPreconditionError: the table of checkpoints does not exist.
    """
    if not settings.kinesis_stream:
        return
    from services.persistence.dynamodb_checkpoints import DynamoDbCheckpoints  # noqa: PLC0415 - see above
    from services.persistence.kinesis_consumer import THREADS, KinesisConsumer  # noqa: PLC0415

    connect = partial(aws_client, region=settings.aws_region, endpoint_url=settings.aws_endpoint_url)
    checkpoints = DynamoDbCheckpoints(
        await asyncio.to_thread(connect, "dynamodb"),
        table=settings.kinesis_checkpoint_table,
        stream=settings.kinesis_stream,
    )
    await _patiently(lambda: checkpoints.open(create=settings.create_tables))
    recorder = StreamRecorder(EventRecorder(stores.events), await failure_queue(settings))
    consumer = KinesisConsumer(
        await asyncio.to_thread(connect, "kinesis", connections=THREADS),
        stream=settings.kinesis_stream,
        take=recorder.take,
        checkpoints=checkpoints,
        on_trouble=lambda text: health.set("kinesis", True, text),
    )
    stores.tasks.append(consumer.run)


async def _patiently(opener: Callable[[], Awaitable[T]]) -> T:
    log = structlog.get_logger(component="store")
    backoff = Backoff(initial=0.5, maximum=10.0)
    attempt = 0
    while True:
        try:
            return await opener()
        except UnavailableError as error:
            attempt += 1
            log.warning("the store is away", reason=error.message)
            await asyncio.sleep(backoff.delay(attempt))


async def _memory(_settings: PersistenceSettings, _health: HealthBoard, _stack: AsyncExitStack) -> Stores:
    return Stores(events=MemoryEventStore(), conversions=MemoryEventStore())


async def _sqlite(settings: PersistenceSettings, health: HealthBoard, stack: AsyncExitStack) -> Stores:
    store = await stack.enter_async_context(
        SqliteEventStore(
            settings.database,
            max_bytes=settings.max_database_bytes,
            max_waiting_records=settings.max_waiting_events,
            on_trouble=lambda text: health.set("store", not text, text),
        )
    )
    conversions = await stack.enter_async_context(
        SqliteEventStore(
            settings.database.with_name(f"conversions-of-{settings.database.name}"),
            on_trouble=lambda text: health.set("conversions", True, text),
        )
    )
    return Stores(events=store, conversions=conversions, tasks=[store.failed, conversions.failed])


async def _dynamodb(settings: PersistenceSettings, _health: HealthBoard, stack: AsyncExitStack) -> Stores:
    from services.persistence.dynamodb import THREADS, DynamoDbEventStore  # noqa: PLC0415 - botocore takes a second

    client = await asyncio.to_thread(
        aws_client,
        "dynamodb",
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        max_attempts=1,
        connections=THREADS,
    )
    events, conversions = [
        await stack.enter_async_context(
            DynamoDbEventStore(client, table=table, create=settings.create_tables, retention=settings.retention_seconds)
        )
        for table in (settings.dynamodb_table, settings.dynamodb_conversions_table)
    ]
    return Stores(events=events, conversions=conversions)


async def _cassandra(settings: PersistenceSettings, _health: HealthBoard, stack: AsyncExitStack) -> Stores:
    if not find_spec("cassandra"):
        raise FailedPreconditionError(
            "the Cassandra driver is not installed: pip install 'penstock[cassandra]'",
            reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
            metadata={"dependency": "cassandra"},
        )
    from services.persistence.cassandra import CassandraEventStore  # noqa: PLC0415 - part of an extra
    from services.persistence.cassandra_session import CassandraSession, CassandraTarget  # noqa: PLC0415

    target = CassandraTarget(
        contact_points=settings.cassandra_contact_points,
        port=settings.cassandra_port,
        datacentre=settings.cassandra_datacentre,
        keyspace=settings.cassandra_keyspace,
        replication=settings.cassandra_replication or {settings.cassandra_datacentre: _REPLICAS},
        user=settings.cassandra_user,
        password=settings.cassandra_password.get_secret_value(),
        tls_ca=settings.cassandra_tls_ca,
        tls_cert=settings.cassandra_tls_cert,
        tls_key=settings.cassandra_tls_key,
        timeout=settings.cassandra_timeout_seconds,
    )
    session = await stack.enter_async_context(CassandraSession(target, migrate=settings.create_tables))
    events, conversions = [
        await CassandraEventStore(session, kind=kind, retention=settings.retention_seconds).prepare()
        for kind in ("events", "conversions")
    ]
    return Stores(events=events, conversions=conversions)
