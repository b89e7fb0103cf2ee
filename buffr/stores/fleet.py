"""The ports to what many processes have in common besides recordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from buffr.message import Headers, Piece, ResponseHead

__all__ = [
    "Fleet",
    "FleetFlights",
    "FleetHead",
    "FleetLimits",
    "FleetPlayheads",
    "FlightName",
    "Following",
    "Grants",
    "Joined",
    "Leading",
]


@frozen
class Grants:
    """The answer to a request for turns. It was ``now_s`` on the clock that all go by.

    ``turns`` are when so many requests may leave, in seconds from then and in
    order, each with its name. If they are fewer than were asked for, asking
    again makes sense after ``wait_s`` seconds. ``active`` processes want turns
    now, this one included.
    """

    now_s: float
    turns: Sequence[tuple[float, bytes]]
    wait_s: float
    active: int


class FleetLimits(Protocol):
    """The turns of one upstream, for all processes that call it. Raises ``StoreFailed``."""

    async def take(self, wanted: int, windows: Sequence[tuple[int, float]]) -> Grants:
        """Turns for ``wanted`` requests at most; ``windows`` are counts and lengths in seconds."""

    async def settle(self, late: Sequence[bytes], unused: Sequence[bytes]) -> None:
        """Tell which turns were taken a moment ago, later than granted, and which were not."""

    async def hold(self, seconds: float) -> None:
        """Let nothing leave for some seconds."""


class FleetPlayheads(Protocol):
    """The playheads of a set of interactions. Raises ``StoreFailed``."""

    async def next(
        self, scope: str, name: bytes, count: int, repeat: str, moved: tuple[int, int] | None = None
    ) -> int | None:
        """Which of ``count`` recordings is next, and that it was answered.

        ``None`` if they are used up. ``repeat`` says what follows the last. With
        ``moved`` the name goes on from the second of two heads; if it is no
        longer at the first, nothing is done, and the result is -1.
        """

    async def heads(self, scope: str, names: Sequence[bytes]) -> Sequence[int]:
        """How often each name was answered, as a ``Playhead`` counts."""

    async def answered(self, scope: str, name: bytes) -> None:
        """An answer was recorded: it takes a turn."""

    async def reset(self, scope: str) -> None:
        """Begin a scope anew."""


@frozen
class FlightName:
    """What identifies a call, as a ``digest``, and a ``key`` that only who makes the call knows.

    Both follow from the whole request, with its credentials. Answers pass the
    server under the key (32 bytes), because it may write them to its disk.
    """

    digest: bytes
    key: bytes


@frozen(eq=False)
class FleetHead:
    """The head of an answer, and the length of its body as in ``Response``."""

    head: ResponseHead
    length: int


class Leading(Protocol):
    """The call of a process that asks the upstream, and passes the answer on to the others.

    All of it is dropped once another process has taken over.
    """

    def begin(self, head: FleetHead) -> None: ...

    def piece(self, piece: Piece) -> None: ...

    async def holds(self) -> bool:
        """Whether no other process has taken over. True if that cannot be known."""

    async def end(self, trailers: Headers, cut: str | None, *, kept: bool) -> None:
        """The answer is whole, or was ``cut`` off for this reason.

        If it was ``kept``, those who come a moment later get it, too.
        """

    async def fail(self) -> None:
        """There is no answer: others may try."""


class Following(Protocol):
    """Another process calls the upstream."""

    async def head(self) -> FleetHead | None:
        """The head of the answer; ``None`` if there will be none, or none for others."""

    async def piece(self) -> Piece | None:
        """The next piece of the body; ``None`` at the end of a whole one.

        Raises ``UpstreamFailed`` if it was cut off, or the other process is gone.
        """

    @property
    def trailers(self) -> Headers:
        """Known at the end."""

    async def over(self) -> bool:
        """Return when the other process has its answer, or is gone: then it is false."""

    def close(self) -> None:
        """Nobody reads on."""


@frozen(eq=False)
class Joined:
    """A process's part in a call: it leads, or it follows."""

    leading: Leading | None
    following: Following | None


class FleetFlights(Protocol):
    """The calls under way, by name. Raises ``StoreFailed``."""

    async def join(self, name: FlightName) -> Joined:
        """Lead the call of a name, or follow the process that does."""


@frozen(eq=False)
class Fleet:
    """What a route has in common with those of other processes."""

    playheads: FleetPlayheads
    flights: FleetFlights
