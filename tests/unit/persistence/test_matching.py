"""Last touch within windows: what led to a transaction, the same however often and in whatever slices it is asked."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.persistence.v1 import conversion_pb2 as pb
from penstock.tracking.v1 import tracking_event_pb2 as event_pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.persistence.matching import Windows
from services.persistence.matching_job import MatchingJob
from services.persistence.record import record_of
from services.persistence.store import EventQuery, EventStore, MemoryEventStore, Position

CLICK, IMPRESSION, SALE = (
    event_pb.EVENT_TYPE_CLICK,
    event_pb.EVENT_TYPE_IMPRESSION,
    event_pb.EVENT_TYPE_TRANSACTION,
)
SECOND = 1_000_000
WINDOWS = Windows(click=100 * SECOND, impression=10 * SECOND)


def event(
    kind: event_pb.EventType, second: int, message_id: str, *, cookie: str = "c", program: str = "p", **fields: str
) -> TrackingEvent:
    one = TrackingEvent(event_type=kind, message_id=message_id, program_id=program, cookie_id=cookie, **fields)  # type: ignore[arg-type]
    one.occurred_at.FromSeconds(second)
    return one


async def conversions(store: EventStore) -> list[pb.Conversion]:
    found: list[pb.Conversion] = []
    after: Position | None = None
    while page := await store.list_events(EventQuery(), after=after, limit=100):
        found += [pb.Conversion.FromString(stored.record.payload) for stored in page]
        after = page[-1].position
    return found


async def matched(*events: TrackingEvent) -> list[tuple[str, str, str]]:
    """Message id, outcome and touch of every conversion."""
    store, target = await stored(events), MemoryEventStore()
    await MatchingJob(store, target).run(EventQuery(), WINDOWS)
    return [
        (
            one.message_id,
            pb.ConversionOutcome.Name(one.outcome).removeprefix("CONVERSION_OUTCOME_"),
            one.touch_message_id,
        )
        for one in await conversions(target)
    ]


async def stored(events: Sequence[TrackingEvent]) -> MemoryEventStore:
    store = MemoryEventStore()
    await store.put([record_of(one, now=0.0) for one in events])
    return store


async def test_the_last_click_of_the_cookie_leads_to_the_transaction() -> None:
    """Whatever order the events were stored in."""
    events = [event(SALE, 50, "sale"), event(CLICK, 10, "first"), event(CLICK, 40, "last"), event(CLICK, 60, "later")]
    assert await matched(*events) == [("sale", "CLICK", "last")]


async def test_a_click_comes_before_a_later_impression() -> None:
    """An impression counts when there is no click."""
    events = [event(CLICK, 1, "click"), event(IMPRESSION, 49, "seen"), event(SALE, 50, "sale")]
    assert await matched(*events) == [("sale", "CLICK", "click")]
    assert await matched(*events[1:]) == [("sale", "IMPRESSION", "seen")]


@pytest.mark.parametrize(
    ("kind", "age", "outcome"),
    [
        (CLICK, 100, "CLICK"),
        (CLICK, 101, "UNATTRIBUTED"),
        (IMPRESSION, 10, "IMPRESSION"),
        (IMPRESSION, 11, "UNATTRIBUTED"),
    ],
)
async def test_windows_have_an_end(kind: event_pb.EventType, age: int, outcome: str) -> None:
    """A touch as old as the window counts, an older one does not."""
    [(_, found, _)] = await matched(event(kind, 1000 - age, "touch"), event(SALE, 1000, "sale"))
    assert found == outcome


async def test_other_cookies_and_programs_lead_to_nothing() -> None:
    """Nor does a missing cookie match a missing cookie."""
    events = [
        event(CLICK, 1, "other cookie", cookie="d"),
        event(CLICK, 2, "other program", program="q"),
        event(CLICK, 3, "no cookie", cookie=""),
        event(SALE, 4, "sale"),
        event(SALE, 5, "sale without", cookie=""),
    ]
    assert await matched(*events) == [("sale", "UNATTRIBUTED", ""), ("sale without", "UNATTRIBUTED", "")]


async def test_a_transaction_may_name_its_click() -> None:
    """By the click's own id or its message id, also of another cookie; an unknown name falls back to the cookie."""
    events = [
        event(CLICK, 1, "named", cookie="phone", click_id="k-1"),
        event(CLICK, 2, "last"),
        event(SALE, 3, "by click id", click_id="k-1"),
        event(SALE, 4, "by message id", click_id="named"),
        event(SALE, 5, "by nothing known", click_id="k-2"),
    ]
    assert await matched(*events) == [
        ("by click id", "CLICK", "named"),
        ("by message id", "CLICK", "named"),
        ("by nothing known", "CLICK", "last"),
    ]


