"""The latest appends, in case another program writes the file back without them.

A formatter or an editor reads the file, and writes it back a moment later;
what was appended in between is lost, although nobody intended that. A file
whose end is where ours was a moment before it was written is treated as such a
case. Any other change (a checkout, an emptied list) is intended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field
from msgspec import json

from buffr.stores.cassette.layout import Layout

__all__ = ["WINDOW_NS", "Recent"]

WINDOW_NS = 2_000_000_000
_MOST_BYTES = 16 << 20


@define(eq=False)
class Recent:
    """The elements of the last two seconds of the file's clock, and the one before them."""

    _before: bytes | None = None
    _items: deque[tuple[int, bytes]] = field(init=False, factory=deque)
    _bytes: int = field(init=False, default=0)

    def add(self, mtime_ns: int, elements: Iterable[bytes]) -> None:
        for element in elements:
            self._items.append((mtime_ns, element))
            self._bytes += len(element)
        self.forget(mtime_ns - WINDOW_NS)

    def forget(self, before_ns: int) -> None:
        """Forget what was appended earlier, and what exceeds the limit."""
        while self._items and (self._items[0][0] < before_ns or self._bytes > _MOST_BYTES):
            _, self._before = self._items.popleft()
            self._bytes -= len(self._before)

    def __bool__(self) -> bool:
        return bool(self._items)

    def missing_from(self, layout: Layout, mtime_ns: int) -> list[bytes]:
        """What is missing at the end of a file that was written back at ``mtime_ns``."""
        recent = [element for at_ns, element in self._items if at_ns >= mtime_ns - WINDOW_NS]
        if not recent or len(layout.spans) == 0:
            return []
        older = len(self._items) - len(recent)
        before = self._items[older - 1][1] if older else self._before
        known = [] if before is None else [_value(before)]
        known += [_value(element) for element in recent]
        count = len(layout.spans)
        last = [_value(layout.element(at)) for at in range(max(0, count - 2), count)]
        for end in range(len(known), 0, -1):
            if known[max(0, end - 2) : end] == last[-min(2, end) :]:
                return recent[end - len(known) :] if end < len(known) else []
        return []


def _value(element: bytes) -> object:
    try:
        return json.decode(element)
    except ValueError:  # strings that are not UTF-8
        return element
