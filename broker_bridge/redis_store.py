"""Dedup records in Redis or Valkey: hashes of a hundred records or fewer, mostly, and one script call per batch.

A record is `done`, or `owner life attempts lease unavailable throttled` while the message is in flight; the last two
count the excused attempts. `owner` stands for the bridge and stays the same over restarts, `life` is new with each
start: a bridge takes its own earlier claims over at once, those of others only when their lease has ended.

Producers number their messages, so the ids in a batch mostly differ in their last digits alone. The last two bytes of
a record's name are its field, what stands before them is the name of its hash: a hundred records then cost the store
little more than one, in time and in memory. All records of a route share a hash tag, hence a slot of a cluster.
"""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from broker_bridge.dedup import FIRST, Busy, Claim, Claimed, DedupUnavailableError, Done
from broker_bridge.targets import ErrorClass

_FIELD_BYTES = 2
# KEYS are the hashes. ARGV are how long to keep them in milliseconds, what the script wants to know, and then the
# fields of each hash as one string. `each` asks what becomes of a record; nil leaves it as it is.
_HASHES = f"""
local call = redis.call
local function fields_of(i)
  local joined, fields = ARGV[#ARGV - #KEYS + i], {{}}
  for at = 1, #joined, {_FIELD_BYTES} do
    fields[#fields + 1] = string.sub(joined, at, at + {_FIELD_BYTES - 1})
  end
  return fields
end
local function write(hash, fields_and_records)
  if #fields_and_records > 0 then
    call('HSET', hash, unpack(fields_and_records))
    call('PEXPIRE', hash, ARGV[1])
  end
end
local function each(becomes)
  for i, hash in ipairs(KEYS) do
    local fields, written = fields_of(i), {{}}
    for n, record in ipairs(call('HMGET', hash, unpack(fields))) do
      local new = becomes(record, hash .. fields[n])
      if new then
        written[#written + 1] = fields[n]
        written[#written + 1] = new
      end
    end
    write(hash, written)
  end
end
local function parts_of(record)
  return string.match(record or '', '^(%S+) (%S+) (%d+) (%d+) ?(%d*) ?(%d*)$')
end
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""
# Answers for each record that was there before: its name alone when it is done, with {left} when another bridge leases
# it for so many more milliseconds, with {attempts, unavailable, throttled} when it is claimed again.
_CLAIM = f"""{_HASHES}
local owner, life, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = milliseconds()
local ends = string.format('%.0f', now + lease)
local first = table.concat({{owner, life, 1, ends, 0, 0}}, ' ')
local answers = {{}}
each(function(record, name)
  if not record then return first end
  if record == 'done' then
    answers[#answers + 1] = {{name}}
    return nil
  end
  local o, l, n, until_, u, t = parts_of(record)
  -- A lease that seems to last longer than any lease does is from before the store's clock was set back.
  local left = tonumber(until_) - now
  if o ~= owner and left > 0 and left <= lease then
    answers[#answers + 1] = {{name, left}}
    return nil
  end
  local attempts, unavailable, throttled = tonumber(n) + 1, tonumber(u) or 0, tonumber(t) or 0
  answers[#answers + 1] = {{name, attempts, unavailable, throttled}}
  return table.concat({{owner, life, attempts, ends, unavailable, throttled}}, ' ')
end)
return answers
"""
_RENEW = f"""{_HASHES}
local ends = string.format('%.0f', milliseconds() + tonumber(ARGV[4]))
each(function(record)
  local o, l, n, _, u, t = parts_of(record)
  if o == ARGV[2] and l == ARGV[3] then return table.concat({{o, l, n, ends, u, t}}, ' ') end
end)
"""
_EXCUSE = f"""{_HASHES}
each(function(record)
  local o, l, n, until_, u, t = parts_of(record)
  if o == ARGV[2] and l == ARGV[3] then
    return table.concat({{o, l, n, until_, (tonumber(u) or 0) + ARGV[4], (tonumber(t) or 0) + ARGV[5]}}, ' ')
  end
end)
"""
_DONE = f"""{_HASHES}
for i, hash in ipairs(KEYS) do
  local written = {{}}
  for _, field in ipairs(fields_of(i)) do
    written[#written + 1] = field
    written[#written + 1] = 'done'
  end
  write(hash, written)
end
"""
_FORGET = f"""{_HASHES}
for i, hash in ipairs(KEYS) do call('HDEL', hash, unpack(fields_of(i))) end
"""
_NOBODY = "|"
"""The key of no message: those have a destination before the bar."""
_LEASE_MILLISECONDS = "15000"
"""A lease is renewed three times before it ends."""


class RedisStore:
    """A connection to the store of the records; `url` may hold a password, which is never shown."""

    def __init__(self, url: str, *, owner: str, keep_seconds: float, timeout: float) -> None:
        self._client = Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        # An option of the URL could have answers decoded: no name in them would be found, and every message be new.
        self._client.connection_pool.connection_kwargs["decode_responses"] = False
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
        route: a record is named `penstock:bridge:{route}:<key>`, of which the last two bytes are its field.
        owner: this bridge, the same after a restart and different from every other bridge.
        keep_seconds: how long a record is kept at least after its last change.
        answered: is told after each call whether there was an answer.
    """

    def __init__(
        self, client: Redis, *, route: str, owner: str, keep_seconds: float, answered: Callable[[bool], None]
    ) -> None:
        self._answered = answered
        self._prefix = f"penstock:bridge:{{{route}}}:"
        # Not the name itself: a hash with a value of more than 64 bytes in it takes the store four times the memory.
        self._bridge = (hashlib.sha256(owner.encode()).hexdigest()[:16], secrets.token_hex(8))
        self._keep = str(int(keep_seconds * 1000))
        self._claim = client.register_script(_CLAIM)
        self._renew = client.register_script(_RENEW)
        self._done = client.register_script(_DONE)
        self._excuse = client.register_script(_EXCUSE)
        self._forget = client.register_script(_FORGET)

    async def claim(self, keys: Sequence[str]) -> Sequence[Claim]:
        names = self._names(keys)
        answers = await self._run(self._claim, names, *self._bridge, _LEASE_MILLISECONDS)
        if not answers:
            return [FIRST] * len(names)
        known = {name: _claim(numbers) for name, *numbers in answers}
        return [known.get(name, FIRST) for name in names]

    async def excuse(self, keys: Sequence[str], error_class: ErrorClass) -> None:
        counts = ("1", "0") if error_class is ErrorClass.UNAVAILABLE else ("0", "1")
        await self._run(self._excuse, self._names(keys), *self._bridge, *counts)

    async def renew(self, keys: Sequence[str]) -> None:
        if keys:
            await self._run(self._renew, self._names(keys), *self._bridge, _LEASE_MILLISECONDS)
        else:  # by a write: a store without room for another record answers all the same
            await self.done([_NOBODY])

    async def done(self, keys: Sequence[str]) -> None:
        await self._run(self._done, self._names(keys))

    async def forget(self, keys: Sequence[str]) -> None:
        await self._run(self._forget, self._names(keys))

    def _names(self, keys: Sequence[str]) -> list[bytes]:
        prefix = self._prefix
        return [(prefix + key).encode() for key in keys]

    async def _run(self, script: AsyncScript, names: Sequence[bytes], *more: str) -> Any:
        hashes: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for name in names:
            hashes[name[:-_FIELD_BYTES]].append(name[-_FIELD_BYTES:])
        fields = [b"".join(fields) for fields in hashes.values()]
        try:
            answer = await script(list(hashes), [self._keep, *more, *fields])
        except (RedisError, OSError) as error:
            self._answered(False)
            raise DedupUnavailableError(f"the dedup store does not answer: {error or type(error).__name__}") from error
        self._answered(True)
        return answer


def _claim(numbers: Sequence[int]) -> Claim:
    match numbers:
        case []:
            return Done()
        case [left]:
            return Busy(seconds=left / 1000)
        case [attempt, unavailable, throttled]:
            return Claimed(attempt=attempt, unavailable=unavailable, throttled=throttled)
    raise ValueError(f"the claim script answered {numbers!r}")
