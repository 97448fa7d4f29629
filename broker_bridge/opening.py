"""Opens the adapters that the settings name: broker, filtering service, dedup records, targets of every kind."""

import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from broker_bridge.activemq import ActiveMq
from broker_bridge.bridge import Parts
from broker_bridge.clock import Clock
from broker_bridge.dedup import GuardedDedup
from broker_bridge.filtering_client import GrpcFilter
from broker_bridge.grpc_target import GrpcDelivery
from broker_bridge.lambda_target import LambdaDelivery
from broker_bridge.redis_store import RedisStore
from broker_bridge.settings import BridgeSettings
from broker_bridge.sqs_target import SqsDelivery
from broker_bridge.targets import GrpcTarget, LambdaTarget, Target, Targets, TargetSpec
from services.runtime.aws import BlockingCalls, aws_client
from services.runtime.channel import open_channel
from services.runtime.health import HealthBoard


class TargetOpener:
    """Opens a target on each call; the AWS ones share a client per service and a pool of threads."""

    def __init__(self, settings: BridgeSettings, calls: BlockingCalls) -> None:
        self._settings = settings
        self._calls = calls
        lambda_url = settings.lambda_endpoint_url or settings.aws_endpoint_url
        self._lambda = _Once(lambda: self._client("lambda", lambda_url, settings.lambda_timeout_seconds))
        self._sqs = _Once(lambda: self._client("sqs", settings.aws_endpoint_url, settings.delivery_timeout_seconds))

    def __call__(self, spec: TargetSpec) -> Target:
        if isinstance(spec, GrpcTarget):
            return GrpcDelivery(open_channel(spec.address), timeout=self._settings.delivery_timeout_seconds)
        if isinstance(spec, LambdaTarget):
            arn = self._settings.event_source_arn
            return LambdaDelivery(spec, client=self._lambda, calls=self._calls, event_source_arn=arn)
        return SqsDelivery(spec, client=self._sqs, calls=self._calls)

    def _client(self, service: str, endpoint_url: str | None, read_timeout: float) -> Any:
        return aws_client(
            service,
            region=self._settings.aws_region,
            endpoint_url=endpoint_url,
            read_timeout=read_timeout,
            max_attempts=1,  # the route decides when to try again
            connections=self._settings.aws_threads,
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
    calls = BlockingCalls(settings.aws_threads, "aws")
    targets = Targets(TargetOpener(settings, calls))
    store = RedisStore(
        settings.redis_url.get_secret_value(),
        owner=settings.owner(),
        keep_seconds=settings.dedup_keep_seconds,
        timeout=settings.redis_timeout_seconds,
    )
    async with AsyncExitStack() as closing:
        closing.push_async_callback(store.close)
        closing.push_async_callback(targets.close)
        filtering = await closing.enter_async_context(
            open_channel(settings.filtering_target, tls_ca=settings.filtering_tls_ca)
        )
        yield Parts(
            connect=ActiveMq(settings.login(), answer_seconds=settings.broker_answer_seconds),
            addresses=settings.addresses(),
            message_filter=GrpcFilter(filtering, report=lambda why: health.set("filtering", True, why)),
            targets=targets,
            dedup=lambda route: GuardedDedup(store.records(route), report=lambda why: health.set("dedup", True, why)),
            clock=Clock(monotonic=time.monotonic, wall=_milliseconds, random=random.random),
            drain_seconds=settings.drain_seconds * 0.8,
        )


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
