"""The canonical form of a long JSON document, made in slices.

A document is read from the outside in. Small values, and runs of small
elements, go through ``canonical`` unchanged, up to ``_WINDOW`` bytes at a
time; only what encloses them is parsed here, and long strings are not copied.
No step takes much longer than a millisecond, and a ``pause`` follows each.
Beside the text this needs little more memory than the text itself.

The result is that of ``canonical``, wherever the slices end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from attrs import Factory, define, field
from msgspec import Raw
from msgspec.json import Decoder, Encoder

from buffr.formats.json_paths import Walk
from buffr.formats.json_text import STRING
from buffr.matching.canonical_json import DEEPEST
from buffr.matching.pieces import Members, Pause, Piece, PieceBuffer, SameNames, Text, size_of

__all__ = ["Fields", "document_in_slices", "spelled_in_slices"]

_WINDOW = 16 * 1024
_SMALLEST_WINDOW = 1024
_LEVELS_IN_SMALL = 12

_SPACE = rb"[ \t\n\r]*+"
_STRING = STRING.encode()


def _nested(levels: int) -> bytes:
    """A container with this many levels; only brackets and strings are looked at."""
    inner = b"|" + _nested(levels - 1) if levels > 1 else b""
    return rb'[\[{](?:[^"\[\]{}]++|%b%b)*+[\]}]' % (_STRING, inner)


_VALUE = rb'(?:%b|[^"\[\]{},:\s]++|%b)' % (_STRING, _nested(_LEVELS_IN_SMALL))

_match_space = re.compile(_SPACE).match
_match_value = re.compile(_VALUE, re.DOTALL).match
_match_elements = re.compile(rb"(?:%b%b,%b)++" % (_VALUE, _SPACE, _SPACE), re.DOTALL).match
_match_members = re.compile(
    rb"(?:%b%b:%b%b%b,%b)++" % (_STRING, _SPACE, _SPACE, _VALUE, _SPACE, _SPACE), re.DOTALL
).match
_match_plain_name = re.compile(rb'("[^"\\\x00-\x1f\x7f-\xff]*+")%b:%b' % (_SPACE, _SPACE)).match
_match_plain = re.compile(rb'[^"\\\x00-\x1f]*+').match
_match_escaped = re.compile(
    rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
).match

_decode_text: Callable[[bytes], str] = Decoder(str).decode
_decode_members: Callable[[bytes], dict[str, Raw]] = Decoder(dict[str, Raw]).decode
_encode_text = Encoder().encode

_Match = Callable[[Text, int, int], re.Match[bytes] | None]


class Fields(Protocol):
    """What is left out of documents."""

    def spelled(self, document: bytes, walk: Walk | None) -> bytes | None:
        """A small document in canonical form without tokens and without what a walk leads to.

        All of it without a walk.
        """

    def document(self, text: bytes) -> Any:
        """A small document as Python objects. Raises ``ValueError``."""

    def is_token(self, name: str, value: Piece) -> bool:
        """Whether a member is left out, by its name and the text of its value."""


class _NotJSON(ValueError):
    """The text is not a document, or outside the limits."""


def spelled_in_slices(
    text: Text, walk: Walk, fields: Fields, pause: Pause, window: int = _WINDOW
) -> list[Piece] | None:
    """The document without what a walk leads to; ``None`` if ``canonical`` returns ``None``.

    A slice has up to ``window`` bytes; ``window`` must be 16 or more.
    """
    reader = _Speller(text, pause, fields, window)
    try:
        at = reader.space(0)
        pieces, at = reader.value(at, None if walk.ends else walk, 0)
        if reader.space(at) != len(text):
            return None
    except ValueError:
        return None
    return [b"null"] if walk.ends and bytes(text[:64]).lstrip()[:1] in b"[{" else pieces


def document_in_slices(text: Text, fields: Fields, pause: Pause, window: int = _WINDOW) -> Any:
    """The whole document as Python objects.

    Objects with several members of the same name are ``None``, and long
    strings are cut short. Raises ``ValueError`` if it is not JSON.
    """
    reader = _Loader(text, pause, fields, window)
    document, at = reader.value(reader.space(0), 0)
    if reader.space(at) != len(text):
        raise _NotJSON
    return document


@define(eq=False)
class _Reader:
    text: Text
    pause: Pause
    fields: Fields
    largest: int
    window: int = field(init=False, default=Factory(lambda self: self.largest, takes_self=True))

    def space(self, at: int) -> int:
        """Where the white space from ``at`` on ends."""
        end = _end(_match_space(self.text, at, at + self.largest))
        while end == at + self.largest:
            self.pause()
            at, end = end, _end(_match_space(self.text, end, end + self.largest))
        return end

    def mark(self, at: int) -> bytes:
        """The byte at this position. Raises ``_NotJSON`` at the end."""
        if at >= len(self.text):
            raise _NotJSON
        return bytes(self.text[at : at + 1])

    def small(self, at: int, mark: bytes, depth: int) -> int:
        """Where a small value ends; 0 if it is not small."""
        self.pause()
        if mark in b"[{" and depth + _LEVELS_IN_SMALL > DEEPEST:
            return 0  # levels are counted one by one from here on
        found = _match_value(self.text, at, at + self.window)
        # A number that reaches the end of the window may go on.
        if found is not None and (mark in b'[{"' or found.end() < at + self.window):
            self.window = min(self.largest, 2 * self.window)
            return found.end()
        # Values inside it will not be small either: look less far.
        self.window = max(min(_SMALLEST_WINDOW, self.largest), self.window // 2)
        return 0

    def run(self, match: _Match, at: int, depth: int) -> int:
        """Where a run of small elements or members ends, commas included.

        Returns ``at`` if there is none.
        """
        self.pause()
        if depth + _LEVELS_IN_SMALL > DEEPEST:
            return at
        found = match(self.text, at, at + self.window)
        if found is None:
            return at
        self.window = min(self.largest, 2 * self.window)
        return found.end()

    def within(self, container: bytes, start: int, end: int) -> bytes:
        """A container with the elements of a run."""
        return container % bytes(self.text[start:end]).rstrip(b" \t\n\r")[:-1]

    def scalar(self, at: int) -> int:
        """Where a number or word of any length ends."""
        found = _match_value(self.text, at)
        if found is None:
            raise _NotJSON
        return found.end()

    def inside(self, at: int, closing: bytes, depth: int) -> tuple[bool, int]:
        """Whether the container that starts at ``at`` is empty, and where to continue."""
        if depth > DEEPEST:
            raise _NotJSON
        at = self.space(at + 1)
        return (True, at + 1) if self.mark(at) == closing else (False, at)

    def next(self, at: int, closing: bytes) -> int:
        """Where the next value starts after a comma, which must not be the last element."""
        at = self.space(at)
        if self.mark(at) == closing:
            raise _NotJSON
        return at

    def behind(self, at: int, closing: bytes) -> tuple[bool, int]:
        """Whether a container ends after a value, and where to continue."""
        at = self.space(at)
        mark = self.mark(at)
        if mark == closing:
            return True, at + 1
        if mark != b",":
            raise _NotJSON
        return False, self.next(at + 1, closing)

    def name(self, at: int) -> tuple[str, bytes, int]:
        """A member's name, its text, and where the value starts."""
        found = _match_plain_name(self.text, at, at + self.largest)
        # White space that reaches the end of the window may go on.
        if found is not None and found.end() < at + self.largest:
            spelled = bytes(found[1])
            return spelled[1:-1].decode(), spelled, found.end()
        if self.mark(at) != b'"':
            raise _NotJSON
        pieces, at = self.string(at)
        spelled = b"".join(pieces)
        at = self.space(at)
        if self.mark(at) != b":":
            raise _NotJSON
        return _decode_text(spelled), spelled, self.space(at + 1)

    def string(self, at: int) -> tuple[list[Piece], int]:
        """The canonical form of a string of any length, and where it ends."""
        text, out = self.text, PieceBuffer(b'"')
        at = start = at + 1
        while True:
            end = _end(_match_plain(text, at, at + self.largest))
            goes_on = end == at + self.largest
            end = _whole_characters(text, at, end) if goes_on else end
            bytes(text[at:end]).decode()
            self.pause()
            at = end
            if goes_on:
                continue
            out.add(memoryview(text)[start:at])
            match self.mark(at):
                case b'"':
                    out.add(b'"')
                    return out.end(), at + 1
                case b"\\":
                    end = _end(_match_escaped(text, at, at + self.largest))
                    end = _whole_characters(text, at, end)
                    spelled = self.fields.spelled(b'"%b"' % bytes(text[at:end]), None)
                    if spelled is None or end == at:
                        raise _NotJSON
                    out.add(spelled[1:-1])
                    at = start = end
                case _:
                    raise _NotJSON


