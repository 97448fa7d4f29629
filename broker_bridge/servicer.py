"""The gRPC face of the bridge: `penstock.bridge.v1.BridgeService`."""

from typing import Any

import grpc
from penstock.bridge.v1 import bridge_service_pb2, bridge_service_pb2_grpc, route_pb2

from broker_bridge.bridge import Bridge
from broker_bridge.broker import BrokerError
from broker_bridge.dead_letter_queue import DeadLetterQueue, DeadMessage
from broker_bridge.grpc_target import broker_message
from broker_bridge.message import MessageKind
from broker_bridge.parcel import Attribute, AttributeKind, Parcel
from broker_bridge.route_runner import Parts, RouteState, RouteStatus
from broker_bridge.routes import route_document
from broker_bridge.source import fault_of_source, is_wildcard
from broker_bridge.stats import Snapshot
from broker_bridge.text_codec import TextError
from services.runtime.errors import NotFoundError, UnavailableError, invalid_field
from services.runtime.health import HealthBoard

SERVICE = "penstock.bridge.v1.BridgeService"
_Context = grpc.aio.ServicerContext[Any, Any]
_STATUSES = {
    RouteStatus.ACTIVE: bridge_service_pb2.ROUTE_STATUS_ACTIVE,
    RouteStatus.CONNECTING: bridge_service_pb2.ROUTE_STATUS_CONNECTING,
    RouteStatus.PAUSED: bridge_service_pb2.ROUTE_STATUS_PAUSED,
    RouteStatus.INVALID: bridge_service_pb2.ROUTE_STATUS_INVALID,
}
_MAX_LISTED = 1000
_DEFAULT_LISTED = 100


class BridgeServicer(bridge_service_pb2_grpc.BridgeServiceServicer):
    """Shows routes and counts, and works on dead letters."""

    def __init__(self, bridge: Bridge, *, parts: Parts, health: HealthBoard) -> None:
        self._bridge = bridge
        self._parts = parts
        self._health = health

    def register(self, server: grpc.aio.Server) -> list[str]:
        bridge_service_pb2_grpc.add_BridgeServiceServicer_to_server(self, server)
        return [SERVICE]

    async def ListRoutes(  # noqa: N802
        self, _request: bridge_service_pb2.ListRoutesRequest, _context: _Context
    ) -> bridge_service_pb2.ListRoutesResponse:
        return bridge_service_pb2.ListRoutesResponse(routes=[_state(state) for state in self._bridge.states()])

    async def GetStats(  # noqa: N802
        self, _request: bridge_service_pb2.GetStatsRequest, _context: _Context
    ) -> bridge_service_pb2.GetStatsResponse:
        states, snapshots = self._bridge.states(), self._bridge.snapshots()
        return bridge_service_pb2.GetStatsResponse(
            routes=[_stats(snapshot) for snapshot in snapshots],
            broker=next((state.server for state in states if state.server), ""),
            dedup_available=self._is_healthy("dedup"),
            reconnects=sum(state.stats.connections_lost for state in states),
        )

    async def ListDeadLetters(  # noqa: N802
        self, request: bridge_service_pb2.ListDeadLettersRequest, _context: _Context
    ) -> bridge_service_pb2.ListDeadLettersResponse:
        if not 0 <= request.max_messages <= _MAX_LISTED:
            raise invalid_field("max_messages", f"{request.max_messages} is not between 1 and {_MAX_LISTED}")
        letters = self._open(request.source)
        try:
            found = await letters.list(request.max_messages or _DEFAULT_LISTED)
        except BrokerError as error:
            raise _unavailable(error) from error
        return bridge_service_pb2.ListDeadLettersResponse(dead_letters=[_dead_letter(dead) for dead in found])

    async def GetDeadLetter(  # noqa: N802
        self, request: bridge_service_pb2.GetDeadLetterRequest, _context: _Context
    ) -> bridge_service_pb2.GetDeadLetterResponse:
        if not request.message_id or "\x00" in request.message_id:
            raise invalid_field("message_id", "is required, without U+0000")
        letters = self._open(request.source)
        try:
            found = await letters.get(request.message_id)
        except BrokerError as error:
            raise _unavailable(error) from error
        if found is None:
            raise NotFoundError(
                f"{request.source} has no dead letter {request.message_id!r}: `penstock dlq list` shows their ids",
                reason="ERROR_REASON_DEAD_LETTER_NOT_FOUND",
                metadata={"source": request.source, "message_id": request.message_id},
            )
        return bridge_service_pb2.GetDeadLetterResponse(dead_letter=_dead_letter(found))

    async def ReplayDeadLetters(  # noqa: N802
        self, request: bridge_service_pb2.ReplayDeadLettersRequest, _context: _Context
    ) -> bridge_service_pb2.ReplayDeadLettersResponse:
        letters = self._open(request.source)
        try:
            result = await letters.replay(list(request.message_ids))
        except BrokerError as error:
            raise _unavailable(error) from error
        return bridge_service_pb2.ReplayDeadLettersResponse(replayed=result.replayed, skipped=result.skipped)

    async def PurgeDeadLetters(  # noqa: N802
        self, request: bridge_service_pb2.PurgeDeadLettersRequest, _context: _Context
    ) -> bridge_service_pb2.PurgeDeadLettersResponse:
        letters = self._open(request.source)
        try:
            purged = await letters.purge(list(request.message_ids))
        except BrokerError as error:
            raise _unavailable(error) from error
        return bridge_service_pb2.PurgeDeadLettersResponse(purged=purged)

    def _open(self, source: str) -> DeadLetterQueue:
        fault = fault_of_source(source)
        if fault or is_wildcard(source):
            raise invalid_field("source", fault or f"{source!r} has a wildcard: name one of its queues")
        parts = self._parts
        return DeadLetterQueue(source, connect=parts.connect, addresses=parts.addresses, now_ms=parts.clock.wall)

    def _is_healthy(self, part: str) -> bool:
        state = self._health.get(part)
        return state is None or not state.detail


