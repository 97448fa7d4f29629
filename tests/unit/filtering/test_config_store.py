"""Subscriptions as parameters: what the watch tells against what we wrote, and values that are no subscription."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from penstock.client import ParameterChange
from penstock.config.v1 import config_service_pb2, parameter_pb2

from services.filtering.config_store import ConfigSubscriptionStore
from services.filtering.subscription import parameter_value
from services.runtime.channel import open_channel
from services.runtime.errors import InvalidArgumentError
from services.runtime.health import HealthBoard
from tests.contracts.subscription_store import subscription

NAME = "/penstock/subscriptions/topic/s"


class Config:
    """The stub of a config service: answers writes with the revisions it was given, keeps a history."""

    def __init__(self) -> None:
        self.revisions: list[int] = []
        self.history: Sequence[str] = ()
        self.failures = 0
        self.before_answer: Any = lambda: None

    async def PutParameter(self, _request: object) -> config_service_pb2.PutParameterResponse:  # noqa: N802
        self.before_answer()
        return config_service_pb2.PutParameterResponse(version=5, revision=self.revisions.pop(0))

    async def DeleteParameter(self, _request: object) -> config_service_pb2.DeleteParameterResponse:  # noqa: N802
        self.before_answer()
        return config_service_pb2.DeleteParameterResponse(revision=self.revisions.pop(0))

    async def ListParameterVersions(  # noqa: N802
        self, _request: object
    ) -> config_service_pb2.ListParameterVersionsResponse:
        if self.failures:
            self.failures -= 1
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
        newest = len(self.history)
        return config_service_pb2.ListParameterVersionsResponse(
            parameters=[
                parameter_pb2.Parameter(name=NAME, value=value, version=newest - place)
                for place, value in enumerate(self.history)
            ]
        )


@pytest.fixture
def config() -> Config:
    return Config()


@pytest.fixture
async def store(config: Config) -> AsyncIterator[ConfigSubscriptionStore]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async with open_channel("127.0.0.1:1") as channel:
        store = ConfigSubscriptionStore(
            channel, snapshot=None, health=HealthBoard(), service_name="filtering", sleep=sleep
        )
        store._config = config  # type: ignore[assignment]
        store._watcher = SimpleNamespace(ready=asyncio.Event())  # type: ignore[assignment]
        store._watcher.ready.set()
        yield store


def told(policy: str | None, *, revision: int, version: int = 1, name: str = NAME) -> ParameterChange:
    value = None if policy is None else parameter_value(subscription("s", policy=policy))
    return ParameterChange(name=name, value=value, version=None if policy is None else version, revision=revision)


def broken(revision: int, version: int = 2) -> ParameterChange:
    return ParameterChange(name=NAME, value='{"target": {}}', version=version, revision=revision)


def policy_in_force(store: ConfigSubscriptionStore) -> str | None:
    found = store.topics.get("topic", "s")
    return found.document.filter_policy if found else None


async def settled(store: ConfigSubscriptionStore) -> None:
    """Returns once no earlier version is looked for."""
    await asyncio.gather(*store._searches)


ONE, TWO, THREE = '{"a": ["1"]}', '{"a": ["2"]}', '{"a": ["3"]}'


async def test_what_the_watch_tells_is_in_force(store: ConfigSubscriptionStore) -> None:
    """Put, replaced, deleted."""
    store.on_change(told(ONE, revision=1))
    assert policy_in_force(store) == ONE
    store.on_change(told(TWO, revision=2, version=2))
    assert policy_in_force(store) == TWO
    store.on_change(told(None, revision=3))
    assert policy_in_force(store) is None


async def test_older_news_do_not_undo_a_write_of_ours(store: ConfigSubscriptionStore, config: Config) -> None:
    """The watch lags behind our own write: what it tells meanwhile has been replaced."""
    config.revisions = [7]
    await store.put(subscription("s", policy=TWO), None)
    store.on_change(told(ONE, revision=6))
    assert policy_in_force(store) == TWO
    store.on_change(told(TWO, revision=7))
    store.on_change(told(THREE, revision=8))
    assert policy_in_force(store) == THREE


async def test_newer_news_are_not_undone_by_the_answer_to_a_write(
    store: ConfigSubscriptionStore, config: Config
) -> None:
    """Another replica wrote after us, and the watch was faster than our answer."""
    config.revisions = [7]
    config.before_answer = lambda: store.on_change(told(THREE, revision=8))
    await store.put(subscription("s", policy=TWO), None)
    assert policy_in_force(store) == THREE


async def test_deletion_is_ordered_like_a_write(store: ConfigSubscriptionStore, config: Config) -> None:
    """Older news do not bring it back, a later put does."""
    store.on_change(told(ONE, revision=1))
    config.revisions = [3]
    await store.delete("topic", "s")
    store.on_change(told(TWO, revision=2))
    assert policy_in_force(store) is None
    store.on_change(told(THREE, revision=4))
    assert policy_in_force(store) == THREE


async def test_store_that_went_back_is_followed(store: ConfigSubscriptionStore) -> None:
    """A config service restored from a backup tells smaller revisions; they are the truth now."""
    store.on_change(told(TWO, revision=100))
    store.on_change(told(ONE, revision=10))
    assert policy_in_force(store) == ONE


async def test_invalid_value_leaves_the_version_in_force(store: ConfigSubscriptionStore) -> None:
    """The error says which version is refused, why, and which one stays."""
    store.on_change(told(ONE, revision=1, version=4))
    with pytest.raises(InvalidArgumentError, match=r"(?s)version 5: .*target must be set.*version 4 stays in force"):
        store.on_change(broken(2, version=5))
    assert policy_in_force(store) == ONE
    assert store.is_ready


async def test_newest_valid_version_is_restored_when_nothing_was_in_force(
    store: ConfigSubscriptionStore, config: Config
) -> None:
    """After a restart; until it is found the store is not ready, since messages would be lost."""
    valid = [parameter_value(subscription("s", policy=policy)) for policy in (TWO, ONE)]
    config.history = ["broken", "{}", *valid]
    with pytest.raises(InvalidArgumentError, match="an earlier version is looked for"):
        store.on_change(broken(9, version=4))
    assert not store.is_ready
    await settled(store)
    assert policy_in_force(store) == TWO
    found = store.topics.get("topic", "s")
    assert found is not None
    assert found.document.version == 2
    assert store.is_ready


async def test_search_goes_on_when_the_history_cannot_be_read_at_first(
    store: ConfigSubscriptionStore, config: Config
) -> None:
    """Without the config service the rest is served, and the search repeated."""
    config.failures = 3
    config.history = ["broken", parameter_value(subscription("s", policy=ONE))]
    with pytest.raises(InvalidArgumentError):
        store.on_change(broken(9))
    await settled(store)
    assert (policy_in_force(store), config.failures) == (ONE, 0)
    assert store.is_ready


async def test_subscription_without_any_valid_version_is_not_in_force(
    store: ConfigSubscriptionStore, config: Config
) -> None:
    """The others are served."""
    config.history = ["broken"]
    with pytest.raises(InvalidArgumentError):
        store.on_change(broken(9))
    await settled(store)
    assert policy_in_force(store) is None
    assert store.is_ready


async def test_change_during_the_search_wins_over_what_is_found(store: ConfigSubscriptionStore, config: Config) -> None:
    """A deletion is not undone by an old version."""
    config.history = ["broken", parameter_value(subscription("s", policy=ONE))]
    with pytest.raises(InvalidArgumentError):
        store.on_change(broken(9))
    store.on_change(told(None, revision=10))
    await settled(store)
    assert policy_in_force(store) is None
    assert store.is_ready


@pytest.mark.parametrize(
    "name", ["/penstock/subscriptions", "/penstock/subscriptions/topic", "/penstock/subscriptions/topic/s/extra"]
)
async def test_parameter_at_another_level_is_refused(store: ConfigSubscriptionStore, name: str) -> None:
    """Its name cannot be that of a subscription."""
    with pytest.raises(InvalidArgumentError, match="is no subscription: their names are"):
        store.on_change(told(ONE, revision=1, name=name))