def _end(found: re.Match[bytes] | None) -> int:
    assert found is not None
    return found.end()


def _whole_characters(text: Text, at: int, end: int) -> int:
    """The end, or the start of the UTF-8 character that it would split."""
    while at < end < len(text) and text[end] & 0xC0 == 0x80:
        end -= 1
    return end


class _Speller(_Reader):
    """Writes values in canonical form: each method returns pieces, and where the value ends.

    Without a walk nothing is left out, not even tokens.
    """

    def value(self, at: int, walk: Walk | None, depth: int) -> tuple[list[Piece], int]:
        mark = self.mark(at)
        end = self.small(at, mark, depth)
        if end:
            return [self._spelled(bytes(self.text[at:end]), walk)], end
        match mark:
            case b"[":
                return self._array(at, walk, depth + 1)
            case b"{":
                try:
                    return self._object(at, walk, depth + 1)
                except SameNames:
                    return self._object(at, None, depth + 1)
            case b'"':
                return self.string(at)
        # A number with a great many digits.
        end = self.scalar(at)
        return [self._spelled(bytes(self.text[at:end]), None)], end

    def _spelled(self, document: bytes, walk: Walk | None) -> bytes:
        self.pause()
        spelled = self.fields.spelled(document, walk)
        if spelled is None:
            raise _NotJSON
        return spelled

    def _array(self, at: int, walk: Walk | None, depth: int) -> tuple[list[Piece], int]:
        out, index = PieceBuffer(b"["), 0
        ended, at = self.inside(at, b"]", depth)
        while not ended:
            alike = walk is None or walk.alike
            end = self.run(_match_elements, at, depth) if alike else at
            if end > at:
                out.add(self._spelled(self.within(b"[%b]", at, end), walk)[1:-1])
                out.add(b",")
                at = self.next(end, b"]")
                continue
            inner = None if walk is None else walk.element(index)
            is_out = inner is not None and inner.ends
            pieces, at = self.value(at, None if is_out else inner, depth)
            out.add_all([b"null"] if is_out else pieces)
            index += 1
            ended, at = self.behind(at, b"]")
            out.add(b"" if ended else b",")
        out.add(b"]")
        return out.end(), at

    def _object(self, at: int, walk: Walk | None, depth: int) -> tuple[list[Piece], int]:
        members, one_by_one = Members(), 0
        ended, at = self.inside(at, b"}", depth)
        while not ended:
            end = self.run(_match_members, at, depth) if at >= one_by_one else at
            if end > at:
                if self._add_all(members, self.within(b"{%b}", at, end), walk):
                    at = self.next(end, b"}")
                else:
                    one_by_one = end
                continue
            name, spelled, at = self.name(at)
            inner = None if walk is None else walk.member(name)
            is_out = inner is not None and inner.ends
            pieces, at = self.value(at, None if is_out else inner, depth)
            if walk is not None and len(pieces) == 1:
                is_out = is_out or self.fields.is_token(name, pieces[0])
            members.add(name, [b""] if is_out else [spelled, b":", *pieces])
            ended, at = self.behind(at, b"}")
        return members.end(self.pause, may_repeat=walk is None), at

    def _add_all(self, members: Members, run: bytes, walk: Walk | None) -> bool:
        """Add small members; false without adding any if several have the same name."""
        spelled = self._spelled(run, None)
        found = [(name, bytes(raw)) for name, raw in _decode_members(spelled).items()]
        names = [_encode_text(name) for name, _ in found]
        size = 1 + sum(map(len, names)) + sum([len(value) + 2 for _, value in found])
        if size != len(spelled):
            return False
        for (name, value), spelled_name in zip(found, names, strict=True):
            kept = value if walk is None else self._left(name, value, walk.member(name))
            members.add(name, [kept and b"%b:%b" % (spelled_name, kept)])
        return True

    def _left(self, name: str, value: bytes, walk: Walk) -> bytes:
        """The rest of a member's value; empty if the member is left out."""
        if walk.ends or self.fields.is_token(name, value):
            return b""
        return self._spelled(value, walk) if value[:1] in (b"{", b"[") else value


