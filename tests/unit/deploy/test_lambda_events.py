"""Event invocations: retries, and what a restart finds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.lambda_endpoint.event_queue import EventQueue, QueueFullError
from deploy.local.lambda_endpoint.invocation import Invocation, Outcome, platform_error
from deploy.local.lambda_endpoint.records import KEPT_RECORDS, RECORDED_PAYLOAD_BYTES, InvocationRecords

SUCCESS = Outcome(payload=b'"done"')
FAILURE = platform_error("ValueError", "no")


class Script:
    """An invoker that answers by a list of outcomes, the last one for ever."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[Invocation] = []

    async def invoke_when_free(self, invocation: Invocation) -> Outcome:
        self.seen.append(invocation)
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


class Waits:
    """A sleep that only remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def _event(number: int = 1) -> Invocation:
    return Invocation(request_id=f"request-{number}", function="orders", payload=b'{"n": 1}', trace_id="Root=1")


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def queue_of(tmp_path: Path, waits: Waits) -> Callable[[Script], EventQueue]:
    """Queues on one folder, each with invokers of its own."""

    def make(script: Script) -> EventQueue:
        queue = EventQueue(
            folder=tmp_path / "events",
            pools={"orders": script},
            records=InvocationRecords(tmp_path / "records.jsonl"),
            retry_delays=(60.0, 120.0),
            sleep=waits,
            limit=3,
        )
        queue.resume()
        return queue

    return make


async def test_event_that_succeeds_is_run_once(queue_of: Callable[[Script], EventQueue], waits: Waits) -> None:
    """No retry after a success."""
    script = Script(SUCCESS)
    queue = queue_of(script)
    queue.put(_event())
    await queue.drained()
    assert script.seen == [_event()]
    assert waits.seconds == [0.0]


async def test_failing_event_is_retried_after_each_delay(
    queue_of: Callable[[Script], EventQueue], waits: Waits, tmp_path: Path
) -> None:
    """Three attempts in all, then nothing of it is left."""
    script = Script(FAILURE)
    queue = queue_of(script)
    queue.put(_event())
    await queue.drained()
    assert len(script.seen) == 3
    assert waits.seconds == [0.0, 60.0, 120.0]
    assert list((tmp_path / "events").iterdir()) == []


async def test_retries_end_with_the_first_success(queue_of: Callable[[Script], EventQueue]) -> None:
    """Two attempts when the second succeeds."""
    script = Script(FAILURE, SUCCESS)
    queue = queue_of(script)
    queue.put(_event())
    await queue.drained()
    assert len(script.seen) == 2


async def test_event_not_ended_is_run_by_the_next_queue_on_the_folder(
    queue_of: Callable[[Script], EventQueue],
) -> None:
    """As it was accepted, request id and trace included."""
    first = queue_of(Script(SUCCESS))
    first.put(_event())
    await first.close()  # before the event had its turn
    script = Script(SUCCESS)
    second = queue_of(script)
    await second.drained()
    assert script.seen == [_event()]


async def test_event_that_was_not_acknowledged_is_not_run(
    queue_of: Callable[[Script], EventQueue], tmp_path: Path
) -> None:
    """A file cut short by a kill in the middle of put is removed."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "request-1.partial").write_text('{"request_id": "req')
    script = Script(SUCCESS)
    await queue_of(script).drained()
    assert script.seen == []
    assert list((tmp_path / "events").iterdir()) == []


async def test_full_queue_refuses(queue_of: Callable[[Script], EventQueue]) -> None:
    """The event after the last place is the caller's to keep."""
    queue = queue_of(Script(SUCCESS))
    for number in range(3):
        queue.put(_event(number))
    with pytest.raises(QueueFullError):
        queue.put(_event(4))
    await queue.drained()


def _record(records: InvocationRecords, payload: bytes = b"{}", *, function: str = "orders") -> None:
    invocation = Invocation(request_id="r", function=function, payload=payload)
    records.add(invocation, SUCCESS, invocation_type="Event", attempt=1, started=0.0)


def test_records_are_listed_by_function(tmp_path: Path) -> None:
    """All, or those of one function."""
    records = InvocationRecords(tmp_path / "records.jsonl")
    _record(records)
    _record(records, function="other")
    assert [record["function"] for record in records.list()] == ["orders", "other"]
    assert [record["function"] for record in records.list("other")] == ["other"]


def test_records_survive_a_line_cut_short(tmp_path: Path) -> None:
    """A kill in the middle of a line costs that line, not the file or the next one."""
    path = tmp_path / "records.jsonl"
    _record(InvocationRecords(path))
    with path.open("a") as file:
        file.write('{"function": "ord')
    records = InvocationRecords(path)
    records.load()
    _record(records)
    reread = InvocationRecords(path)
    reread.load()
    assert len(reread.list()) == 2


def test_large_payload_is_recorded_by_its_size(tmp_path: Path) -> None:
    """The record stays small."""
    records = InvocationRecords(tmp_path / "records.jsonl")
    _record(records, b'"' + b"x" * RECORDED_PAYLOAD_BYTES + b'"')
    [record] = records.list()
    assert (record["payload"], record["payload_bytes"]) == (None, RECORDED_PAYLOAD_BYTES + 2)


def test_only_the_newest_records_are_kept_in_memory(tmp_path: Path) -> None:
    """Memory is bounded; the file holds all."""
    path = tmp_path / "records.jsonl"
    path.write_text('{"function": "orders"}\n' * (KEPT_RECORDS + 1))
    records = InvocationRecords(path)
    records.load()
    assert len(records.list()) == KEPT_RECORDS
