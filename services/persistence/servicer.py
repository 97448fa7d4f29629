"""PersistenceService over gRPC."""

from typing import Any

import grpc
from penstock.persistence.v1 import persistence_service_pb2 as pb
from penstock.persistence.v1 import persistence_service_pb2_grpc
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.record import microseconds, timestamp_fault
from services.persistence.recorder import EventRecorder, RecordResult
from services.persistence.store import EventQuery, EventStore, Position, PutOutcome
from services.runtime.errors import FieldViolation, InvalidArgumentError, NotFoundError, invalid_field
from services.runtime.paging import fitting, page_size, page_token, position_in

SERVICE = pb.DESCRIPTOR.services_by_name["PersistenceService"].full_name
MAX_EVENTS_PER_CALL = 5000
_STORED = pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_STORED)
_DUPLICATE = pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_DUPLICATE)
Context = grpc.aio.ServicerContext[Any, Any]


class PersistenceServicer(persistence_service_pb2_grpc.PersistenceServiceServicer):
    """See penstock/persistence/v1/persistence_service.proto."""

    def __init__(self, recorder: EventRecorder, store: EventStore) -> None:
        self._recorder = recorder
        self._store = store

    async def PutEvents(self, request: pb.PutEventsRequest, _context: Context) -> pb.PutEventsResponse:  # noqa: N802
        if not 1 <= len(request.events) <= MAX_EVENTS_PER_CALL:
            raise invalid_field(
                "events", f"has {len(request.events)} entries; 1 to {MAX_EVENTS_PER_CALL} are taken per call"
            )
        results = await self._recorder.record(request.events)
        return pb.PutEventsResponse(results=[_put_result(result) for result in results])

    async def GetEvent(self, request: pb.GetEventRequest, _context: Context) -> pb.GetEventResponse:  # noqa: N802
        if not request.message_id:
            raise invalid_field("message_id", "is required")
        record = await self._store.get(request.message_id)
        if record is None:
            raise NotFoundError(
                f"no event has the message id {request.message_id!r}",
                reason="ERROR_REASON_EVENT_NOT_FOUND",
                metadata={"message_id": request.message_id},
            )
        return pb.GetEventResponse(event=TrackingEvent.FromString(record.payload))

    async def ListEvents(self, request: pb.ListEventsRequest, _context: Context) -> pb.ListEventsResponse:  # noqa: N802
        query, size = _query(request), page_size(request.page_size)
        conditions = f"events {query}"
        after = position_in(request.page_token, conditions, _position)
        found = await self._store.list_events(query, after=after, limit=size + 1)
        page = fitting(found[:size], lambda event: len(event.record.payload))
        last = page[-1].position if len(page) < len(found) else None
        return pb.ListEventsResponse(
            events=[TrackingEvent.FromString(event.record.payload) for event in page],
            next_page_token=page_token(conditions, f"{last.occurred_at} {last.key}") if last else "",
        )


def _put_result(result: RecordResult) -> pb.PutEventResult:
    if isinstance(result, InvalidArgumentError):
        return pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_INVALID, reason=result.message)
    return _STORED if result is PutOutcome.STORED else _DUPLICATE


def _query(request: pb.ListEventsRequest) -> EventQuery:
    violations = []
    times: dict[str, int | None] = {"from_time": None, "until_time": None}
    for field in times:
        if not request.HasField(field):
            continue
        timestamp = getattr(request, field)
        if fault := timestamp_fault(timestamp):
            violations.append(FieldViolation(field=field, description=fault))
        times[field] = microseconds(timestamp)
    if violations:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidArgumentError(text, violations=violations, reason="ERROR_REASON_INVALID_FIELD")
    return EventQuery(program_id=request.program_id or None, **times)


def _position(text: str) -> Position:
    occurred_at, _, key = text.partition(" ")
    return Position(occurred_at=int(occurred_at), key=key)
