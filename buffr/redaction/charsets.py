"""Texts in UTF-16, which are searched as UTF-8."""

from __future__ import annotations

import codecs

from attrs import frozen

__all__ = ["UTF16", "as_searched"]

_SHORTEST = 8


@frozen
class UTF16:
    """How a text is encoded: ``utf-16-le`` or ``utf-16-be``, with or without a byte order mark."""

    codec: str
    mark: bytes

    def decoded(self, text: bytes) -> bytes:
        """The text in UTF-8. Raises ``UnicodeDecodeError`` if it is not valid UTF-16."""
        return text[len(self.mark) :].decode(self.codec).encode("utf-8")

    def encoded(self, text: bytes) -> bytes:
        """A UTF-8 text in the original encoding."""
        return self.mark + text.decode("utf-8").encode(self.codec)


_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARKED = (
    UTF16("utf-16-le", codecs.BOM_UTF16_LE),
    UTF16("utf-16-be", codecs.BOM_UTF16_BE),
)


def as_searched(text: bytes) -> tuple[bytes, UTF16 | None]:
    """A UTF-16 text in UTF-8, and its original encoding; any other text unchanged."""
    charset = _utf16_of(text)
    if charset is None:
        return text, None
    try:
        return charset.decoded(text), charset
    except UnicodeDecodeError:
        return text, None


def _utf16_of(text: bytes) -> UTF16 | None:
    """The encoding of a text that seems to be UTF-16.

    Recognised by its byte order mark, or by its zero bytes.
    """
    if len(text) < _SHORTEST or len(text) % 2:
        return None
    if text.startswith(_MARKS):
        return _MARKED[_MARKS.index(text[:2])]
    if text.find(0, 0, _SHORTEST) < 0:
        return None
    # RFC 4627 3 detects JSON's encoding by the zeros among its first bytes.
    zeros = [byte == 0 for byte in text[:_SHORTEST]]
    if zeros == [False, True] * (_SHORTEST // 2):
        return UTF16("utf-16-le", b"")
    return UTF16("utf-16-be", b"") if zeros == [True, False] * (_SHORTEST // 2) else None
