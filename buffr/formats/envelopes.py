"""Messages in a body: a byte of flags, four of length, and so many bytes, again and again.

gRPC frames its messages so, and the streams of gRPC-Web and Connect do too:
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md,
https://connectrpc.com/docs/protocol#streaming-request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["Counter", "Splitter", "ends", "is_enveloped", "split"]

_PREFIX = 5
_ENVELOPED = (b"application/grpc", b"application/grpc-web")
_STARTS = (b"application/grpc+", b"application/grpc-web+", b"application/connect+")


def is_enveloped(media_type: bytes) -> bool:
    """Whether bodies of this lower-case media type are messages in envelopes."""
    return media_type in _ENVELOPED or media_type.startswith(_STARTS)


def ends(read: Callable[[int, int], bytes], size_bytes: int) -> Iterator[int]:
    """Where each message of a body ends; one that is cut off is left out.

    ``read`` returns so many of the body's bytes from an offset on, or fewer at
    the end of what it has at once.
    """
    at = 0
    while (start := at + _PREFIX) <= size_bytes:
        head = read(at, _PREFIX)
        while len(head) < _PREFIX:
            head += read(at + len(head), _PREFIX - len(head))
        end = start + int.from_bytes(head[1:], "big")
        if end > size_bytes:
            return
        yield end
        at = end


def split(body: bytes) -> Iterator[bytes]:
    """The messages of a body, each with its envelope; one that is cut off is left out."""
    start = 0
    for end in ends(lambda at, size: body[at : at + size], len(body)):
        yield body[start:end]
        start = end


class Counter:
    """Counts the messages of a body that comes in pieces of any size, and keeps none."""

    __slots__ = ("_head", "_left", "begun", "whole")

    def __init__(self) -> None:
        self.begun = 0
        """Messages of which the first byte has come."""
        self.whole = 0
        """Messages that have come in full."""
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        at = 0
        while at < len(data):
            if self._left:
                size = min(self._left, len(data) - at)
                self._left -= size
                at += size
            else:
                self.begun += not self._head
                part = data[at : at + _PREFIX - len(self._head)]
                self._head += part
                at += len(part)
                if len(self._head) < _PREFIX:
                    return
                self._left = int.from_bytes(self._head[1:], "big")
                self._head = b""
            self.whole += not self._left


class Splitter:
    """Takes a body in pieces of any size, and gives its messages, each with its envelope."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = bytearray()

    @property
    def pending_bytes(self) -> int:
        """How much of a message has come that is not whole."""
        return len(self._kept)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes. Returns the messages that they complete."""
        kept = self._kept
        kept += data
        if len(kept) < _PREFIX + int.from_bytes(kept[1:_PREFIX], "big"):
            return []
        found = list(split(bytes(kept)))
        del kept[: sum(map(len, found))]
        return found
