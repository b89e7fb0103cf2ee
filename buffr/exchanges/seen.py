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

    ``sizes_ms`` are the sizes of its pieces in bytes, each followed by the time
    in milliseconds since the one before, or since the head; beyond 10,000 they
    are counted in the last one. ``began_s``, which is there once it has begun
    to come in pieces, and ``since`` are seconds of a monotonic clock.
    ``number`` is given by whoever shows it while it is under way.
    """

    head: ResponseHead | None = None
    trailers: Headers = ()
    size_bytes = 0
    kept_bytes = 0
    whole = False
    number = 0
    began_s: float | None = None
    since = 0.0
    sizes_ms: array[int] | None = None
    _first = b""
    _more: list[bytes] | None = None

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes

    @property
    def body(self) -> bytes:
        """What was kept of the body."""
        if self._more is not None:
            self._first = b"".join((self._first, *self._more))
            self._more = None
        return self._first

    @property
    def pieces(self) -> int:
        return 0 if self.sizes_ms is None else len(self.sizes_ms) // 2

    def flat(self) -> tuple[int, int, bytes, bytes, bool, int]:
        """All of it but head and trailers.

        Its size, the number of its pieces, what was kept of the body,
        ``sizes_ms`` as bytes if there are several pieces, ``whole`` and
        ``number``.
        """
        pieces, sizes = 0, b""
        if self.sizes_ms is not None:
            pieces = len(self.sizes_ms) // 2
            if pieces > 1:
                sizes = self.sizes_ms.tobytes()
        body = self._first if self._more is None else self.body
        return self.size_bytes, pieces, body, sizes, self.whole, self.number

    def take(self, data: bytes, now: float) -> None:
        """Hear more of the body."""
        size = len(data)
        self.size_bytes += size
        room = self.most_bytes - self.kept_bytes
        if room > 0:
            kept = data if size <= room else data[:room]
            if self.kept_bytes == 0:
                self._first = kept
            elif self._more is None:
                self._more = [kept]
            else:
                self._more.append(kept)
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

    def take_whole(self, body: bytes, sizes: Sequence[int]) -> None:
        """Hear a body that came at once, in pieces of these sizes."""
        self.size_bytes = len(body)
        self._first = body if len(body) <= self.most_bytes else body[: self.most_bytes]
        self.kept_bytes = len(self._first)
        if len(sizes) > 1:
            pairs = [number for size in sizes[:_MOST_CHUNKS] for number in (size, 0)]
            self.sizes_ms = array("q", pairs)
        self.whole = True


@define(eq=False)
class LiveCheck:
    """A check of a replayed recording against the live API; ``verdict`` is there once it is over.

    ``place`` is that of the recording.
    """

    place: int
    verdict: Verdict | None = None
