"""Opens the adapters that the settings name: broker, filtering service, dedup records, targets of every kind."""

import asyncio
import random
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from broker_bridge.activemq import ActiveMq
from broker_bridge.clock import Clock
from broker_bridge.dedup import DedupHealth, GuardedDedup
from broker_bridge.filtering_client import GrpcFilter
from broker_bridge.grpc_target import GrpcDelivery
from broker_bridge.http_endpoint import HttpEndpoint
from broker_bridge.http_target import HttpDelivery
from broker_bridge.kinesis_target import KinesisDelivery
from broker_bridge.lambda_target import LambdaDelivery
from broker_bridge.queue_target import QueueDelivery
from broker_bridge.redis_store import RedisStore
from broker_bridge.replies import BrokerAnswers
from broker_bridge.route_runner import Parts
from broker_bridge.sender import Sender
from broker_bridge.settings import BridgeSettings
from broker_bridge.sns_target import SnsDelivery
from broker_bridge.sqs_target import SqsDelivery
from broker_bridge.target_specs import (
    GrpcTarget,
    HttpTarget,
    KinesisTarget,
    LambdaTarget,
    QueueTarget,
    SnsTarget,
    SqsTarget,
    TargetSpec,
)
from broker_bridge.targets import Target, Targets
from services.runtime.aws import BlockingCalls, aws_client
from services.runtime.channel import open_channel
from services.runtime.health import HealthBoard


class TargetOpener:
    """Opens a target on each call. Those of a kind share what costs: AWS clients, threads, room for HTTP requests."""

    def __init__(self, settings: BridgeSettings, sender: Sender) -> None:
        self._settings = settings
        self._sender = sender
        self._aws_calls = BlockingCalls(settings.aws_threads, "aws")
        self._http_room = asyncio.Semaphore(settings.http_requests)
        self._http_tls = ssl.create_default_context(cafile=settings.http_tls_ca)
        timeout = settings.delivery_timeout_seconds
        self._lambda = self._client(
            "lambda", settings.lambda_timeout_seconds, settings.lambda_endpoint_url or settings.aws_endpoint_url
        )
        self._sqs = self._client("sqs", timeout, settings.aws_endpoint_url)
        self._sns = self._client("sns", timeout, settings.aws_endpoint_url)
        self._kinesis = self._client("kinesis", timeout, settings.aws_endpoint_url)

    def __call__(self, spec: TargetSpec) -> Target:  # noqa: PLR0911 - one line per kind
        settings, calls = self._settings, self._aws_calls
        match spec:
            case GrpcTarget():
                return GrpcDelivery(open_channel(spec.address), timeout=settings.delivery_timeout_seconds)
            case LambdaTarget():
                arn = settings.event_source_arn
                return LambdaDelivery(spec, client=self._lambda, calls=calls, event_source_arn=arn)
            case SqsTarget():
                return SqsDelivery(spec, client=self._sqs, calls=calls)
            case SnsTarget():
                return SnsDelivery(spec, client=self._sns, calls=calls)
            case KinesisTarget():
                return KinesisDelivery(spec, client=self._kinesis, calls=calls)
            case QueueTarget():
                return QueueDelivery(spec, self._sender)
            case HttpTarget():
                timeout = settings.delivery_timeout_seconds
                endpoint = HttpEndpoint(spec.url, room=self._http_room, timeout=timeout, tls=self._http_tls)
                return HttpDelivery(spec, endpoint=endpoint, now=time.time)

    def _client(self, service: str, read_timeout: float, endpoint_url: str | None) -> "_Once":
        settings = self._settings
        return _Once(
            lambda: aws_client(
                service,
                region=settings.aws_region,
                endpoint_url=endpoint_url,
                read_timeout=read_timeout,
                max_attempts=1,  # the route decides when to try again
                connections=settings.aws_threads,
            )
        )


class _Once:
    """Makes a client when it is first needed, in the thread that needs it: importing boto3 takes a second."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Any = None

    def __call__(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


@asynccontextmanager
async def open_parts(settings: BridgeSettings, health: HealthBoard) -> AsyncIterator[Parts]:
    """The adapters of a bridge, closed in the end; `health` hears of `filtering` and `dedup`."""
    connect = ActiveMq(settings.login(), answer_seconds=settings.broker_answer_seconds, tls=settings.broker_tls())
    sender = Sender(connect, settings.addresses())
    replying = Sender(connect, settings.addresses())
    targets = Targets(TargetOpener(settings, sender))
    store = RedisStore(
        settings.redis_url.get_secret_value(),
        owner=settings.owner(),
        keep_seconds=settings.dedup_keep_seconds,
        timeout=settings.redis_timeout_seconds,
    )
    dedup_health = DedupHealth(lambda why: health.set("dedup", True, why))
    async with AsyncExitStack() as closing:
        closing.push_async_callback(store.close)
        closing.push_async_callback(sender.close)
        closing.push_async_callback(replying.close)
        closing.push_async_callback(targets.close)
        filtering = await closing.enter_async_context(
            open_channel(settings.filtering_target, tls_ca=settings.filtering_tls_ca)
        )
        yield Parts(
            connect=connect,
            addresses=settings.addresses(),
            prefer_first=settings.broker_prefer_first,
            message_filter=GrpcFilter(filtering, report=lambda why: health.set("filtering", True, why)),
            targets=targets,
            answers=BrokerAnswers(replying, time.monotonic),
            dedup=lambda route: GuardedDedup(
                store.records(route), report=partial(dedup_health.told, route), available=store.answers
            ),
            dedup_ended=dedup_health.ended,
            clock=Clock(monotonic=time.monotonic, wall=_milliseconds, random=random.random),
            drain_seconds=settings.drain_seconds * 0.8,
        )


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
