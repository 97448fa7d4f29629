"""The protobuf messages that bodies can be checked against."""

from google.protobuf.message import DecodeError, Message
from penstock.tracking.v1 import tracking_event_pb2

_TYPES: dict[str, type[Message]] = {
    message.DESCRIPTOR.full_name: message for message in (tracking_event_pb2.TrackingEvent,)
}


def is_known(name: str) -> bool:
    """Whether this bridge can check bodies against the message of this full name."""
    return name in _TYPES


def known_types() -> list[str]:
    """The full names, for error messages."""
    return sorted(_TYPES)


def fault_of(body: bytes, name: str) -> str:
    """Why a body is not the known message `name`; empty when it is."""
    try:
        _TYPES[name].FromString(body)
    except DecodeError as error:
        return f"the body is not a {name}: {error}"
    return ""
