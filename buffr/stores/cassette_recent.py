"""What was appended last, in case another program writes the file back without it.

A formatter or an editor reads the file, and writes it back a moment later;
what was appended in between is gone from the file, though nobody meant it.
A file that ends where ours ended a moment before it was written is taken
for such a one. Any other change (a checkout, an emptied list) is meant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field, frozen
from msgspec import json

from buffr.interaction import IndexEntry
from buffr.stores.cassette_layout import Layout

__all__ = ["WINDOW_NS", "Recent", "Written"]

WINDOW_NS = 2_000_000_000
_MOST_BYTES = 16 << 20


@frozen(eq=False)
class Written:
    """An element as it was appended, and its entry as stored if it is to be looked up."""

    element: bytes
    entry: IndexEntry | None


@define(eq=False)
class Recent:
    """The appends of the last two seconds of the file's clock, and the element before them."""

    _before: bytes | None = None
    _items: deque[tuple[int, Written]] = field(init=False, factory=deque)
    _bytes: int = field(init=False, default=0)

    def add(self, mtime_ns: int, items: Iterable[Written]) -> None:
        for item in items:
            self._items.append((mtime_ns, item))
            self._bytes += len(item.element)
        while self._items and (
            self._items[0][0] < mtime_ns - WINDOW_NS or self._bytes > _MOST_BYTES
        ):
            self._before = self._items.popleft()[1].element
            self._bytes -= len(self._before)

    def missing_from(self, layout: Layout, mtime_ns: int) -> list[Written]:
        """What a file that was written back at ``mtime_ns`` lacks at its end."""
        recent = [item for at_ns, item in self._items if at_ns >= mtime_ns - WINDOW_NS]
        if not recent or len(layout.spans) == 0:
            return []
        older = len(self._items) - len(recent)
        before = self._items[older - 1][1].element if older else self._before
        known = [] if before is None else [json.decode(before)]
        known += [json.decode(item.element) for item in recent]
        last = [json.decode(layout.slice(*span)) for span in layout.spans.last(2)]
        for end in range(len(known), 0, -1):
            if known[max(0, end - 2) : end] == last[-min(2, end) :]:
                return recent[end - len(known) :] if end < len(known) else []
        return []
