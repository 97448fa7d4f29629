"""The decision about events, and that no answer is given before it is durable."""

import asyncio
from collections.abc import Sequence

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from penstock.tracking.v1 import tracking_event_pb2 as event_pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent
from penstock.tracking.v1.tracking_service_pb2 import BatchTrackEventsRequest

from services.runtime.errors import InvalidArgumentError, ResourceExhaustedError
from services.tracking.core import CORE, PORTABLE, Core, compiled
from services.tracking.event import event_fault
from services.tracking.intake import Intake, Response, Source
from services.tracking.privacy import IpAddresses
from services.tracking.results import (
    ACCEPTED,
    DUPLICATE,
    EXPIRED_PROGRAM,
    INVALID,
    UNKNOWN_PROGRAM,
    UNVERIFIED,
    WRONG_CHECKSUM,
)
from tests.unit.tracking.intake_fixture import NOW, HeldLog, make_intake, program

GRPC = Source.EVENT_SOURCE_GRPC


@pytest.fixture
def log() -> HeldLog:
    return HeldLog()


@pytest.fixture
def intake(log: HeldLog) -> Intake:
    return make_intake(log)


def outcomes(response: Response) -> list[int]:
    return [result.outcome for result in response.results]


def events(*message_ids: str, program_id: str = "p") -> Sequence[TrackingEvent]:
    return [TrackingEvent(program_id=program_id, message_id=message_id) for message_id in message_ids]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_event_of_a_batch_gets_its_own_result(log: HeldLog) -> None:
    """In the order of the request; only accepted and unverified ones are stored."""
    intake = make_intake(log, program("p", checksum="right"), program("off", enabled=False))
    batch = [
        TrackingEvent(program_id="p", message_id="1"),
        TrackingEvent(program_id="nosuch", message_id="2"),
        TrackingEvent(program_id="off", message_id="3"),
        TrackingEvent(program_id="away", message_id="4"),
        TrackingEvent(program_id="not well-formed", message_id="5"),
        TrackingEvent(program_id="p", message_id="6", checksum="wrong"),
        TrackingEvent(program_id="p", message_id="7", checksum="right"),
        TrackingEvent(program_id="p", message_id="8" * 101),
        TrackingEvent(program_id="p", message_id="1"),
    ]
    response = await intake.track(batch, GRPC)
    assert outcomes(response) == [
        ACCEPTED,
        UNKNOWN_PROGRAM,
        EXPIRED_PROGRAM,
        UNVERIFIED,
        INVALID,
        WRONG_CHECKSUM,
        ACCEPTED,
        INVALID,
        DUPLICATE,
    ]
    assert [event.message_id for event in log.events] == ["1", "4", "7"]
    assert [result.message_id for result in response.results] == [event.message_id for event in batch]
    reasons = [result.reason for result in response.results]
    assert reasons[0] == ""
    assert reasons[1] == "program nosuch does not exist"
    assert reasons[2] == "program off is switched off"
    assert reasons[4].startswith("program_id 'not well-formed'")
    assert reasons[5] == "checksum 'wrong' is not that of its program"


async def test_malformed_program_ids_are_not_looked_up(log: HeldLog) -> None:
    """They cannot exist; the store is not bothered."""
    intake = make_intake(log)
    await intake.track([TrackingEvent(program_id="a b"), TrackingEvent(program_id="p")], GRPC)
    assert intake._programs.asked == [{"p"}]  # type: ignore[attr-defined]