def _unavailable(error: BrokerError) -> UnavailableError:
    return UnavailableError(str(error), reason="ERROR_REASON_BROKER_UNAVAILABLE")


def _state(state: RouteState) -> bridge_service_pb2.RouteState:
    document = route_document(state.route, state.document) if state.route else route_pb2.Route(name=state.name)
    details = [state.detail, state.fault] if state.fault != state.detail else [state.detail]
    return bridge_service_pb2.RouteState(
        route=document,
        status=_STATUSES[state.status],
        detail="; ".join(detail for detail in details if detail),
        version=state.route.version if state.route else 0,
    )


def _stats(snapshot: Snapshot) -> bridge_service_pb2.RouteStats:
    counts = snapshot.stats
    encoded = bridge_service_pb2.RouteStats(
        route=snapshot.route,
        received=counts.received,
        delivered=counts.delivered,
        filtered=counts.filtered,
        settled=counts.settled,
        retried=counts.retried,
        dead_lettered=counts.dead_lettered,
        duplicates=counts.duplicates,
        in_flight=snapshot.in_flight,
        open_circuits=snapshot.open_circuits,
        circuits_opened=counts.circuits_opened,
        rate_limited=counts.rate_limited,
        in_flight_bytes=snapshot.in_flight_bytes,
        replies=counts.replies,
        late_replies=counts.late_replies,
        unsent_replies=counts.unsent_replies,
    )
    if counts.last_settled_at:
        encoded.last_settled_at.FromMilliseconds(counts.last_settled_at)
    encoded.oldest_in_flight_age.FromMilliseconds(int(snapshot.oldest_age * 1000))
    return encoded


def _dead_letter(dead: DeadMessage) -> bridge_service_pb2.DeadLetter:
    attributes = {name: Attribute(AttributeKind.STRING, value) for name, value in dead.message.properties.items()}
    text = None
    if dead.message.kind is MessageKind.TEXT:
        try:
            text = dead.message.text()
        except TextError:
            text = None  # shown as bytes
    encoded = bridge_service_pb2.DeadLetter(
        message=broker_message(Parcel(message=dead.message, attempt=dead.attempts, attributes=attributes, text=text)),
        dead_letter_queue=dead.queue,
        reason=dead.reason,
        attempts=dead.attempts,
        original_destination=dead.original_destination,
        original_message_id=dead.original_message_id,
        route=dead.route,
        error_class=dead.error_class,
    )
    if dead.first_failed_at:
        encoded.first_failed_at.FromMilliseconds(dead.first_failed_at)
    return encoded
