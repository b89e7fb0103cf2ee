"""A set of interactions on a server: its keys, and the scripts that change it.

``PREFIX:{NAME}:set`` is a hash with the ``id``, the ``salt`` and the ``count``
of the set. Its interactions are the fields ``0`` to ``count - 1`` of the hash
``PREFIX:{NAME}:ID``; the parts of large ones are hashes of their own. The
braces keep all of a set on one node of a cluster. A set that is recorded anew
gets another id, and the old one moves to ``PREFIX:{NAME}:bak``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from attrs import field, frozen

from buffr.errors import StoreFailed
from buffr.interaction import Interaction
from buffr.stores.redis.elements import Kept, StoredElement, read_field
from buffr.stores.redis.protocol import Argument, BlockingConnection

__all__ = ["ABSENT", "SET_ASIDE", "STEP", "Head", "SetKeys", "read_all", "store_all"]

STEP = 200
"""The number of interactions that are read in one round trip."""
SET_ASIDE = ".bak"
_TOKEN_S = 3600
_PARTS_S = 600

_MAKE = """
redis.call('HSETNX', KEYS[1], 'id', ARGV[1])
redis.call('HSETNX', KEYS[1], 'salt', ARGV[2])
redis.call('HSETNX', KEYS[1], 'count', '0')
return redis.call('HMGET', KEYS[1], 'id', 'salt', 'count')
"""

APPEND = """
local head = redis.call('HMGET', KEYS[1], 'id', 'salt', 'count')
local function fresh(salt)
  redis.call('HSET', KEYS[1], 'id', ARGV[2], 'salt', salt, 'count', '0')
  head = {ARGV[2], salt, '0'}
end
if not head[1] then fresh(ARGV[3]) end
if ARGV[4] == head[1] and tonumber(head[3]) > 0 then
  local old = redis.call('HGET', KEYS[2], 'id')
  if old then
    for _, token in ipairs(redis.call('SMEMBERS', ARGV[1] .. old .. ':parts')) do
      redis.call('UNLINK', ARGV[1] .. 'part:' .. token)
    end
    redis.call('UNLINK', ARGV[1] .. old, ARGV[1] .. old .. ':parts')
  end
  redis.call('RENAME', KEYS[1], KEYS[2])
  fresh(head[2])
end
local done = ARGV[1] .. 'done:' .. head[1] .. ':' .. ARGV[5]
local known = redis.call('GET', done)
if known then return {tonumber(known), '', ''} end
if ARGV[9] == '1' and head[2] ~= ARGV[3] then return {-1, head[1], head[2]} end
local place = redis.call('HINCRBY', KEYS[1], 'count', 1) - 1
redis.call('HSET', ARGV[1] .. head[1], place, ARGV[6])
redis.call('SET', done, place, 'EX', ARGV[7])
if tonumber(ARGV[8]) > 0 then
  redis.call('PERSIST', ARGV[1] .. 'part:' .. ARGV[5])
  redis.call('SADD', ARGV[1] .. head[1] .. ':parts', ARGV[5])
end
return {place, head[1], head[2]}
"""
"""Appends one interaction, unless that was done before under the same token.

Returns the place, the id and the salt; the place is -1 if the salt is another
one than that by which the interaction was redacted.
"""


@frozen
class Head:
    """The state of a set. ``id`` is empty if it does not exist."""

    id: str
    salt: bytes
    count: int

    @classmethod
    def of(cls, reply: list[Any]) -> Head:
        name, salt, count = reply
        return cls((name or b"").decode(), salt or b"", int(count or 0))


ABSENT = Head("", b"", 0)


@frozen
class SetKeys:
    """The keys of the set of a name; ``NAME.bak`` is what a new recording of ``NAME`` replaced."""

    prefix: str
    name: str
    _stem: str = field(init=False)

    @_stem.default
    def _default_stem(self) -> str:
        return f"{self.prefix}:{{{self.name.removesuffix(SET_ASIDE)}}}:"

    @property
    def head(self) -> str:
        return self._stem + ("bak" if self.name.endswith(SET_ASIDE) else "set")

    @property
    def aside(self) -> str:
        return self._stem + "bak"

    def elements(self, set_id: str) -> str:
        return self._stem + set_id

    def parts(self, token: str) -> str:
        return f"{self._stem}part:{token}"

    def read_head(self) -> tuple[Argument, ...]:
        return ("HMGET", self.head, "id", "salt", "count")

    def make(self, salt: bytes) -> tuple[Argument, ...]:
        """Creates the set unless it exists; the reply is its head."""
        return ("EVAL", _MAKE, 1, self.head, secrets.token_hex(8), salt)

    def read(self, set_id: str, first: int, end: int) -> tuple[Argument, ...]:
        return ("HMGET", self.elements(set_id), *range(first, end))

    def read_parts(self, stored: StoredElement) -> list[tuple[Argument, ...]]:
        return [("HGET", self.parts(stored.token), number) for number in range(stored.parts)]

    def put_parts(self, kept: Kept) -> list[tuple[Argument, ...]]:
        """Stores the parts for some minutes: ``append`` keeps them."""
        key = self.parts(kept.token)
        stored: list[tuple[Argument, ...]] = [
            ("HSET", key, number, part) for number, part in enumerate(kept.parts)
        ]
        return [*stored[:1], ("EXPIRE", key, _PARTS_S), *stored[1:]] if stored else []

    def append(
        self, kept: Kept, salt: bytes, replaced: str = "", *, whatever: bool = False
    ) -> tuple[list[str], tuple[Argument, ...]]:
        """The keys and arguments of ``APPEND``, for what was redacted by ``salt``.

        A set that does not exist gets this salt. One that has another refuses,
        unless it is to take ``whatever`` comes. If the set still has the id
        ``replaced``, it is moved aside first.
        """
        return [self.head, self.aside], (
            self._stem,
            secrets.token_hex(8),
            salt,
            replaced,
            kept.token,
            kept.field,
            _TOKEN_S,
            len(kept.parts),
            int(not whatever),
        )


def read_all(connection: BlockingConnection, keys: SetKeys, head: Head) -> Iterator[Interaction]:
    """The interactions of a set, in recorded order. Blocks.

    Raises ``StoreFailed`` and ``CassetteError``.
    """
    for first in range(0, head.count, STEP):
        end = min(first + STEP, head.count)
        for place, data in enumerate(connection.ask(*keys.read(head.id, first, end)), first):
            if data is None:
                raise StoreFailed(f"recording {place} of {keys.name} is gone from the server")
            stored = read_field(data)
            parts = [connection.ask(*each) for each in keys.read_parts(stored)]
            yield stored.interaction(parts)


def store_all(connection: BlockingConnection, keys: SetKeys, kept: Kept, salt: bytes) -> int:
    """Append one interaction, whatever the set's salt. Returns its place. Blocks."""
    for command in keys.put_parts(kept):
        connection.ask(*command)
    names, arguments = keys.append(kept, salt, whatever=True)
    place: int = connection.ask("EVAL", APPEND, len(names), *names, *arguments)[0]
    return place
