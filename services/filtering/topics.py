"""Topics and what they hold: subscriptions by name, and the index that answers which of them want a message."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.filtering.index import Index
from services.filtering.message import Attributes, attribute_document, body_document
from services.filtering.policy import Policy
from services.filtering.subscription import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What can be matched: typed attributes by name, and the body."""

    attributes: Attributes
    body: bytes = b""


class Topic:
    """The subscriptions of a topic at one moment, by name. Immutable: a batch sees one state from begin to end."""

    def __init__(self, subscriptions: Mapping[str, Subscription]) -> None:
        self.subscriptions = dict(subscriptions)
        self._by_attributes = Index(_policies(subscriptions, in_body=False).items())
        self._by_body = Index(_policies(subscriptions, in_body=True).items())

    def changed(self, changes: Mapping[str, Subscription | None]) -> "Topic":
        """The topic with other subscriptions under some names; None takes one away."""
        put = {name: entry for name, entry in changes.items() if entry is not None}
        topic = Topic({})
        topic.subscriptions = self.subscriptions | put
        for name in changes.keys() - put.keys():
            topic.subscriptions.pop(name, None)
        topic._by_attributes = self._by_attributes.changed(_policies(put, in_body=False), changes)
        topic._by_body = self._by_body.changed(_policies(put, in_body=True), changes)
        return topic

    def match(self, message: Message) -> list[str]:
        """The names of the subscriptions that want a message, each once, in no particular order.

        Raises:
            MessageError: what some subscription looks at cannot be read.
        """
        by_attributes, by_body = self._by_attributes, self._by_body
        # A subscription that takes everything must not fail over a body or an attribute nobody looks at.
        attributes = attribute_document(message.attributes) if by_attributes.needs_message else None
        body = body_document(message.body) if by_body.needs_message else None
        return by_attributes.match_document(attributes) + by_body.match_document(body)


def _policies(subscriptions: Mapping[str, Subscription], *, in_body: bool) -> dict[str, Policy]:
    """The policies that look at one side of a message."""
    return {name: entry.policy for name, entry in subscriptions.items() if entry.dialect.looks_at_body is in_body}


_FEW_CHANGES = 64
_REBUILT_FROM = 8  # a topic whose every so-manieth subscription changes is built anew


class Topics:
    """Every topic of this replica. One writer at a time; changes go into the index at the next match."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, dict[str, Subscription]] = {}
        self._built: dict[str, Topic] = {}
        self._changes: dict[str, dict[str, Subscription | None]] = {}

    def put(self, subscription: Subscription) -> None:
        """Creates or replaces a subscription."""
        self._subscriptions.setdefault(subscription.topic, {})[subscription.name] = subscription
        self._changes.setdefault(subscription.topic, {})[subscription.name] = subscription

    def delete(self, topic: str, name: str) -> None:
        """Forgets a subscription, and the topic with its last one; one that is not there is no error."""
        names = self._subscriptions.get(topic, {})
        names.pop(name, None)
        if names:
            self._changes.setdefault(topic, {})[name] = None
        else:
            for table in (self._subscriptions, self._built, self._changes):
                table.pop(topic, None)

    def get(self, topic: str, name: str) -> Subscription | None:
        return self._subscriptions.get(topic, {}).get(name)

    def count(self, topic: str) -> int:
        """How many subscriptions a topic has."""
        return len(self._subscriptions.get(topic, {}))

    def all(self, topic: str | None = None) -> Iterator[Subscription]:
        """The subscriptions of a topic, or of all, by topic and name."""
        for key in sorted(self._subscriptions) if topic is None else [topic]:
            names = self._subscriptions.get(key, {})
            yield from (names[name] for name in sorted(names))

    def topic(self, name: str) -> Topic | None:
        """A topic as it is now; None when it has no subscriptions."""
        subscriptions, changes = self._subscriptions.get(name), self._changes.pop(name, {})
        if subscriptions is None:
            return None
        built = self._built.get(name)
        if built is None or len(changes) > max(_FEW_CHANGES, len(subscriptions) // _REBUILT_FROM):
            built = self._built[name] = Topic(subscriptions)
        elif changes:
            built = self._built[name] = built.changed(changes)
        return built
