"""Was it delivered before, and how often was it tried?"""

from collections.abc import Sequence

from broker_bridge.dedup import (
    Busy,
    Claim,
    Claimed,
    Dedup,
    DedupHealth,
    DedupUnavailableError,
    Done,
    GuardedDedup,
    MemoryDedup,
)
from broker_bridge.targets import ErrorClass
from tests.contracts.dedup import DedupContract
from tests.unit.broker_bridge.builders import ManualClock


class TestMemoryDedup(DedupContract):
    """The records of this process."""

    async def records(self) -> Dedup:
        return MemoryDedup()


class TestGuardedDedup(DedupContract):
    """Shared records with those of this process in front."""

    async def records(self) -> Dedup:
        return GuardedDedup(MemoryDedup(), report=lambda _why: None)


class TestGuardedDedupWhileTheStoreIsAway(DedupContract):
    """Within one process nothing changes."""

    async def records(self) -> Dedup:
        store = FailingStore()
        store.away = True
        return GuardedDedup(store, report=lambda _why: None)


class FailingStore(MemoryDedup):
    """A shared store that can go away, and may find others at work."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.calls = 0
        self.busy: set[str] = set()

    async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
        self._check()
        return [Busy(seconds=3.0) if key in self.busy else self.claim_one(key) for key in keys]

    async def excuse(self, keys: Sequence[str], error_class: ErrorClass) -> None:
        self._check()
        await super().excuse(keys, error_class)

    async def done(self, keys: Sequence[str]) -> None:
        self._check()
        await super().done(keys)

    async def renew(self, keys: Sequence[str]) -> None:
        self._check()
        await super().renew(keys)

    async def forget(self, keys: Sequence[str]) -> None:
        self._check()
        await super().forget(keys)

    def _check(self) -> None:
        self.calls += 1
        if self.away:
            raise DedupUnavailableError("no answer")


async def test_memory_is_bounded() -> None:
    """The newest records count."""
    records = MemoryDedup(capacity=2)
    await records.done(["a", "b", "c"])
    assert list(await records.claim(["a", "b", "c"])) == [Claimed(attempt=1), Done(), Done()]


async def test_an_absent_store_is_reported_once_and_left_alone_for_a_while() -> None:
    """And asked again after the pause; its return is reported too."""
    clock, store = ManualClock(), FailingStore()
    reports: list[str] = []
    guarded = GuardedDedup(store, report=reports.append, pause=5.0, now=clock)
    store.away = True
    await guarded.claim(["a"])
    await guarded.done(["a"])
    assert (reports, store.calls, guarded.available) == (["no answer"], 2, False)
    store.away = False
    clock.seconds += 5
    await guarded.renew(["a"])
    assert (reports, guarded.available) == (["no answer", ""], True)


async def test_what_was_done_while_the_store_was_away_stays_known() -> None:
    """The store comes back without the record; this process has it."""
    clock, store = ManualClock(), FailingStore()
    guarded = GuardedDedup(store, report=lambda _why: None, pause=1.0, now=clock)
    store.away = True
    await guarded.claim(["a"])
    await guarded.done(["a"])
    store.away = False
    clock.seconds += 2
    assert list(await guarded.claim(["a", "b"])) == [Done(), Claimed(attempt=1)]


async def test_attempts_of_an_earlier_life_count() -> None:
    """The shared record knows more than this process."""
    store = FailingStore()
    for _ in range(4):
        await store.claim(["a"])
    guarded = GuardedDedup(store, report=lambda _why: None)
    assert list(await guarded.claim(["a"])) == [Claimed(attempt=5)]
    store.away = True
    assert list(await guarded.claim(["a"])) == [Claimed(attempt=6)]


async def test_a_message_another_bridge_works_on_is_busy() -> None:
    """It is not ours to deliver."""
    store = FailingStore()
    store.busy = {"a"}
    assert list(await GuardedDedup(store, report=lambda _why: None).claim(["a"])) == [Busy(seconds=3.0)]


class UnheardStore(FailingStore):
    """Does what it is asked, but the first answer is not heard: the bridge stood still for too long."""

    unheard = True

    async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
        answers = await super().claim(keys)
        self._lose()
        return answers

    async def done(self, keys: Sequence[str]) -> None:
        self._lose()
        await super().done(keys)

    def _lose(self) -> None:
        if self.unheard:
            self.unheard = False
            raise DedupUnavailableError("too late")


async def test_one_answer_that_came_too_late_does_not_count_as_a_store_that_is_away() -> None:
    """It is asked again at once, and the unheard question is no attempt."""
    store = UnheardStore()
    reports: list[str] = []
    guarded = GuardedDedup(store, report=reports.append)
    assert list(await guarded.claim(["a"])) == [Claimed(attempt=1)]
    store.unheard = True
    await guarded.done(["a"])
    assert store.not_done(["a"]) == []
    assert (reports, guarded.available) == ([], True)


async def test_an_idle_bridge_notices_that_the_store_is_back() -> None:
    """By a question without keys, asked only while it is away."""
    clock, store = ManualClock(), FailingStore()
    reports: list[str] = []
    guarded = GuardedDedup(store, report=reports.append, pause=1.0, now=clock)
    await guarded.renew([])
    assert store.calls == 0
    store.away = True
    await guarded.claim(["a"])
    store.away = False
    clock.seconds += 1
    await guarded.renew([])
    assert reports == ["no answer", ""]


def test_a_route_that_ends_no_longer_tells_that_the_store_is_away() -> None:
    """Nobody would ever take it back; what other routes tell still counts."""
    told: list[str] = []
    health = DedupHealth(told.append)
    health.told("a", "refused")
    health.told("b", "no answer")
    health.ended("a")
    health.ended("never seen")
    health.ended("b")
    assert told == ["refused", "refused", "no answer", ""]
