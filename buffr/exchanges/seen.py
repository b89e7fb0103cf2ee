"""What is kept of an exchange for those who look at it later."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import ref

from attrs import define, field, frozen

from buffr.drift.verdict import Verdict
from buffr.errors import BuffrError
from buffr.interaction import Chunk, HTTPInteraction
from buffr.message import Headers, Request, ResponseHead
from buffr.stores.cache import CacheEntry

__all__ = ["Heard", "LiveCheck", "Seen"]

_MOST_CHUNKS = 10_000


@define(eq=False)
class Heard:
    """An answer as it went to the client: up to ``most_bytes`` of its body, as it was coded.

    ``sizes_ms`` are the sizes of its pieces in bytes, each with the time in
    milliseconds since the one before, or since the head; beyond 10,000 they
    are counted in the last one. ``since`` is seconds of a monotonic clock.
    ``number`` is given by whoever shows it while it is under way.
    """

    most_bytes: int
    since: float
    head: ResponseHead | None = None
    trailers: Headers = ()
    size_bytes: int = 0
    kept_bytes: int = 0
    whole: bool = False
    number: int = 0
    _kept: list[bytes] = field(init=False, factory=list)
    _sizes_ms: list[tuple[int, int]] = field(init=False, factory=list)

    @property
    def body(self) -> bytes:
        """What was kept of the body."""
        if len(self._kept) > 1:
            self._kept = [b"".join(self._kept)]
        return self._kept[0] if self._kept else b""

    @property
    def pieces(self) -> int:
        return len(self._sizes_ms)

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return tuple([Chunk(size, delay_ms) for size, delay_ms in self._sizes_ms])

    def take(self, data: bytes, now: float) -> None:
        """Hear more of the body."""
        self.size_bytes += len(data)
        room = self.most_bytes - self.kept_bytes
        if room > 0:
            kept = data if len(data) <= room else data[:room]
            self._kept.append(kept)
            self.kept_bytes += len(kept)
        delay_ms = max(0, round((now - self.since) * 1000))
        self.since = now
        if len(self._sizes_ms) < _MOST_CHUNKS:
            self._sizes_ms.append((len(data), delay_ms))
        else:
            size, before_ms = self._sizes_ms[-1]
            self._sizes_ms[-1] = size + len(data), before_ms + delay_ms

    def take_whole(self, body: bytes, sizes: Sequence[int]) -> None:
        """Hear a body that came at once, in pieces of these sizes."""
        self.size_bytes = len(body)
        kept = body if len(body) <= self.most_bytes else body[: self.most_bytes]
        if kept:
            self._kept.append(kept)
        self.kept_bytes = len(kept)
        if len(sizes) > 1:
            self._sizes_ms = [(size, 0) for size in sizes[:_MOST_CHUNKS]]
        self.whole = True


@define(eq=False)
class LiveCheck:
    """A check of a replayed recording against the live API; ``verdict`` is there once it is over.

    ``place`` is that of the recording.
    """

    place: int
    verdict: Verdict | None = None


@frozen(eq=False)
class Seen:
    """One exchange, for those who look at it later. Nothing of it keeps a connection.

    ``body`` is the request's, ``None`` if it is not in memory as a whole.
    ``place`` is where the recording that answered is in the route's store,
    ``entry`` the stored answer of a cache.
    ``answer`` is what the client got, if no store has it. ``error`` is what it
    got instead. ``recorded``: the answer was recorded. ``shared``: it is that
    of another request's call. ``stale``: it was stored, and no longer fresh;
    ``age_s`` is the age of a stored answer. ``head``, ``answer_bytes`` and
    ``pieces`` are a recording's head, its body's size, and the number of its
    chunks, ``took_ms`` is how long the upstream had taken for it. The
    ``recording`` itself is not kept alive. ``check`` is that of the recording,
    if it was checked.
    """

    request: Request
    body: bytes | None
    place: int | None = None
    entry: CacheEntry | None = None
    answer: Heard | None = None
    error: BuffrError | None = None
    frames: int | None = None
    recorded: bool = False
    shared: bool = False
    stale: bool = False
    age_s: float | None = None
    head: ResponseHead | None = None
    answer_bytes: int | None = None
    pieces: int = 0
    check: LiveCheck | None = None
    took_ms: int | None = None
    recording: ref[HTTPInteraction] | None = None
    is_plain: bool = True
    """Whether the word in the log says all about where the answer came from."""
