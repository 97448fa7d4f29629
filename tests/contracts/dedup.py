"""What every store of dedup records does."""

from abc import ABC, abstractmethod

from broker_bridge.dedup import Claimed, Done, Records
from broker_bridge.targets import ErrorClass


class DedupContract(ABC):
    """Subclass it and say which store is meant; `records` is fresh for each test."""

    @abstractmethod
    async def records(self) -> Records:
        """An empty store."""

    async def test_attempts_are_counted(self) -> None:
        """Each claim is one."""
        records = await self.records()
        assert [await records.claim(["a"]) for _ in range(3)] == [[Claimed(attempt=n)] for n in (1, 2, 3)]

    async def test_excused_attempts_are_told_by_their_class(self) -> None:
        """They are remembered with the claims, and forgotten with them."""
        records = await self.records()
        await records.claim(["a", "b"])
        await records.excuse(["a"], ErrorClass.UNAVAILABLE)
        await records.claim(["a"])
        await records.excuse(["a", "b", "never seen"], ErrorClass.THROTTLED)
        assert list(await records.claim(["a", "b", "never seen"])) == [
            Claimed(attempt=3, unavailable=1, throttled=1),
            Claimed(attempt=2, throttled=1),
            Claimed(attempt=1),
        ]
        await records.renew(["a"])
        assert list(await records.claim(["a"])) == [Claimed(attempt=4, unavailable=1, throttled=1)]
        await records.forget(["a"])
        assert list(await records.claim(["a"])) == [Claimed(attempt=1)]

    async def test_a_batch_is_answered_in_its_order(self) -> None:
        """One answer per key."""
        records = await self.records()
        await records.claim(["b"])
        await records.done(["c"])
        assert list(await records.claim(["a", "b", "c"])) == [Claimed(attempt=1), Claimed(attempt=2), Done()]

    async def test_what_was_done_is_not_claimed_again(self) -> None:
        """However often it comes."""
        records = await self.records()
        await records.claim(["a"])
        await records.done(["a"])
        assert [await records.claim(["a"]) for _ in range(2)] == [[Done()], [Done()]]

    async def test_what_was_forgotten_begins_anew(self) -> None:
        """A dead letter that is replayed is a new message."""
        records = await self.records()
        await records.claim(["a"])
        await records.claim(["b"])
        await records.done(["b"])
        await records.forget(["a", "b"])
        assert list(await records.claim(["a", "b"])) == [Claimed(attempt=1), Claimed(attempt=1)]

    async def test_renewing_counts_no_attempt(self) -> None:
        """Nor does it bring back what is unknown."""
        records = await self.records()
        await records.claim(["a"])
        await records.renew(["a", "never seen"])
        assert list(await records.claim(["a", "never seen"])) == [Claimed(attempt=2), Claimed(attempt=1)]
