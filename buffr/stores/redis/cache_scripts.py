"""The scripts of a cache on a server. Each changes an entry and all indexes of it as a whole.

Under the stem ``PREFIX:{cache}:``

- ``k:KEY`` has the variants of a key: a hash from the variant to place, head
  and body. It expires when the last of them is useless.
- ``part:TOKEN`` has the parts of a large body.
- ``meta`` has what the scripts must know of each place.
- ``lru`` and ``keep`` order the places by last use and by the end of their use,
  ``fresh:ROUTE`` and ``at:ROUTE`` those of a route by freshness and arrival;
  the route ``*`` stands for all.
- ``url:HASH`` and ``tag:NAME`` are sets of places.
- ``state``, ``bytes`` and ``sums`` have the salt and the counts.

Only ``k:`` and ``part:`` expire, so a server with ``maxmemory-policy
volatile-lru`` evicts answers and never an index.
"""

from __future__ import annotations

from buffr.stores.redis.client import Script

__all__ = ["CLEAR", "OPEN", "PUT", "REFRESH", "REMOVE"]

_COMMON = """
local stem = ARGV[1]
local function count(m, sign)
  for _, route in ipairs({'*', m.route}) do
    redis.call('HINCRBY', stem .. 'bytes', route, sign * m.size)
    redis.call('HINCRBYFLOAT', stem .. 'sums', route, sign * m.fresh)
  end
end
local function take(place, keeps_parts)
  local raw = redis.call('HGET', stem .. 'meta', place)
  if not raw then return nil end
  local m = cjson.decode(raw)
  redis.call('HDEL', stem .. 'k:' .. m.key, m.variant)
  redis.call('HDEL', stem .. 'meta', place)
  redis.call('ZREM', stem .. 'lru', place)
  redis.call('ZREM', stem .. 'keep', place)
  for _, route in ipairs({'*', m.route}) do
    redis.call('ZREM', stem .. 'fresh:' .. route, place)
    redis.call('ZREM', stem .. 'at:' .. route, place)
  end
  redis.call('SREM', stem .. 'url:' .. m.url, place)
  for _, tag in ipairs(m.tags) do redis.call('SREM', stem .. 'tag:' .. tag, place) end
  if m.token ~= '' and not keeps_parts then redis.call('UNLINK', stem .. 'part:' .. m.token) end
  count(m, -1)
  return m
end
local function occupant(m)
  local old = redis.call('HGET', stem .. 'k:' .. m.key, m.variant)
  if old then return tostring(struct.unpack('>I8', old)) end
end
local function add(place, raw, m, head, body, now)
  redis.call('HSET', stem .. 'k:' .. m.key, m.variant,
    struct.pack('>I8I4', place, #head) .. head .. body)
  local left = math.max(1000, math.ceil((m.keep - now) * 1000))
  local had = redis.call('PTTL', stem .. 'k:' .. m.key)
  if had < left then redis.call('PEXPIRE', stem .. 'k:' .. m.key, left) end
  if m.token ~= '' then redis.call('PEXPIRE', stem .. 'part:' .. m.token, left) end
  redis.call('HSET', stem .. 'meta', place, raw)
  redis.call('ZADD', stem .. 'lru', now, place)
  redis.call('ZADD', stem .. 'keep', m.keep, place)
  for _, route in ipairs({'*', m.route}) do
    redis.call('ZADD', stem .. 'fresh:' .. route, m.fresh, place)
    redis.call('ZADD', stem .. 'at:' .. route, m.at, place)
  end
  redis.call('SADD', stem .. 'url:' .. m.url, place)
  for _, tag in ipairs(m.tags) do redis.call('SADD', stem .. 'tag:' .. tag, place) end
  count(m, 1)
end
local function evict(place)
  take(place)
  redis.call('HINCRBY', stem .. 'state', 'evicted', 1)
end
local function make_room(m, now, most_bytes, most_entries, most_variants)
  local key = stem .. 'k:' .. m.key
  while redis.call('HLEN', key) > most_variants do
    local least
    for _, value in ipairs(redis.call('HVALS', key)) do
      local place = struct.unpack('>I8', value)
      if not least or place < least then least = place end
    end
    evict(tostring(least))
  end
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', stem .. 'keep', '-inf', now, 'LIMIT', 0, 8)) do
    take(place)
  end
  for _ = 1, 1000 do
    local bytes = tonumber(redis.call('HGET', stem .. 'bytes', '*') or '0')
    if bytes <= most_bytes and redis.call('ZCARD', stem .. 'lru') <= most_entries then return end
    local oldest = redis.call('ZRANGE', stem .. 'lru', 0, 0)[1]
    if not oldest then return end
    evict(oldest)
  end
end
"""

OPEN = Script("""
redis.call('HSETNX', KEYS[1], 'salt', ARGV[1])
return redis.call('HGET', KEYS[1], 'salt')
""")
"""Returns the salt, which is the argument unless there is one."""

PUT = Script(
    _COMMON
    + """
local raw, head, body, now = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local m = cjson.decode(raw)
local old = occupant(m)
if old then take(old) end
add(redis.call('HINCRBY', stem .. 'state', 'next', 1), raw, m, head, body, now)
make_room(m, now, tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
"""
)
"""Stores an entry in place of the same variant, within the bounds."""

REFRESH = Script(
    _COMMON
    + """
local place, raw, head, now = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local known = redis.call('HGET', stem .. 'meta', place)
if not known then return 0 end
local was = cjson.decode(known)
local value = redis.call('HGET', stem .. 'k:' .. was.key, was.variant)
if not value then take(place) return 0 end
local _, size = struct.unpack('>I8I4', value)
local body = string.sub(value, 13 + size)
take(place, true)
local m = cjson.decode(raw)
m.size = was.size - size + #head
m.token = was.token
local other = occupant(m)
if other then take(other) end
add(place, cjson.encode(m), m, head, body, now)
make_room(m, now, tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
return 1
"""
)
"""Replaces all of an entry but its body."""

REMOVE = Script(_COMMON + "take(ARGV[2])")

CLEAR = Script(
    _COMMON
    + """
local wanted, gone = cjson.decode(ARGV[2]), 0
for at = 3, #ARGV do
  local raw = redis.call('HGET', stem .. 'meta', ARGV[at])
  if raw then
    local m, fits = cjson.decode(raw), true
    if wanted.route and m.route ~= wanted.route then fits = false end
    if wanted.url and m.url ~= wanted.url then fits = false end
    if wanted.before and m.at >= wanted.before then fits = false end
    if wanted.tag then
      local has = false
      for _, tag in ipairs(m.tags) do has = has or tag == wanted.tag end
      fits = fits and has
    end
    if fits then take(ARGV[at]) gone = gone + 1 end
  end
end
return gone
"""
)
"""Removes those of the named places that match the criteria; returns their number."""
