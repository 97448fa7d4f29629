"""Rate limit and circuit breaker: the pure objects, and the target that is wrapped in both."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_bridge.circuit import Circuit, CircuitSettings
from broker_bridge.guard import Guard, GuardedTarget
from broker_bridge.parcel import Parcel
from broker_bridge.rate_limit import TokenBucket
from broker_bridge.stats import RouteStats
from broker_bridge.targets import (
    ACCEPTED,
    Accepted,
    ErrorClass,
    MemoryTarget,
    Origin,
    Outcome,
    Rejected,
    Retry,
    Targets,
)
from tests.unit.broker_bridge.builders import TARGET, ManualClock, parcel, route

ORIGIN = Origin(route="orders")
AWAY = Retry(reason="away", error_class=ErrorClass.UNAVAILABLE)
BUSY = Retry(reason="busy", error_class=ErrorClass.THROTTLED)
FAILED = Retry(reason="failed", error_class=ErrorClass.REFUSED)
SETTINGS = CircuitSettings(failures=3, open_seconds=10.0)


def test_a_bucket_begins_full_and_fills_at_its_rate() -> None:
    """One second's worth is saved up, whole tokens are given."""
    bucket = TokenBucket(4.0, now=0.0)
    assert bucket.take(10, now=0.0) == 4
    assert bucket.take(1, now=0.2) == 0
    assert bucket.wait(now=0.2) == pytest.approx(0.05)
    assert bucket.take(10, now=0.5) == 2
    assert bucket.take(10, now=100.0) == 4


def test_a_rate_below_one_a_second_gives_one_at_a_time() -> None:
    """At its rate."""
    bucket = TokenBucket(0.1, now=0.0)
    assert bucket.take(5, now=0.0) == 1
    assert bucket.wait(now=0.0) == pytest.approx(10.0)
    assert bucket.take(5, now=10.0) == 1


@given(
    rate=st.floats(0.1, 1000),
    asked=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 100)), max_size=30),
)
def test_no_more_than_the_rate_and_what_was_saved_up_ever_goes(rate: float, asked: list[tuple[float, int]]) -> None:
    """Whenever and however much is asked for, a clock that stands still included."""
    bucket, now, gone = TokenBucket(rate, now=0.0), 0.0, 0
    for pause, wanted in asked:
        now += pause
        gone += bucket.take(wanted, now=now)
        assert gone <= max(rate, 1.0) + rate * now + 1e-6


def test_a_circuit_opens_after_failures_in_a_row_and_lets_one_delivery_try() -> None:
    """Its success closes it."""
    circuit = Circuit(SETTINGS)
    for now in (1.0, 2.0, 3.0):
        assert circuit.admit(now=now) == 0
        circuit.failed("away", now=now)
    assert not circuit.is_closed
    assert circuit.reason == "away"
    assert circuit.admit(now=4.0) == 9.0
    assert circuit.admit(now=13.0) == 0
    assert circuit.admit(now=13.0) > 0, "one trial at a time"
    circuit.succeeded()
    assert circuit.is_closed
    assert circuit.admit(now=13.0) == 0


def test_a_trial_that_fails_opens_the_circuit_anew() -> None:
    """For the whole time."""
    circuit = Circuit(CircuitSettings(failures=1, open_seconds=10.0))
    circuit.failed("away", now=0.0)
    assert circuit.admit(now=10.0) == 0
    circuit.failed("still away", now=11.0)
    assert circuit.admit(now=12.0) == 9.0
    assert circuit.reason == "still away"


def test_a_success_between_failures_keeps_the_circuit_closed() -> None:
    """Only failures in a row count."""
    circuit = Circuit(SETTINGS)
    for _ in range(10):
        circuit.failed("away", now=0.0)
        circuit.failed("away", now=0.0)
        circuit.succeeded()
    assert circuit.is_closed


