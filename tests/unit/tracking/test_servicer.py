"""TrackingService without a socket: programs, pages, streams."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from penstock.tracking.v1 import program_pb2
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError
from services.tracking.program_store import MemoryProgramStore
from services.tracking.results import ACCEPTED, DUPLICATE, INVALID, UNKNOWN_PROGRAM
from services.tracking.servicer import Context, TrackingServicer
from tests.unit.tracking.intake_fixture import HeldLog, make_intake

NO_CONTEXT: Context = None  # type: ignore[assignment]


@pytest.fixture
def servicer() -> TrackingServicer:
    return TrackingServicer(make_intake(HeldLog()), MemoryProgramStore())


async def put(servicer: TrackingServicer, *program_ids: str) -> None:
    for program_id in program_ids:
        program = program_pb2.Program(program_id=program_id, enabled=True)
        await servicer.PutProgram(pb.PutProgramRequest(program=program), NO_CONTEXT)


async def test_one_event_gets_one_result(servicer: TrackingServicer) -> None:
    """The form for the simple caller."""
    request = pb.TrackEventRequest(event=TrackingEvent(program_id="p", message_id="m"))
    response = pb.TrackEventResponse.FromString(await servicer.TrackEvent(request, NO_CONTEXT))
    assert response.result == pb.TrackResult(outcome=ACCEPTED, message_id="m")


async def test_a_call_without_an_event_is_answered_like_an_empty_one(servicer: TrackingServicer) -> None:
    """A result, as every event gets."""
    newer = pb.TrackEventRequest.FromString(b"\xc0\x3e\x01")  # a field of a later version of the API
    for request in (pb.TrackEventRequest(), pb.TrackEventRequest(event=TrackingEvent()), newer):
        response = pb.TrackEventResponse.FromString(await servicer.TrackEvent(request, NO_CONTEXT))
        assert response.result.outcome == INVALID
        assert response.result.reason.startswith("program_id is empty")


async def test_a_stream_is_acknowledged_cumulatively(servicer: TrackingServicer) -> None:
    """The last acknowledgement covers everything; only refusals are listed."""

    async def requests() -> AsyncIterator[pb.StreamTrackEventsRequest]:
        for sequence, (program_id, message_id) in enumerate([("p", "a"), ("nosuch", "b"), ("p", "a"), ("p", "c")], 10):
            event = TrackingEvent(program_id=program_id, message_id=message_id)
            yield pb.StreamTrackEventsRequest(sequence=sequence, event=event)

    responses = [response async for response in servicer.StreamTrackEvents(requests(), NO_CONTEXT)]
    assert responses[-1].acknowledged_sequence == 13
    refusals = [(refusal.sequence, refusal.result.outcome) for response in responses for refusal in response.refusals]
    assert refusals == [(11, UNKNOWN_PROGRAM), (12, DUPLICATE)]


async def test_programs_are_put_read_and_deleted(servicer: TrackingServicer) -> None:
    """With their version; the version in a request is ignored."""
    program = program_pb2.Program(program_id="p", name="Spring", enabled=True, version=99)
    stored = await servicer.PutProgram(pb.PutProgramRequest(program=program), NO_CONTEXT)
    assert stored.program.version == 1
    read = await servicer.GetProgram(pb.GetProgramRequest(program_id="p"), NO_CONTEXT)
    assert read.program == stored.program
    await servicer.DeleteProgram(pb.DeleteProgramRequest(program_id="p"), NO_CONTEXT)
    for call in (
        servicer.GetProgram(pb.GetProgramRequest(program_id="p"), NO_CONTEXT),
        servicer.DeleteProgram(pb.DeleteProgramRequest(program_id="p"), NO_CONTEXT),
    ):
        with pytest.raises(NotFoundError, match="no program has the id 'p'") as caught:
            await call
        assert caught.value.reason == "ERROR_REASON_PROGRAM_NOT_FOUND"


async def test_programs_are_listed_in_pages(servicer: TrackingServicer) -> None:
    """Each token leads to the next page; the last page has none."""
    await put(servicer, "c", "a", "b", "d", "e")
    found, token = [], ""
    while True:
        request = pb.ListProgramsRequest(page_size=2, page_token=token)
        page = await servicer.ListPrograms(request, NO_CONTEXT)
        found.append([program.program_id for program in page.programs])
        token = page.next_page_token
        if not token:
            break
    assert found == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("token", ["nonsense", "cDE6", "YQ==", "cDE6YSBi", "é"])
async def test_a_foreign_page_token_is_refused(servicer: TrackingServicer, token: str) -> None:
    """Rather than taken for the first page."""
    with pytest.raises(InvalidArgumentError) as caught:
        await servicer.ListPrograms(pb.ListProgramsRequest(page_token=token), NO_CONTEXT)
    assert caught.value.reason == "ERROR_REASON_INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("size", [-1, 1001])
async def test_the_size_of_a_page_has_bounds(servicer: TrackingServicer, size: int) -> None:
    """1 to 1000, 0 means the default."""
    with pytest.raises(InvalidArgumentError, match=f"page_size: {size} is not between"):
        await servicer.ListPrograms(pb.ListProgramsRequest(page_size=size), NO_CONTEXT)


@pytest.mark.parametrize("program_id", ["", "a b"])
async def test_a_malformed_program_id_is_not_looked_for(servicer: TrackingServicer, program_id: str) -> None:
    """INVALID_ARGUMENT, not NOT_FOUND."""
    with pytest.raises(InvalidArgumentError, match="program_id"):
        await servicer.GetProgram(pb.GetProgramRequest(program_id=program_id), NO_CONTEXT)


async def test_a_stream_that_fails_stops_reading() -> None:
    """What the client still sends is for its next stream; a reader left behind would take it in for nothing."""
    log = HeldLog(full=ResourceExhaustedError("full", reason="ERROR_REASON_LOG_FULL"))
    servicer = TrackingServicer(make_intake(log), MemoryProgramStore())
    left = False

    async def requests() -> AsyncIterator[pb.StreamTrackEventsRequest]:
        nonlocal left
        try:
            yield pb.StreamTrackEventsRequest(sequence=1, event=TrackingEvent(program_id="p"))
            await asyncio.get_running_loop().create_future()
        finally:
            left = True

    with pytest.raises(ResourceExhaustedError):
        await anext(aiter(servicer.StreamTrackEvents(requests(), NO_CONTEXT)))
    assert left