async def test_a_stored_event_carries_program_time_source_and_verdict(log: HeldLog) -> None:
    """Whatever the client put there is replaced, everything else is kept."""
    intake = make_intake(log, program("p", name="Spring", customer_id=7), now=lambda: 1_700_000_000.0)
    sent = TrackingEvent(
        program_id="p",
        message_id="m",
        cookie_id="c",
        attributes={"k": "v"},
        occurred_at=Timestamp(seconds=5),
        customer_name="forged",
        received_at=Timestamp(seconds=9, nanos=999),
        source=Source.EVENT_SOURCE_BROKER,
        verdict=DUPLICATE,
        corrected_at=Timestamp(seconds=9),
        is_bot=True,
        is_late=True,
    )
    await intake.track([sent], Source.EVENT_SOURCE_HTTP)
    [stored] = log.events
    assert stored == TrackingEvent(
        program_id="p",
        message_id="m",
        cookie_id="c",
        attributes={"k": "v"},
        occurred_at=Timestamp(seconds=5),
        program_name="Spring",
        customer_id=7,
        received_at=Timestamp(seconds=1_700_000_000, nanos=1),
        source=Source.EVENT_SOURCE_HTTP,
        verdict=ACCEPTED,
        is_late=True,
    )


async def test_an_unverified_event_says_so(log: HeldLog) -> None:
    """It can be verified later from what is stored."""
    await make_intake(log).track(events("m", program_id="away"), GRPC)
    [stored] = log.events
    assert stored.verdict == event_pb.TRACK_OUTCOME_UNVERIFIED
    assert stored.HasField("received_at")


async def test_events_without_an_id_get_one_each(intake: Intake, log: HeldLog) -> None:
    """The same in the answer and in the store."""
    response = await intake.track(events("", ""), GRPC)
    given = [result.message_id for result in response.results]
    assert len(set(given)) == 2
    assert [event.message_id for event in log.events] == given


async def test_large_events_are_framed_right(intake: Intake, log: HeldLog) -> None:
    """Also those whose length takes three bytes."""
    batch = [
        TrackingEvent(program_id="p", message_id=str(size), attributes={str(n): "x" * size for n in range(30)})
        for size in (1, 20, 1000)
    ]
    assert outcomes(await intake.track(batch, GRPC)) == [ACCEPTED] * 3
    assert [dict(event.attributes) for event in log.events] == [dict(event.attributes) for event in batch]


@pytest.mark.parametrize("count", [0, 5001])
async def test_a_batch_has_bounds(intake: Intake, count: int) -> None:
    """1 to 5000."""
    with pytest.raises(InvalidArgumentError, match=f"events: has {count} entries"):
        await intake.track([TrackingEvent()] * count, GRPC)


@pytest.mark.parametrize("core", [CORE, PORTABLE], ids=["compiled", "portable"])
async def test_a_batch_that_is_too_long_is_refused_before_its_events_are_looked_at(log: HeldLog, core: Core) -> None:
    """Or each of the few bytes of an empty event would cost a message, an id and a serialization."""
    made: list[str] = []

    def new_id() -> str:
        made.append("id")
        return f"id-{len(made)}"

    intake = make_intake(log, core=core, new_id=new_id)
    with pytest.raises(InvalidArgumentError, match="events: has 5001 entries"):
        await intake.track_encoded(b"\x0a\x00" * 5001, GRPC)
    with pytest.raises(InvalidArgumentError, match="events: has 5001 entries"):
        await intake.track([TrackingEvent()] * 5001, GRPC)
    assert not made
    await intake.track_encoded(b"\x0a\x00" * 5000, GRPC)
    assert len(made) == 5000


async def test_no_answer_before_the_log_confirms(intake: Intake, log: HeldLog) -> None:
    """Acknowledged means durable."""
    log.automatic = False
    answer = asyncio.create_task(intake.track(events("m"), GRPC))
    await turns()
    assert not answer.done()
    log.waiting[0].set_result(None)
    assert outcomes(await answer) == [ACCEPTED]


async def test_a_repetition_of_an_event_in_flight_waits_for_it(intake: Intake, log: HeldLog) -> None:
    """It is not answered DUPLICATE before the original is durable."""
    log.automatic = False
    original = asyncio.create_task(intake.track(events("m"), GRPC))
    await turns()
    repetition = asyncio.create_task(intake.track(events("m"), GRPC))
    await turns()
    assert not repetition.done()
    log.waiting[0].set_result(None)
    assert outcomes(await original) == [ACCEPTED]
    assert outcomes(await repetition) == [DUPLICATE]
    assert len(log.events) == 1


