"""Was this message delivered before, and how often was it tried? What the bridge remembers beyond a connection.

A *claim* precedes every delivery: it counts the attempt and takes a lease, so that two bridges never deliver the same
message at the same time. An attempt is *excused* when its target was away or asked for less. *Done* is noted after the
targets' success and before the ACK: a repetition of a done message is acknowledged without being delivered. A claim
found from an earlier life of the same bridge counts as an attempt: a message that crashes the bridge ends as a dead
letter.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, TypeVar

from broker_bridge.retry_policy import EXCUSED, Tries
from broker_bridge.targets import ErrorClass

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The message is ours to deliver; `attempt` counts from 1 and includes attempts of earlier lives.

    `unavailable` and `throttled` tell how many of the attempts before ended so, and were excused.
    """

    attempt: int
    unavailable: int = 0
    throttled: int = 0

    def tries(self) -> Tries:
        if self is FIRST:  # nearly always
            return _FIRST_TRY
        if not self.unavailable and not self.throttled:
            return Tries(begun=self.attempt)
        counts = zip(EXCUSED, (self.unavailable, self.throttled), strict=True)
        return Tries(begun=self.attempt, excused={error_class: count for error_class, count in counts if count})


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The message was delivered before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Another bridge is delivering the message; its lease ends after `seconds` unless it is renewed."""

    seconds: float


Claim: TypeAlias = Claimed | Done | Busy


FIRST = Claimed(attempt=1)
"""Of a message that was never seen before."""
_FIRST_TRY = Tries(begun=1)


def _again(before: Claimed, known: Claimed) -> Claimed:
    return Claimed(
        attempt=max(before.attempt + 1, known.attempt),
        unavailable=max(before.unavailable, known.unavailable),
        throttled=max(before.throttled, known.throttled),
    )


def _excused(claimed: Claimed, error_class: ErrorClass) -> Claimed:
    if error_class is ErrorClass.UNAVAILABLE:
        return replace(claimed, unavailable=claimed.unavailable + 1)
    return replace(claimed, throttled=claimed.throttled + 1)


class DedupUnavailableError(Exception):
    """The store of the records did not answer; the message says what it is and why."""


class Records(Protocol):
    """Records by key. Every method takes a batch of different keys, and costs one round trip."""

    async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
        """Counts an attempt of each message and leases it. Raises DedupUnavailableError."""
        ...

    async def excuse(self, keys: Sequence[str], error_class: ErrorClass) -> None:
        """The attempts that were claimed last failed with one of the excused classes. Raises DedupUnavailableError."""
        ...

    async def renew(self, keys: Sequence[str]) -> None:
        """Extends leases held; without keys it only tells whether records are taken. Raises DedupUnavailableError."""
        ...

    async def done(self, keys: Sequence[str]) -> None:
        """Notes that the messages were delivered. Raises DedupUnavailableError."""
        ...

    async def forget(self, keys: Sequence[str]) -> None:
        """Removes the records: the messages became dead letters, and are new ones when they come back."""
        ...


class Dedup(Records, Protocol):
    """Records that can always be asked."""

    @property
    def available(self) -> bool:
        """Whether they are those of every bridge, which outlive this process."""
        ...


class MemoryDedup:
    """The newest `capacity` records of this process, as if it were the only one."""

    available = True

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._claims: OrderedDict[str, Claimed] = OrderedDict()
        self._done: OrderedDict[str, None] = OrderedDict()

    async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
        return [self.claim_one(key) for key in keys]

    def claim_one(self, key: str, *, known: Claimed = FIRST) -> Claim:
        """Claims one message of which elsewhere at least this is known."""
        if key in self._done:
            return Done()
        before = self._claims.pop(key, None)
        claimed = known if before is None else _again(before, known)
        self._claims[key] = claimed
        _trim(self._claims, self._capacity)
        return claimed

    async def excuse(self, keys: Sequence[str], error_class: ErrorClass) -> None:
        for key in keys:
            if before := self._claims.get(key):
                self._claims[key] = _excused(before, error_class)

    def not_done(self, keys: Sequence[str]) -> list[str]:
        """Those that this process has not delivered, as far as it remembers."""
        done = self._done
        return [key for key in keys if key not in done]

    async def renew(self, keys: Sequence[str]) -> None: ...

    async def done(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._claims.pop(key, None)
            self._done[key] = None
        _trim(self._done, self._capacity)

    async def forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._claims.pop(key, None)
            self._done.pop(key, None)


def _trim(records: OrderedDict[str, T], capacity: int) -> None:
    while len(records) > capacity:
        records.popitem(last=False)


class DedupHealth:
    """What the routes of a bridge tell of the dedup store, in one sentence: empty when no route misses it.

    A route that ends is forgotten: nobody would ever tell that it found the store again.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._away: dict[str, str] = {}

    def told(self, route: str, why: str) -> None:
        """`route` misses the store, and why; empty when it has found it again."""
        if why:
            self._away[route] = why
        else:
            self._away.pop(route, None)
        self._report(next(iter(self._away.values()), ""))

    def ended(self, route: str) -> None:
        """`route` asks no more."""
        if route in self._away:
            self.told(route, "")


