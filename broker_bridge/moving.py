"""Moves single messages within the broker: to their next attempt, or to the dead letters.

A message is copied and acknowledged in one transaction, or, where a copy would not be faithful, left to the broker by
a NACK. Both take a subscription that acknowledges one by one.
"""

import itertools
from collections.abc import Callable, Mapping

import structlog

from broker_bridge.broker import Connection, ConnectionLostError, ForbiddenError, RefusedError
from broker_bridge.dead_letters import REASON, DeadLetter, copy_headers, obstacle_to_copy, reasons_queue, story
from broker_bridge.frames import encode_frame
from broker_bridge.message import to_stomp
from broker_bridge.oversized import Oversized
from broker_bridge.postponement import postponed_headers
from broker_bridge.retry_policy import RetryStrategy
from broker_bridge.routes import Route
from broker_bridge.settlement import Entry
from broker_bridge.transfer import transfer

# ActiveMQ keeps every ACK of a transaction until the subscription ends, and each commit walks them all.
_TRANSACTED_ACKS = 1000


class Moving:
    """The moves of one route. Every method raises BrokerError. `renew` renews the subscription, for a reason."""

    def __init__(self, route: Route, *, renew: Callable[[str], None]) -> None:
        self._route = route
        self._renew = renew
        self._epoch = 0
        self._transacted = self._under_way = 0
        self._oversized = Oversized()
        self._numbers = itertools.count(1)
        self._log = structlog.get_logger("moving").bind(route=route.name)

    def begin(self, epoch: int) -> None:
        """A connection begins, with nothing transacted yet."""
        self._epoch, self._transacted = epoch, 0

    async def postpone(self, connection: Connection, entry: Entry, *, seconds: float, due: int) -> None:
        """Leaves a message to the broker for so many seconds, until `due` in milliseconds since 1970."""
        if self._route.retry.strategy is RetryStrategy.BROKER:
            await self._nack(connection, entry)
            return
        if obstacle := self._obstacle(entry):
            raise RefusedError(f"a copy would not be faithful: {obstacle}")
        await self._move(connection, entry, postponed_headers(entry, seconds=seconds, due=due))

    async def dead_letter(self, connection: Connection, entry: Entry, letter: DeadLetter) -> None:
        obstacle = self._obstacle(entry)
        if not obstacle:
            try:
                queue = self._route.dead_letter_queue(entry.message)
                headers = copy_headers(entry.message, queue, story(entry.message, letter))
                await self._move(connection, entry, headers)
            except ForbiddenError as error:
                obstacle = f"the broker refused the copy: {error}"
        if obstacle:
            self._log.warning("the broker moves the dead letter itself", message_id=entry.message.id, reason=obstacle)
            await self._leave_to_broker(connection, entry, letter)

    def _obstacle(self, entry: Entry) -> str:
        """Why the message must not be copied; empty when it may be."""
        if entry.key in self._oversized:
            return f"the broker ends the connection when it is sent its {len(entry.message.body)} bytes"
        return obstacle_to_copy(entry.message)

    async def _move(self, connection: Connection, entry: Entry, headers: Mapping[str, str]) -> None:
        if self._transacted >= _TRANSACTED_ACKS:
            raise ConnectionLostError("the subscription is about to be renewed: the broker will send the message again")
        self._under_way += 1
        try:
            await self._copy(connection, entry, headers)
        finally:
            self._under_way -= 1
            # Not before the last one is through: a COMMIT that stays unconfirmed moves what nobody counts as moved.
            if self._transacted >= _TRANSACTED_ACKS and not self._under_way:
                self._renew(f"the broker remembers {_TRANSACTED_ACKS} transacted ACKs")

    async def _copy(self, connection: Connection, entry: Entry, headers: Mapping[str, str]) -> None:
        name = f"move-{self._epoch}-{next(self._numbers)}"
        body = entry.message.body
        async with self._oversized.copying(entry.key, len(body), connection.ended):
            await transfer(connection, name, headers=headers, body=body, ack_id=entry.ack_id)
        self._transacted += 1

    async def _nack(self, connection: Connection, entry: Entry) -> None:
        receipt = f"nack-{self._epoch}-{next(self._numbers)}"
        await connection.request(encode_frame("NACK", {"id": entry.ack_id, "receipt": receipt}), receipt)

    async def _leave_to_broker(self, connection: Connection, entry: Entry, letter: DeadLetter) -> None:
        """The story first, so that no dead letter is without one; then the NACK by which the broker moves it.

        ActiveMQ removes the message even when it cannot store it as a dead letter: its disk is full, say. So no NACK is
        sent to a broker that has just refused to store, unless it was for want of permission, which a NACK needs not.
        """
        queue = reasons_queue(self._route.dead_letter_queue(entry.message))
        headers = {**story(entry.message, letter), "destination": to_stomp(queue), "persistent": "true"}
        told = f"reason-{self._epoch}-{next(self._numbers)}"
        try:
            await connection.request(encode_frame("SEND", {**headers, "receipt": told}, headers[REASON].encode()), told)
        except ForbiddenError as error:
            self._log.warning("the reason of a dead letter could not be kept", queue=queue, reason=str(error))
        await self._nack(connection, entry)
