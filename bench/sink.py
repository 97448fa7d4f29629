"""The lean store of the tracking bench: PersistenceService that takes everything, and tells afterwards what it took.

It stands for a store on a machine of its own: the intake ships to it as to any other, but the CPUs the intake is
measured on are not spent on inserting rows.
"""

from collections import Counter
from typing import Any

import grpc
from penstock.persistence.v1 import persistence_service_pb2 as pb

from bench.bare_server import Context, run_server

TAKEN_METHOD = "/bench.Sink/Taken"
"""Answers with the message ids taken since the last call, a line each, in order."""
_SERVICE = pb.DESCRIPTOR.services_by_name["PersistenceService"].full_name
_STORED = pb.PutEventsResponse(results=[pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_STORED)]).SerializeToString()


class Sink:
    """Keeps payloads as they came, and looks into them only when it is asked what it has."""

    def __init__(self) -> None:
        self._payloads: list[bytes] = []
        self._known: Counter[str] = Counter()

    async def put_events(self, payload: bytes, _context: Context) -> bytes:
        self._payloads.append(payload)
        return _STORED * event_count(payload)

    async def get_event(self, request: pb.GetEventRequest, context: Context) -> pb.GetEventResponse:
        self._look()
        if request.message_id not in self._known:
            await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        return pb.GetEventResponse()

    async def taken(self, _request: bytes, _context: Context) -> bytes:
        self._look()
        known, self._known = self._known, Counter()
        return "\n".join(known.elements()).encode()

    def add_to(self, server: grpc.aio.Server) -> None:
        methods: dict[str, Any] = {
            "PutEvents": grpc.unary_unary_rpc_method_handler(self.put_events),
            "GetEvent": grpc.unary_unary_rpc_method_handler(
                self.get_event, pb.GetEventRequest.FromString, pb.GetEventResponse.SerializeToString
            ),
        }
        own, _, name = TAKEN_METHOD[1:].rpartition("/")
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(_SERVICE, methods),
                grpc.method_handlers_generic_handler(own, {name: grpc.unary_unary_rpc_method_handler(self.taken)}),
            )
        )

    def _look(self) -> None:
        for payload in self._payloads:
            self._known.update(event.message_id for event in pb.PutEventsRequest.FromString(payload).events)
        self._payloads.clear()


def event_count(payload: bytes) -> int:
    """How many events a serialized PutEventsRequest holds, found by their lengths alone."""
    count = at = 0
    while at < len(payload):
        at, shift, length = at + 1, 0, 0
        while True:
            octet = payload[at]
            at, length, shift = at + 1, length | (octet & 0x7F) << shift, shift + 7
            if octet < 0x80:  # the last byte of a varint
                break
        at, count = at + length, count + 1
    return count


if __name__ == "__main__":
    run_server(Sink().add_to, options=[("grpc.max_receive_message_length", -1)])
