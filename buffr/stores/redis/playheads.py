"""The playheads of a set, as counters on a server: a recording is next for one process only."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from attrs import define

from buffr.stores.redis.client import RedisClient, Script

__all__ = ["RedisPlayheads", "heads_key"]

_IDLE_S = 600
"""A scope that was idle for so long begins anew."""

_NEXT = Script("""
local count, round = tonumber(ARGV[2]), 4294967296
local head = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if ARGV[5] then
  if tonumber(ARGV[5]) ~= head then return -2 end
  head = tonumber(ARGV[6])
end
local at = head % round
if at >= count then
  if ARGV[3] == 'cycle' then
    head = head - at + round
    at = 0
  elseif ARGV[3] == 'last' then
    at = count - 1
    head = at
  else return -1 end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', head + 1))
redis.call('EXPIRE', KEYS[1], ARGV[4])
return at
""")

_ANSWERED = Script("""
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
""")


def heads_key(prefix: str, set_name: str, scope: str) -> str:
    """The hash of a scope: from keys to positions."""
    digest = blake2b(scope.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    return f"{prefix}:{{{set_name}}}:heads:{digest}"


@define(eq=False)
class RedisPlayheads:
    """The playheads of the set of a name: ``FleetPlayheads``."""

    client: RedisClient
    set_name: str

    async def next(
        self, scope: str, name: bytes, count: int, repeat: str, moved: tuple[int, int] | None = None
    ) -> int | None:
        arguments = name, count, repeat, _IDLE_S, *(moved or ())
        at: int = await self.client.run(_NEXT, [self._key(scope)], *arguments)
        return {-1: None, -2: -1}.get(at, at)

    async def heads(self, scope: str, names: Sequence[bytes]) -> Sequence[int]:
        found = await self.client.ask("HMGET", self._key(scope), *names)
        return [int(head or 0) for head in found]

    async def answered(self, scope: str, name: bytes) -> None:
        await self.client.run(_ANSWERED, [self._key(scope)], name, _IDLE_S)

    async def reset(self, scope: str) -> None:
        await self.client.ask("DEL", self._key(scope))

    def _key(self, scope: str) -> str:
        return heads_key(self.client.address.prefix, self.set_name, scope)