async def test_a_transaction_sent_again_with_another_message_id_does_not_count() -> None:
    """The first of a transaction id counts, the others name it."""
    events = [event(CLICK, 1, "click"), *[event(SALE, 2 + n, f"sale-{n}", transaction_id="t") for n in range(2)]]
    assert await matched(*events) == [("sale-0", "CLICK", "click"), ("sale-1", "DUPLICATE", "sale-0")]


async def test_events_of_one_time_have_one_order() -> None:
    """Touches come before the transaction; of two touches the one with the greater message id is the last."""
    events = [event(SALE, 5, "a-sale"), event(CLICK, 5, "x"), event(CLICK, 5, "y")]
    assert await matched(*events) == await matched(*events[::-1]) == [("a-sale", "CLICK", "y")]


async def test_a_later_run_takes_in_what_was_stored_late() -> None:
    """The conversion is replaced, not doubled."""
    store, target = await stored([event(SALE, 5, "sale")]), MemoryEventStore()
    job = MatchingJob(store, target)
    assert await job.run(EventQuery(), WINDOWS) == {pb.CONVERSION_OUTCOME_UNATTRIBUTED: 1}
    await store.put([record_of(event(CLICK, 4, "late"), now=0.0)])
    assert await job.run(EventQuery(), WINDOWS) == {pb.CONVERSION_OUTCOME_CLICK: 1}
    [conversion] = await conversions(target)
    assert conversion.touch_message_id == "late"


EVENTS = st.lists(
    st.builds(
        lambda kind, second, cookie, named, transaction: (kind, second, cookie, named, transaction),
        st.sampled_from((CLICK, IMPRESSION, SALE)),
        st.integers(0, 400),
        st.sampled_from(("c", "d", "")),
        st.sampled_from(("", "k-1", "k-2")),
        st.sampled_from(("", "t-1")),
    ),
    max_size=60,
)


@given(EVENTS, st.lists(st.integers(1, 399), max_size=5, unique=True), st.randoms())
async def test_slices_of_time_give_what_one_run_gives(
    made: list[tuple[event_pb.EventType, int, str, str, str]], cuts: list[int], random: object
) -> None:
    """In any order of slices, with any order of storing, run twice."""
    events = [
        event(kind, second, f"m-{number}", cookie=cookie, click_id=named, transaction_id=transaction)
        for number, (kind, second, cookie, named, transaction) in enumerate(made)
    ]
    whole, sliced = MemoryEventStore(), MemoryEventStore()
    await MatchingJob(await stored(events), whole).run(EventQuery(), WINDOWS)
    random.shuffle(events)  # type: ignore[attr-defined]
    job = MatchingJob(await stored(events), sliced)
    bounds = [None, *sorted(cut * SECOND for cut in cuts), None]
    slices = list(pairwise(bounds)) * 2
    random.shuffle(slices)  # type: ignore[attr-defined]
    for start, end in slices:
        await job.run(EventQuery(from_time=start, until_time=end), WINDOWS)
    assert await conversions(sliced) == await conversions(whole)
