"""The peer of the tracking bench: raw grpc.aio on uvloop that answers every event ACCEPTED and does nothing else."""

import asyncio
import os
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from penstock.tracking.v1 import tracking_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TRACK_OUTCOME_ACCEPTED

Context = grpc.aio.ServicerContext[Any, Any]


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


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells that the process is up."""

    async def Check(  # noqa: N802
        self, _request: health_pb2.HealthCheckRequest, _context: Context
    ) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


async def main(port: int) -> None:
    server = grpc.aio.server()
    service = pb.DESCRIPTOR.services_by_name["TrackingService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, METHODS),))
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(os.environ["BENCH_ECHO_PORT"])))
