"""A JMS message as Amazon SQS and SNS carry it: body, message attributes, and the ids of FIFO queues and topics.

The body is the text; bytes go as base64 with the attribute `body_encoding`. The JMS message id is the attribute
`jms_message_id`; the properties are attributes with their declared types. SQS takes ten attributes, and passes on from
SNS no message with more: what has no room, or a name or value that the services do not take, goes into one attribute
`jms_properties`, a JSON object.
"""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from broker_bridge.aws_answers import one_failed
from broker_bridge.parcel import AttributeKind, Parcel
from broker_bridge.targets import ACCEPTED, Outcome

_MAX_ATTRIBUTES = 10
_ATTRIBUTE_NAME = re.compile(r"(?!AWS\.|Amazon\.)(?!\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE)
# SQS takes the characters of XML 1.0 only.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DATA_TYPES = {
    AttributeKind.STRING: "String",
    AttributeKind.NUMBER: "Number",
    AttributeKind.STRING_ARRAY: "String.Array",
}
_OURS = ("jms_message_id", "jms_properties", "body_encoding")


def body_text(parcel: Parcel) -> str:
    """The body as the services carry it."""
    return parcel.text if parcel.text is not None else b64encode(parcel.message.body).decode()


def message_attributes(parcel: Parcel) -> dict[str, dict[str, str]]:
    """At most ten attributes, in the form both APIs take."""
    attributes = {"jms_message_id": _text(parcel.message.id)}
    if parcel.text is None:
        attributes["body_encoding"] = _text("base64")
    fitting = {
        name: {"DataType": _DATA_TYPES[attribute.kind], "StringValue": attribute.value}
        for name, attribute in parcel.attributes.items()
        if attribute.kind in _DATA_TYPES
        and attribute.value
        and not _FORBIDDEN.search(attribute.value)
        and _ATTRIBUTE_NAME.fullmatch(name)
        and name not in _OURS
    }
    if len(fitting) == len(parcel.attributes) and len(fitting) + len(attributes) <= _MAX_ATTRIBUTES:
        return attributes | fitting
    room = _MAX_ATTRIBUTES - len(attributes) - 1
    shown = dict(list(fitting.items())[:room])
    rest = {name: value for name, value in parcel.message.properties.items() if name not in shown}
    return attributes | shown | {"jms_properties": _text(json.dumps(rest))}


def fifo_ids(parcel: Parcel, group_property: str) -> dict[str, str]:
    """What FIFO queues and topics want beside the message.

    The group is that of `group_property`, else the route's; messages without one share the group `penstock`.
    """
    group = parcel.message.properties.get(group_property, "") if group_property else parcel.group
    return {
        "MessageDeduplicationId": hashlib.sha256(parcel.message.key.encode()).hexdigest(),
        "MessageGroupId": group or "penstock",
    }


def size(body: str, attributes: Mapping[str, Mapping[str, str]]) -> int:
    """Bytes as both services count them: body, and name, type and value of each attribute."""
    return len(body.encode()) + sum(
        len(name.encode()) + len(attribute["DataType"]) + len(attribute["StringValue"].encode())
        for name, attribute in attributes.items()
    )


def fault(body: str, attributes: Mapping[str, Mapping[str, str]], *, service: str, limit: int) -> str:
    """Why the service would never take the message; empty when it would. `limit` is in bytes."""
    if not body:
        return f"the body is empty, which {service} does not take"
    if found := _FORBIDDEN.search(body):
        return f"the body holds U+{ord(found[0]):04X} at character {found.start()}, which {service} does not take"
    bytes_ = size(body, attributes)
    return f"the message has {bytes_} bytes with its attributes; {service} takes {limit}" if bytes_ > limit else ""


def batch_outcomes(service: str, response: Mapping[str, Any]) -> dict[int, Outcome]:
    """What SendMessageBatch and PublishBatch answer, by the ids of the entries, which are positions."""
    outcomes: dict[int, Outcome] = {int(taken["Id"]): ACCEPTED for taken in response.get("Successful", ())}
    for failed in response.get("Failed", ()):
        code, message = failed.get("Code", ""), failed.get("Message", "")
        sender_fault = bool(failed.get("SenderFault"))
        outcomes[int(failed["Id"])] = one_failed(service, code, message, sender_fault=sender_fault)
    return outcomes


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}
