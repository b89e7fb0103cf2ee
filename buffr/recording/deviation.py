"""A client that does not say what was recorded."""

from __future__ import annotations

from attrs import frozen

from buffr.interaction import Body, FrameKind
from buffr.matching.body import BodyDigest
from buffr.matching.near_miss import Difference

__all__ = ["Drift", "named"]

_LONGEST_REASON = 123
"""The payload of a close frame is 125 bytes, two of them its code (RFC 6455 5.5)."""


_MOST_SHOWN = 3


@frozen
class Drift:
    """A client's message that does not fit the recording.

    ``number`` counts the frames of the cassette's ``frames`` from 0.
    ``expected`` and ``got`` say in a few words what the messages are;
    ``differences`` where they differ. Nothing here shows a credential.
    """

    number: int
    expected: str
    got: str
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        """What a line of the log has of it: there is no answer that could say more."""
        message = f"frame {self.number}: expected {self.expected}, got {self.got}"
        return "; ".join([message, *map(str, self.differences[:_MOST_SHOWN])])

    @property
    def close_reason(self) -> str:
        """What a close frame with code 1011 can hold of it: at most 123 bytes of UTF-8."""
        text = f"cassette drift: {self}".encode()
        if len(text) > _LONGEST_REASON:
            text = text[: _LONGEST_REASON - 3] + b"..."
        return text.decode("utf-8", "ignore")

    def lines(self) -> list[str]:
        """What ``str`` leaves out, for people."""
        return [f"  {difference}" for difference in self.differences[_MOST_SHOWN:]]


def named(kind: FrameKind, data: bytes | BodyDigest | Body) -> str:
    """A message in a few words, none of them its own."""
    match data:
        case bytes():
            return f"{kind.value} of {len(data)} bytes"
        case Body():
            return f"{kind.value} of {data.size_bytes} bytes"
    return f"{kind.value} of many bytes"
