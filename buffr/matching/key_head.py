"""The part of a match key that a request's head decides, whatever its body is."""

from __future__ import annotations

from attrs import field, frozen

from buffr.matching.body import BodyKind
from buffr.matching.key import KeyPart, MatchKey, digest_of, encoded

__all__ = ["ORIGIN_PARTS", "KeyHead"]

ORIGIN_PARTS = ("scheme", "host", "port")


@frozen(eq=False)
class KeyHead:
    """The part of a key before the body: all other parts, those of the origin first.

    The last ``header_parts`` are those of header fields. ``doubtful`` are the
    query's fields that may be credentials or data.
    """

    kind: BodyKind
    parts: tuple[KeyPart, ...]
    origin_parts: int
    header_parts: int
    doubtful: frozenset[bytes]
    start: bytes = field(init=False)

    @start.default
    def _start(self) -> bytes:
        return b"".join(map(encoded, self.parts))

    def exact(self, body: bytes) -> MatchKey:
        return MatchKey((*self.parts, ("body", body)), self.digest(body))

    def digest(self, body: bytes) -> bytes:
        return digest_of(self.start + encoded(("body", body)))

    def keys(self, body: bytes) -> tuple[MatchKey, ...]:
        """From exact to lenient: lenient keys leave out port, scheme and host in turn.

        What a recording lacks matches anything.
        """
        exact = self.exact(body)
        if self.origin_parts != len(ORIGIN_PARTS):
            return (exact,)
        scheme, host, _, *others = exact.parts
        lenient = (scheme, host, *others), (host, *others), tuple(others)
        return (exact, *map(MatchKey, lenient))

    def headerless(self, keys: tuple[MatchKey, ...]) -> tuple[MatchKey, ...]:
        """These keys without the parts of header fields."""
        if not self.header_parts:
            return ()
        end = -self.header_parts - 1  # the body comes last
        return tuple([MatchKey((*key.parts[:end], key.parts[-1])) for key in keys])