class Scripted:
    """Gives the outcomes it is told, one per delivery, to all messages of it."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[int] = []

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:  # noqa: ARG002
        await asyncio.sleep(0)
        self.calls.append(len(parcels))
        return [self.outcomes.pop(0)] * len(parcels)

    async def close(self) -> None: ...


def guarded(
    target: Scripted | MemoryTarget, *, rate: float = 0.0, circuit: Circuit | None = None
) -> tuple[GuardedTarget, ManualClock, RouteStats, asyncio.Event]:
    clock, stats, stopped = ManualClock(), RouteStats(), asyncio.Event()
    bucket = TokenBucket(rate, now=clock()) if rate else None
    made = GuardedTarget(target, bucket=bucket, circuit=circuit, stats=stats, stopped=stopped, monotonic=clock)
    return made, clock, stats, stopped


@pytest.mark.parametrize("failure", [AWAY, BUSY], ids=["away", "throttles"])
async def test_a_target_whose_circuit_is_open_is_not_called(failure: Retry) -> None:
    """Its messages wait until the circuit is tried again, with the reason that opened it."""
    inner = Scripted(failure, failure, failure, ACCEPTED)
    target, clock, stats, _ = guarded(inner, circuit=Circuit(SETTINGS))
    for _ in range(3):
        assert list(await target.deliver([parcel(1)], ORIGIN)) == [failure]
    (held,) = await target.deliver([parcel(1)], ORIGIN)
    assert isinstance(held, Retry)
    assert (held.error_class, held.after) == (ErrorClass.UNAVAILABLE, 10.0)
    assert failure.reason in held.reason
    assert len(inner.calls) == 3
    assert stats.circuits_opened == 1
    clock.seconds += 10.0
    assert list(await target.deliver([parcel(1)], ORIGIN)) == [ACCEPTED]
    assert target.circuit is not None
    assert target.circuit.is_closed


@pytest.mark.parametrize("answer", [FAILED, Rejected(reason="no")], ids=["failed", "refused"])
async def test_messages_that_are_refused_do_not_open_a_circuit(answer: Outcome) -> None:
    """The target works; poison must not stop what is good."""
    target, _, _, _ = guarded(Scripted(*[answer] * 10), circuit=Circuit(SETTINGS))
    for _ in range(10):
        assert list(await target.deliver([parcel(1)], ORIGIN)) == [answer]


async def test_a_delivery_that_succeeds_in_part_does_not_open_a_circuit() -> None:
    """Somebody answers."""
    inner = MemoryTarget(lambda item: ACCEPTED if item.message.id == "ID:test-1" else AWAY)
    target, _, _, _ = guarded(inner, circuit=Circuit(SETTINGS))
    for _ in range(5):
        assert list(await target.deliver([parcel(1), parcel(2)], ORIGIN)) == [ACCEPTED, AWAY]


async def test_a_batch_goes_in_parts_as_the_rate_allows() -> None:
    """In order, none lost; the wait is for the next token."""
    inner = MemoryTarget()
    target, clock, stats, _ = guarded(inner, rate=1000.0)
    clock_runs = asyncio.ensure_future(_run(clock))
    parcels = [parcel(number) for number in range(1500)]
    outcomes = await target.deliver(parcels, ORIGIN)
    clock_runs.cancel()
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert [item.message.id for item in inner.delivered] == [item.message.id for item in parcels]
    assert len(inner.batches[0]) == 1000
    assert stats.rate_limited >= 1
    assert clock.seconds >= 100.5


async def _run(clock: ManualClock) -> None:
    """Lets the clock go on by a tenth of a second whenever somebody waits."""
    while True:
        clock.seconds += 0.1
        await asyncio.sleep(0.001)


async def test_a_route_that_ends_does_not_wait_for_its_rate_limit() -> None:
    """What was not delivered is tried again by whoever takes it next."""
    began = asyncio.Event()

    def decide(_parcel: Parcel) -> Outcome:
        began.set()
        return ACCEPTED

    target, _, _, stopped = guarded(MemoryTarget(decide), rate=1.0)
    delivery = asyncio.ensure_future(target.deliver([parcel(1), parcel(2)], ORIGIN))
    await began.wait()
    stopped.set()
    first, second = await delivery
    assert first == ACCEPTED
    assert isinstance(second, Retry)
    assert second.error_class is ErrorClass.THROTTLED


async def test_each_target_of_a_route_has_a_circuit_of_its_own_and_changes_are_told() -> None:
    """Without limit and breaker nothing is wrapped."""
    changes: list[list[str]] = []
    inner = Targets(lambda _spec: Scripted(AWAY, ACCEPTED))
    clock = ManualClock()

    def changed() -> None:
        changes.append(guard.open_circuits())

    settings = CircuitSettings(failures=1, open_seconds=1.0)
    guard = Guard(route(circuit_breaker=settings), inner, stats=RouteStats(), monotonic=clock, changed=changed)
    await guard.targets.get(TARGET).deliver([parcel(1)], ORIGIN)
    clock.seconds += 1.0
    await guard.targets.get(TARGET).deliver([parcel(1)], ORIGIN)
    assert changes == [[f"{TARGET}: away"], []]
    plain = Guard(route(), inner, stats=RouteStats(), monotonic=clock, changed=changed)
    assert plain.targets is inner
    assert plain.open_circuits() == []
