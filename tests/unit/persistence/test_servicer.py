from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.persistence.v1 import persistence_service_pb2 as pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.recorder import EventRecorder
from services.persistence.servicer import PersistenceServicer
from services.persistence.store import MemoryEventStore
from services.runtime.errors import InvalidArgumentError, NotFoundError

STORED, DUPLICATE, INVALID = (
    pb.PUT_EVENT_OUTCOME_STORED,
    pb.PUT_EVENT_OUTCOME_DUPLICATE,
    pb.PUT_EVENT_OUTCOME_INVALID,
)
NO_CONTEXT: Any = None


@pytest.fixture
def servicer() -> PersistenceServicer:
    store = MemoryEventStore()
    return PersistenceServicer(EventRecorder(store, now=lambda: 1000.0), store, MemoryEventStore())


def event(message_id: str, *, second: int = 0, program_id: str = "p", user_agent: str = "") -> TrackingEvent:
    occurred_at = Timestamp(seconds=second)
    return TrackingEvent(message_id=message_id, program_id=program_id, occurred_at=occurred_at, user_agent=user_agent)


async def put(servicer: PersistenceServicer, *events: TrackingEvent) -> list[pb.PutEventResult]:
    return list((await servicer.PutEvents(pb.PutEventsRequest(events=events), NO_CONTEXT)).results)


async def listed(servicer: PersistenceServicer, **request: Any) -> pb.ListEventsResponse:
    return await servicer.ListEvents(pb.ListEventsRequest(**request), NO_CONTEXT)


def ids(response: pb.ListEventsResponse) -> list[str]:
    return [event.message_id for event in response.events]


async def test_every_event_has_a_result(servicer: PersistenceServicer) -> None:
    """Stored, there before, or wrong with the reason; a wrong one stops none of the others."""
    results = await put(servicer, event("a"), event("a"), TrackingEvent(message_id="b"), event("c"))
    assert [result.outcome for result in results] == [STORED, DUPLICATE, INVALID, STORED]
    assert results[2].reason == "program_id: is required"


async def test_a_batch_of_wrong_events_only_is_answered(servicer: PersistenceServicer) -> None:
    """Nothing is stored, nothing fails."""
    assert [result.outcome for result in await put(servicer, TrackingEvent())] == [INVALID]
    assert ids(await listed(servicer)) == []


@pytest.mark.parametrize("count", [0, 5001], ids=["none", "too many"])
async def test_a_batch_of_the_wrong_size_is_refused_whole(servicer: PersistenceServicer, count: int) -> None:
    """The message tells the limits, and nothing is stored."""
    with pytest.raises(InvalidArgumentError, match="1 to 5000") as refusal:
        await put(servicer, *[event("a")] * count)
    assert refusal.value.violations[0].field == "events"
    assert ids(await listed(servicer)) == []


async def test_an_event_reads_back_as_it_was_put(servicer: PersistenceServicer) -> None:
    """By its message id."""
    given = event("a", second=5, user_agent="browser")
    await put(servicer, given)
    assert (await servicer.GetEvent(pb.GetEventRequest(message_id="a"), NO_CONTEXT)).event == given


async def test_an_unknown_message_id_is_not_found(servicer: PersistenceServicer) -> None:
    """The error carries the id."""
    with pytest.raises(NotFoundError) as refusal:
        await servicer.GetEvent(pb.GetEventRequest(message_id="none"), NO_CONTEXT)
    assert refusal.value.reason == "ERROR_REASON_EVENT_NOT_FOUND"
    assert refusal.value.metadata == {"message_id": "none"}


async def test_reading_without_a_message_id_is_refused(servicer: PersistenceServicer) -> None:
    """The field is named."""
    with pytest.raises(InvalidArgumentError, match="message_id: is required"):
        await servicer.GetEvent(pb.GetEventRequest(), NO_CONTEXT)


async def test_pages_follow_their_tokens(servicer: PersistenceServicer) -> None:
    """The last page has none; a full last page is not followed by an empty one."""
    await put(servicer, *[event(f"m{number}", second=number) for number in range(4)])
    first = await listed(servicer, program_id="p", page_size=2)
    second = await listed(servicer, program_id="p", page_size=2, page_token=first.next_page_token)
    assert (ids(first), ids(second)) == (["m0", "m1"], ["m2", "m3"])
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    "other", [{}, {"program_id": "q"}, {"program_id": "p", "until_time": Timestamp(seconds=9)}], ids=str
)
async def test_a_token_is_good_for_its_query_alone(servicer: PersistenceServicer, other: dict[str, Any]) -> None:
    """Going on with other conditions would show a listing that never was."""
    await put(servicer, *[event(f"m{number}", second=number) for number in range(4)])
    first = await listed(servicer, program_id="p", page_size=2)
    with pytest.raises(InvalidArgumentError, match="page_token: was not issued for this query"):
        await listed(servicer, page_token=first.next_page_token, **other)


async def test_a_page_size_of_zero_means_a_hundred(servicer: PersistenceServicer) -> None:
    """As the API says."""
    await put(servicer, *[event(f"m{number}") for number in range(101)])
    assert len((await listed(servicer)).events) == 100


async def test_large_events_make_short_pages(servicer: PersistenceServicer) -> None:
    """A response stays below the 4 MiB that clients take by default, and no event is left out."""
    await put(servicer, *[event(f"m{number:02}", second=number, user_agent="x" * 250_000) for number in range(20)])
    found: list[str] = []
    token = ""
    while True:
        page = await listed(servicer, page_size=1000, page_token=token)
        assert page.ByteSize() < 4 * 1024 * 1024
        found += ids(page)
        token = page.next_page_token
        if not token:
            break
    assert found == [f"m{number:02}" for number in range(20)]


async def test_a_listing_is_narrowed_by_time(servicer: PersistenceServicer) -> None:
    """The start counts, the end does not."""
    await put(servicer, *[event(f"m{second}", second=second) for second in (9, 10, 20)])
    response = await listed(servicer, from_time=Timestamp(seconds=10), until_time=Timestamp(seconds=20))
    assert ids(response) == ["m10"]


@pytest.mark.parametrize(
    ("request_fields", "complaint"),
    [
        ({"page_size": -1}, "page_size: -1 is not between"),
        ({"page_size": 1001}, "page_size: 1001 is not between"),
        ({"from_time": Timestamp(nanos=-1)}, "from_time: nanos = -1"),
        ({"until_time": Timestamp(seconds=2**60)}, "until_time: seconds"),
        ({"page_token": "nonsense"}, "page_token: was not issued for this query"),
    ],
    ids=["negative size", "large size", "bad start", "bad end", "bad token"],
)
async def test_a_malformed_listing_is_refused(
    servicer: PersistenceServicer, request_fields: dict[str, Any], complaint: str
) -> None:
    """The message names the field and its value."""
    with pytest.raises(InvalidArgumentError, match=complaint):
        await listed(servicer, **request_fields)
