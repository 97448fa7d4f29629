"""A route's subscription, kept alive over connections that come and go.

Each connection is a new object and a new epoch: connect, subscribe with a receipt, hand over what comes, watch. When
it ends, for whatever reason, the next address of the list is tried after a growing pause.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from broker_bridge.broker import (
    BrokerAddress,
    BrokerError,
    Connect,
    Connection,
    ConnectionLostError,
    ForbiddenError,
    RefusedError,
)
from broker_bridge.dead_letters import REASON, DeadLetter, copy_headers, obstacle_to_copy, reasons_queue, story
from broker_bridge.frames import acks, encode_frame, subscribe
from broker_bridge.message import to_stomp
from broker_bridge.oversized import Oversized
from broker_bridge.postponement import postponed_headers
from broker_bridge.retry_policy import RetryStrategy
from broker_bridge.routes import Route
from broker_bridge.settlement import AckBatch, Entry
from broker_bridge.source import is_topic
from broker_bridge.transfer import transfer
from broker_bridge.transforming import Transforming
from services.runtime.retry import Backoff

_SUBSCRIPTION = "route"
_RECEIPT_SECONDS = 15.0
_WATCH_SECONDS = 1.0
# ActiveMQ keeps every ACK of a transaction until the subscription ends, and each commit walks them all.
_TRANSACTED_ACKS = 1000
PROBE_SECONDS = 30.0
_STALE_ACK = "Unexpected ACK received"


class Consumer(Protocol):
    """Who works on what a session receives: the pump."""

    def opened(self) -> int: ...

    def received(self, frames: Sequence[tuple[Mapping[str, str], bytes]]) -> None: ...

    def confirmed(self, receipt: str) -> None: ...

    def unconfirmed_seconds(self) -> float: ...

    def prefetch(self) -> int:
        """How many messages the broker may send ahead on the next connection."""
        ...

    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        ...

    def renewal(self) -> str:
        """Why the subscription should be renewed now; empty when it may stay."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """Whether the broker has confirmed the subscription; otherwise `detail` says what stands in the way."""

    active: bool
    detail: str
    server: str = ""


class _Nobody:
    """Hears what a probe receives: nothing."""

    def on_messages(self, messages: Sequence[tuple[Mapping[str, str], bytes]]) -> None: ...

    def on_receipt(self, receipt: str) -> None: ...

    def on_error(self, receipt: str, reason: str) -> None: ...


class Session:
    """The subscription of one route; also the way back to the broker for ACKs and dead letters."""

    def __init__(
        self,
        route: Route,
        *,
        connect: Connect,
        addresses: Sequence[BrokerAddress],
        report: Callable[[SessionState], None],
        backoff: Backoff | None = None,
        prefer_first: bool = False,
    ) -> None:
        self._prefer_first = prefer_first
        self._route = route
        # A durable subscription is known by these two names: the same after a restart, and on whichever machine.
        self._durable = f"penstock-{route.name}" if is_topic(route.source) else ""
        self._connect = connect
        self._addresses = addresses
        self._report = report
        self._backoff = backoff or Backoff(initial=0.1, maximum=5.0)
        self._connection: Connection | None = None
        self._consumer: Consumer | None = None
        self._epoch = 0
        self._transacted = self._moving = 0
        self._renewing = self._closed = False
        self._transforming = Transforming(wanted=route.transform_maps, now=time.monotonic)
        self._oversized = Oversized()
        self._numbers = itertools.count(1)
        self._log = structlog.get_logger("session").bind(route=route.name)

    async def run(self, consumer: Consumer) -> None:
        """Keeps the subscription until cancelled."""
        self._consumer = consumer
        failures = position = 0
        while True:
            address = self._addresses[position]
            try:
                await self._live(address, consumer)
            except BrokerError as error:
                if self._closed:
                    return
                was_active = self._connection is not None
                back_to_first = was_active and self._prefer_first
                if self._renewing:
                    self._log.info("the subscription is renewed", reason=str(error))
                    position = 0 if back_to_first else position
                    continue
                position = 0 if back_to_first else (position + 1) % len(self._addresses)
                failures = 1 if was_active else failures + 1
                self._log.warning("no subscription", reason=str(error), broker=str(address), failures=failures)
                self._report(SessionState(active=False, detail=str(error)))
            finally:
                self._renewing = False
                self._drop("given up")
            await asyncio.sleep(self._backoff.delay(failures))

    async def _live(self, address: BrokerAddress, consumer: Consumer) -> None:
        """One connection from its beginning to its end, which is always a BrokerError."""
        connection = await self._connect(address, self, client_id=self._durable)
        try:
            self._epoch = consumer.opened()
            self._transacted = 0
            self._connection = connection
            receipt = f"subscribe-{self._epoch}"
            terms = self._transforming.begin(prefetch=consumer.prefetch())
            frames = subscribe(
                _SUBSCRIPTION,
                to_stomp(self._route.source),
                selector=self._route.selector,
                prefetch=terms.prefetch,
                receipt=receipt,
                durable=self._durable,
                transformation=terms.transformation,
            )
            await connection.request(frames, receipt)
        except BaseException:
            self._connection = None
            connection.abort("given up")
            if not self._renewing:
                self._transforming.ended()
            raise
        self._log.info("subscribed", source=self._route.source, broker=str(address), server=connection.server)
        self._report(SessionState(active=True, detail="", server=f"{address} {connection.server}"))
        probing = asyncio.ensure_future(self._return_to_first(address))
        try:
            await self._watch(connection, consumer)
        finally:
            probing.cancel()
            if not self._renewing:
                self._transforming.ended()

    async def _return_to_first(self, address: BrokerAddress) -> None:
        """Renews the subscription when the preferred broker is back."""
        first = self._addresses[0]
        while self._prefer_first and address != first:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                probe = await self._connect(first, _Nobody())
            except BrokerError:
                continue
            await probe.close()
            self._renew(f"{first} is back, and preferred")
            return

    async def _watch(self, connection: Connection, consumer: Consumer) -> None:
        while not connection.ended.done():
            await asyncio.wait({connection.ended}, timeout=_WATCH_SECONDS)
            if consumer.unconfirmed_seconds() > _RECEIPT_SECONDS:
                connection.abort(f"{connection.address} did not confirm ACKs within {_RECEIPT_SECONDS:g} s")
            self._renew(consumer.renewal() or self._transforming.renewal(idle=consumer.is_idle()))
        raise ConnectionLostError(connection.ended.result())

    def _renew(self, reason: str) -> None:
        """A new connection at once; what is being delivered goes on. Nothing without a reason."""
        if reason and self._connection is not None and not self._connection.ended.done():
            self._renewing = True
            self._connection.abort(reason)

    def _drop(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.abort(reason)
            self._connection = None

    # What the connection tells.

    def on_messages(self, messages: Sequence[tuple[Mapping[str, str], bytes]]) -> None:
        if self._consumer is None:
            return
        try:
            self._consumer.received(self._transforming.received(messages))
            self._renew(self._consumer.renewal())
        except (KeyError, ValueError) as error:
            self._drop(f"the broker sent a MESSAGE frame that cannot be read: {error!r}")

    def on_receipt(self, receipt: str) -> None:
        if self._consumer is not None:
            self._consumer.confirmed(receipt)

    def on_error(self, receipt: str, reason: str) -> None:
        self._log.warning("the broker answered with an error", reason=reason, receipt=receipt)
        if reason.startswith(_STALE_ACK):
            # The broker has worked off every ACK before this one, which it does not know any more.
            self.on_receipt(receipt)
        elif self._connection is not None:
            # The socket stays open, but nobody can say what still works: begin anew.
            self._connection.abort(reason)

    # What the pump wants.

    def acknowledge(self, batch: AckBatch) -> None:
        if self._connection is None:
            return
        try:
            self._connection.write(acks(batch.ack_ids, receipt=batch.receipt))
        except ConnectionLostError as error:
            self._log.info("ACKs not sent", reason=str(error), messages=len(batch.ack_ids))

    async def postpone(self, entry: Entry, *, seconds: float, due: int) -> None:
        connection = self._current(entry)
        if self._route.retry.strategy is RetryStrategy.BROKER:
            await self._nack(connection, entry)
            return
        if obstacle := self._obstacle(entry):
            raise RefusedError(f"a copy would not be faithful: {obstacle}")
        await self._move(connection, entry, postponed_headers(entry, seconds=seconds, due=due))

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        connection = self._current(entry)
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

    def _current(self, entry: Entry) -> Connection:
        if self._connection is None or entry.epoch != self._epoch:
            raise ConnectionLostError("the connection this message came by is gone: the broker will send it again")
        return self._connection

    async def _move(self, connection: Connection, entry: Entry, headers: Mapping[str, str]) -> None:
        if self._transacted >= _TRANSACTED_ACKS:
            raise ConnectionLostError("the subscription is about to be renewed: the broker will send the message again")
        self._moving += 1
        try:
            await self._copy(connection, entry, headers)
        finally:
            self._moving -= 1
            # Not before the last one is through: a COMMIT that stays unconfirmed moves what nobody counts as moved.
            if self._transacted >= _TRANSACTED_ACKS and not self._moving:
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

    async def close(self) -> None:
        """Ends the subscription in order: what was written is confirmed first, within a bounded time."""
        self._closed = True
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
