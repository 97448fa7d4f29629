"""The event of Lambda's Amazon MQ event source mapping, as the union of its known shapes.

AWS's documentation, captured events and the decoders of Powertools differ (`correlationId` or `correlationID`,
`destination.physicalName` or `physicalname`): both spellings are written. What STOMP does not tell is filled with what
is nearest: `brokerInTime` is when the producer sent the message, `brokerOutTime` when the bridge received it.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from broker_bridge.message import MessageKind
from broker_bridge.parcel import Parcel

_TYPES = {
    MessageKind.TEXT: "jms/text-message",
    MessageKind.BYTES: "jms/bytes-message",
    MessageKind.EMPTY: "jms/text-message",
}
_PERSISTENT, _NON_PERSISTENT = 2, 1  # javax.jms.DeliveryMode


def amazon_mq_event(parcels: Sequence[Parcel], *, event_source_arn: str) -> dict[str, Any]:
    """The event for a batch, ready for `json.dumps`."""
    return {
        "eventSource": "aws:mq",
        "eventSourceArn": event_source_arn,
        "messages": [_message(parcel) for parcel in parcels],
    }


def _message(parcel: Parcel) -> dict[str, Any]:
    message = parcel.message
    name = message.destination.partition("://")[2]
    return {
        "messageID": message.id,
        "messageType": _TYPES[message.kind],
        "deliveryMode": _PERSISTENT if message.persistent else _NON_PERSISTENT,
        "persistent": message.persistent,
        "replyTo": message.reply_to or None,
        "type": message.type or None,
        "expiration": message.expires_at,
        "priority": message.priority,
        "correlationId": message.correlation_id or None,
        "correlationID": message.correlation_id or None,
        "redelivered": message.redelivered or parcel.attempt > 1,
        "destination": {"physicalName": name, "physicalname": name},
        "data": b64encode(body_bytes(parcel)).decode(),
        "timestamp": message.sent_at,
        "brokerInTime": message.sent_at,
        "brokerOutTime": message.received_at,
        "connectionId": "penstock",
        "properties": dict(message.properties),
    }


def simple_event(parcel: Parcel) -> dict[str, str]:
    """`{"message", "timestamp"}`, the event of the aws-samples bridge. Bytes that are no text go as base64."""
    text = parcel.text if parcel.text is not None else b64encode(parcel.message.body).decode()
    sent = datetime.fromtimestamp((parcel.message.sent_at or parcel.message.received_at) / 1000, UTC)
    return {"message": text, "timestamp": sent.isoformat(timespec="milliseconds")}


def body_bytes(parcel: Parcel) -> bytes:
    """The body; text as real UTF-8, whichever form the broker sent."""
    return parcel.message.body if parcel.text is None else parcel.text.encode()


def to_json(event: object) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
