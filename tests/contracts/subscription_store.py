"""What every subscription store must do; a store's test module subclasses it with a `store` fixture."""

import pytest
from google.protobuf import json_format
from penstock.filtering.v1 import subscription_pb2

from services.filtering.store import SubscriptionStore
from services.filtering.subscription import Subscription, read_subscription
from services.runtime.errors import AbortedError, NotFoundError


def subscription(name: str, *, topic: str = "topic", policy: str = "", **fields: object) -> Subscription:
    document = {
        "topic": topic,
        "name": name,
        "filter_policy": policy,
        "target": {"sqs": {"queue_url": "url"}},
        **fields,
    }
    return read_subscription(json_format.ParseDict(document, subscription_pb2.Subscription()))


class SubscriptionStoreContract:
    """The behaviour of `SubscriptionStore`; subclasses bring the fixture `store`."""

    async def test_what_is_put_is_in_force_at_once(self, store: SubscriptionStore) -> None:
        """With the version it was stored as; the policy is that of the new version."""
        first = await store.put(subscription("s", policy='{"a": ["1"]}'), None)
        second = await store.put(subscription("s", policy='{"a": ["2"]}'), None)
        assert [first.document.version, second.document.version] == [1, 2]
        assert store.topics.get("topic", "s") == second

    async def test_a_store_that_was_filled_is_ready(self, store: SubscriptionStore) -> None:
        """Nothing is left to be learned."""
        await store.put(subscription("s"), None)
        assert store.is_ready

    async def test_a_new_subscription_must_not_exist_when_version_0_is_expected(self, store: SubscriptionStore) -> None:
        """The second writer loses."""
        assert (await store.put(subscription("s"), 0)).document.version == 1
        with pytest.raises(AbortedError) as caught:
            await store.put(subscription("s", description="late"), 0)
        assert caught.value.reason == "ERROR_REASON_VERSION_CONFLICT"
        found = store.topics.get("topic", "s")
        assert found is not None
        assert not found.document.description

    async def test_the_expected_version_must_be_the_current_one(self, store: SubscriptionStore) -> None:
        """The current one is replaced, any other is a conflict."""
        await store.put(subscription("s"), None)
        with pytest.raises(AbortedError):
            await store.put(subscription("s"), 2)
        assert (await store.put(subscription("s"), 1)).document.version == 2

    async def test_what_is_deleted_is_gone_at_once(self, store: SubscriptionStore) -> None:
        """The topic ends with its last subscription."""
        await store.put(subscription("s"), None)
        await store.put(subscription("t"), None)
        await store.delete("topic", "s")
        assert [entry.name for entry in store.topics.all("topic")] == ["t"]
        await store.delete("topic", "t")
        assert store.topics.topic("topic") is None

    async def test_deleting_what_does_not_exist_is_not_found(self, store: SubscriptionStore) -> None:
        """The error names topic and subscription."""
        with pytest.raises(NotFoundError) as caught:
            await store.delete("topic", "none")
        assert caught.value.reason == "ERROR_REASON_SUBSCRIPTION_NOT_FOUND"
        assert caught.value.metadata == {"topic": "topic", "subscription": "none"}

    async def test_subscriptions_of_different_topics_do_not_meet(self, store: SubscriptionStore) -> None:
        """The same name in two topics."""
        await store.put(subscription("s", topic="a"), None)
        await store.put(subscription("s", topic="b"), None)
        await store.delete("a", "s")
        assert [entry.topic for entry in store.topics.all()] == ["b"]
