"""Messages that are given up: what is kept of them, and whether a copy would be faithful.

A dead letter is a copy of the message with its story in properties named `penstock_...`. STOMP cannot copy
everything: Map, Object and Stream bodies never reach the bridge, and some properties can be received but not sent.
Such a message is left to the broker, which moves it whole (NACK), and the story goes to a queue beside it,
`DLQ.reasons.<queue>`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from broker_bridge.frames import MAX_HEADER_BYTES, MAX_HEADERS, header_bytes
from broker_bridge.message import Message, MessageKind, to_stomp
from broker_bridge.targets import ErrorClass

REASON = "penstock_reason"
ERROR_CLASS = "penstock_error_class"
ATTEMPTS = "penstock_attempts"
FIRST_FAILED_AT = "penstock_first_failed_at"
ORIGINAL_DESTINATION = "penstock_original_destination"
ORIGINAL_MESSAGE_ID = "penstock_original_message_id"
ORIGINAL_TIMESTAMP = "penstock_original_timestamp"
ORIGINAL_EXPIRATION = "penstock_original_expiration"
ROUTE = "penstock_route"
STORY = (
    REASON,
    ERROR_CLASS,
    ATTEMPTS,
    FIRST_FAILED_AT,
    ORIGINAL_DESTINATION,
    ORIGINAL_MESSAGE_ID,
    ORIGINAL_TIMESTAMP,
    ORIGINAL_EXPIRATION,
    ROUTE,
)
"""The properties a dead letter has beside its own."""

# All together stay below 8 KiB, so that a dead letter never breaks the broker's limits.
_MAX_REASON_CHARACTERS = 1000
_MAX_NAME_CHARACTERS = 250
# Properties of these names would be taken as instructions when sent.
_RESERVED = frozenset(
    {"transaction", "receipt", "id", "amq-msg-type", "selector", "browser", "heart-beat"}
    | {"destination", "expires", "persistent", "priority", "redelivered", "timestamp"}
)
# A copied schedule would delay the dead letter.
_SCHEDULE_PREFIX = "AMQ_SCHEDULED_"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Why a message is given up. `first_failed_at` is in milliseconds since 1970."""

    reason: str
    error_class: ErrorClass
    attempts: int
    first_failed_at: int
    route: str


def obstacle_to_copy(message: Message) -> str:
    """What a copy sent over STOMP would lose or break; empty when it would be faithful."""
    if message.kind is MessageKind.EMPTY:
        return "it may be a Map, Object or Stream message, whose body STOMP does not carry"
    if message.kind is MessageKind.MAP:
        return "it is a Map message, of which the broker's JSON does not hold every character"
    if len(message.properties) + len(STORY) + 10 > MAX_HEADERS:
        return f"it has {len(message.properties)} properties"
    for name, value in message.properties.items():
        if name in _RESERVED:
            return f"its property {name} would be taken as an instruction"
        if header_bytes(name, value) > MAX_HEADER_BYTES:
            return f"its property {name[:80]} is longer than the {MAX_HEADER_BYTES} bytes the broker accepts"
    return ""


def story(message: Message, letter: DeadLetter) -> dict[str, str]:
    """The properties that tell why, how often tried, and where the message came from."""
    return {
        REASON: legible(letter.reason),
        ERROR_CLASS: letter.error_class.value,
        ATTEMPTS: str(letter.attempts),
        FIRST_FAILED_AT: str(letter.first_failed_at),
        ORIGINAL_DESTINATION: message.destination[:_MAX_NAME_CHARACTERS],
        ORIGINAL_MESSAGE_ID: message.id[:_MAX_NAME_CHARACTERS],
        ORIGINAL_TIMESTAMP: str(message.sent_at),
        ORIGINAL_EXPIRATION: str(message.expires_at),
        ROUTE: letter.route,
    }


def legible(reason: str) -> str:
    """A reason as a dead letter carries it, at most 1000 characters: whoever failed may have put anything into it.

    U+0000 would end a frame without content-length, and half a surrogate pair (from a function's JSON) has no UTF-8.
    """
    return reason[:_MAX_REASON_CHARACTERS].replace("\x00", "\ufffd").encode(errors="replace").decode()


def copy_headers(message: Message, destination: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Headers of a SEND that copies a message to `destination` (a URI), with more properties.

    The copy is persistent and never expires, whatever the original was.
    """
    headers = {name: value for name, value in message.properties.items() if not name.startswith(_SCHEDULE_PREFIX)}
    headers.update(extra)
    headers["destination"] = to_stomp(destination)
    headers["persistent"] = "true"
    headers["priority"] = str(message.priority)
    if message.kind is MessageKind.BYTES:
        headers["content-length"] = str(len(message.body))
    elif b"\x00" in message.body:  # a text of ActiveMQ 6, which writes U+0000 as it is: it would end the frame
        headers |= {"content-length": str(len(message.body)), "amq-msg-type": "text"}
    optional = {
        "correlation-id": message.correlation_id,
        "type": message.type,
        "reply-to": to_stomp(message.reply_to),
    }
    return headers | {name: value for name, value in optional.items() if value}


def reasons_queue(dead_letter_queue: str) -> str:
    """`queue://DLQ.reasons.orders` beside `queue://DLQ.orders`."""
    return dead_letter_queue.replace("queue://DLQ.", "queue://DLQ.reasons.", 1)
