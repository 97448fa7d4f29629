"""The sink of the shipper against the real store."""

from pathlib import Path

import pytest
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from deploy.local.ports import free_port_numbers
from services.runtime.channel import open_channel
from services.runtime.errors import InvalidArgumentError, UnavailableError
from services.tracking.persistence_sink import PersistenceSink
from services.tracking.shipping import Refused
from tests.integration.tracking_harness import NOWHERE, persistence, stored


def payload(*events: TrackingEvent) -> bytes:
    return PutEventsRequest(events=events).SerializeToString()


async def test_new_repeated_and_impossible_events_are_told_apart(tmp_path: Path) -> None:
    """Stored and repeated ones are done; one without a program is refused with the store's reason."""
    (port,) = free_port_numbers(1)
    good = [TrackingEvent(program_id="p", message_id=f"m-{number}") for number in range(300)]
    async with persistence(tmp_path, port) as store, open_channel(f"127.0.0.1:{port}") as channel:
        sink = PersistenceSink(channel)
        assert await sink.put(payload(*good)) == ()
        [refused] = await sink.put(payload(good[0], TrackingEvent(message_id="x"), good[1]))
        assert refused == Refused(index=1, reason=refused.reason)
        assert "program_id" in refused.reason
        assert {event.message_id for event in await stored(store)} == {event.message_id for event in good}


async def test_a_call_the_store_cannot_take_is_invalid_as_a_whole(tmp_path: Path) -> None:
    """The shipper then looks for the event that is to blame."""
    (port,) = free_port_numbers(1)
    async with persistence(tmp_path, port), open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(InvalidArgumentError):
            await PersistenceSink(channel).put(payload(*[TrackingEvent()] * 5001))


async def test_a_store_that_is_away_may_come_back() -> None:
    """UNAVAILABLE: the shipper tries again."""
    async with open_channel(NOWHERE) as channel:
        with pytest.raises(UnavailableError):
            await PersistenceSink(channel).put(payload(TrackingEvent(program_id="p", message_id="m")))
