"""Delivery to another destination of the same broker: a copy, faithful in all that STOMP carries."""

from collections.abc import Sequence

from broker_bridge.broker import BrokerError, RefusedError
from broker_bridge.dead_letters import copy_headers, obstacle_to_copy
from broker_bridge.parcel import Parcel
from broker_bridge.sender import Sender, Sending
from broker_bridge.target_specs import QueueTarget
from broker_bridge.targets import ACCEPTED, ErrorClass, Origin, Outcome, Rejected, Retry

MESSAGE_ID = "penstock_message_id"
"""The property of a copy that holds the id of the original: the broker gives copies an id of their own."""


class QueueDelivery:
    """A `broker_bridge.targets.Target`. A delivery of several messages is one transaction of the broker."""

    def __init__(self, spec: QueueTarget, sender: Sender) -> None:
        self._spec = spec
        self._sender = sender

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:  # noqa: ARG002
        faults = [self._fault(parcel) for parcel in parcels]
        going = [
            copy(parcel, self._spec.destination) for parcel, fault in zip(parcels, faults, strict=True) if not fault
        ]
        outcome = await self._send(going) if going else ACCEPTED
        return [Rejected(reason=fault, error_class=ErrorClass.POISON) if fault else outcome for fault in faults]

    async def _send(self, sendings: Sequence[Sending]) -> Outcome:
        try:
            await self._sender.send(sendings)
        except RefusedError as error:
            return Retry(reason=str(error), error_class=ErrorClass.REFUSED)
        except BrokerError as error:
            return Retry(reason=str(error), error_class=ErrorClass.UNAVAILABLE)
        return ACCEPTED

    def _fault(self, parcel: Parcel) -> str:
        """Why the message cannot be copied there; empty when it can."""
        if parcel.message.destination == self._spec.destination:
            return f"it came from {self._spec.destination}: the copy would come back without end"
        obstacle = obstacle_to_copy(parcel.message)
        return f"it cannot be copied faithfully: {obstacle}" if obstacle else ""

    async def close(self) -> None:
        """Nothing to do: the connection is shared."""


def copy(parcel: Parcel, destination: str) -> Sending:
    """The SEND of a copy: the bytes of the body as they came, and every header that a producer may set."""
    message = parcel.message
    extra = {MESSAGE_ID: message.id}
    if parcel.group:
        extra["JMSXGroupID"] = parcel.group
    headers = copy_headers(message, destination, extra)
    headers["persistent"] = "true" if message.persistent else "false"
    if message.expires_at:
        headers["expires"] = str(message.expires_at)
    return Sending(headers=headers, body=message.body)
