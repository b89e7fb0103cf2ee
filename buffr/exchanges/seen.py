"""What those who look at exchanges later see of one while it is under way."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from attrs import define

from buffr.drift.verdict import Verdict
from buffr.message import Headers, ResponseHead

__all__ = ["Heard", "LiveCheck"]

_MOST_CHUNKS = 10_000


class Heard:
    """An answer as it goes to the client: up to ``most_bytes`` of its body, as it was coded.

    ``body`` is the beginning of what was kept, ``rest`` what came after it.
    ``sizes_ms`` are the sizes of its pieces in bytes, each followed by the time
    in milliseconds since the one before, or since the head; beyond 10,000 they
    are counted in the last one; ``None`` for a body that came in one.
    ``began_s``, which is there once it has begun to come in pieces, and
    ``since`` are seconds of a monotonic clock. ``number`` is given by whoever
    shows it while it is under way.
    """

    head: ResponseHead | None = None
    trailers: Headers = ()
    body = b""
    rest: list[bytes] | None = None
    size_bytes = 0
    kept_bytes = 0
    whole = False
    number = 0
    began_s: float | None = None
    since = 0.0
    sizes_ms: array[int] | None = None

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes

    @property
    def pieces(self) -> int:
        return 0 if self.sizes_ms is None else len(self.sizes_ms) // 2

    def joined(self) -> bytes:
        """All of the body that was kept."""
        if self.rest is not None:
            self.body = b"".join((self.body, *self.rest))
            self.rest = None
        return self.body

    def take(self, data: bytes, now: float) -> None:
        """Hear more of the body."""
        size = len(data)
        self.size_bytes += size
        room = self.most_bytes - self.kept_bytes
        if room > 0:
            kept = data if size <= room else data[:room]
            if self.kept_bytes == 0:
                self.body = kept
            elif self.rest is None:
                self.rest = [kept]
            else:
                self.rest.append(kept)
            self.kept_bytes += len(kept)
        delay_ms = max(0, round((now - self.since) * 1000))
        self.since = now
        sizes_ms = self.sizes_ms
        if sizes_ms is None:
            self.sizes_ms = array("q", (size, delay_ms))
        elif len(sizes_ms) < 2 * _MOST_CHUNKS:
            sizes_ms.append(size)
            sizes_ms.append(delay_ms)
        else:
            sizes_ms[-2] += size
            sizes_ms[-1] += delay_ms

    def take_sizes(self, sizes: Sequence[int]) -> None:
        """Hear that a body that came at once has several pieces of these sizes."""
        pairs = [number for size in sizes[:_MOST_CHUNKS] for number in (size, 0)]
        self.sizes_ms = array("q", pairs)


@define(eq=False)
class LiveCheck:
    """A check of a replayed recording against the live API; ``verdict`` is there once it is over.

    ``place`` is that of the recording.
    """

    place: int
    verdict: Verdict | None = None
