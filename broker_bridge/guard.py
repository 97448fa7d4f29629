"""A route's rate limit and circuit breakers, wrapped around its targets."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from broker_bridge.circuit import Circuit
from broker_bridge.parcel import Parcel
from broker_bridge.rate_limit import TokenBucket
from broker_bridge.routes import Route
from broker_bridge.stats import RouteStats
from broker_bridge.target_specs import TargetSpec
from broker_bridge.targets import ErrorClass, Origin, Outcome, Retry, Target, Targets

_STOPPING = Retry(reason="the route ends while its rate limit held the message back", error_class=ErrorClass.THROTTLED)
_AWAY = (ErrorClass.UNAVAILABLE, ErrorClass.THROTTLED)
_SHOWN_CHARACTERS = 200


class Guard:
    """Every target of a route gets a bucket and a circuit of its own; `changed` is told when a circuit opens or closes.

    Without limit and breaker the targets are left as they are.
    """

    def __init__(
        self,
        route: Route,
        targets: Targets,
        *,
        stats: RouteStats,
        monotonic: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.targets = targets
        self._route = route
        self._stats = stats
        self._monotonic = monotonic
        self._changed = changed
        self._stopped = asyncio.Event()
        self._guarded: dict[TargetSpec, GuardedTarget] = {}
        if route.rate_limit or route.circuit_breaker:
            self.targets = Targets(lambda spec: self._wrap(spec, targets.get(spec)))

    def stop(self) -> None:
        """Deliveries that wait for the rate limit end at once; their messages count as not delivered."""
        self._stopped.set()

    def open_circuits(self) -> list[str]:
        """`<target>: <reason>` of every target that is not called now."""
        return [
            f"{spec}: {guarded.circuit.reason}"
            for spec, guarded in self._guarded.items()
            if guarded.circuit and not guarded.circuit.is_closed
        ]

    def _wrap(self, spec: TargetSpec, target: Target) -> "GuardedTarget":
        settings, rate = self._route.circuit_breaker, self._route.rate_limit
        self._guarded[spec] = GuardedTarget(
            target,
            bucket=TokenBucket(rate, now=self._monotonic()) if rate else None,
            circuit=Circuit(settings) if settings else None,
            stats=self._stats,
            stopped=self._stopped,
            monotonic=self._monotonic,
            changed=self._changed,
        )
        return self._guarded[spec]


class GuardedTarget:
    """A `broker_bridge.targets.Target` that hands on what limit and breaker let through."""

    def __init__(
        self,
        target: Target,
        *,
        bucket: TokenBucket | None,
        circuit: Circuit | None,
        stats: RouteStats,
        stopped: asyncio.Event,
        monotonic: Callable[[], float],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.circuit = circuit
        self._target = target
        self._bucket = bucket
        self._stats = stats
        self._stopped = stopped
        self._monotonic = monotonic
        self._changed = changed
        # One delivery at a time waits for tokens: first come, first served.
        self._turn = asyncio.Lock()

    async def deliver(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        while rest := parcels[len(outcomes) :]:
            allowed = await self._allowed(len(rest))
            if not allowed:
                outcomes += [_STOPPING] * len(rest)
                break
            outcomes += await self._call(rest[:allowed], origin)
        return outcomes

    async def _allowed(self, wanted: int) -> int:
        """How many messages may go, at least one; waits for the rate limit. 0 when the route ends meanwhile."""
        if self._bucket is None:
            return wanted
        async with self._turn:
            while not (allowed := self._bucket.take(wanted, now=self._monotonic())):
                self._stats.rate_limited += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), self._bucket.wait(now=self._monotonic()))
                if self._stopped.is_set():
                    return 0
            return allowed

    async def _call(self, parcels: Sequence[Parcel], origin: Origin) -> Sequence[Outcome]:
        circuit = self.circuit
        if circuit is None:
            return await self._target.deliver(parcels, origin)
        if wait := circuit.admit(now=self._monotonic()):
            reason = f"not called, its circuit is open: {circuit.reason}"
            return [Retry(reason=reason, error_class=ErrorClass.UNAVAILABLE, after=wait)] * len(parcels)
        was_closed, failure = circuit.is_closed, "the delivery was given up"
        try:
            outcomes = await self._target.deliver(parcels, origin)
            failure = _failure(outcomes)
        finally:
            if failure:
                circuit.failed(failure, now=self._monotonic())
            else:
                circuit.succeeded()
            if circuit.is_closed is not was_closed:
                self._stats.circuits_opened += was_closed
                self._changed()
        return outcomes

    async def close(self) -> None:
        """Nothing to do: the target belongs to all routes."""


def _failure(outcomes: Sequence[Outcome]) -> str:
    """Why a delivery failed as a whole because its target is away or asks for less; empty when it did not."""
    if all(isinstance(outcome, Retry) and outcome.error_class in _AWAY for outcome in outcomes):
        first = outcomes[0]
        return first.reason[:_SHOWN_CHARACTERS] if isinstance(first, Retry) else ""
    return ""
