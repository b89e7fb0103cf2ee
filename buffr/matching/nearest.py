"""The recordings nearest to a request that none of them answers.

The index consists of numbers, 17 a recording, in columns: hashes of a key's
parts, and of stretches of its body. Finding a number in a column is a search
for eight bytes, so 50,000 recordings take a few milliseconds, and adding one
takes a few microseconds.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from itertools import pairwise
from struct import Struct

from buffr.matching.key import KeyPart, MatchKey

__all__ = ["NearIndex"]

# Stretches of a body lie between these distances from its beginning and from its end: one change
# leaves most of them as they are, and those after it too if it changes the length.
_EDGES = (0, 64, 256, 768, 2048, 8192)
_STRETCHES = tuple(pairwise(_EDGES))

# The weight of an equal path, path except for its numbers, path except for its end, method and
# origin and headers, query, names in the query. A path outweighs everything after it.
_HEAD_WORTH = (400, 200, 100, 30, 30, 20)

# The length of the body says little; a stretch says much if few have it.
_LENGTH_WORTH, _RARE_WORTH, _COMMON_WORTH = 2, 8, 1
_COLUMNS = len(_HEAD_WORTH) + 1 + 2 * len(_STRETCHES)

_MOST_MATCHES = 8
_packed = Struct("=q").pack
_WIDTH = 8
_VARIABLE = re.compile(rb"[0-9a-fA-F-]{8,}|[0-9]+")


class NearIndex:
    """Finds recordings by what they have in common with a key; a place is the store's number."""

    def __init__(self) -> None:
        self._places = array("q")
        self._columns = tuple(bytearray() for _ in range(_COLUMNS))
        self._last: tuple[tuple[KeyPart, ...], tuple[int, ...]] = ((), ())

    def __len__(self) -> int:
        return len(self._places)

    def add(self, place: int, key: MatchKey) -> None:
        """Add a recording's key."""
        self._places.append(place)
        for column, value in zip(self._columns, self._row(key), strict=True):
            column.extend(_packed(value))

    def nearest(self, key: MatchKey, most: int = 5) -> list[int]:
        """The places of up to ``most`` recordings, the nearest one first.

        Those with the same path come first, then those with the most equal
        parts, then those with the most of the body in common.
        """
        row = self._row(key)
        sought = [_packed(value) for value in row]
        found = [_matches(*each) for each in zip(self._columns, sought, strict=True)]
        stretches = [
            _COMMON_WORTH if len(matches) == _MOST_MATCHES else _RARE_WORTH
            for matches in found[len(_HEAD_WORTH) + 1 :]
        ]
        worth = (*_HEAD_WORTH, _LENGTH_WORTH, *stretches)
        scores = {
            index: self._score(index, sought, worth)
            for index in {each for m in found for each in m}
        }
        best = sorted(scores, key=lambda index: (-scores[index], -index))
        return [self._places[index] for index in best[:most]]

    def _score(self, index: int, sought: Sequence[bytes], worth: Sequence[int]) -> int:
        columns, at = zip(worth, self._columns, sought, strict=True), index * _WIDTH
        return sum([points for points, column, value in columns if column.startswith(value, at)])

    def _row(self, key: MatchKey) -> tuple[int, ...]:
        *head, (_, body) = key.parts
        parts = tuple(head)
        # Consecutive recordings often have the same head.
        if parts != self._last[0]:
            self._last = (parts, _head_row(parts))
        row = self._last[1]
        # Bodies are compared only under the same path: one search finds both.
        path, size = row[0], len(body)
        begins = [hash(body[start:end]) ^ path for start, end in _STRETCHES]
        ends = [
            hash(body[max(0, size - end) : max(0, size - start)]) ^ path
            for start, end in _STRETCHES
        ]
        return (*row, size, *begins, *ends)


def _head_row(parts: tuple[KeyPart, ...]) -> tuple[int, ...]:
    known = dict(parts)
    path, query = known.get("path", b""), known.get("query", b"")
    others = [part for part in parts if part[0] not in ("path", "query", "host")]
    names = [field.partition(b"=")[0] for field in query.split(b"&")]
    return (
        hash(path),
        hash((_VARIABLE.sub(b"0", path), 1)),
        hash((path.rpartition(b"/")[0], 2)),
        hash((known.get("host"), tuple(others))),
        hash(query),
        hash(tuple(names)),
    )


def _matches(column: bytearray, sought: bytes) -> list[int]:
    """The last indices at which a column has a value, up to ``_MOST_MATCHES``."""
    end, found = len(column), list[int]()
    rfind = column.rfind
    while (at := rfind(sought, 0, end)) >= 0:
        # The eight bytes may also be found across two numbers.
        end = at + _WIDTH - 1
        if at % _WIDTH == 0:
            end = at
            found.append(at // _WIDTH)
            if len(found) == _MOST_MATCHES:
                break
    return found
