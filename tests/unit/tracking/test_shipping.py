"""Shipping: everything once it can, nothing skipped, bad events aside, the cursor only after success."""

import asyncio
import base64
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest
from google.protobuf.message import DecodeError
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.errors import InternalError, InvalidArgumentError, PenstockError, UnavailableError
from services.runtime.retry import Backoff
from services.tracking.bad_events import BadEventFile
from services.tracking.frames import event_prefix
from services.tracking.inspection import bad_events as set_aside
from services.tracking.log import Position, SegmentLog
from services.tracking.shipping import CursorFile, MemorySink, Refused, Shipper, ShippingLimits
from tests.unit.tracking.nested_events import nested_event


class LogEnd:
    """A log that is confirmed as far as it is written."""

    def __init__(self, log: SegmentLog) -> None:
        self._log = log

    @property
    def end(self) -> Position:
        return self._log.end

    async def wait_beyond(self, position: Position) -> None:
        while self._log.end <= position:  # noqa: ASYNC110 - a log without events of its own
            await asyncio.sleep(0)


class Harness:
    """A shipper over a real log in small segments, and a sink in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = SegmentLog.open(directory / "log", segment_bytes=200)
        self.sink = MemorySink()
        self.waits: list[float] = []
        self.states: list[str] = []

    def append(self, *message_ids: str) -> None:
        request = PutEventsRequest(events=[TrackingEvent(message_id=message_id) for message_id in message_ids])
        self.log.append(request.SerializeToString(), len(message_ids))

    def shipper(self, **changes: object) -> Shipper:
        parts = {
            "log": self.log,
            "growth": LogEnd(self.log),
            "sink": self.sink,
            "cursor": CursorFile(self.directory / "cursor.json"),
            "bad_events": BadEventFile(self.directory / "bad.jsonl", now=lambda: 5.0),
            "limits": ShippingLimits(max_events=10, linger_seconds=0),
            "sleep": self._sleep,
            "on_state": self.states.append,
        }
        return Shipper(**{**parts, **changes})  # type: ignore[arg-type]

    async def ship_all(self, shipper: Shipper) -> None:
        while shipper.position < self.log.end:
            await shipper.ship_once()

    def bad(self) -> list[tuple[str, str]]:
        """Message ids and reasons of the events set aside."""
        lines = [orjson.loads(line) for line in (self.directory / "bad.jsonl").read_bytes().splitlines()]
        assert all(line["time"] == 5.0 for line in lines)
        return [(TrackingEvent.FromString(base64.b64decode(x["event"])).message_id, x["reason"]) for x in lines]

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            self.waits.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path)
    yield harness
    harness.log.close()


@asynccontextmanager
async def running(shipper: Shipper) -> AsyncIterator[None]:
    task = asyncio.create_task(shipper.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0)


async def test_everything_arrives_and_shipped_segments_are_deleted(harness: Harness) -> None:
    """A hundred events in many segments; at the end only the one being written is left."""
    shipper = harness.shipper()
    for number in range(100):
        harness.append(f"m-{number:03}")
    await harness.ship_all(shipper)
    assert list(harness.sink.events) == [f"m-{number:03}" for number in range(100)]
    assert len(list((harness.directory / "log").glob("*.log"))) == 1
    assert shipper.progress.shipped == 100


async def test_an_outage_is_waited_out_with_growing_pauses(harness: Harness) -> None:
    """Nothing is skipped, and the state is told once each way."""
    shipper = harness.shipper(backoff=Backoff(initial=1.0, maximum=5.0, jitter=0.0))
    harness.append("m")
    harness.sink.failures = [UnavailableError("store is away")] * 4
    await harness.ship_all(shipper)
    assert set(harness.sink.events) == {"m"}
    assert harness.waits == [1.0, 2.0, 4.0, 5.0]
    assert harness.states == ["store is away", ""]
    assert shipper.progress.failures == 4


async def test_a_trickle_is_collected_before_every_call(harness: Harness) -> None:
    """What came while a call was under way waits for others as the first event did."""

    class GrowingSink(MemorySink):
        async def put(self, payload: bytes, count: int) -> Sequence[Refused]:
            if len(self.events) < 3:
                harness.append(f"m-{len(self.events) + 1}")
            return await super().put(payload, count)

    sink = GrowingSink()
    harness.append("m-0")
    shipper = harness.shipper(sink=sink, limits=ShippingLimits(max_events=10, linger_seconds=0.25))
    async with running(shipper):
        await until(lambda: len(sink.events) == 4)
    assert harness.waits[:4] == [0.25] * 4


async def test_the_cursor_does_not_move_before_the_store_has_the_events(harness: Harness) -> None:
    """A shipper that dies during the outage begins again at the same place."""
    harness.append("m")
    harness.sink.failures = [UnavailableError("store is away")] * 1_000_000
    shipper = harness.shipper()
    async with running(shipper):
        await until(lambda: shipper.progress.failures > 3)
    assert shipper.position == harness.log.begin
    harness.sink.failures = []
    await harness.ship_all(harness.shipper())
    assert set(harness.sink.events) == {"m"}


async def test_a_new_shipper_goes_on_behind_what_was_shipped(harness: Harness) -> None:
    """The cursor file survives the process."""
    harness.append("a")
    shipper = harness.shipper()
    async with running(shipper):
        await until(lambda: CursorFile(harness.directory / "cursor.json").load() == harness.log.end)
    harness.append("b")
    sink = MemorySink()
    await harness.ship_all(harness.shipper(sink=sink))
    assert set(sink.events) == {"b"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"segment": 1}', None])
async def test_without_a_readable_cursor_everything_is_shipped_again(harness: Harness, content: bytes | None) -> None:
    """Repetitions are harmless, gaps are not."""
    if content is not None:
        (harness.directory / "cursor.json").write_bytes(content)
    harness.append("a", "b")
    await harness.ship_all(harness.shipper())
    assert set(harness.sink.events) == {"a", "b"}


async def test_a_cursor_beyond_the_log_goes_back_to_its_end(harness: Harness) -> None:
    """After a power failure at level os the end may be missing; what comes then must not be skipped."""
    CursorFile(harness.directory / "cursor.json").save(Position(segment=1, offset=10_000))
    shipper = harness.shipper()
    async with running(shipper):
        await asyncio.sleep(0)
        harness.append("new")
        await until(lambda: "new" in harness.sink.events)


async def test_an_event_the_store_refuses_is_set_aside_and_the_others_arrive(harness: Harness) -> None:
    """With its bytes and the reason; it does not block."""
    harness.append("good-1", "bad", "good-2")
    harness.append("good-3")
    harness.sink.refusals = {"bad": "program_id: is required"}
    shipper = harness.shipper()
    await harness.ship_all(shipper)
    assert set(harness.sink.events) == {"good-1", "good-2", "good-3"}
    assert harness.bad() == [("bad", "program_id: is required")]
    assert (shipper.progress.shipped, shipper.progress.bad) == (3, 1)


class PoisonedSink(MemorySink):
    """Refuses every call that carries the event `poison`, as a server that cannot decode it does."""

    async def put(self, payload: bytes, count: int) -> Sequence[Refused]:
        if any(event.message_id == "poison" for event in PutEventsRequest.FromString(payload).events):
            raise InvalidArgumentError("cannot take this call")
        return await super().put(payload, count)


async def test_an_event_that_fails_the_whole_call_is_found_and_set_aside(harness: Harness) -> None:
    """By halving; the other events arrive."""
    sink = PoisonedSink()
    harness.append(*(f"m-{number}" for number in range(9)), "poison", "last")
    await harness.ship_all(harness.shipper(sink=sink))
    assert set(sink.events) == {*(f"m-{number}" for number in range(9)), "last"}
    assert harness.bad() == [("poison", "cannot take this call")]


class PersistenceStub(MemorySink):
    """Answers a call that it cannot decode as our store does."""

    fault: PenstockError = InvalidArgumentError("the event cannot be decoded")

    async def put(self, payload: bytes, count: int) -> Sequence[Refused]:
        try:
            return await super().put(payload, count)
        except DecodeError as error:
            raise self.fault from error


class GrpcServerStub(PersistenceStub):
    """Answers it as a gRPC server by itself does."""

    fault = InternalError("Exception deserializing request!")


@pytest.mark.parametrize("sink", [PersistenceStub, GrpcServerStub, MemorySink])
@pytest.mark.parametrize("bad", [nested_event(100), b"\xff"], ids=["too deep", "no event"])
async def test_an_event_that_no_store_can_decode_is_set_aside_with_its_bytes(
    harness: Harness, sink: type[MemorySink], bad: bytes
) -> None:
    """It would block shipping for ever; the others arrive."""
    good = [TrackingEvent(message_id=f"m-{number}").SerializeToString() for number in range(4)]
    bodies = [*good[:3], bad, good[3]]
    harness.log.append(b"".join(event_prefix(len(body)) + body for body in bodies), len(bodies))
    harness.append("next")
    harness.sink = sink()
    await harness.ship_all(harness.shipper())
    assert set(harness.sink.events) == {"m-0", "m-1", "m-2", "m-3", "next"}
    [line] = [orjson.loads(line) for line in (harness.directory / "bad.jsonl").read_bytes().splitlines()]
    assert base64.b64decode(line["event"]) == bad
    assert "the event cannot be decoded" in line["reason"]


async def test_an_internal_error_of_the_store_is_waited_out(harness: Harness) -> None:
    """As long as what it was sent is readable, the store may be mended."""
    harness.append("m")
    harness.sink.failures = [InternalError("a fault of the store")] * 3
    await harness.ship_all(harness.shipper())
    assert set(harness.sink.events) == {"m"}
    assert len(harness.waits) == 3


async def test_a_frame_larger_than_a_call_is_divided(harness: Harness) -> None:
    """No message is larger than the store takes."""
    sizes: list[int] = []

    class MeasuringSink(MemorySink):
        async def put(self, payload: bytes, count: int) -> Sequence[Refused]:
            sizes.append(len(payload))
            return await super().put(payload, count)

    sink = MeasuringSink()
    harness.append(*(f"{number:050}" for number in range(40)))
    await harness.ship_all(harness.shipper(sink=sink, limits=ShippingLimits(max_bytes=200)))
    assert len(sink.events) == 40
    assert max(sizes) <= 400


async def test_bad_events_wait_for_disk_space(harness: Harness) -> None:
    """They are not dropped when they cannot be written."""

    class FullOnce(BadEventFile):
        attempts = 0

        def add(self, events: Sequence[tuple[bytes, str]]) -> tuple[()]:
            self.attempts += 1
            if self.attempts == 1:
                raise OSError(28, "No space left on device")
            return super().add(events)

    harness.append("bad")
    harness.sink.refusals = {"bad": "no"}
    bad_events = FullOnce(harness.directory / "bad.jsonl", now=lambda: 5.0)
    await harness.ship_all(harness.shipper(bad_events=bad_events))
    assert harness.bad() == [("bad", "no")]


def test_half_a_line_of_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    """What is written next is a line of its own; seen with a limit on the size of files, which ends a write midway."""
    bad_events = BadEventFile(tmp_path / "bad.jsonl", now=lambda: 5.0)
    bad_events.add([(b"first", "no")])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "bad.jsonl").stat().st_size
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            bad_events.add([(b"second", "no")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    bad_events.add([(b"second", "no")])
    lines = (tmp_path / "bad.jsonl").read_bytes().splitlines()
    assert [base64.b64decode(orjson.loads(line)["event"]) for line in lines] == [b"first", b"second"]


def test_events_set_aside_take_a_bounded_room_and_the_newest_stay(tmp_path: Path) -> None:
    """A full file is put aside in the place of the one before; both are listed, oldest first."""
    path = tmp_path / "bad-events.jsonl"
    bad_events = BadEventFile(path, max_bytes=1000, now=lambda: 5.0)
    for number in range(100):
        bad_events.add([(TrackingEvent(message_id=f"{number:03}").SerializeToString(), "no")])
    line = len(path.read_bytes().splitlines()[0]) + 1
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * (1000 + line)
    listed = [bad.event.message_id for bad in set_aside(tmp_path) if bad.event]
    assert listed == [f"{number:03}" for number in range(100 - len(listed), 100)]
    assert len(listed) * line > 1000


def test_a_cursor_that_cannot_be_saved_does_not_stop_shipping(tmp_path: Path) -> None:
    """Shipping is what frees a full disk."""
    CursorFile(tmp_path / "missing" / "cursor.json").save(Position(segment=1, offset=1))
