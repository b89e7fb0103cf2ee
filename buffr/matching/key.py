"""The match key: what identifies a request."""

from __future__ import annotations

from hashlib import blake2b

from attrs import field, frozen

__all__ = ["MatchKey"]


def _digest(parts: tuple[tuple[str, bytes], ...]) -> bytes:
    hashed = blake2b(digest_size=16)
    for name, value in parts:
        hashed.update(b"%b %d:" % (name.encode(), len(value)))
        hashed.update(value)
    return hashed.digest()


@frozen(eq=False)
class MatchKey:
    """Ordered (part, value) pairs, such as ``("path", b"/v1/models")``, and their digest.

    The digest finds a recording; the pairs explain why none was found.
    """

    parts: tuple[tuple[str, bytes], ...]
    digest: bytes = field(init=False)

    @digest.default
    def _digest_of_parts(self) -> bytes:
        return _digest(self.parts)
