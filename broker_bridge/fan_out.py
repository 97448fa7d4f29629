"""One batch to several targets: every target gets what it wants, and its answers are noted on the messages."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog

from broker_bridge.filtering import Destination
from broker_bridge.parcel import Parcel
from broker_bridge.retry_policy import EXCUSED
from broker_bridge.settlement import Entry
from broker_bridge.targets import Accepted, ErrorClass, Origin, Outcome, Rejected, Reply, Retry, Targets
from broker_bridge.trace import delivery_trace
from services.runtime.telemetry import current_trace


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt to deliver a message to `destinations`.

    `retry` is set when at least one of them has to be asked again; `replies` are what the others answer the sender,
    `unread` why an answer is none.
    """

    entry: Entry
    parcel: Parcel
    destinations: Sequence[Destination] = ()
    retry: Retry | None = None
    replies: list[Reply] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


class FanOut:
    """Delivers the attempts of a route."""

    def __init__(self, route: str, targets: Targets) -> None:
        self._route = route
        self._targets = targets
        self._log = structlog.get_logger("fan_out").bind(route=route)

    async def deliver(self, attempts: Sequence[Attempt]) -> None:
        """One delivery per destination, all at the same time."""
        batches = _by_destination(attempts)
        await asyncio.gather(*(self._deliver_to(destination, batch) for destination, batch in batches.items()))

    async def _deliver_to(self, destination: Destination, attempts: Sequence[Attempt]) -> None:
        parcels = [attempt.parcel for attempt in attempts]
        current_trace.set(delivery_trace(parcels))  # for this delivery alone: it runs as a task of its own
        outcomes = await self._outcomes(destination, parcels)
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            _note(attempt, destination.name, outcome, shared=len(attempts) > 1)

    async def _outcomes(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        if destination.target is None:
            return [Retry(reason=destination.fault, error_class=ErrorClass.REFUSED)] * len(parcels)
        origin = Origin(route=self._route, subscription=destination.subscription)
        try:
            return await self._targets.get(destination.target).deliver(parcels, origin)
        except Exception as error:  # noqa: BLE001 - it must not make void what the other targets have taken
            self._log.exception("a delivery failed unexpectedly", target=str(destination.target))
            reason = f"the delivery failed unexpectedly: {type(error).__name__}: {error}"
            return [Retry(reason=reason, error_class=ErrorClass.REFUSED)] * len(parcels)


def _by_destination(attempts: Sequence[Attempt]) -> dict[Destination, list[Attempt]]:
    """The attempts for each destination, in order."""
    batches: dict[Destination, list[Attempt]] = {}
    # Messages mostly share the objects too; hashing a destination takes as long as all the rest here.
    same: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        for destination in attempt.destinations:
            batch = same.get(id(destination))
            if batch is None:
                batch = same[id(destination)] = batches.setdefault(destination, [])
            batch.append(attempt)
    return batches


def _note(attempt: Attempt, destination: str, outcome: Outcome, *, shared: bool) -> None:
    """What a target said about a message; `shared` when it was asked about several at once."""
    entry = attempt.entry
    if isinstance(outcome, Accepted):
        entry.accepted.add(destination)
        if outcome.reply is not None:
            attempt.replies.append(outcome.reply)
        attempt.unread += [f"{destination}: {reason}" for reason in outcome.unread]
        return
    named = replace(outcome, reason=f"{destination}: {outcome.reason}")
    if isinstance(named, Rejected):
        entry.rejected[destination] = named
        return
    # A refusal may be another message's fault: alone, this one cannot suffer from it.
    entry.alone = entry.alone or (shared and named.error_class is ErrorClass.REFUSED)
    attempt.retry = named if attempt.retry is None else _joined(attempt.retry, named)


def _joined(first: Retry, second: Retry) -> Retry:
    """Two reasons to retry as one: both reasons, the longer wait, the milder class.

    While one of its targets is away a message is not given up for another one.
    """
    mildest = next((mild for mild in EXCUSED if mild in (first.error_class, second.error_class)), second.error_class)
    return Retry(
        reason=f"{first.reason}; {second.reason}",
        error_class=mildest,
        after=max(first.after or 0.0, second.after or 0.0) or None,
    )
