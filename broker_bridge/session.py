"""A route's subscription, kept alive over connections that come and go.

Each connection is a new object and a new epoch: connect, subscribe with a receipt, hand over what comes, watch. When
it ends, for whatever reason, the next address of the list is tried after a growing pause.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from broker_bridge.acknowledging import Acknowledging
from broker_bridge.broker import (
    BrokerAddress,
    BrokerError,
    Connect,
    Connection,
    ConnectionLostError,
)
from broker_bridge.dead_letters import DeadLetter
from broker_bridge.frames import acks, barrier, subscribe
from broker_bridge.message import to_stomp
from broker_bridge.moving import Moving
from broker_bridge.retry_policy import RetryStrategy
from broker_bridge.routes import Route
from broker_bridge.settlement import AckBatch, Entry
from broker_bridge.source import is_topic, is_wildcard
from broker_bridge.transforming import Transforming
from services.runtime.retry import Backoff

_SUBSCRIPTION = "route"
_RECEIPT_SECONDS = 15.0
_WATCH_SECONDS = 1.0
PROBE_SECONDS = 30.0
_STALE_ACK = "Unexpected ACK received"


class Consumer(Protocol):
    """Who works on what a session receives: the pump."""

    def opened(self, *, cumulative: bool) -> int:
        """A new connection, whose ACKs each take every message before it with it, or not: returns its epoch."""
        ...

    def received(self, frames: Sequence[tuple[Mapping[str, str], bytes]]) -> None: ...

    def confirmed(self, receipt: str) -> None: ...

    def unconfirmed_seconds(self) -> float: ...

    def stalled_seconds(self) -> float:
        """For how long messages could not be acknowledged because of one before them."""
        ...

    def is_remembered(self) -> bool:
        """Whether other bridges, and this one after a restart, know what was delivered."""
        ...

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
        self._renewing = self._first_is_back = self._closed = False
        self._retiring: asyncio.Future[None] | None = None
        self._acknowledging = Acknowledging(allowed=_may_acknowledge_together(route), now=time.monotonic)
        self._transforming = Transforming(wanted=route.transform_maps, now=time.monotonic)
        self._moving = Moving(route, renew=self._renew)
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
                if self._renewing:
                    position = 0 if self._first_is_back else position
                    continue
                position = 0 if was_active and self._prefer_first else (position + 1) % len(self._addresses)
                failures = 1 if was_active else failures + 1
                self._log.warning("no subscription", reason=str(error), broker=str(address), failures=failures)
                self._report(SessionState(active=False, detail=str(error)))
            finally:
                self._renewing = self._first_is_back = False
                self._drop("given up")
            await asyncio.sleep(self._backoff.delay(failures))

    async def _live(self, address: BrokerAddress, consumer: Consumer) -> None:
        """One connection from its beginning to its end, which is always a BrokerError."""
        connection = await self._connect(address, self, client_id=self._durable)
        try:
            cumulative = self._acknowledging.begin(connection.server, remembered=consumer.is_remembered())
            self._epoch = consumer.opened(cumulative=cumulative)
            self._moving.begin(self._epoch)
            self._connection = connection
            receipt = f"subscribe-{self._epoch}"
            await connection.request(self._subscribe(receipt, prefetch=consumer.prefetch()), receipt)
        except BaseException:
            self._connection = None
            connection.abort("given up")
            if not self._renewing:
                self._transforming.ended()
            raise
        self._log.info(
            "subscribed",
            source=self._route.source,
            broker=str(address),
            server=connection.server,
            acknowledging="together" if cumulative else "one by one",
        )
        self._report(SessionState(active=True, detail="", server=f"{address} {connection.server}"))
        probing = asyncio.ensure_future(self._return_to_first(address))
        try:
            await self._watch(connection, consumer)
        finally:
            probing.cancel()
            if not self._renewing:
                self._transforming.ended()

    def _subscribe(self, receipt: str, *, prefetch: int) -> bytes:
        terms = self._transforming.begin(prefetch=prefetch)
        # ActiveMQ opens the window of a SUBSCRIBE with a receipt afterwards, and then forgets to look at the queues of
        # a wildcard: what lies there already would not come.
        apart = is_wildcard(self._route.source)
        frames = subscribe(
            _SUBSCRIPTION,
            to_stomp(self._route.source),
            selector=self._route.selector,
            prefetch=terms.prefetch,
            receipt="" if apart else receipt,
            durable=self._durable,
            transformation=terms.transformation,
            cumulative=self._acknowledging.cumulative,
        )
        return frames + barrier(receipt) if apart else frames

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
            self._first_is_back = True
            self._renew(f"{first} is back, and preferred")
            return

    async def _watch(self, connection: Connection, consumer: Consumer) -> None:
        while not connection.ended.done():
            await asyncio.wait({connection.ended}, timeout=_WATCH_SECONDS)
            if consumer.unconfirmed_seconds() > _RECEIPT_SECONDS:
                connection.abort(f"{connection.address} did not confirm ACKs within {_RECEIPT_SECONDS:g} s")
            if not self._renewing:
                self._renew(self._transforming.renewal(idle=consumer.is_idle()) or self._consumer_needs(consumer))
        raise ConnectionLostError(connection.ended.result())

    def _consumer_needs(self, consumer: Consumer) -> str:
        """Why the consumer needs another subscription; empty when it does not."""
        return consumer.renewal() or self._acknowledging.renewal(
            stalled=consumer.stalled_seconds(), remembered=consumer.is_remembered()
        )

    def _renew(self, reason: str) -> None:
        """A new connection as soon as what was written is confirmed. Nothing without a reason.

        What is being delivered goes on; what comes meanwhile comes again.
        """
        if reason and not self._renewing and self._connection is not None and not self._connection.ended.done():
            self._log.info("the subscription is renewed", reason=reason)
            self._renewing = True
            self._retiring = asyncio.ensure_future(self._connection.close())

    def _drop(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.abort(reason)
            self._connection = None

    # What the connection tells.

    def on_messages(self, messages: Sequence[tuple[Mapping[str, str], bytes]]) -> None:
        if self._consumer is None or self._renewing:
            return
        try:
            self._consumer.received(self._transforming.received(messages))
        except Exception as error:  # noqa: BLE001 - nothing after it may be acknowledged, whatever it is
            self._drop(f"the broker sent a MESSAGE frame that cannot be read: {error!r}")
        else:
            self._renew(self._consumer_needs(self._consumer))

    def on_receipt(self, receipt: str) -> None:
        if self._consumer is not None:
            self._consumer.confirmed(receipt)

    def on_error(self, receipt: str, reason: str) -> None:
        self._log.warning("the broker answered with an error", reason=reason, receipt=receipt)
        if reason.startswith(_STALE_ACK) and not self._acknowledging.cumulative:
            # The broker has worked off every ACK before this one, which it does not know any more.
            self.on_receipt(receipt)
        elif self._connection is not None:
            # The socket stays open, but nobody can say what still works: begin anew, by simpler means.
            self._acknowledging.one_by_one("the broker answered with an error")
            self._connection.abort(reason)

    # What the pump wants.

    def acknowledge(self, batch: AckBatch) -> None:
        if self._connection is None or self._renewing:
            return
        try:
            self._connection.write(acks(batch.ack_ids, receipt=batch.receipt))
        except ConnectionLostError as error:
            self._log.info("ACKs not sent", reason=str(error), messages=len(batch.ack_ids))

    async def postpone(self, entry: Entry, *, seconds: float, due: int) -> None:
        await self._moving.postpone(self._current(entry), entry, seconds=seconds, due=due)

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        await self._moving.dead_letter(self._current(entry), entry, letter)

    def _current(self, entry: Entry) -> Connection:
        """The connection by which a message may be moved by itself."""
        connection = self._connection
        if connection is None or connection.ended.done() or self._renewing or entry.epoch != self._epoch:
            raise ConnectionLostError("the connection this message came by is gone: the broker will send it again")
        if reason := self._acknowledging.one_by_one("a message is to be moved by itself"):
            self._renew(reason)
            raise ConnectionLostError(reason)
        return connection

    async def close(self) -> None:
        """Ends the subscription in order: what was written is confirmed first, within a bounded time."""
        self._closed = True
        if self._connection is not None:
            await (self._retiring if self._renewing and self._retiring else self._connection.close())
            self._connection = None


def _may_acknowledge_together(route: Route) -> bool:
    """Not where messages wait in the broker, which takes a move or a refusal each; lanes have one at a time to settle.

    Nor of a topic: each renewal would let a bridge that waits for its durable subscription take it over. Nor of the
    queues of a wildcard: several messages there may have one id, by which the broker finds what an ACK is for. Nor
    where it writes Map messages as JSON, at which it may fail in ways of its own.
    """
    moves_each = route.retry.strategy is not RetryStrategy.LOCAL
    needs_each = is_topic(route.source) or is_wildcard(route.source) or route.transform_maps
    return not (moves_each or route.lanes or needs_each)
