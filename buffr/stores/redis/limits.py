"""The limits of an upstream, kept by a server for all processes, on the server's own clock.

``PREFIX:{limit NAME}:left`` is a sorted set of the turns, by the microsecond
at which each may leave. One script grants turns, so no two processes can take
the same one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from attrs import define, field

from buffr.stores.fleet import Grants
from buffr.stores.redis.client import RedisClient, Script

__all__ = ["RedisLimits"]

_SLACK_S = 0.01
"""Added to each window: a request leaves a moment after its turn, and the next one may not."""
_AHEAD_S = 0.05
"""Turns this far ahead are granted, so that a process knows of its turn in time."""
_WANTED_S = 2.0
"""For how long a process that does not ask again counts as one that wants turns."""

_TAKE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local me, wanted, slack, ahead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local windows, longest, smallest = {}, 0, nil
for at = 6, #ARGV, 2 do
  local window = {count = tonumber(ARGV[at]), length = tonumber(ARGV[at + 1]) + slack}
  windows[#windows + 1] = window
  longest = math.max(longest, window.length)
  smallest = math.min(smallest or window.count, window.count)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - longest)
local active = 1
local all = redis.call('HGETALL', KEYS[2])
for at = 1, #all, 2 do
  if tonumber(all[at + 1]) < now then
    redis.call('HDEL', KEYS[2], all[at])
  elseif all[at] ~= me then
    active = active + 1
  end
end
redis.call('HSET', KEYS[2], me, now + tonumber(ARGV[5]))
local most = wanted
if active > 1 then
  most = math.min(wanted, math.max(1, math.floor(smallest / (4 * active))))
end
local held = tonumber(redis.call('GET', KEYS[3]) or '0')
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
local granted, wait = {}, 0
for number = 1, most do
  local due = math.max(now, held, tonumber(newest or '0'))
  for _, window in ipairs(windows) do
    local before = redis.call('ZRANGE', KEYS[1], -window.count, -window.count, 'WITHSCORES')[2]
    if before then due = math.max(due, tonumber(before) + window.length) end
  end
  if due > now + ahead then
    wait = due - now - ahead
    break
  end
  newest = due
  local member = me .. ':' .. redis.call('INCR', KEYS[4])
  redis.call('ZADD', KEYS[1], string.format('%.0f', due), member)
  granted[#granted + 1] = due - now
  granted[#granted + 1] = member
end
if wanted <= #granted / 2 then redis.call('HDEL', KEYS[2], me) end
local left = math.ceil(longest / 1000) + 1000
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, left) end
return {active, wait, now, unpack(granted)}
""")
"""Grants turns in the order of asking.

Of several processes that want turns, each gets a part of a window at a time,
so that none gets a whole one.
"""

_SETTLE = Script("""
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local late = tonumber(ARGV[1])
for at = 2, #ARGV do
  if at <= late + 1 then
    redis.call('ZADD', KEYS[1], 'XX', 'GT', now, ARGV[at])
  else
    redis.call('ZREM', KEYS[1], ARGV[at])
  end
end
""")

_HOLD = Script("""
local time = redis.call('TIME')
local until_then = time[1] * 1000000 + time[2] + tonumber(ARGV[1])
if until_then > tonumber(redis.call('GET', KEYS[1]) or '0') then
  redis.call('SET', KEYS[1], string.format('%.0f', until_then), 'PX', math.ceil(ARGV[1] / 1000))
end
""")


@define(eq=False)
class RedisLimits:
    """The turns of the upstream with this ``name``: ``FleetLimits``."""

    client: RedisClient
    name: str
    _me: str = field(init=False, factory=lambda: secrets.token_hex(6))

    async def take(self, wanted: int, windows: Sequence[tuple[int, float]]) -> Grants:
        stem = self.client.key(f"{{limit {self.name}}}")
        keys = [f"{stem}:left", f"{stem}:wanted", f"{stem}:held", f"{stem}:number"]
        bounds = [each for count, length_s in windows for each in (count, _us(length_s))]
        active, wait, now, *granted = await self.client.run(
            _TAKE, keys, self._me, wanted, _us(_SLACK_S), _us(_AHEAD_S), _us(_WANTED_S), *bounds
        )
        turns = zip(granted[::2], granted[1::2], strict=True)
        return Grants(now / 1e6, [(us / 1e6, name) for us, name in turns], wait / 1e6, active)

    async def settle(self, late: Sequence[bytes], unused: Sequence[bytes]) -> None:
        left = self.client.key(f"{{limit {self.name}}}", "left")
        await self.client.run(_SETTLE, [left], len(late), *late, *unused)

    async def hold(self, seconds: float) -> None:
        held = self.client.key(f"{{limit {self.name}}}", "held")
        await self.client.run(_HOLD, [held], _us(seconds))


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