class _Loader(_Reader):
    """Reads values as Python objects: each method returns one, and where it ends."""

    _LONGEST_TEXT = 1 << 20

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        mark = self.mark(at)
        end = self.small(at, mark, depth)
        if end:
            return self.fields.document(bytes(self.text[at:end])), end
        match mark:
            case b"[":
                return self._array(at, depth + 1)
            case b"{":
                return self._object(at, depth + 1)
            case b'"':
                return self._text(at)
        end = self.scalar(at)
        return self.fields.document(bytes(self.text[at:end])), end

    def _text(self, at: int) -> tuple[str, int]:
        pieces, at = self.string(at)
        if size_of(pieces) <= self._LONGEST_TEXT:
            return _decode_text(b"".join(pieces)), at
        start = b"".join([bytes(piece[: self._LONGEST_TEXT]) for piece in pieces[:4]])
        return start[1 : self._LONGEST_TEXT].decode("utf-8", "ignore"), at

    def _array(self, at: int, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        ended, at = self.inside(at, b"]", depth)
        while not ended:
            end = self.run(_match_elements, at, depth)
            if end > at:
                found += self.fields.document(self.within(b"[%b]", at, end))
                at = self.next(end, b"]")
                continue
            value, at = self.value(at, depth)
            found.append(value)
            ended, at = self.behind(at, b"]")
        return found, at

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any] | None, int]:
        found: dict[str, Any] = {}
        count = 0
        ended, at = self.inside(at, b"}", depth)
        while not ended:
            name, _, at = self.name(at)
            found[name], at = self.value(at, depth)
            count += 1
            ended, at = self.behind(at, b"}")
        return found if len(found) == count else None, at
