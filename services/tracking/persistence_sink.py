"""The store as a sink of the shipper: PersistenceService over gRPC, the bytes of the log sent as they are."""

from collections.abc import Sequence

import grpc
from google.protobuf.message import DecodeError
from penstock.persistence.v1 import persistence_service_pb2 as pb

from services.runtime.errors import InternalError
from services.runtime.status import from_rpc_error
from services.tracking.shipping import Refused

_METHOD = "/penstock.persistence.v1.PersistenceService/PutEvents"
# The bytes of a stored event. As a rule all results are this one, and parsing them would be the larger part of a call.
_STORED = pb.PutEventsResponse(results=[pb.PutEventResult(outcome=pb.PUT_EVENT_OUTCOME_STORED)]).SerializeToString()
_SETTLED = (pb.PUT_EVENT_OUTCOME_STORED, pb.PUT_EVENT_OUTCOME_DUPLICATE)


class PersistenceSink:
    """An `EventSink` on a channel to the persistence service; `timeout` is that of one call in seconds."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout: float = 10.0) -> None:
        # A payload of the log already is a serialized PutEventsRequest: parsing it would only cost time.
        self._put = channel.unary_unary(_METHOD, request_serializer=bytes, response_deserializer=bytes)
        self._timeout = timeout

    async def put(self, payload: bytes, count: int) -> Sequence[Refused]:
        try:
            response = await self._put(payload, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        if response == _STORED * count:
            return ()
        refused = []
        for index, result in enumerate(_results(response, count)):
            if result.outcome == pb.PUT_EVENT_OUTCOME_INVALID:
                refused.append(Refused(index=index, reason=result.reason))
            elif result.outcome not in _SETTLED:
                raise InternalError(f"the store answered event {index} with the unknown outcome {result.outcome}")
        return refused


def _results(response: bytes, count: int) -> Sequence[pb.PutEventResult]:
    """A result per event, or nothing is known about any: whatever answered is not a store that has them."""
    try:
        results = pb.PutEventsResponse.FromString(response).results
    except DecodeError as error:
        raise InternalError(f"the store's answer is no PutEventsResponse: {error}") from error
    if len(results) != count:
        raise InternalError(f"the store answered {count} events with {len(results)} results")
    return results
