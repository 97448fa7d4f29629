"""Where subscriptions are kept: the port, and its in-memory implementation."""

from typing import Protocol

from services.filtering.subscription import Subscription
from services.filtering.topics import Topics
from services.runtime.errors import AbortedError, NotFoundError


class SubscriptionStore(Protocol):
    """Keeps subscriptions, and `topics` in step with what is kept."""

    @property
    def topics(self) -> Topics:
        """The subscriptions in force on this replica."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether all subscriptions are known; before, no answer to a match would be right."""
        ...

    async def put(self, subscription: Subscription, expected_version: int | None) -> Subscription:
        """Writes a subscription; returns it as stored, durable and in force.

        `expected_version` must be the current one, 0 for "must not exist"; None writes in any case.

        Raises:
            AbortedError: the expected version is not the current one.
            UnavailableError: it cannot be made durable now.
        """
        ...

    async def delete(self, topic: str, name: str) -> None:
        """Deletes a subscription, durably and with effect.

        Raises:
            NotFoundError: there is none.
            UnavailableError: it cannot be made durable now.
        """
        ...


class MemorySubscriptionStore:
    """Keeps subscriptions as long as the process lives."""

    def __init__(self) -> None:
        self._topics = Topics()

    @property
    def topics(self) -> Topics:
        return self._topics

    @property
    def is_ready(self) -> bool:
        return True

    async def put(self, subscription: Subscription, expected_version: int | None) -> Subscription:
        known = self._topics.get(subscription.topic, subscription.name)
        current = known.document.version if known else 0
        if expected_version is not None and expected_version != current:
            raise version_conflict(subscription.topic, subscription.name, expected_version, current)
        stored = subscription.with_version(current + 1)
        self._topics.put(stored)
        return stored

    async def delete(self, topic: str, name: str) -> None:
        if self._topics.get(topic, name) is None:
            raise not_found(topic, name)
        self._topics.delete(topic, name)


def not_found(topic: str, name: str) -> NotFoundError:
    """The error for a subscription that does not exist."""
    return NotFoundError(
        f"topic {topic!r} has no subscription {name!r}; ListSubscriptions tells which there are",
        reason="ERROR_REASON_SUBSCRIPTION_NOT_FOUND",
        metadata={"topic": topic, "subscription": name},
    )


def version_conflict(topic: str, name: str, expected: int, current: int | None) -> AbortedError:
    """The error for a compare-and-set that was lost; `current` is None where only the existence is known."""
    state = "exists already" if current is None else f"has version {current}, not {expected}"
    metadata = {"name": f"{topic}/{name}", "expected_version": str(expected)}
    return AbortedError(
        f"subscription {topic}/{name} {state}: read it again, then repeat",
        reason="ERROR_REASON_VERSION_CONFLICT",
        metadata=metadata if current is None else {**metadata, "current_version": str(current)},
    )
