"""The one way of measuring: ours and a peer in alternation, at least five rounds, and the median of their ratios."""

import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from types import TracebackType
from typing import Any, Self

import psutil

ROUNDS = 7
MIN_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One round of one side: `work` units done in `seconds`; CPU seconds of the measured process, where it is known."""

    work: int
    seconds: float
    cpu_seconds: float | None = None

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.work / self.seconds

    @property
    def cpu_microseconds(self) -> float | None:
        """CPU time of the measured process per unit."""
        return None if self.cpu_seconds is None else self.cpu_seconds * 1e6 / self.work


Side = Callable[[], Awaitable[Sample]]
"""One round of one side. It checks its answers, outside the time it measures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is compared: the documented `key` of the ratio, what it means, its unit, and the ratio it should reach.

    With `of_times` the ratio is that of the times a unit takes, and `floor` the largest it may have. None for `floor`
    only shows how both compare.
    """

    key: str
    what: str
    unit: str
    floor: float | None
    of_times: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The samples of both sides, round by round."""

    subject: Subject
    ours: Sequence[Sample]
    peer: Sequence[Sample]

    @property
    def ratios(self) -> list[float]:
        """Our rate (or time) to the peer's in each round: what disturbs a round disturbs both of its sides alike."""
        rates = [ours.rate / peer.rate for ours, peer in zip(self.ours, self.peer, strict=True)]
        return [1 / rate for rate in rates] if self.subject.of_times else rates

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def reached(self) -> bool:
        return is_reached(self.ratio, self.subject.floor, of_times=self.subject.of_times)

    def figures(self) -> dict[str, Any]:
        """Everything a reader needs to judge the ratio."""
        return {
            "what": self.subject.what,
            "unit": self.subject.unit,
            "floor": self.subject.floor,
            "of_times": self.subject.of_times,
            "rounds": len(self.ours),
            "ratio": round(self.ratio, 3),
            "ratio_lowest": round(min(self.ratios), 3),
            "ratio_highest": round(max(self.ratios), 3),
            "ours": _side_figures(self.ours),
            "peer": _side_figures(self.peer),
        }


def is_reached(ratio: float, floor: float | None, *, of_times: bool) -> bool:
    """Whether a ratio is what it should be."""
    return floor is None or (ratio <= floor if of_times else ratio >= floor)


def _side_figures(samples: Sequence[Sample]) -> dict[str, float]:
    rates = [sample.rate for sample in samples]
    figures = {"median": median(rates), "lowest": min(rates), "highest": max(rates)}
    cpu = [sample.cpu_microseconds for sample in samples if sample.cpu_microseconds is not None]
    if cpu:
        figures["cpu_microseconds"] = median(cpu)
    return {name: round(value, 1) for name, value in figures.items()}


async def compare(
    subject: Subject,
    *,
    ours: Side,
    peer: Side,
    rounds: int = ROUNDS,
    warm_ups: int = 1,
    progress: Callable[[str], None] = lambda _text: None,
) -> Comparison:
    """Run both sides in alternation; who begins changes every round. Warm-up rounds are not counted."""
    (comparison,) = await compare_all([(subject, peer)], ours=ours, rounds=rounds, warm_ups=warm_ups, progress=progress)
    return comparison


async def compare_all(
    peers: Sequence[tuple[Subject, Side]],
    *,
    ours: Side,
    rounds: int = ROUNDS,
    warm_ups: int = 1,
    progress: Callable[[str], None] = lambda _text: None,
) -> list[Comparison]:
    """Run ours and several peers in the same rounds; the order is turned around every round."""
    if rounds < MIN_ROUNDS:
        raise ValueError(f"{rounds} rounds tell nothing; at least {MIN_ROUNDS} are needed")
    key = peers[0][0].key
    names = ["ours", "peer"] if len(peers) == 1 else ["ours", *(subject.key for subject, _ in peers)]
    sides = dict(zip(names, [ours, *(peer for _, peer in peers)], strict=True))
    unit = peers[0][0].unit
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(1 - warm_ups, rounds + 1):
        for name in names if number % 2 else reversed(names):
            sample = await sides[name]()
            if number > 0:
                samples[name].append(sample)
            label = f"round {number} of {rounds}" if number > 0 else "warm-up"
            progress(f"{key}: {label}, {name} {sample.rate:,.0f} {unit}")
    return [
        Comparison(subject=subject, ours=samples["ours"], peer=samples[name])
        for (subject, _), name in zip(peers, names[1:], strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """What is measured by itself: the documented `key`, what it means, its unit, the most or least it should be."""

    key: str
    what: str
    unit: str
    ceiling: float | None = None
    floor: float | None = None

    def is_kept(self, value: float) -> bool:
        """Whether a value is within both."""
        return (self.ceiling is None or value <= self.ceiling) and (self.floor is None or value >= self.floor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One value per round. It belongs to this machine: only its order of magnitude means something elsewhere."""

    limit: Limit
    values: Sequence[float]

    @property
    def value(self) -> float:
        return median(self.values)

    def figures(self) -> dict[str, Any]:
        """Everything a reader needs to judge the value."""
        return {
            "what": self.limit.what,
            "unit": self.limit.unit,
            "ceiling": self.limit.ceiling,
            "floor": self.limit.floor,
            "kept": self.limit.is_kept(self.value),
            "rounds": len(self.values),
            "value": round(self.value, 2),
            "lowest": round(min(self.values), 2),
            "highest": round(max(self.values), 2),
        }


def print_progress(text: str) -> None:
    """Progress for a person who waits, on standard error."""
    print(text, file=sys.stderr, flush=True)


class CpuClock:
    """CPU time of one process, its threads included; `restart` it, then read `seconds`."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = 0.0

    def restart(self) -> None:
        self._before = self._now()

    @property
    def seconds(self) -> float:
        return self._now() - self._before

    @property
    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM now."""
        return int(self._process.memory_info().rss)

    def _now(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


class Machine:
    """What the machine was and did while something was measured; enter it around the measurement."""

    def __enter__(self) -> Self:
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()
        self._load_before = os.getloadavg()[0]
        self._before = _busy_seconds(), _own_seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._elapsed = time.monotonic() - self._started
        self._load_after = os.getloadavg()[0]
        self._after = _busy_seconds(), _own_seconds()

    def figures(self) -> dict[str, Any]:
        """`others_share`: the part of all CPU time that processes outside the benchmark used meanwhile."""
        busy, own = (after - before for before, after in zip(self._before, self._after, strict=True))
        cpus = os.cpu_count() or 1
        return {
            "measured_at": self._started_at.isoformat(timespec="seconds"),
            "cpus": cpus,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "python": platform.python_version(),
            "load_before": round(self._load_before, 2),
            "load_after": round(self._load_after, 2),
            # The clocks tick every 10 ms: over a short time the difference may leave 0 to 1.
            "others_share": round(min(max((busy - own) / (self._elapsed * cpus), 0.0), 1.0), 2),
        }


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def _own_seconds() -> float:
    """CPU time of this process and everything it started, those that have ended included."""
    total = 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system
    ended = me.cpu_times()
    return total + ended.children_user + ended.children_system