async def test_when_the_original_fails_its_repetition_fails_too(intake: Intake, log: HeldLog) -> None:
    """And the id is new again: the client's next attempt is stored."""
    log.automatic = False
    original = asyncio.create_task(intake.track(events("m"), GRPC))
    await turns()
    repetition = asyncio.create_task(intake.track(events("m"), GRPC))
    await turns()
    log.waiting[0].set_exception(ResourceExhaustedError("no space", reason="ERROR_REASON_STORAGE_FULL"))
    for failed in (original, repetition):
        with pytest.raises(ResourceExhaustedError):
            await failed
    log.automatic = True
    assert outcomes(await intake.track(events("m"), GRPC)) == [ACCEPTED]


async def test_a_full_log_fails_the_call_and_forgets_its_ids(intake: Intake, log: HeldLog) -> None:
    """Otherwise the client's retry would be a DUPLICATE of something never stored."""
    log.full = ResourceExhaustedError("full", reason="ERROR_REASON_LOG_FULL")
    with pytest.raises(ResourceExhaustedError, match="full"):
        await intake.track(events("a", "b"), GRPC)
    log.full = None
    assert outcomes(await intake.track(events("a", "b"), GRPC)) == [ACCEPTED, ACCEPTED]


async def test_a_caller_that_gives_up_leaves_its_events_consistent(intake: Intake, log: HeldLog) -> None:
    """The append goes on; a retry waits for it and is a DUPLICATE."""
    log.automatic = False
    gone = asyncio.create_task(intake.track(events("m"), GRPC))
    await turns()
    gone.cancel()
    await turns()
    retry = asyncio.create_task(intake.track(events("m"), GRPC))
    await turns()
    assert not retry.done()
    log.waiting[0].set_result(None)
    assert outcomes(await retry) == [DUPLICATE]
    assert len(log.events) == 1


async def test_a_duplicate_stays_one_when_its_program_ends(intake: Intake) -> None:
    """A retry is answered by what became of the first attempt."""
    await intake.track(events("m"), GRPC)
    intake._programs.known["p"] = program("p", enabled=False)  # type: ignore[attr-defined]
    assert outcomes(await intake.track(events("m", "n"), GRPC)) == [DUPLICATE, EXPIRED_PROGRAM]


async def test_a_refused_event_does_not_occupy_its_id(log: HeldLog) -> None:
    """Once the program exists the same id is accepted."""
    intake = make_intake(log)
    assert outcomes(await intake.track(events("m", program_id="new"), GRPC)) == [UNKNOWN_PROGRAM]
    intake._programs.known["new"] = program("new")  # type: ignore[attr-defined]
    assert outcomes(await intake.track(events("m", program_id="new"), GRPC)) == [ACCEPTED]


async def test_decisions_are_counted(log: HeldLog) -> None:
    """By outcome."""
    intake = make_intake(log)
    await intake.track([*events("a", "b", "a"), *events("c", program_id="nosuch")], GRPC)
    assert {outcome: count for outcome, count in intake.counts.items() if count} == {
        ACCEPTED: 2,
        DUPLICATE: 1,
        UNKNOWN_PROGRAM: 1,
    }


async def test_events_of_a_call_that_failed_are_not_counted(log: HeldLog, intake: Intake) -> None:
    """A full log for an hour must not look like an hour of accepted events."""
    log.full = ResourceExhaustedError("full", reason="ERROR_REASON_LOG_FULL")
    with pytest.raises(ResourceExhaustedError):
        await intake.track([TrackingEvent(program_id="p")], GRPC)
    assert not any(intake.counts.values())
    log.full, log.automatic = None, False
    waiting = asyncio.create_task(intake.track([TrackingEvent(program_id="p")], GRPC))
    await asyncio.sleep(0)
    assert not any(intake.counts.values())
    log.waiting[0].set_exception(ResourceExhaustedError("full", reason="ERROR_REASON_STORAGE_FULL"))
    with pytest.raises(ResourceExhaustedError):
        await waiting
    assert not any(intake.counts.values())


