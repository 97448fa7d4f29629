"""Topics and what they hold: subscriptions by name, and the index that answers which of them want a message."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.filtering.index import Index
from services.filtering.message import NOTHING, AttributeType, attribute_facets, body_facets
from services.filtering.subscription import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What can be matched: typed attributes by name, and the body."""

    attributes: Mapping[str, tuple[AttributeType, str]]
    body: bytes = b""


class Topic:
    """The subscriptions of a topic at one moment, by name. Immutable: a batch sees one state from begin to end."""

    def __init__(self, subscriptions: Mapping[str, Subscription]) -> None:
        self.subscriptions = tuple(subscriptions[name] for name in sorted(subscriptions))
        policies = [(position, entry.dialect, entry.policy) for position, entry in enumerate(self.subscriptions)]
        self._by_attributes = Index((place, policy) for place, dialect, policy in policies if not dialect.looks_at_body)
        self._by_body = Index((place, policy) for place, dialect, policy in policies if dialect.looks_at_body)

    def match(self, message: Message) -> list[int]:
        """The positions in `subscriptions` of those that want a message, ascending.

        Raises:
            MessageError: what some subscription looks at cannot be read.
        """
        by_attributes, by_body = self._by_attributes, self._by_body
        # A subscription that takes everything must not fail over a body or an attribute nobody looks at.
        found = by_attributes.match(attribute_facets(message.attributes) if by_attributes.needs_message else NOTHING)
        found |= by_body.match(body_facets(message.body) if by_body.needs_message else NOTHING)
        return sorted(found)


class Topics:
    """Every topic of this replica. One writer at a time; an index is built anew at the first match after a change."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, dict[str, Subscription]] = {}
        self._built: dict[str, Topic] = {}

    def put(self, subscription: Subscription) -> None:
        """Creates or replaces a subscription."""
        self._subscriptions.setdefault(subscription.topic, {})[subscription.name] = subscription
        self._built.pop(subscription.topic, None)

    def delete(self, topic: str, name: str) -> None:
        """Forgets a subscription, and the topic with its last one; one that is not there is no error."""
        names = self._subscriptions.get(topic, {})
        names.pop(name, None)
        if not names:
            self._subscriptions.pop(topic, None)
        self._built.pop(topic, None)

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
        built = self._built.get(name)
        if built is None and (subscriptions := self._subscriptions.get(name)):
            built = self._built[name] = Topic(subscriptions)
        return built
