"""The peer of the tracking bench: raw grpc.aio on uvloop that answers every event ACCEPTED and does nothing else."""

from typing import Any

import grpc
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TRACK_OUTCOME_ACCEPTED

from bench.bare_server import Context, run_server


async def track_event(request: pb.TrackEventRequest, _context: Context) -> pb.TrackEventResponse:
    """A result, without looking at the event beyond its id."""
    result = pb.TrackResult(outcome=TRACK_OUTCOME_ACCEPTED, message_id=request.event.message_id)
    return pb.TrackEventResponse(result=result)


async def batch_track_events(request: pb.BatchTrackEventsRequest, _context: Context) -> pb.BatchTrackEventsResponse:
    """A result per event."""
    response = pb.BatchTrackEventsResponse()
    for event in request.events:
        response.results.add(outcome=TRACK_OUTCOME_ACCEPTED, message_id=event.message_id)
    return response


METHODS: "dict[str, grpc.RpcMethodHandler[Any, Any]]" = {
    "TrackEvent": grpc.unary_unary_rpc_method_handler(
        track_event, pb.TrackEventRequest.FromString, pb.TrackEventResponse.SerializeToString
    ),
    "BatchTrackEvents": grpc.unary_unary_rpc_method_handler(
        batch_track_events, pb.BatchTrackEventsRequest.FromString, pb.BatchTrackEventsResponse.SerializeToString
    ),
}


def add_tracking(server: grpc.aio.Server) -> None:
    service = pb.DESCRIPTOR.services_by_name["TrackingService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, METHODS),))


if __name__ == "__main__":
    run_server(add_tracking)
