"""What is done with an interaction before it is appended: it is searched, redacted and encoded.

For a large one that takes long, so it is done on a thread of its own, and no
recording waits for the search of another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from attrs import define, frozen
from twisted.internet.defer import Deferred

from buffr.interaction import IndexEntry, Interaction, RecordedRequest
from buffr.message import first_value

__all__ = ["Append", "Preparations", "Prepared", "takes_long"]

_LARGE_BYTES = 256 * 1024
_LARGE_CODED_BYTES = 16 * 1024
"""Of a body with a content coding: DEFLATE expands to a thousand times its size at most."""
_AT_ONCE = 8


@frozen(eq=False)
class Prepared:
    """An interaction as it is appended to a file with this ``salt``.

    ``kept`` is its stored form, whose large bodies are in their files.
    ``entry`` is its data for lookups; ``None`` if it is never replayed.
    """

    salt: str
    kept: Interaction
    element: bytes
    entry: IndexEntry | None


@define(eq=False)
class Append:
    """Store an interaction whose bodies take this many bytes of memory.

    ``outcome`` is set if it was prepared aside: the result, or the error.
    """

    interaction: Interaction
    size_bytes: int
    done: Deferred[None]
    outcome: Prepared | Exception | None = None
    waits: bool = False
    """Whether it is being prepared."""


class Preparations:
    """Prepares large interactions, each on a thread, and passes all on.

    ``prepare`` is called on such threads; ``pass_on`` on any, for one at a
    time. A playhead answers equal requests in the order in which they were
    recorded. So interactions with one method, host and path keep their order;
    others do not wait for each other.
    """

    def __init__(
        self, prepare: Callable[[Interaction], Prepared], pass_on: Callable[[Append], None]
    ) -> None:
        self._prepare = prepare
        self._pass_on = pass_on
        self._lock = Lock()
        self._lines: dict[tuple[object, ...], deque[Append]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def put(self, job: Append) -> None:
        """Take the next interaction."""
        large = takes_long(job.interaction)
        if not large and not self._lines:  # like nearly all
            self._pass_on(job)
            return
        name = _line_of(job.interaction.request)
        with self._lock:
            line = self._lines.get(name)
            if line is None and not large:
                self._pass_on(job)
                return
            job.waits = large
            if line is None:
                line = self._lines[name] = deque()
            line.append(job)
        if large:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_AT_ONCE, "search")
            self._pool.submit(self._work, job, name)

    def _work(self, job: Append, name: tuple[object, ...]) -> None:
        try:
            job.outcome = self._prepare(job.interaction)
        except Exception as error:  # noqa: BLE001  # whoever waits for it is told
            job.outcome = error
        with self._lock:
            job.waits = False
            line = self._lines[name]
            while line and not line[0].waits:
                self._pass_on(line.popleft())
            if not line:
                del self._lines[name]

    def finish(self) -> None:
        """Wait until all are passed on. Blocks; no more may be put."""
        if self._pool is not None:
            self._pool.shutdown()


def takes_long(interaction: Interaction) -> bool:
    """Whether it has so much content that a search would keep others waiting."""
    size_bytes = 0
    for body in interaction.bodies:
        size_bytes += body.size_bytes
    if size_bytes <= _LARGE_CODED_BYTES:
        return False
    if size_bytes > _LARGE_BYTES:
        return True
    heads = (interaction.request.headers, interaction.response.headers)
    return any(first_value(head, b"content-encoding") for head in heads)


def _line_of(request: RecordedRequest) -> tuple[object, ...]:
    path = request.target.partition(b"?")[0]
    return request.method, request.scheme, request.host, request.port, path
