"""Redacts a body that is too long for memory, as a stream.

A secret may span any number of pieces: the end of the input is retained until
no secret in it can continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import evolve

from buffr.redaction.spans import Edit, SecretSpan, replaced

__all__ = ["MOST_EDITS", "StreamRedactor"]

_AT_ONCE = 256 * 1024
_HELD_BACK = 64 * 1024
_BEHIND = 1024
_LONGEST_SECRET = 8 << 20
MOST_EDITS = 65536

FindSecrets = Callable[[bytes, bool], list[SecretSpan]]
"""Finds the secrets in a stretch; the flag says whether it is the beginning of the body."""


class StreamRedactor:
    """Takes a body in pieces of any size, and returns it without secrets.

    ``changed`` says whether any was found so far; ``edits`` has the first
    ``MOST_EDITS`` changes, and ``overfull`` says that there are more.
    """

    def __init__(self, find: FindSecrets, stand_in: Callable[[SecretSpan], bytes]) -> None:
        self.changed = False
        self.overfull = False
        self.edits: list[Edit] = []
        self._find = find
        self._stand_in = stand_in
        self._held = bytearray()
        self._behind = b""
        self._offset = 0

    def feed(self, data: bytes) -> bytes:
        """The next stretch of the result; often empty if the input was short."""
        self._held += data
        if len(self._held) < _AT_ONCE + _HELD_BACK:
            return b""
        return self._take(ends=False)

    def end(self) -> bytes:
        """The rest."""
        return self._take(ends=True)

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The result for all pieces."""
        for piece in pieces:
            for start in range(0, len(piece), _AT_ONCE):
                out = self.feed(piece[start : start + _AT_ONCE])
                if out:
                    yield out
        out = self.end()
        if out:
            yield out

    def _take(self, *, ends: bool) -> bytes:
        text = self._behind + bytes(self._held)
        start = len(self._behind)
        found = [one for one in self._find(text, self._offset == 0) if one.end > start]
        cut = len(text)
        if not ends:
            cut -= _HELD_BACK
            for one in found:
                if one.start < cut and one.end > cut:
                    cut = max(start, one.start)
            if cut == start and len(self._held) > _LONGEST_SECRET:
                cut = len(text)
        taken = [
            evolve(one, start=max(0, one.start - start), end=one.end - start)
            for one in found
            if one.start < cut
        ]
        stretch = text[start:cut]
        out = stretch
        if taken:
            self.changed = True
            out, edits = replaced(stretch, taken, self._stand_in)
            room = MOST_EDITS - len(self.edits)
            moved = [(a + self._offset, b + self._offset, size) for a, b, size in edits]
            self.overfull = self.overfull or len(moved) > room
            self.edits += moved[:room]
        self._offset += len(stretch)
        self._behind = text[max(0, cut - _BEHIND) : cut]
        del self._held[: cut - start]
        return out
