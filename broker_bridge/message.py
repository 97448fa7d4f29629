"""A message of the broker: what a STOMP MESSAGE frame says, in the words of JMS.

ActiveMQ sends the class of a message only by its `content-length`: BytesMessages carry it, TextMessages do not. Map,
Object and Stream messages arrive like a TextMessage without text: `MessageKind.EMPTY` therefore means "the body is
not known".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import TypeAlias

from broker_bridge.text_codec import decode_text

MapValue: TypeAlias = str | int | float | bool | bytes | None
"""A value of a Map message; None is null."""

# Headers that STOMP 1.2 or ActiveMQ set themselves; every other header is a JMS property.
_STANDARD_HEADERS = frozenset(
    {
        "ack",
        "content-length",
        "content-type",
        "correlation-id",
        "destination",
        "expires",
        "message-id",
        "original-destination",
        "originalExpiration",
        "persistent",
        "priority",
        "receipt-id",
        "redelivered",
        "redeliveryDelay",
        "reply-to",
        "scheduledJobId",
        "subscription",
        "timestamp",
        "transformation",
        "transformation-error",
        "type",
    }
)
# What the values of headers look like whose names a JMS property may have.
_BOOLEANS = ("true", "false")
_FORMS: Mapping[str, Callable[[str], bool]] = {
    "destination": lambda value: value.startswith("/"),
    "expires": str.isdecimal,
    "persistent": lambda value: value in _BOOLEANS,
    "priority": str.isdecimal,
    "redelivered": lambda value: value in _BOOLEANS,
    "timestamp": str.isdecimal,
}
_STOMP_PREFIXES = {
    "/queue/": "queue://",
    "/topic/": "topic://",
    "/remote-temp-queue/": "temp-queue://",
    "/remote-temp-topic/": "temp-topic://",
    "/temp-queue/": "temp-queue://",
    "/temp-topic/": "temp-topic://",
}
_DEFAULT_PRIORITY = 4  # JMS 1.1 section 3.4.10


class MessageKind(Enum):
    """What the frame tells about the class of the JMS message."""

    TEXT = auto()
    """TextMessage with text."""
    BYTES = auto()
    """BytesMessage, empty or not."""
    MAP = auto()
    """MapMessage, where the route has the broker write it as JSON."""
    EMPTY = auto()
    """No body: an empty Message or TextMessage, or a Map, Object or Stream message that STOMP does not carry."""


@dataclass(slots=True, kw_only=True)  # not frozen: making one would take three times as long
class Message:
    """A message as received; nobody changes it. `body` holds the bytes of the frame, so that a copy is exact.

    Times are milliseconds since 1970; `expires_at` 0 means never, `sent_at` 0 unknown. Destinations are written
    `queue://orders`. `original_destination` is set by the broker on what it moved to a dead letter queue. `entries` are
    those of a Map message; `transformation_error` tells why the broker could not write the body.
    """

    id: str
    destination: str
    kind: MessageKind
    body: bytes
    properties: Mapping[str, str]
    correlation_id: str = ""
    reply_to: str = ""
    type: str = ""
    priority: int = _DEFAULT_PRIORITY
    sent_at: int = 0
    expires_at: int = 0
    received_at: int = 0
    persistent: bool = True
    redelivered: bool = False
    original_destination: str = ""
    entries: Mapping[str, MapValue] = field(default_factory=dict)
    transformation_error: str = ""

    @property
    def key(self) -> str:
        """What tells this message from all others, over redeliveries: copies of a virtual topic share their id."""
        return f"{self.destination}|{self.id}"

    def text(self) -> str:
        """The body as text. Raises TextError when it is none."""
        return decode_text(self.body)


def decode_message(headers: Mapping[str, str], body: bytes, *, source: str, received_at: int) -> Message:
    """The message of a MESSAGE frame whose header escapes are already undone; `received_at` in milliseconds.

    A JMS property of the name of a header takes that header's place in the frame. It is put right where the value shows
    it; `source` (a URI) is then the destination.
    """
    get = headers.get
    destination = headers["destination"]
    return Message(
        id=headers["message-id"],
        destination=to_uri(destination) if destination.startswith("/") else source,
        kind=_kind(headers, body),
        body=body,
        properties=_properties(headers),
        correlation_id=get("correlation-id", ""),
        reply_to=to_uri(get("reply-to", "")),
        type=get("type", ""),
        priority=_integer(get("priority"), _DEFAULT_PRIORITY),
        sent_at=_integer(get("timestamp"), 0),
        expires_at=_integer(get("expires"), 0),
        received_at=received_at,
        persistent=get("persistent") == "true",
        redelivered=get("redelivered") == "true",
        original_destination=to_uri(get("original-destination", "")),
        transformation_error=get("transformation-error", ""),
    )


def _properties(headers: Mapping[str, str]) -> dict[str, str]:
    """What no header is, and what has the name of one and not its form."""
    properties: dict[str, str] = {}
    if not headers.keys() <= _STANDARD_HEADERS:
        properties = {name: value for name, value in headers.items() if name not in _STANDARD_HEADERS}
    if "content-length" in headers and properties.get("amq-msg-type") == "text":
        del properties["amq-msg-type"]
    get = headers.get
    if not (
        headers["destination"][:1] == "/"
        and get("timestamp", "0").isdecimal()
        and get("expires", "0").isdecimal()
        and get("priority", "4").isdecimal()
        and get("persistent", "true") in _BOOLEANS
        and get("redelivered", "true") in _BOOLEANS
    ):  # hardly ever: the forms of all headers take a while to check
        properties |= {
            name: headers[name] for name, fits in _FORMS.items() if name in headers and not fits(headers[name])
        }
    return properties


def _kind(headers: Mapping[str, str], body: bytes) -> MessageKind:
    if "content-length" in headers:
        # A copy of a text that holds a NUL says so: the broker keeps both headers as properties of the copy.
        return MessageKind.TEXT if headers.get("amq-msg-type") == "text" else MessageKind.BYTES
    return MessageKind.TEXT if body else MessageKind.EMPTY


def _integer(text: str | None, default: int) -> int:
    try:
        return int(text) if text else default
    except ValueError:
        return default


@lru_cache(maxsize=1024)  # a route sees few destinations, again and again
def to_uri(destination: str) -> str:
    """`queue://orders` for STOMP's `/queue/orders`; anything else as it is (ActiveMQ takes it as a queue name)."""
    for prefix, scheme in _STOMP_PREFIXES.items():
        if destination.startswith(prefix):
            return scheme + destination[len(prefix) :]
    return destination


def to_stomp(uri: str) -> str:
    """`/queue/orders` for `queue://orders`. A temporary destination is addressed as the broker named it to us."""
    scheme, separator, name = uri.partition("://")
    if not separator:
        return uri
    return f"/remote-{scheme}/{name}" if scheme.startswith("temp-") else f"/{scheme}/{name}"
