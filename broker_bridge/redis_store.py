"""Dedup records in Redis or Valkey: one string per message, one script call per batch.

A record is `done`, or `owner life attempts lease unavailable throttled` while the message is in flight; the last two
count the excused attempts, and are missing in records of earlier versions. `owner` names the bridge and stays
the same over restarts, `life` is new with each start: a bridge takes its own earlier claims over at once, those of
others only when their lease has ended. All records of a route share a hash tag, hence a slot of a cluster.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from broker_bridge.dedup import FIRST, Busy, Claim, Claimed, DedupUnavailableError, Done
from broker_bridge.targets import ErrorClass

_FIELDS = "'^(%S+) (%S+) (%d+) (%d+) ?(%d*) ?(%d*)$'"
# Answers per key: 1 claimed for the first time, 0 done, {n, u, t} claimed with attempt n, {-n} leased by another bridge
# for n more milliseconds. Nearly every message is new: one command each, and the same record for all of them.
_CLAIM = f"""
local owner, life, lease, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', now + lease)
local first = table.concat({{owner, life, 1, ends, 0, 0}}, ' ')
local call = redis.call
local function again(key)
  local record = call('GET', key)
  if record == 'done' then return 0 end
  local o, l, n, until_, u, t = string.match(record, {_FIELDS})
  -- A lease that seems to last longer than any lease does is from before the store's clock was set back.
  local left = tonumber(until_) - now
  if o ~= owner and left > 0 and left <= lease then return {{-left}} end
  local attempts, unavailable, throttled = tonumber(n) + 1, tonumber(u) or 0, tonumber(t) or 0
  call('SET', key, table.concat({{owner, life, attempts, ends, unavailable, throttled}}, ' '), 'PX', ttl)
  return {{attempts, unavailable, throttled}}
end
local answers = {{}}
for i, key in ipairs(KEYS) do
  answers[i] = call('SET', key, first, 'NX', 'PX', ttl) and 1 or again(key)
end
return answers
"""
_RENEW = f"""
local time = redis.call('TIME')
local until_ = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3]))
for _, key in ipairs(KEYS) do
  local record = redis.call('GET', key)
  local o, l, n, _, u, t = string.match(record or '', {_FIELDS})
  if o == ARGV[1] and l == ARGV[2] then
    redis.call('SET', key, table.concat({{o, l, n, until_, u, t}}, ' '), 'KEEPTTL')
  end
end
"""
_EXCUSE = f"""
for _, key in ipairs(KEYS) do
  local record = redis.call('GET', key)
  local o, l, n, until_, u, t = string.match(record or '', {_FIELDS})
  if o == ARGV[1] and l == ARGV[2] then
    local unavailable, throttled = (tonumber(u) or 0) + ARGV[3], (tonumber(t) or 0) + ARGV[4]
    redis.call('SET', key, table.concat({{o, l, n, until_, unavailable, throttled}}, ' '), 'KEEPTTL')
  end
end
"""
_DONE = """
local call, ttl = redis.call, ARGV[1]
for _, key in ipairs(KEYS) do call('SET', key, 'done', 'PX', ttl) end
"""
_LEASE_SECONDS = 15.0
"""A lease is renewed three times before it ends."""


class RedisStore:
    """A connection to the store of the records; `url` may hold a password, which is never shown."""

    def __init__(self, url: str, *, owner: str, keep_seconds: float, timeout: float) -> None:
        self._client = Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        self._owner = owner
        self._keep_seconds = keep_seconds
        self.answers = True
        """Whether it did when it was asked last, for whichever route."""

    def records(self, route: str) -> "RedisDedup":
        """The records of a route."""
        return RedisDedup(
            self._client, route=route, owner=self._owner, keep_seconds=self._keep_seconds, answered=self._answered
        )

    def _answered(self, answers: bool) -> None:  # noqa: FBT001
        self.answers = answers

    async def close(self) -> None:
        await self._client.aclose()


class RedisDedup:
    """The records of one route.

    Args:
        client: its time-outs bound every call.
        route: records are named `penstock:dedup:{route}:<key>`.
        owner: this bridge, the same after a restart and different from every other bridge; without spaces.
        keep_seconds: how long a record is kept after its last change.
        answered: is told after each call whether there was an answer.
    """

    def __init__(
        self, client: Redis, *, route: str, owner: str, keep_seconds: float, answered: Callable[[bool], None]
    ) -> None:
        self._answered = answered
        self._prefix = f"penstock:dedup:{{{route}}}:"
        self._owner = owner
        self._life = secrets.token_hex(8)
        self._keep = str(int(keep_seconds * 1000))
        self._claim = client.register_script(_CLAIM)
        self._renew = client.register_script(_RENEW)
        self._done = client.register_script(_DONE)
        self._excuse = client.register_script(_EXCUSE)
        self._client = client

    async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
        lease = str(int(_LEASE_SECONDS * 1000))
        answers = await self._call(self._claim(self._names(keys), [self._owner, self._life, lease, self._keep]))
        return [FIRST if answer == 1 else _claim(answer) for answer in cast("list[int | list[int]]", answers)]

    async def excuse(self, keys: Sequence[str], error_class: ErrorClass) -> None:
        counts = ["1", "0"] if error_class is ErrorClass.UNAVAILABLE else ["0", "1"]
        await self._call(self._excuse(self._names(keys), [self._owner, self._life, *counts]))

    async def renew(self, keys: Sequence[str]) -> None:
        if not keys:
            await self._call(self._client.ping())
            return
        lease = str(int(_LEASE_SECONDS * 1000))
        await self._call(self._renew(self._names(keys), [self._owner, self._life, lease]))

    async def done(self, keys: Sequence[str]) -> None:
        await self._call(self._done(self._names(keys), [self._keep]))

    async def forget(self, keys: Sequence[str]) -> None:
        await self._call(self._client.delete(*self._names(keys)))

    def _names(self, keys: Sequence[str]) -> list[str]:
        prefix = self._prefix
        return [prefix + key for key in keys]

    async def _call(self, call: Awaitable[Any]) -> Any:
        try:
            answer = await call
        except (RedisError, OSError) as error:
            self._answered(False)
            raise DedupUnavailableError(f"the dedup store does not answer: {error or type(error).__name__}") from error
        self._answered(True)
        return answer


def _claim(answer: int | Sequence[int]) -> Claim:
    match answer:
        case int():
            return Done()
        case [attempt, unavailable, throttled]:
            return Claimed(attempt=attempt, unavailable=unavailable, throttled=throttled)
        case _:
            return Busy(seconds=-answer[0] / 1000)
