"""The sink of the shipper against the real store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from penstock.persistence.v1.persistence_service_pb2 import (
    PUT_EVENT_OUTCOME_STORED,
    PUT_EVENT_OUTCOME_UNSPECIFIED,
    PutEventOutcome,
    PutEventResult,
    PutEventsRequest,
    PutEventsResponse,
)
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from deploy.local.ports import free_port_numbers
from services.runtime.channel import open_channel
from services.runtime.errors import InternalError, InvalidArgumentError, UnavailableError
from services.tracking.persistence_sink import PersistenceSink
from services.tracking.shipping import Refused
from tests.integration.tracking_harness import NOWHERE, persistence, stored
from tests.unit.tracking.nested_events import nested_request


def payload(*events: TrackingEvent) -> bytes:
    return PutEventsRequest(events=events).SerializeToString()


async def test_new_repeated_and_impossible_events_are_told_apart(tmp_path: Path) -> None:
    """Stored and repeated ones are done; one without a program is refused with the store's reason."""
    (port,) = free_port_numbers(1)
    good = [TrackingEvent(program_id="p", message_id=f"m-{number}") for number in range(300)]
    async with persistence(tmp_path, port) as store, open_channel(f"127.0.0.1:{port}") as channel:
        sink = PersistenceSink(channel)
        assert await sink.put(payload(*good), 300) == ()
        [refused] = await sink.put(payload(good[0], TrackingEvent(message_id="x"), good[1]), 3)
        assert refused == Refused(index=1, reason=refused.reason)
        assert "program_id" in refused.reason
        assert {event.message_id for event in await stored(store)} == {event.message_id for event in good}


async def test_a_call_the_store_cannot_take_is_invalid_as_a_whole(tmp_path: Path) -> None:
    """The shipper then looks for the event that is to blame."""
    (port,) = free_port_numbers(1)
    async with persistence(tmp_path, port), open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(InvalidArgumentError):
            await PersistenceSink(channel).put(payload(*[TrackingEvent()] * 5001), 5001)


async def test_a_call_the_store_cannot_decode_is_invalid_as_a_whole(tmp_path: Path) -> None:
    """As one that is nested too deep."""
    (port,) = free_port_numbers(1)
    async with persistence(tmp_path, port), open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(InvalidArgumentError, match="cannot be read"):
            await PersistenceSink(channel).put(nested_request(100), 1)
        assert await PersistenceSink(channel).put(nested_request(99), 1) == ()


async def test_a_store_that_is_away_may_come_back() -> None:
    """UNAVAILABLE: the shipper tries again."""
    async with open_channel(NOWHERE) as channel:
        with pytest.raises(UnavailableError):
            await PersistenceSink(channel).put(payload(TrackingEvent(program_id="p", message_id="m")), 1)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """The address of something that answers every PutEvents with the same bytes."""

    async def put_events(_request: bytes, _context: object) -> bytes:
        return answer

    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(put_events)
    service = grpc.method_handlers_generic_handler("penstock.persistence.v1.PersistenceService", {"PutEvents": method})
    server = grpc.aio.server(handlers=[service])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


def results(*outcomes: PutEventOutcome) -> bytes:
    return PutEventsResponse(results=[PutEventResult(outcome=one) for one in outcomes]).SerializeToString()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "answered 2 events with 0 results"),
        (results(PUT_EVENT_OUTCOME_STORED), "answered 2 events with 1 results"),
        (results(*[PUT_EVENT_OUTCOME_STORED] * 3), "answered 2 events with 3 results"),
        (results(PUT_EVENT_OUTCOME_STORED, PUT_EVENT_OUTCOME_UNSPECIFIED), "event 1 with the unknown outcome 0"),
        (b"\x0a\xff<html>", "is no PutEventsResponse"),
    ],
    ids=["nothing", "too few", "too many", "no outcome", "garbage"],
)
async def test_an_answer_that_does_not_tell_of_every_event_confirms_none(answer: bytes, said: str) -> None:
    """The shipper sends all of them again."""
    async with answering(answer) as address, open_channel(address) as channel:
        with pytest.raises(InternalError, match=said):
            await PersistenceSink(channel).put(payload(*[TrackingEvent(program_id="p", message_id="m")] * 2), 2)