class GuardedDedup:
    """Shared records with those of this process in front: the bridge goes on with the latter when the store is away.

    After a failure the store is left alone for `pause` seconds. `report` hears when it goes away ("why") and when it is
    back (""); `available` is what is known of it at first.
    """

    def __init__(
        self,
        shared: Records,
        *,
        report: Callable[[str], None],
        pause: float = 1.0,
        local: MemoryDedup | None = None,
        now: Callable[[], float] = time.monotonic,
        available: bool = True,
    ) -> None:
        self._shared = shared
        self._local = local or MemoryDedup()
        self._report = report
        self._pause = pause
        self._now = now
        self._away_until = 0.0
        self.available = available

    async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
        # A message that this process knows to be done was perhaps noted while the store was away: it is not asked
        # again.
        asked = self._local.not_done(keys)
        answers = await self._ask(asked) if asked else []
        if answers is None:
            return await self._local.claim(keys)
        known = dict(zip(asked, answers, strict=True))
        await self._local.done([key for key, answer in known.items() if isinstance(answer, Done)])
        return [self._merged(key, known.get(key)) for key in keys]

    async def _ask(self, keys: Sequence[str]) -> Sequence[Claim] | None:
        asked = 0

        async def claim() -> Sequence[Claim]:
            nonlocal asked
            asked += 1
            return await self._shared.claim(keys)

        answers = await self._try(claim)
        # The question that got no answer may have been counted as an attempt.
        return [_counted_once(answer) for answer in answers] if answers and asked > 1 else answers

    def _merged(self, key: str, answer: Claim | None) -> Claim:
        if isinstance(answer, Claimed):
            return self._local.claim_one(key, known=answer)
        return answer or Done()

    async def excuse(self, keys: Sequence[str], error_class: ErrorClass) -> None:
        await self._local.excuse(keys, error_class)
        await self._try(lambda: self._shared.excuse(keys, error_class))

    async def renew(self, keys: Sequence[str]) -> None:
        # Asked without keys while the store is away, so that an idle bridge notices its return too.
        if keys or not self.available:
            await self._try(lambda: self._shared.renew(keys))

    async def done(self, keys: Sequence[str]) -> None:
        await self._local.done(keys)
        await self._try(lambda: self._shared.done(keys))

    async def forget(self, keys: Sequence[str]) -> None:
        await self._local.forget(keys)
        await self._try(lambda: self._shared.forget(keys))

    async def _try(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        """The answer of the shared store; None while it is away.

        It is asked twice before it counts as away: when this process stood still for a while (SIGSTOP, a paused virtual
        machine), every question that was open then looks unanswered.
        """
        if self._now() < self._away_until:
            return None
        try:
            result = await (self._twice(operation) if self.available else operation())
        except DedupUnavailableError as error:
            self._away_until = self._now() + self._pause
            self.available = False
            self._report(str(error))
            return None
        if not self.available:
            self.available = True
            self._report("")
        return result

    async def _twice(self, operation: Callable[[], Awaitable[T]]) -> T:
        try:
            return await operation()
        except DedupUnavailableError:
            return await operation()


def _counted_once(claim: Claim) -> Claim:
    return replace(claim, attempt=max(claim.attempt - 1, 1)) if isinstance(claim, Claimed) else claim
