"""Redacts a body that is too long for memory, as a stream.

A secret may span any number of pieces: the end of the input is retained until
no secret in it can continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import evolve

from buffr.redaction.spans import Edit, SecretSpan, replaced

__all__ = ["MOST_EDITS", "ON_A_THREAD", "StreamRedactor"]

_AT_ONCE = 256 * 1024
ON_A_THREAD = 1 << 20
"""How much is searched at once where nothing waits: the retained end is searched twice."""
_HELD_BACK = 64 * 1024
_BEHIND = 1024
_LONGEST_SECRET = 8 << 20
MOST_EDITS = 65536

FindSecrets = Callable[[bytes, bool], list[SecretSpan]]
"""Finds the secrets in a stretch; the flag says whether it is the beginning of the body."""


class StreamRedactor:
    """Takes a body in pieces of any size, and returns it without secrets.

    ``changed`` says whether any was found so far; ``edits`` has the first
    ``MOST_EDITS`` changes, and ``overfull`` says that there are more. About
    ``at_once_bytes`` are searched at once.
    """

    def __init__(
        self,
        find: FindSecrets,
        stand_in: Callable[[SecretSpan], bytes],
        at_once_bytes: int = _AT_ONCE,
    ) -> None:
        self.changed = False
        self.overfull = False
        self.edits: list[Edit] = []
        self._find = find
        self._stand_in = stand_in
        self._at_once_bytes = at_once_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._behind = b""
        self._offset = 0

    def feed(self, data: bytes) -> bytes:
        """The next stretch of the result; often empty if the input was short."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes < self._at_once_bytes + _HELD_BACK:
            return b""
        return self._take(ends=False)

    def end(self) -> bytes:
        """The rest."""
        return self._take(ends=True)

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The result for all pieces."""
        for piece in pieces:
            for start in range(0, len(piece), self._at_once_bytes):
                out = self.feed(piece[start : start + self._at_once_bytes])
                if out:
                    yield out
        out = self.end()
        if out:
            yield out

    def _take(self, *, ends: bool) -> bytes:
        text = b"".join((self._behind, *self._held))
        start = len(self._behind)
        found = [one for one in self._find(text, self._offset == 0) if one.end > start]
        cut = len(text)
        if not ends:
            cut -= _HELD_BACK
            for one in found:
                if one.start < cut and one.end > cut:
                    cut = max(start, one.start)
            if cut == start and self._held_bytes > _LONGEST_SECRET:
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
        self._held = [text[cut:]]
        self._held_bytes = len(text) - cut
        return out
