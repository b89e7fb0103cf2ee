"""What a connection in HTTP/2 does, whichever library has the frames, in both roles.

An engine takes the peer's bytes and tells its user what they mean. The user's
calls become frames, which wait until ``take`` gives their bytes. Nothing here
reads, writes or waits.

    engine = open_engine(Role.SERVER, user, bounds)
    engine.receive(bytes_of_the_peer)   # calls the user's methods
    send(engine.take(65536))            # again, until there is nothing more

Fields are pairs of bytes in the order of the wire, with the pseudo-header
fields (``:method``, ``:status`` ...) first and names in lower case. One that
must not enter a compression table on any hop is a ``NeverIndexed``, which
equals the plain pair (RFC 7541 7.1.3). Streams are numbers.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import NamedTuple, Protocol

from attrs import frozen

from buffr.message import Headers

__all__ = ["Bounds", "Code", "Engine", "NeverIndexed", "Nuisance", "Role", "User", "code_name"]


class Role(Enum):
    """Which side of the connection an engine speaks for."""

    CLIENT = auto()
    SERVER = auto()


class Code(IntEnum):
    """Why a stream was reset, or a connection closed (RFC 9113 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def code_name(code: int) -> str:
    """The name of a code, or its number if it has none."""
    return next((known.name for known in Code if known == code), str(code))


class Nuisance(Enum):
    """What costs work and brings no exchange further. A peer that sends much of it is a flood."""

    PING = "PING"
    SETTINGS = "SETTINGS"
    PRIORITY = "PRIORITY"
    WINDOW_UPDATE = "WINDOW_UPDATE"
    EMPTY_DATA = "empty DATA"


class NeverIndexed(NamedTuple):
    """A field that no hop may put into a compression table."""

    name: bytes
    value: bytes


@frozen
class Bounds:
    """What one connection may ask of its receiver; the peer is told what it must know.

    ``streams`` is how many the peer may have open at a time. ``stream_bytes``
    and ``connection_bytes`` are the windows: how much may be on its way before
    ``consumed`` is called. ``head_bytes`` bounds one field section as it is
    decoded, with 32 bytes for each field (RFC 9113 6.5.2), and ``continuations``
    the frames that it comes in: beyond them the connection is given up.
    """

    streams: int = 128
    stream_bytes: int = 1 << 18
    connection_bytes: int = 1 << 22
    head_bytes: int = 1 << 17
    continuations: int = 8


class User(Protocol):
    """Hears what the peer of one connection does, in the order of its frames.

    An engine calls these methods within ``receive``, and ``reset`` within
    ``take``, too. They may call the engine. A stream that nothing is known of here, or that
    is over, may still be named: a frame and a reset can pass each other.
    """

    def head(self, stream: int, fields: Headers, *, ended: bool) -> None:
        """A request came, or the final answer to one; ``ended`` says that it has no body.

        The fields are those of RFC 9113 8.3 at least in number: what is in
        them has to be checked.
        """

    def interim(self, stream: int, fields: Headers) -> None:
        """An interim answer (1xx) came. Clients only."""

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        """The next bytes of a body, perhaps none; to be ``consumed`` some time."""

    def trailers(self, stream: int, fields: Headers) -> None:
        """A body is over, with these trailers."""

    def reset(self, stream: int, code: int) -> None:
        """A stream is over: the peer reset it, or the engine did for what the peer sent."""

    def going_away(self, last: int, code: int) -> None:
        """The peer answers no stream after this one (GOAWAY), and opens none.

        For each that was opened after it, ``reset`` with REFUSED_STREAM follows.
        """

    def nuisance(self, kind: Nuisance) -> None:
        """A frame came that does nothing for any exchange."""


class Engine(Protocol):
    """One connection in HTTP/2.

    What is asked of a stream that is over does nothing: it may have been
    reset while the call was on its way.
    """

    @property
    def over(self) -> bool:
        """Whether nothing more will be read: close once ``take`` gives nothing."""

    @property
    def fault(self) -> str:
        """What the peer did wrong, if that ended the connection; otherwise empty."""

    @property
    def peer_streams(self) -> int:
        """How many streams the peer lets this side open at a time."""

    @property
    def peer_takes_connect(self) -> bool:
        """Whether the peer takes the extended CONNECT (RFC 8441 3)."""

    # What the peer sent, and what it gets.

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the peer. Raises nothing for what is wrong with them."""

    def take(self, most: int) -> bytes:
        """The next bytes for the peer, about ``most`` of them; none if there are no more."""

    # Messages.

    def request(self, fields: Headers, *, ended: bool) -> int:
        """Open a stream with a request. Clients only. Raises ``UpstreamFailed`` if none is left."""

    def answer(self, stream: int, fields: Headers, *, ended: bool) -> None:
        """Begin the final answer. Servers only."""

    def inform(self, stream: int, fields: Headers) -> None:
        """Send an interim answer. Servers only."""

    def send(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        """Send the next bytes of a body. What the peer's windows do not take waits here."""

    def trail(self, stream: int, fields: Headers) -> None:
        """End a body with trailers."""

    def reset(self, stream: int, code: Code) -> None:
        """End a stream at once, whatever is unsent."""

    # Flow control.

    def unsent(self, stream: int) -> int:
        """How many bytes of a body wait for the peer's windows, or for ``take``."""

    def consumed(self, stream: int, size_bytes: int) -> None:
        """So much of a body has been dealt with: the peer may send as much again."""

    # The connection.

    def ping(self) -> None:
        """Ask the peer for a sign of life; whatever it sends is one."""

    def go_away(self) -> None:
        """Tell the peer to open no more streams. Those that are open go on."""

    def terminate(self, code: Code) -> None:
        """Tell the peer that the connection is over, for this reason."""

    def forget(self) -> None:
        """The connection is gone: nothing is told to the user any more.

        Without this, the two would hold each other in memory. What is still
        asked of the engine does nothing that matters.
        """
