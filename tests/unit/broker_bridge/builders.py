"""Messages, routes and clocks for the tests of the bridge."""

from collections.abc import Mapping
from dataclasses import replace

from broker_bridge.clock import Clock
from broker_bridge.message import Message, MessageKind
from broker_bridge.parcel import Attribute, AttributeKind, Parcel
from broker_bridge.retry_policy import ClassPolicy, RetryPolicy
from broker_bridge.routes import Route
from broker_bridge.target_specs import GrpcTarget
from services.runtime.retry import Backoff

NO_BACKOFF = Backoff(initial=0.0, maximum=0.0)
TARGET = GrpcTarget(address="127.0.0.1:1")


def message(
    number: int = 1,
    *,
    body: bytes = b"hello",
    kind: MessageKind = MessageKind.TEXT,
    properties: Mapping[str, str] | None = None,
) -> Message:
    """A message on queue://orders; `number` makes its id."""
    return Message(
        id=f"ID:test-{number}",
        destination="queue://orders",
        kind=kind,
        body=body,
        properties=properties or {},
        sent_at=1_700_000_000_123,
        received_at=1_700_000_001_000,
    )


def parcel(
    number: int = 1,
    *,
    text: str | None = "hello",
    data: bytes = b"",
    attributes: Mapping[str, Attribute] | None = None,
    attempt: int = 1,
) -> Parcel:
    """A message on its way: text, or bytes with `text=None`."""
    kind = MessageKind.BYTES if text is None else MessageKind.TEXT
    body = data if text is None else text.encode()
    given = attributes or {}
    properties = {name: attribute.value for name, attribute in given.items()}
    return Parcel(
        message=message(number, body=body, kind=kind, properties=properties),
        attempt=attempt,
        attributes=given,
        text=text,
    )


def string(value: str) -> Attribute:
    return Attribute(AttributeKind.STRING, value)


def number(value: str) -> Attribute:
    return Attribute(AttributeKind.NUMBER, value)


def retry(**changes: object) -> RetryPolicy:
    """Three attempts without waits."""
    without = ClassPolicy(backoff=NO_BACKOFF)
    base = RetryPolicy(max_attempts=3, backoff=NO_BACKOFF, unavailable=without, throttled=without)
    return replace(base, **changes)  # type: ignore[arg-type]  # the fields are those of RetryPolicy


def route(**changes: object) -> Route:
    """A route from queue://orders to one target, without waits."""
    base = Route(name="orders", source="queue://orders", targets=(TARGET,), retry=retry())
    return replace(base, **changes)  # type: ignore[arg-type]  # the fields are those of Route


class ManualClock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

    def clock(self) -> Clock:
        return Clock(monotonic=self, wall=lambda: int(self.seconds * 1000), random=lambda: 0.0)


def frame(number: int, *, body: bytes = b"hello", ack: str = "", **headers: str) -> tuple[dict[str, str], bytes]:
    """A MESSAGE frame as the connection hands it over."""
    standard = {"message-id": f"ID:test-{number}", "destination": "/queue/orders", "ack": ack or f"ack-{number}"}
    return standard | headers, body
