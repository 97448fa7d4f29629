"""A running pump with everything around it in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from broker_bridge.broker import BrokerError
from broker_bridge.dead_letters import DeadLetter
from broker_bridge.dedup import Dedup, MemoryDedup
from broker_bridge.filtering import (
    Destination,
    MemoryFilter,
    MessageFilter,
)
from broker_bridge.parcel import Parcel
from broker_bridge.pump import Pump
from broker_bridge.replies import MemoryAnswers
from broker_bridge.routes import Route
from broker_bridge.settlement import Entry
from broker_bridge.target_specs import GrpcTarget, TargetSpec
from broker_bridge.targets import (
    ACCEPTED,
    ErrorClass,
    MemoryTarget,
    Origin,
    Outcome,
    Retry,
    Targets,
)
from broker_bridge.way_back import MemoryBroker
from tests.unit.broker_bridge.builders import TARGET, ManualClock, frame, route

OTHER = GrpcTarget(address="127.0.0.1:2")
THROTTLED = Retry(reason="slow down", error_class=ErrorClass.THROTTLED)
REFUSED = Retry(reason="failed", error_class=ErrorClass.REFUSED)
AWAY = Retry(reason="away", error_class=ErrorClass.UNAVAILABLE)


def everything_to(target: TargetSpec) -> MessageFilter:
    return MemoryFilter(lambda _topic, _parcel: [Destination(name="all", target=target)])


@dataclass(kw_only=True)
class Rig:
    """A running pump with everything around it in memory."""

    pump: Pump
    broker: MemoryBroker
    targets: dict[TargetSpec, MemoryTarget]
    dedup: Dedup
    clock: ManualClock
    answers: MemoryAnswers

    def pass_time(self, seconds: float) -> None:
        """Time passes, and what waited for it goes on."""
        self.clock.seconds += seconds
        self.pump._waiting.release_due()

    def receive(self, *numbers: int, body: bytes = b"hello", **headers: str) -> None:
        self.pump.received([frame(number, body=body, **headers) for number in numbers])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Lets the loop run until something holds; the bound only ends a test that would never end."""
        for _ in range(20_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"never held; {self.pump.stats}")

    async def settled(self, count: int) -> None:
        await self.until(lambda: self.pump.stats.settled == count)


class FullBroker(MemoryBroker):
    """Has no room for dead letters until `failure` is None; `tried` holds what was acknowledged at each try."""

    def __init__(self, failure: BrokerError) -> None:
        super().__init__()
        self.failure: BrokerError | None = failure
        self.tried: list[list[str]] = []

    async def dead_letter(self, entry: Entry, letter: DeadLetter) -> None:
        self.tried.append(list(self.acknowledged))
        await super().dead_letter(entry, letter)


class Slow(MemoryTarget):
    """Takes what comes when `answer` is set."""

    def __init__(self, decide: Callable[[Parcel], Outcome] = lambda _parcel: ACCEPTED) -> None:
        super().__init__(decide)
        self.answer = asyncio.Event()

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
        await self.answer.wait()
        return await super().deliver(parcels, origin)


@asynccontextmanager
async def running(
    of: Route | None = None,
    *,
    decide: Callable[[Parcel], Outcome] = lambda _parcel: ACCEPTED,
    decide_other: Callable[[Parcel], Outcome] = lambda _parcel: ACCEPTED,
    message_filter: MessageFilter | None = None,
    dedup: Dedup | None = None,
    broker: MemoryBroker | None = None,
) -> AsyncIterator[Rig]:
    places = {TARGET: MemoryTarget(decide), OTHER: MemoryTarget(decide_other)}
    broker, records, clock = broker or MemoryBroker(), dedup or MemoryDedup(), ManualClock()
    answers = MemoryAnswers()
    pump = Pump(
        of or route(),
        broker=broker,
        message_filter=message_filter or everything_to(TARGET),
        targets=Targets(lambda spec: places[spec]),  # type: ignore[index]
        answers=answers,
        dedup=records,
        clock=clock.clock(),
    )
    broker.confirm = pump.confirmed
    pump.opened()
    task = asyncio.ensure_future(pump.run())
    try:
        yield Rig(pump=pump, broker=broker, targets=places, dedup=records, clock=clock, answers=answers)  # type: ignore[arg-type]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
