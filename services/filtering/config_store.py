"""Subscriptions as parameters of the config service, `/penstock/subscriptions/<topic>/<name>`.

Every replica watches them. A write is in force here once it is durable, without waiting for its echo in the watch. A
value that is no valid subscription is refused: what was in force before stays, or else the newest valid version that
the config service keeps. So one bad write neither harms other subscriptions nor loses the messages of its own.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import grpc
import structlog
from penstock.client import ParameterChange, ParameterWatcher, SnapshotFile
from penstock.config.v1 import config_service_pb2, config_service_pb2_grpc

from services.filtering.store import not_found, version_conflict
from services.filtering.subscription import Subscription, parameter_value, read_parameter
from services.filtering.topics import Topics
from services.runtime.errors import AbortedError, AlreadyExistsError, InvalidArgumentError, NotFoundError, PenstockError
from services.runtime.health import HealthBoard
from services.runtime.retry import Backoff
from services.runtime.status import from_rpc_error
from services.runtime.telemetry import counter

PATH = "/penstock/subscriptions"
_LEVELS = 2
_KEPT_VERSIONS = 100  # the config service keeps no more
_SEARCH = Backoff(initial=0.5, maximum=30.0)


class ConfigSubscriptionStore:
    """A `SubscriptionStore` on the config service.

    `snapshot` is the file of the last known good parameters, None for none; `service_name` is the part of the health
    board that serves once all subscriptions are known.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        snapshot: Path | None,
        health: HealthBoard,
        service_name: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config_service_pb2_grpc.ConfigServiceStub(channel)
        self._watcher = ParameterWatcher(
            channel,
            PATH,
            on_change=self.on_change,
            snapshot=SnapshotFile(snapshot, PATH) if snapshot else None,
            report=partial(health.set, service_name),
        )
        self._topics = Topics()
        # Revisions by parameter: the last one that the watch told, and our own writes whose echo is still to come.
        self._told: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._searches: set[asyncio.Task[None]] = set()
        self._searched_first: set[str] = set()
        self._sleep = sleep
        self._refused = counter(
            "penstock_filtering_refused_subscriptions", "Subscription parameters that were not valid when they arrived."
        )
        self._log = structlog.get_logger(component="subscriptions")

    @property
    def topics(self) -> Topics:
        return self._topics

    @property
    def is_ready(self) -> bool:
        return self._watcher.ready.is_set() and not self._searched_first

    async def run(self) -> None:
        """Follows the parameters until cancelled."""
        await self._watcher.run()

    async def put(self, subscription: Subscription, expected_version: int | None) -> Subscription:
        topic, name = subscription.topic, subscription.name
        request = config_service_pb2.PutParameterRequest(
            name=_parameter_name(topic, name), value=parameter_value(subscription), expected_version=expected_version
        )
        try:
            response = await self._config.PutParameter(request)
        except grpc.aio.AioRpcError as error:
            raise _for_subscription(from_rpc_error(error), topic, name) from error
        stored = subscription.with_version(response.version)
        if self._is_news(request.name, response.revision):
            self._topics.put(stored)
        return stored

    async def delete(self, topic: str, name: str) -> None:
        request = config_service_pb2.DeleteParameterRequest(name=_parameter_name(topic, name))
        try:
            response = await self._config.DeleteParameter(request)
        except grpc.aio.AioRpcError as error:
            raise _for_subscription(from_rpc_error(error), topic, name) from error
        if self._is_news(request.name, response.revision):
            self._topics.delete(topic, name)

    def _is_news(self, parameter: str, revision: int) -> bool:
        """Whether a write of ours came back before the watch told of it, or of a later one."""
        if revision <= self._told.get(parameter, 0):
            return False
        self._written[parameter] = max(revision, self._written.get(parameter, 0))
        return True

    def on_change(self, change: ParameterChange) -> None:
        """Takes in what the watch tells.

        Raises:
            InvalidArgumentError: the value is no valid subscription; the watcher reports it.
        """
        written = self._written.get(change.name, 0)
        self._told[change.name] = change.revision
        if change.revision >= written:
            self._written.pop(change.name, None)
        if change.revision <= written:
            return  # an echo, or what a write of ours has replaced already
        topic, name = _topic_and_name(change.name)
        if change.value is None:
            self._topics.delete(topic, name)
            return
        try:
            self._topics.put(read_parameter(topic, name, change.value, change.version or 0))
        except InvalidArgumentError as error:
            raise self._refused_error(change, topic, name, error) from error

    def _refused_error(
        self, change: ParameterChange, topic: str, name: str, error: InvalidArgumentError
    ) -> InvalidArgumentError:
        self._refused.inc()
        in_force = self._topics.get(topic, name)
        if in_force is not None:
            outcome = f"version {in_force.document.version} stays in force"
        else:
            outcome = "an earlier version is looked for"
            self._searched_first.add(change.name)
            search = asyncio.get_running_loop().create_task(self._restore_earlier(change, topic, name))
            self._searches.add(search)
            search.add_done_callback(self._searches.discard)
        text = f"version {change.version}: {error.message}; {outcome}"
        return InvalidArgumentError(text, reason=error.reason, violations=error.violations)

    async def _restore_earlier(self, change: ParameterChange, topic: str, name: str) -> None:
        """Puts the newest valid version in force, unless the parameter changes meanwhile."""
        for attempt in itertools.count(1):
            try:
                earlier = await self._newest_valid(change.name, topic, name)
                break
            except PenstockError as error:
                self._log.warning("earlier versions cannot be read", name=change.name, error=error.message)
                self._searched_first.discard(change.name)
                await self._sleep(_SEARCH.delay(attempt))
            if self._told.get(change.name) != change.revision:
                return
        self._searched_first.discard(change.name)
        if self._told.get(change.name) != change.revision or change.name in self._written:
            return
        if earlier is None:
            self._log.error("no version of a subscription is valid: it is not in force", name=change.name)
            return
        self._topics.put(earlier)
        self._log.warning("an earlier version is in force", name=change.name, version=earlier.document.version)

    async def _newest_valid(self, parameter: str, topic: str, name: str) -> Subscription | None:
        request = config_service_pb2.ListParameterVersionsRequest(name=parameter, page_size=_KEPT_VERSIONS)
        try:
            response = await self._config.ListParameterVersions(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        for version in response.parameters:
            try:
                return read_parameter(topic, name, version.value, version.version)
            except InvalidArgumentError:
                continue
        return None


def _parameter_name(topic: str, name: str) -> str:
    return f"{PATH}/{topic}/{name}"


def _topic_and_name(parameter: str) -> tuple[str, str]:
    levels = parameter.removeprefix(f"{PATH}/").split("/")
    if len(levels) != _LEVELS or parameter == PATH:
        text = f"parameter {parameter} is no subscription: their names are {PATH}/<topic>/<subscription>"
        raise InvalidArgumentError(text, reason="ERROR_REASON_INVALID_FIELD")
    return levels[0], levels[1]


def _for_subscription(error: PenstockError, topic: str, name: str) -> PenstockError:
    """The error of the config service in the words of a caller who knows of subscriptions only."""
    if isinstance(error, NotFoundError):
        return not_found(topic, name)
    if isinstance(error, AbortedError) and "expected_version" in error.metadata:
        expected, current = error.metadata["expected_version"], error.metadata.get("current_version", "0")
        if expected.isdigit() and current.isdigit():
            return version_conflict(topic, name, int(expected), int(current))
    if isinstance(error, AlreadyExistsError):
        return version_conflict(topic, name, 0, None)
    return error
