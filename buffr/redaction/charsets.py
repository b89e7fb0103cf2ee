"""Texts in UTF-16, which are searched as what they say."""

from __future__ import annotations

import codecs

from attrs import frozen

__all__ = ["UTF16", "as_searched"]

_SHORTEST = 8


@frozen
class UTF16:
    """How a text is encoded: ``utf-16-le`` or ``utf-16-be``, after a mark or without one."""

    codec: str
    mark: bytes

    def decoded(self, text: bytes) -> bytes:
        """The text in UTF-8. Raises ``UnicodeDecodeError`` where it is not what it seems."""
        return text[len(self.mark) :].decode(self.codec).encode("utf-8")

    def encoded(self, text: bytes) -> bytes:
        """A text in UTF-8, as the other was."""
        return self.mark + text.decode("utf-8").encode(self.codec)


_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARKED = (
    UTF16("utf-16-le", codecs.BOM_UTF16_LE),
    UTF16("utf-16-be", codecs.BOM_UTF16_BE),
)


def as_searched(text: bytes) -> tuple[bytes, UTF16 | None]:
    """A text in UTF-8 if it is in UTF-16, and how it was; any other as it is."""
    charset = _utf16_of(text)
    if charset is None:
        return text, None
    try:
        return charset.decoded(text), charset
    except UnicodeDecodeError:
        return text, None


def _utf16_of(text: bytes) -> UTF16 | None:
    """How a text is encoded that seems to be in UTF-16: by its mark, or as ASCII looks in it."""
    if len(text) < _SHORTEST or len(text) % 2:
        return None
    if text.startswith(_MARKS):
        return _MARKED[_MARKS.index(text[:2])]
    if text.find(0, 0, _SHORTEST) < 0:
        return None
    # RFC 4627 3 told JSON's encoding by the zeros of its first characters.
    zeros = [byte == 0 for byte in text[:_SHORTEST]]
    if zeros == [False, True] * (_SHORTEST // 2):
        return UTF16("utf-16-le", b"")
    return UTF16("utf-16-be", b"") if zeros == [True, False] * (_SHORTEST // 2) else None