@given(
    st.builds(
        TrackingEvent,
        program_id=st.just("p"),
        message_id=st.text(max_size=120),
        checksum=st.text(max_size=600),
        attributes=st.dictionaries(st.text(max_size=140), st.text(max_size=10), max_size=3),
        occurred_at=st.none()
        | st.builds(Timestamp, seconds=st.integers(-10, 10), nanos=st.sampled_from([0, -1, 10**9])),
        sent_at=st.none() | st.builds(Timestamp, seconds=st.integers(-10, 10)),
    )
)
async def test_the_short_cut_for_plain_events_lets_no_fault_through(event: TrackingEvent) -> None:
    """Accepted is exactly what `event_fault` finds nothing wrong with."""
    fault = event_fault(event, event.ByteSize())
    [result] = (await make_intake(HeldLog()).track([event], GRPC)).results
    assert (result.outcome, result.reason) == ((INVALID, fault) if fault else (ACCEPTED, ""))
    assert result.message_id == event.message_id


async def test_robots_and_late_events_are_marked(log: HeldLog) -> None:
    """Late is what occurred more than a day before it was received; what tells no time is not."""
    batch = [
        TrackingEvent(program_id="p", user_agent="Mozilla/5.0 (compatible; Googlebot/2.1)"),
        TrackingEvent(program_id="p", user_agent="Mozilla/5.0 (X11; Linux x86_64)", is_bot=True, is_late=True),
        TrackingEvent(program_id="p", occurred_at=Timestamp(seconds=int(NOW) - 86_399)),
        TrackingEvent(program_id="p", occurred_at=Timestamp(seconds=int(NOW) - 86_401)),
    ]
    await make_intake(log).track(batch, GRPC)
    assert [(stored.is_bot, stored.is_late) for stored in log.events] == [
        (True, False),
        (False, False),
        (False, False),
        (False, True),
    ]


async def test_a_wrong_clock_is_corrected_by_what_it_said_when_it_sent(log: HeldLog) -> None:
    """A client a year behind that waited ten seconds: the event occurred ten seconds ago, and is not late."""
    year = 365 * 86_400
    behind = TrackingEvent(
        program_id="p",
        occurred_at=Timestamp(seconds=int(NOW) - year - 10),
        sent_at=Timestamp(seconds=int(NOW) - year),
        corrected_at=Timestamp(seconds=9),
    )
    forged = TrackingEvent(program_id="p", corrected_at=Timestamp(seconds=9))
    await make_intake(log).track([behind, forged], GRPC)
    assert log.events[0].corrected_at.ToMilliseconds() == int(NOW * 1000) - 10_000
    assert not log.events[0].is_late
    assert not log.events[1].HasField("corrected_at")


@pytest.mark.parametrize(("rule", "kept"), [("none", ""), ("anonymised", "192.0.2.0"), ("full", "192.0.2.77")])
async def test_of_an_address_only_what_the_setting_allows_is_kept(log: HeldLog, rule: str, kept: str) -> None:
    """Whoever sent it."""
    event = TrackingEvent(program_id="p", ip_address="192.0.2.77")
    await make_intake(log, ip_addresses=IpAddresses(rule)).track([event], GRPC)
    assert log.events[0].ip_address == kept


