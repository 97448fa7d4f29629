"""PersistenceService over gRPC."""

from collections.abc import Sequence
from typing import Any

import grpc
from penstock.persistence.v1 import persistence_service_pb2 as pb
from penstock.persistence.v1 import persistence_service_pb2_grpc
from penstock.persistence.v1.conversion_pb2 import (
    CONVERSION_OUTCOME_CLICK,
    CONVERSION_OUTCOME_DUPLICATE,
    CONVERSION_OUTCOME_IMPRESSION,
    Conversion,
)
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.matching import Windows
from services.persistence.matching_job import MatchingJob
from services.persistence.record import microseconds, timestamp_fault
from services.persistence.recorder import EventRecorder, RecordResult
from services.persistence.store import EventQuery, EventStore, Position, PutOutcome, StoredEvent
from services.runtime.errors import FieldViolation, InvalidArgumentError, NotFoundError, invalid_field
from services.runtime.paging import fitting, page_size, page_token, position_in

SERVICE = pb.DESCRIPTOR.services_by_name["PersistenceService"].full_name
MAX_EVENTS_PER_CALL = 5000
_DAY = 86_400 * 1_000_000  # microseconds
_CLICK_WINDOW, _IMPRESSION_WINDOW, _LONGEST_WINDOW = 30 * _DAY, _DAY, 400 * _DAY
_STORED = pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_STORED)
_DUPLICATE = pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_DUPLICATE)
Context = grpc.aio.ServicerContext[Any, Any]


class PersistenceServicer(persistence_service_pb2_grpc.PersistenceServiceServicer):
    """See penstock/persistence/v1/persistence_service.proto."""

    def __init__(self, recorder: EventRecorder, store: EventStore, conversions: EventStore) -> None:
        self._recorder = recorder
        self._store = store
        self._conversions = conversions
        self._matching = MatchingJob(store, conversions)

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
        rows, token = await _page(self._store, request, "events")
        return pb.ListEventsResponse(
            events=[TrackingEvent.FromString(row.record.payload) for row in rows], next_page_token=token
        )

    async def MatchEvents(self, request: pb.MatchEventsRequest, _context: Context) -> pb.MatchEventsResponse:  # noqa: N802
        windows = Windows(
            click=_window(request, "click_window", _CLICK_WINDOW),
            impression=_window(request, "impression_window", _IMPRESSION_WINDOW),
        )
        outcomes = await self._matching.run(_query(request), windows)
        return pb.MatchEventsResponse(
            transactions=outcomes.total(),
            clicks=outcomes[CONVERSION_OUTCOME_CLICK],
            impressions=outcomes[CONVERSION_OUTCOME_IMPRESSION],
            duplicates=outcomes[CONVERSION_OUTCOME_DUPLICATE],
        )

    async def ListConversions(  # noqa: N802
        self, request: pb.ListConversionsRequest, _context: Context
    ) -> pb.ListConversionsResponse:
        rows, token = await _page(self._conversions, request, "conversions")
        return pb.ListConversionsResponse(
            conversions=[Conversion.FromString(row.record.payload) for row in rows], next_page_token=token
        )


async def _page(
    store: EventStore, request: pb.ListEventsRequest | pb.ListConversionsRequest, kind: str
) -> tuple[Sequence[StoredEvent], str]:
    """The rows of a page, and the token of the next one; empty when this is the last."""
    query, size = _query(request), page_size(request.page_size)
    conditions = f"{kind} {query}"
    after = position_in(request.page_token, conditions, _position)
    found = await store.list_events(query, after=after, limit=size + 1)
    page = fitting(found[:size], lambda event: len(event.record.payload))
    if len(page) == len(found):
        return page, ""
    last = page[-1].position
    return page, page_token(conditions, f"{last.occurred_at} {last.key}")


def _put_result(result: RecordResult) -> pb.PutEventResult:
    if isinstance(result, InvalidArgumentError):
        return pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_INVALID, reason=result.message)
    return _STORED if result is PutOutcome.STORED else _DUPLICATE


def _query(request: pb.ListEventsRequest | pb.ListConversionsRequest | pb.MatchEventsRequest) -> EventQuery:
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


def _window(request: pb.MatchEventsRequest, field: str, default: int) -> int:
    """A window in microseconds."""
    if not request.HasField(field):
        return default
    duration = getattr(request, field)
    length = int(duration.seconds * 1_000_000 + duration.nanos // 1000)
    if not 0 < length <= _LONGEST_WINDOW:
        raise invalid_field(
            field, f"is {length / 1e6:g} s; above 0 and at most {_LONGEST_WINDOW // _DAY} days are taken"
        )
    return length


def _position(text: str) -> Position:
    occurred_at, _, key = text.partition(" ")
    return Position(occurred_at=int(occurred_at), key=key)
