"""The recordings nearest to a request that none of them answers.

The index consists of numbers, 17 a recording, in columns: hashes of a key's
parts, and of stretches of its body. Finding a number in a column is a search
for eight bytes, so 50,000 recordings take a few milliseconds, and adding one
takes a few microseconds. Most numbers of a new request are in no column, which
a few bits tell without a search.
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

_WORTH = (
    *[(worth, worth) for worth in (*_HEAD_WORTH, _LENGTH_WORTH)],
    *[(_RARE_WORTH, _COMMON_WORTH)] * (2 * len(_STRETCHES)),
)
"""For each column, the weight of an equal number, and of one that many have."""

_MOST_MATCHES = 8
_FEW = 500
_EVERY_COLUMN = [True] * _COLUMNS
_FIRST_BYTES = 4096
_SALTS = tuple([hash((column, "column")) for column in range(_COLUMNS)])
_packed = Struct("=q").pack
_WIDTH = 8
_VARIABLE = re.compile(rb"[0-9a-fA-F-]{8,}|[0-9]+")


class NearIndex:
    """Finds recordings by what they have in common with a key; a place is the store's number."""

    def __init__(self) -> None:
        self._seen = _Seen()
        self._places = array("q")
        self._columns = tuple(bytearray() for _ in range(_COLUMNS))
        self._last: tuple[tuple[KeyPart, ...], tuple[int, ...]] = ((), ())

    def __len__(self) -> int:
        return len(self._places)

    def add(self, place: int, key: MatchKey) -> None:
        """Add a recording's key."""
        self._places.append(place)
        row = self._row(key)
        for column, value in zip(self._columns, row, strict=True):
            column.extend(_packed(value))
        self._seen.add(row)

    def nearest(self, key: MatchKey, most: int = 5) -> list[int]:
        """The places of up to ``most`` recordings, the nearest one first.

        Those with the same path come first, then those with the most equal
        parts, then those with the most of the body in common.
        """
        row = self._row(key)
        seen = self._seen.in_columns(row) if len(self) > _FEW else _EVERY_COLUMN
        scores: dict[int, int] = {}
        full: list[tuple[int, bytearray, bytes, Sequence[int]]] = []
        for column, number, may_have, (rare, common) in zip(
            self._columns, row, seen, _WORTH, strict=True
        ):
            if not may_have:
                continue
            sought = _packed(number)
            matches = _matches(column, sought)
            points = rare
            if len(matches) == _MOST_MATCHES:
                points = common
                full.append((points, column, sought, matches))
            for index in matches:
                scores[index] = scores.get(index, 0) + points
        if len(scores) > _MOST_MATCHES:
            _add_others(scores, full)
        best = sorted(scores, key=lambda index: (-scores[index], -index))
        return [self._places[index] for index in best[:most]]

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


class _Seen:
    """Which numbers the columns have: all that they have, and a few that they have not.

    A number is one bit. When a table has a number in every eighth, the next
    ones go into another, which is four times as large.
    """

    def __init__(self) -> None:
        self._tables = [bytearray(_FIRST_BYTES)]
        self._room = _FIRST_BYTES

    def add(self, row: Sequence[int]) -> None:
        """Add a number to each column."""
        table = self._tables[-1]
        if self._room < len(row):
            table = bytearray(4 * len(table))
            self._tables.append(table)
            self._room = len(table)
        bits = 8 * len(table)
        for value, salt in zip(row, _SALTS, strict=True):
            at = (value ^ salt) % bits
            if not table[at >> 3] & (1 << (at & 7)):
                table[at >> 3] |= 1 << (at & 7)
                self._room -= 1

    def in_columns(self, row: Sequence[int]) -> list[bool]:
        """For each column, whether it may have its number of the row."""
        numbers = [value ^ salt for value, salt in zip(row, _SALTS, strict=True)]
        found = [False] * len(numbers)
        for table in self._tables:
            bits = 8 * len(table)
            for column, number in enumerate(numbers):
                at = number % bits
                if table[at >> 3] & (1 << (at & 7)):
                    found[column] = True
        return found


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


def _add_others(
    scores: dict[int, int], full: Sequence[tuple[int, bytearray, bytes, Sequence[int]]]
) -> None:
    """Count the columns that have a number more often than it was looked for."""
    for points, column, sought, matches in full:
        for index in scores.keys() - matches:
            if column.startswith(sought, index * _WIDTH):
                scores[index] += points


def _matches(column: bytearray, sought: bytes) -> Sequence[int]:
    """The last indices at which a column has a value, up to ``_MOST_MATCHES``."""
    end, found = len(column), list[int]()
    if column.endswith(sought * min(end // _WIDTH, _MOST_MATCHES)):  # in all of the last ones
        last = end // _WIDTH - 1
        return range(last, max(-1, last - _MOST_MATCHES), -1)
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
