"""A client that deviates from the recorded session."""

from __future__ import annotations

from attrs import frozen

from buffr.interaction import Body, FrameKind
from buffr.matching.body import BodyDigest
from buffr.matching.near_miss import Difference

__all__ = ["Deviation", "named"]

_LONGEST_REASON = 123
"""The payload of a close frame is up to 125 bytes, two of them its code (RFC 6455 5.5)."""


_MOST_SHOWN = 3


@frozen
class Deviation:
    """A client's message that does not match the recording.

    ``number`` counts the frames of the cassette's ``frames`` from 0.
    ``expected`` and ``got`` describe the messages in a few words;
    ``differences`` are where they differ. Nothing here contains a credential.
    """

    number: int
    expected: str
    got: str
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        """The part for a log line; there is no answer for the rest."""
        message = f"frame {self.number}: expected {self.expected}, got {self.got}"
        return "; ".join([message, *map(str, self.differences[:_MOST_SHOWN])])

    @property
    def close_reason(self) -> str:
        """The part that fits into a close frame with code 1011: up to 123 bytes of UTF-8."""
        text = f"cassette drift: {self}".encode()
        if len(text) > _LONGEST_REASON:
            text = text[: _LONGEST_REASON - 3] + b"..."
        return text.decode("utf-8", "ignore")

    def lines(self) -> list[str]:
        """The lines that ``str`` leaves out."""
        return [f"  {difference}" for difference in self.differences[_MOST_SHOWN:]]


def named(kind: FrameKind, data: bytes | BodyDigest | Body) -> str:
    """A description of a message in a few words, without its content."""
    match data:
        case bytes():
            return f"{kind.value} of {len(data)} bytes"
        case Body():
            return f"{kind.value} of {data.size_bytes} bytes"
    return f"{kind.value} of many bytes"
