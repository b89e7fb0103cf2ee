"""What is kept of finished exchanges: stories, and the records that say when each was told."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import ref

from attrs import define, field

from buffr.exchanges.exchange import Finished
from buffr.exchanges.route import Route
from buffr.exchanges.seen import Seen
from buffr.formats.llm_usage import Usage
from buffr.matching.suggestion import Suggestion

__all__ = ["SOURCES", "Record", "Saved", "Source", "Story", "Tally", "source_of"]

Source = str
"""One of ``SOURCES``."""
SOURCES: tuple[Source, ...] = (
    *("cassette", "cache", "stale", "shared", "upstream"),
    *("miss", "limit", "bypass", "client", "error"),
)
HERE = frozenset(("cassette", "cache", "stale"))
"""Sources that spare a call to an upstream, whatever else happens."""

_STORY_BYTES = 1200
"""The size of the objects of a story, without its texts; measured with CPython 3.11."""
_BY_SRC: dict[str, Source] = {
    "cassette": "cassette",
    "cache": "cache",
    "upstream": "upstream",
    "miss": "miss",
    "limit": "limit",
    "bypass": "bypass",
    "client": "client",
}


def source_of(finished: Finished) -> Source:
    """Where an exchange's answer came from."""
    seen, src = finished.seen, finished.src
    if seen is not None:
        if seen.error is not None and finished.level == "ERROR" and src != "client":
            return "error"
        if seen.stale:
            return "stale"
        if seen.shared and src == "upstream":
            return "shared"
    return _BY_SRC.get(src, "upstream")


@define(eq=False)
class Tally:
    """Exchanges that are alike: plain integers. ``slower`` are their durations' buckets."""

    count: int = 0
    total_s: float = 0.0
    request_bytes: int = 0
    response_bytes: int = 0
    slower: list[int] = field(factory=list)


@define(eq=False)
class Saved:
    """What was not spent, or was. ``usd`` is ``None`` if nothing had a price."""

    upstream_ms: float = 0.0
    bytes: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None

    def add(self, other: Saved, count: int) -> None:
        """Count something so many times."""
        self.upstream_ms += other.upstream_ms * count
        self.bytes += other.bytes * count
        self.input_tokens += other.input_tokens * count
        self.output_tokens += other.output_tokens * count
        if other.usd is not None:
            self.usd = (self.usd or 0.0) + other.usd * count

    def data(self) -> dict[str, Any]:
        """As ``Saved`` of the API's document."""
        has_tokens = self.input_tokens + self.output_tokens > 0
        return {
            "upstream_ms": round(self.upstream_ms, 3),
            "bytes": self.bytes,
            "input_tokens": self.input_tokens if has_tokens else None,
            "output_tokens": self.output_tokens if has_tokens else None,
            "usd": None if self.usd is None else round(self.usd, 9),
        }


@define(eq=False)
class Story:
    """Everything about one exchange but when it was; a hit that is repeated has one story.

    The route is not kept alive: it is released while its exchanges are still
    shown. ``shown`` is its summary, from the time it was first asked for. Its
    size is counted with its first record, at the position ``counted_with``.
    """

    words: str
    status: int
    level: str
    source: Source
    detail: str
    dur_s: float
    scope: str
    route_id: str | None
    route: ref[Route] | None
    seen: Seen | None
    proposed: Suggestion | None
    tally: Tally
    counted_with: int = -1
    counted_bytes: int = _STORY_BYTES
    request_bytes: int = 0
    response_bytes: int | None = None
    saved: Saved | None = None
    usage: Usage | None = None
    shown: dict[str, object] | None = None
    miss: str | None = None

    def spared(self) -> Saved:
        """Time and bytes that its answer has spared, without what the answer says itself."""
        took_ms = 0 if self.seen is None else self.seen.took_ms or 0
        return Saved(float(took_ms), self.response_bytes or 0)


class Record(NamedTuple):
    """One exchange: its id, when it ended in seconds since 1970, and its story."""

    id: int
    at_s: float
    story: Story

    @property
    def began_ms(self) -> int:
        """When it began, in milliseconds since 1970."""
        return int((self.at_s - self.story.dur_s) * 1000)
