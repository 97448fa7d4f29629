"""Deliveries: one result per message, whatever happens to the others."""

from collections.abc import Sequence

import pytest
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage

from services.runtime.delivery import MAX_MESSAGES, deliver, short_message_id
from services.runtime.errors import InternalError, InvalidArgumentError, PenstockError, UnavailableError

ACCEPTED, REJECTED, RETRY = (
    pb.DELIVERY_OUTCOME_ACCEPTED,
    pb.DELIVERY_OUTCOME_REJECTED,
    pb.DELIVERY_OUTCOME_RETRY,
)


def number_in(message: BrokerMessage) -> int:
    if not message.text.isdigit():
        raise InvalidArgumentError(f"the body {message.text!r} is not a number")
    return int(message.text)


class Taker:
    """Takes even numbers, or raises."""

    def __init__(self, failure: PenstockError | None = None) -> None:
        self.failure = failure
        self.given: list[list[int]] = []

    async def __call__(self, numbers: list[int]) -> Sequence[str]:
        self.given.append(numbers)
        if self.failure:
            raise self.failure
        return [f"{number} is odd" if number % 2 else "" for number in numbers]


async def results(take: Taker, *texts: str) -> list[pb.DeliveryResult]:
    request = pb.DeliverMessagesRequest(messages=[BrokerMessage(text=text) for text in texts])
    return list((await deliver(request, decode=number_in, take=take)).results)


async def test_each_message_has_its_own_result() -> None:
    """In the order of the messages; what can be decoded is taken together."""
    take = Taker()
    found = await results(take, "2", "x", "3", "4")
    assert [one.outcome for one in found] == [ACCEPTED, REJECTED, REJECTED, ACCEPTED]
    assert [one.reason for one in found] == ["", "INVALID: the body 'x' is not a number", "3 is odd", ""]
    assert take.given == [[2, 3, 4]]


async def test_nothing_is_taken_when_no_message_can_be_decoded() -> None:
    """An empty batch is nobody's business."""
    take = Taker()
    assert [one.outcome for one in await results(take, "x", "y")] == [REJECTED, REJECTED]
    assert take.given == []


@pytest.mark.parametrize("pause", [1.5, None])
async def test_what_may_pass_is_retried_after_the_advised_pause(pause: float | None) -> None:
    """What can never be taken is rejected all the same."""
    found = await results(Taker(UnavailableError("away", retry_after=pause)), "2", "x")
    assert [(one.outcome, one.reason) for one in found] == [
        (RETRY, "away"),
        (REJECTED, "INVALID: the body 'x' is not a number"),
    ]
    assert found[0].retry_after.ToMilliseconds() == (pause or 1.0) * 1000


async def test_any_other_failure_fails_the_call() -> None:
    """The bridge then decides by the status."""
    with pytest.raises(InternalError):
        await results(Taker(InternalError("broken")), "2")


@pytest.mark.parametrize("count", [0, MAX_MESSAGES + 1], ids=["none", "too many"])
async def test_a_call_has_bounds(count: int) -> None:
    """Nothing of it is taken."""
    take = Taker()
    with pytest.raises(InvalidArgumentError, match=f"messages: has {count} entries; a call has 1 to 1000"):
        await results(take, *["2"] * count)
    assert take.given == []


def test_a_long_jms_message_id_becomes_its_hash() -> None:
    """The same at every delivery and in every service, another one for another id."""
    name = "ID:" + "h" * 98
    assert short_message_id(name, 101) == name
    short = short_message_id(name, 100)
    assert short.startswith("jms-")
    assert len(short) == 68
    assert short == short_message_id(name, 100) != short_message_id(name + "x", 100)