async def test_a_serialized_batch_is_decided_like_its_events(log: HeldLog) -> None:
    """The same outcomes, and the same events in the log, whether they are plain or not."""
    batch = [
        TrackingEvent(program_id="p", message_id="plain", user_agent="curl/8", occurred_at=Timestamp(seconds=1)),
        TrackingEvent(program_id="p", message_id="attributed", attributes={"k": "v"}, customer_name="forged"),
        TrackingEvent(program_id="p", message_id="plain"),
        TrackingEvent(program_id="é", message_id="odd"),
        TrackingEvent(program_id="nosuch", message_id="é"),
    ]
    request = BatchTrackEventsRequest(events=batch).SerializeToString()
    encoded = Response.FromString(await make_intake(log).track_encoded(request, GRPC))
    by_bytes, log.payloads = log.events, []
    assert encoded == await make_intake(log).track(batch, GRPC)
    assert by_bytes == log.events
    assert (by_bytes[0].is_bot, by_bytes[0].is_late, by_bytes[1].customer_name) == (True, True, "")


@pytest.mark.parametrize(
    "request_bytes", [b"\x0a", b"\x0a\x05\x0a", b"\x0a\x02\x42\x05", b"\x0a\x03\x42\x01\xff", b"\xff"]
)
async def test_bytes_that_are_no_batch_are_refused(intake: Intake, log: HeldLog, request_bytes: bytes) -> None:
    """As a whole, and nothing is stored."""
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        await intake.track_encoded(request_bytes, GRPC)
    assert log.payloads == []


BATCHES = st.lists(
    st.builds(
        TrackingEvent,
        program_id=st.sampled_from(["p", "q", "p", "q", "off", "away", "nosuch", "not ok"]),
        message_id=st.sampled_from(["a", "b", "c", "d", "e", "é", "m" * 100, "m" * 101]),
        checksum=st.sampled_from(["", "", "right", "wrong"]),
        user_agent=st.sampled_from(["", "Firefox", "curl/8", "x" * 600]),
        occurred_at=st.none() | st.builds(Timestamp, seconds=st.sampled_from([0, 1, int(NOW), -1])),
        attributes=st.dictionaries(st.just("k"), st.just("v"), max_size=1),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.skipif(compiled() is None, reason="services/tracking/compiled is not built: no C compiler, or no Python.h")
@given(st.lists(BATCHES, min_size=1, max_size=4))
async def test_the_compiled_part_decides_alike(batches: list[list[TrackingEvent]]) -> None:
    """Batch after batch: the same answers, the same bytes in the log, the same ids in the window, the same counts."""
    programs = program("p", name="Spring"), program("q", checksum="right", customer_id=7), program("off", enabled=False)
    logs = HeldLog(), HeldLog()
    portable, built = make_intake(logs[0], *programs, core=PORTABLE), make_intake(logs[1], *programs, core=CORE)
    for batch in batches:
        request = BatchTrackEventsRequest(events=batch).SerializeToString()
        assert await portable.track_encoded(request, GRPC) == await built.track_encoded(request, GRPC)
    assert [*logs[0].events] == [*logs[1].events]
    assert portable.counts == built.counts
    assert portable._window.new_ids.keys() == built._window.new_ids.keys()


@pytest.mark.skipif(compiled() is None, reason="services/tracking/compiled is not built: no C compiler, or no Python.h")
async def test_the_usual_batch_is_accepted_at_once(log: HeldLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing looks at its events one by one; of the batch that repeats one of them each is looked at."""
    intake = make_intake(log)
    request = BatchTrackEventsRequest(events=events("a", "b")).SerializeToString()
    with monkeypatch.context() as patch:
        patch.setattr(intake, "_decide", None)
        assert outcomes(Response.FromString(await intake.track_encoded(request, GRPC))) == [ACCEPTED] * 2
    intake._window.before, intake._window.new_ids = intake._window.new_ids, {}
    repeated = BatchTrackEventsRequest(events=events("c", "b")).SerializeToString()
    assert outcomes(Response.FromString(await intake.track_encoded(repeated, GRPC))) == [ACCEPTED, DUPLICATE]
