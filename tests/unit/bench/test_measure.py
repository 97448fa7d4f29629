from collections.abc import Iterator
from itertools import cycle

import psutil
import pytest

from bench.measure import (
    Comparison,
    CpuClock,
    Limit,
    Machine,
    Measurement,
    Sample,
    Side,
    Subject,
    compare,
    compare_all,
)

SUBJECT = Subject(key="ours_vs_peer", what="something", unit="events/s", floor=0.5)


def sample(rate: float) -> Sample:
    return Sample(work=100, seconds=100 / rate)


async def measured(ours: Iterator[float], peer: Iterator[float], *, rounds: int = 5) -> tuple[Comparison, list[str]]:
    """A comparison of sides with these rates, and the order they ran in."""
    order: list[str] = []

    async def side(name: str, rates: Iterator[float]) -> Sample:
        order.append(name)
        return sample(next(rates))

    comparison = await compare(SUBJECT, ours=lambda: side("ours", ours), peer=lambda: side("peer", peer), rounds=rounds)
    return comparison, order


async def test_sides_alternate_and_take_turns_to_begin() -> None:
    """A machine that grows slower or faster favours neither."""
    _, order = await measured(cycle([1.0]), cycle([1.0]))
    assert order[:6] == ["peer", "ours", "ours", "peer", "peer", "ours"]


async def test_the_first_round_warms_up_and_does_not_count() -> None:
    """Its rates show nowhere."""
    comparison, order = await measured(iter([1000.0, *[1.0] * 5]), cycle([2.0]))
    assert len(order) == 12
    assert comparison.ratios == pytest.approx([0.5] * 5)


async def test_more_rounds_may_warm_up() -> None:
    """As many as asked for, all of them uncounted."""
    order: list[str] = []

    async def side() -> Sample:
        order.append("ran")
        return sample(1.0)

    comparison = await compare(SUBJECT, ours=side, peer=side, rounds=5, warm_ups=3)
    assert len(order) == 16
    assert len(comparison.ours) == len(comparison.peer) == 5


async def test_the_ratio_is_the_median_of_the_rounds() -> None:
    """A disturbed round moves it little, whichever side it hit."""
    comparison, _ = await measured(iter([0.0001, 6.0, 6.0, 6.0, 0.6, 60.0]), cycle([10.0]))
    assert comparison.ratio == pytest.approx(0.6)
    assert comparison.reached


async def test_a_ratio_below_the_floor_is_not_reached() -> None:
    """However little is missing."""
    comparison, _ = await measured(cycle([4.9]), cycle([10.0]))
    assert not comparison.reached


async def test_fewer_than_five_rounds_are_refused() -> None:
    """They tell nothing."""
    with pytest.raises(ValueError, match="at least 5"):
        await measured(cycle([1.0]), cycle([1.0]), rounds=4)


async def test_a_side_that_fails_ends_the_measurement() -> None:
    """No figure is made of wrong answers."""

    async def wrong() -> Sample:
        raise RuntimeError("not every event was accepted")

    with pytest.raises(RuntimeError, match="not every event"):
        await compare(SUBJECT, ours=wrong, peer=wrong)


async def test_figures_hold_both_sides_and_the_spread() -> None:
    """Rates as median, lowest and highest; the ratio with its range and floor."""
    comparison, _ = await measured(iter([1.0, 4.0, 5.0, 6.0, 7.0, 8.0]), cycle([10.0]))
    figures = comparison.figures()
    assert figures["ours"] == {"median": 6.0, "lowest": 4.0, "highest": 8.0}
    assert figures["peer"]["median"] == 10.0
    assert (figures["ratio"], figures["ratio_lowest"], figures["ratio_highest"]) == (0.6, 0.4, 0.8)
    assert (figures["floor"], figures["rounds"]) == (0.5, 5)


def test_cpu_time_is_told_per_unit() -> None:
    """In microseconds, where it is known."""
    assert Sample(work=1000, seconds=1.0, cpu_seconds=0.25).cpu_microseconds == 250.0
    assert Sample(work=1000, seconds=1.0).cpu_microseconds is None


def test_the_cpu_clock_counts_the_work_of_a_process() -> None:
    """Idle time is not counted, work is."""
    clock = CpuClock(psutil.Process().pid)
    clock.restart()
    while clock.seconds < 0.02:
        sum(range(1000))
    assert clock.seconds >= 0.02


def test_the_machine_is_described_with_its_load() -> None:
    """What a reader needs to judge a figure."""
    with Machine() as machine:
        sum(range(100_000))
    figures = machine.figures()
    assert figures["cpus"] >= 1
    assert {"load_before", "load_after", "python", "system", "measured_at"} <= figures.keys()
    assert 0 <= figures["others_share"] <= 1


async def test_several_peers_run_in_the_same_rounds_and_share_ours() -> None:
    """The order is turned around every round."""
    order: list[str] = []

    def side(name: str, rate: float) -> Side:
        async def run() -> Sample:
            order.append(name)
            return sample(rate)

        return run

    other = Subject(key="ours_vs_other", what="something", unit="events/s", floor=1.0)
    first, second = await compare_all(
        [(SUBJECT, side("peer", 2.0)), (other, side("other", 4.0))], ours=side("ours", 1.0), rounds=5
    )
    assert order[:6] == ["other", "peer", "ours", "ours", "peer", "other"]
    assert (first.ratio, second.ratio) == (0.5, 0.25)
    assert (first.reached, second.reached) == (True, False)


def test_a_value_is_the_median_of_its_rounds() -> None:
    """With its range and its ceiling."""
    limit = Limit(key="wait_ms", what="something", unit="ms", ceiling=5.0)
    figures = Measurement(limit=limit, values=[1.0, 9.0, 2.0]).figures()
    assert (figures["value"], figures["lowest"], figures["highest"], figures["ceiling"]) == (2.0, 1.0, 9.0, 5.0)
