"""What every target does, with the real place behind it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from broker_bridge.parcel import Parcel
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Origin, Rejected, Retry, Target
from tests.unit.broker_bridge.builders import parcel

ORIGIN = Origin(route="contract", subscription="Topic/sub")
REFUSED = (ErrorClass.REFUSED, ErrorClass.POISON)


class DeliveryTargetContract(ABC):
    """Subclass it and say which target is meant."""

    @abstractmethod
    async def target(self) -> Target:
        """A target whose place is there and empty."""

    @abstractmethod
    async def target_without_place(self) -> Target:
        """A target that nobody answers for."""

    @abstractmethod
    async def arrived(self) -> Sequence[str]:
        """The JMS ids of the messages that arrived at the place, repetitions included."""

    @abstractmethod
    def refused_parcel(self, number: int) -> Parcel:
        """A message that the place refuses."""

    async def test_a_message_is_delivered(self) -> None:
        """And found at the place, with its id."""
        target = await self.target()
        assert list(await target.deliver([parcel(1)], ORIGIN)) == [ACCEPTED]
        assert list(await self.arrived()) == ["ID:test-1"]

    async def test_a_large_batch_is_delivered_with_one_outcome_per_message(self) -> None:
        """More than any request of the place may hold."""
        target = await self.target()
        parcels = [parcel(number, text="é" * 100) for number in range(1, 36)]
        assert list(await target.deliver(parcels, ORIGIN)) == [ACCEPTED] * 35
        assert sorted(await self.arrived()) == sorted(item.message.id for item in parcels)

    async def test_bytes_are_delivered(self) -> None:
        """Whatever they are."""
        target = await self.target()
        assert list(await target.deliver([parcel(1, text=None, data=b"\x00\xff")], ORIGIN)) == [ACCEPTED]
        assert list(await self.arrived()) == ["ID:test-1"]

    async def test_a_refused_message_is_not_accepted_and_says_why(self) -> None:
        """As refused or poison: waiting alone will not help."""
        target = await self.target()
        (outcome,) = await target.deliver([self.refused_parcel(1)], ORIGIN)
        assert isinstance(outcome, Rejected | Retry)
        assert outcome.error_class in REFUSED
        assert outcome.reason

    async def test_a_refused_message_in_a_batch_takes_no_other_with_it_for_good(self) -> None:
        """Those not accepted together with it are accepted without it; everything accepted has arrived."""
        target = await self.target()
        parcels = [parcel(1), self.refused_parcel(2), parcel(3)]
        outcomes = await target.deliver(parcels, ORIGIN)
        assert not isinstance(outcomes[1], Accepted)
        for item, outcome in zip(parcels, outcomes, strict=True):
            if item is not parcels[1] and not isinstance(outcome, Accepted):
                assert isinstance(outcome, Retry)
                assert list(await target.deliver([item], ORIGIN)) == [ACCEPTED]
        assert {"ID:test-1", "ID:test-3"} <= set(await self.arrived())

    async def test_a_place_that_is_away_is_told_apart_from_one_that_refuses(self) -> None:
        """Every message may be tried again."""
        target = await self.target_without_place()
        outcomes = await target.deliver([parcel(1), parcel(2)], ORIGIN)
        assert [type(outcome) for outcome in outcomes] == [Retry, Retry]
        assert {outcome.error_class for outcome in outcomes if isinstance(outcome, Retry)} == {ErrorClass.UNAVAILABLE}
        assert await self.arrived() == []
