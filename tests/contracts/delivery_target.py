"""What every target does, with the real place behind it and in its troubles."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from broker_bridge.parcel import Parcel
from broker_bridge.targets import ACCEPTED, Accepted, ErrorClass, Origin, Outcome, Rejected, Retry, Target
from tests.unit.broker_bridge.builders import parcel

ORIGIN = Origin(route="contract", subscription="Topic/sub")
REFUSED = (ErrorClass.REFUSED, ErrorClass.POISON)
FAILING = "fail once"


class DeliveryTargetContract(ABC):
    """Subclass it and say which target is meant."""

    @abstractmethod
    async def target(self) -> Target:
        """A target whose place is there and empty."""

    @abstractmethod
    async def target_without_place(self) -> Target:
        """A target that nobody answers for."""

    @abstractmethod
    async def silent_target(self) -> Target:
        """A target whose place takes calls and never answers, with a time-out of less than a second."""

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
        assert_all_wait(await target.deliver([parcel(1), parcel(2)], ORIGIN), ErrorClass.UNAVAILABLE)
        assert await self.arrived() == []

    async def test_a_place_that_does_not_answer_is_given_up_after_the_time_out(self) -> None:
        """It counts as away; that the delivery ends at all is what is shown."""
        target = await self.silent_target()
        assert_all_wait(await target.deliver([parcel(1), parcel(2)], ORIGIN), ErrorClass.UNAVAILABLE)


class ThrottlingTargetContract(DeliveryTargetContract):
    """Of places that may ask for less, and that may take a part of what they are handed."""

    @abstractmethod
    async def throttled_target(self) -> Target:
        """A target whose place asks for less at every call."""

    @abstractmethod
    async def partly_failing_target(self) -> Target:
        """A target whose place fails each message with the text `FAILING` once, without the others beside it."""

    async def test_a_throttle_is_told_apart_from_a_failure(self) -> None:
        """Every message may be tried again, none has arrived."""
        target = await self.throttled_target()
        assert_all_wait(await target.deliver([parcel(1), parcel(2)], ORIGIN), ErrorClass.THROTTLED)
        assert await self.arrived() == []

    async def test_of_a_batch_that_fails_in_part_only_the_failed_messages_are_sent_again(self) -> None:
        """In the end each has arrived exactly once."""
        target = await self.partly_failing_target()
        parcels = [parcel(1), parcel(2, text=FAILING), parcel(3), parcel(4, text=FAILING)]
        outcomes = await target.deliver(parcels, ORIGIN)
        assert [isinstance(outcome, Accepted) for outcome in outcomes] == [True, False, True, False]
        assert all(isinstance(outcome, Retry) and outcome.reason for outcome in outcomes[1::2])
        failed = parcels[1::2]
        assert list(await target.deliver(failed, ORIGIN)) == [ACCEPTED] * 2
        assert sorted(await self.arrived()) == sorted(item.message.id for item in parcels)


def assert_all_wait(outcomes: Sequence[Outcome], error_class: ErrorClass) -> None:
    """All may be tried again, for the same kind of reason."""
    assert [type(outcome) for outcome in outcomes] == [Retry] * len(outcomes)
    assert {outcome.error_class for outcome in outcomes if isinstance(outcome, Retry)} == {error_class}
