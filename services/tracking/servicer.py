"""TrackingService over gRPC: events in, and the programs they are checked against."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1 import tracking_service_pb2_grpc

from services.runtime.errors import FieldViolation, InvalidArgumentError, NotFoundError
from services.runtime.paging import page_size, page_token, position_in
from services.tracking.event import program_id_fault
from services.tracking.intake import Intake, Source
from services.tracking.program import Program
from services.tracking.program_store import ProgramStore
from services.tracking.results import ACCEPTED
from services.tracking.stream import stream_batches

SERVICE = pb.DESCRIPTOR.services_by_name["TrackingService"].full_name
_EVERY_PROGRAM = "programs"
_NO_EVENT = pb.TrackEventRequest(event={}).SerializeToString()
Context = grpc.aio.ServicerContext[Any, Any]


class TrackingServicer(tracking_service_pb2_grpc.TrackingServiceServicer):
    """See penstock/tracking/v1/tracking_service.proto."""

    def __init__(self, intake: Intake, store: ProgramStore) -> None:
        self._intake = intake
        self._store = store

    async def TrackEvent(self, request: pb.TrackEventRequest, _context: Context) -> Any:  # noqa: N802
        """Gives a serialized response: the bytes of one event, and of one result, are those of a batch of one."""
        encoded = request.SerializeToString() if request.HasField("event") else _NO_EVENT
        return await self._intake.track_encoded(encoded, Source.EVENT_SOURCE_GRPC)

    async def BatchTrackEvents(self, request: Any, _context: Context) -> Any:  # noqa: N802
        """Takes a serialized request and gives a serialized response: see `add_to_server`."""
        return await self._intake.track_encoded(request, Source.EVENT_SOURCE_GRPC)

    async def StreamTrackEvents(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.StreamTrackEventsRequest], _context: Context
    ) -> AsyncIterator[pb.StreamTrackEventsResponse]:
        async with aclosing(stream_batches(request_iterator)) as batches:
            async for requests in batches:
                response = await self._intake.track([request.event for request in requests], Source.EVENT_SOURCE_GRPC)
                yield pb.StreamTrackEventsResponse(
                    acknowledged_sequence=requests[-1].sequence,
                    refusals=[
                        pb.StreamTrackRefusal(sequence=request.sequence, result=result)
                        for request, result in zip(requests, response.results, strict=True)
                        if result.outcome != ACCEPTED
                    ],
                )

    async def PutProgram(self, request: pb.PutProgramRequest, _context: Context) -> pb.PutProgramResponse:  # noqa: N802
        stored = await self._store.put(Program.from_proto(request.program))
        return pb.PutProgramResponse(program=stored.to_proto())

    async def GetProgram(self, request: pb.GetProgramRequest, _context: Context) -> pb.GetProgramResponse:  # noqa: N802
        program_id = _program_id(request.program_id)
        programs = await self._store.get_many([program_id])
        if program_id not in programs:
            raise _not_found(program_id)
        return pb.GetProgramResponse(program=programs[program_id].to_proto())

    async def ListPrograms(  # noqa: N802
        self, request: pb.ListProgramsRequest, _context: Context
    ) -> pb.ListProgramsResponse:
        size = page_size(request.page_size)
        after = position_in(request.page_token, _EVERY_PROGRAM, str) or ""
        found = await self._store.list_after(after, size + 1)
        page = found[:size]
        return pb.ListProgramsResponse(
            programs=[program.to_proto() for program in page],
            next_page_token=page_token(_EVERY_PROGRAM, page[-1].program_id) if len(found) > size else "",
        )

    async def DeleteProgram(  # noqa: N802
        self, request: pb.DeleteProgramRequest, _context: Context
    ) -> pb.DeleteProgramResponse:
        program_id = _program_id(request.program_id)
        if not await self._store.delete(program_id):
            raise _not_found(program_id)
        return pb.DeleteProgramResponse()


def add_to_server(servicer: TrackingServicer, server: grpc.aio.Server) -> None:
    """Serves TrackingService; the call that carries most events goes by its bytes, past the generated messages."""
    tracking_service_pb2_grpc.add_TrackingServiceServicer_to_server(servicer, server)
    # Registered after the generated one, under the same name, it takes its place.
    encoded: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(servicer.BatchTrackEvents)
    server.add_registered_method_handlers(SERVICE, {"BatchTrackEvents": encoded})


def _program_id(program_id: str) -> str:
    if fault := program_id_fault(program_id):
        raise InvalidArgumentError(fault, violations=[FieldViolation(field="program_id", description=fault)])
    return program_id


def _not_found(program_id: str) -> NotFoundError:
    return NotFoundError(
        f"no program has the id {program_id!r}",
        reason="ERROR_REASON_PROGRAM_NOT_FOUND",
        metadata={"program_id": program_id},
    )
