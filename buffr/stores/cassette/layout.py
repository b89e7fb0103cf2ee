"""Finds the interactions in a cassette's text, whatever program laid it out.

The text is read once, one stretch in memory at a time. In buffr's own layout,
which is the Go program's except for the last line, an element ends at the
first line that starts with four spaces and a brace; that is found quickly, and
verified by the decoder. Anything else is scanned by a JSON parser, element by
element, so that no single step blocks the interpreter for long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from buffr.errors import CassetteError
from buffr.stores.cassette.format import RECORDED_KINDS, decode_index, kind_of
from buffr.stores.cassette.records import ElementRecord
from buffr.stores.cassette.spans import Spans
from buffr.stores.cassette.torn import is_cut_short
from buffr.stores.cassette.window import ReadAt, Window, in_memory, patched

__all__ = ["TAIL", "Element", "Layout", "LayoutState", "opening"]

TAIL = b"\n  ]\n}\n"
"""The end of the text after the last element. As long as ``opening``."""

Element = ElementRecord | str
"""A decoded element, or what is wrong with one that is valid JSON."""

VERSION = 1

_ELEMENT_END = re.compile(rb"\n    \}")
_NEXT_ELEMENT = b",\n    {"
_SCAN_BYTES = 65536
_AHEAD_BYTES = 65536
_REACH_BYTES = 4 << 20
_FAST_TRIES = 8
_SPACE = re.compile(rb"[ \t\r\n]*")
_CLOSING = re.compile(rb"\s*\]\s*\}\s*")
_RECORDING = re.compile(rb'"(?:http|websocket)"\s*:\s*\{')
"""Occurs once in each recording: in strings, quotes are escaped."""
_CONFLICT = re.compile(rb"^(?:<{7}|={7}|>{7}|\|{7})", re.MULTILINE)
_SALT = re.compile("[0-9a-f]{32}")
_BOM = b"\xef\xbb\xbf"
_SQLITE = b"SQLite format 3\0"
_BLOCK_BYTES = 1 << 20
_scan = json.JSONDecoder().raw_decode


def opening(*, first: bool) -> bytes:
    """The first seven bytes that replace the tail when an element is appended."""
    return b"\n    {\n" if first else b",\n    {"


class LayoutState(Enum):
    """What must be done before an element can be appended in place."""

    READY = "nothing"
    FOREIGN = "rewrite it in buffr's layout"
    TORN = "set aside what follows the last whole element"


class _Fault(Exception):
    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at
        self.what = what


class Layout:
    """The result of reading a cassette's text. Iterate over ``elements()`` first.

    Then ``spans`` are the positions of its elements, ``state`` says how it may
    be appended to, ``salt`` is its salt if it has one, ``others`` are the
    other members of its head as ``"name": value``, ``blank`` says that there
    is no JSON, and ``patch`` is the text that belongs after the last element
    before an append that was cut off in its second step.
    """

    def __init__(self, read_at: ReadAt, size_bytes: int, path: Path) -> None:
        self.size_bytes = size_bytes
        self.spans = Spans()
        self.salt: str | None = None
        self.others: list[bytes] = []
        self.state = LayoutState.FOREIGN
        self.blank = False
        self.patch: tuple[int, bytes] | None = None
        self._read_at = read_at
        self._window = Window(read_at, size_bytes)
        self._path = path
        self._version: int | None = None
        self._named = False
        self._listed = False
        self._fast_tries = _FAST_TRIES

    @classmethod
    def of(cls, text: bytes | bytearray, path: Path) -> Self:
        """The layout of a text in memory."""
        return cls(in_memory(text), len(text), path)

    def elements(self) -> Iterator[tuple[int, Element]]:
        """Each element in order, and the offset of its start.

        An element with wrong fields does not affect the others: the JSON is
        valid. Raises ``CassetteError`` with path, line and column if the text
        is not a cassette of this version. Text that merely ends too early ends
        the elements, and leaves the shape TORN. Raises ``Disturbed``.
        """
        try:
            yield from self._document()
        except _Fault as fault:
            if self._listed and self._is_torn():
                self.state = LayoutState.TORN
            elif self._listed and (seam := self._seam()) is not None:
                yield from self._repaired(seam, fault)
            else:
                raise self.error(fault.at, fault.what) from None
        except RecursionError:
            raise self.error(self.end, "it is nested too deeply") from None

    @property
    def end(self) -> int:
        """The offset after the last element, or after the bracket of an empty list."""
        return self.spans.end

    @property
    def rest(self) -> bytes:
        """What follows the last whole element, except for a closing tail or a part of one."""
        rest = self._rest().rstrip(b"\0")
        closing = _CLOSING.match(rest)
        rest = rest[closing.end() :] if closing else rest
        return b"" if re.fullmatch(rb"\s*,?\s*\]?\s*", rest) else rest

    @property
    def damage(self) -> str:
        """What is wrong with a torn text, and what of it is used."""
        count = len(self.spans)
        if self.patch is not None:
            return "its last append was cut in the middle; all of it is there and used"
        if not self.rest:
            return f"its closing brackets are missing; all {count} interactions are used"
        if _CLOSING.match(self._rest()):
            return "its end is followed by the remains of an unfinished append"
        return f"it ends in the middle of interaction {count}; those before it are used"

    @property
    def checksum(self) -> int:
        """The CRC-32 of the whole text."""
        return crc32(self._rest(), self.spans.end_sum)

    def piece(self, start: int, end: int) -> bytes:
        """The text between two offsets."""
        return bytes(self._window.piece(start, end))

    def element(self, number: int) -> bytes:
        """The JSON of an element as in the text. Raises ``Disturbed``."""
        return self.spans.element(number, self._read_at)

    def reopened(self, read_at: ReadAt) -> None:
        """Read the same text from another descriptor from now on."""
        self._read_at = read_at if self.patch is None else patched(read_at, *self.patch)
        self._window = Window(self._read_at, self.size_bytes)

    def close(self) -> None:
        """Close the text; ``reopened`` opens it again."""
        self._read_at = in_memory(b"")
        self._window = Window(self._read_at, self.size_bytes)

    def _rest(self) -> bytes:
        return self.piece(self.end, self.size_bytes)

    def _document(self) -> Iterator[tuple[int, Element]]:
        starts = self._window.starts
        at = self._skip(len(_BOM) if starts(_BOM, 0) else 0)
        if at == self.size_bytes:
            self.blank = True
            return  # an empty file is an empty cassette
        if starts(_SQLITE, 0):
            raise _Fault(0, "it is an SQLite file (store: sqlite:FILE), not a cassette")
        self._expect(at, b"{", "the top level must be an object")
        at = self._skip(at + 1)
        while not starts(b"}", at):
            start = at
            self._expect(at, b'"', "expected a name")
            at = self._value_end(at)
            name = self._value(start, at)
            at = self._skip(at)
            self._expect(at, b":", "expected ':'")
            at = self._skip(at + 1)
            if name == "interactions":
                at = yield from self._list(at)
            else:
                at = self._member(name, start, at)
            at = self._skip(at)
            if starts(b"}", at):
                break
            self._expect(at, b",", "expected ',' or '}'")
            at = self._skip(at + 1)
            self._expect(at, b'"', "expected a name")
        self._finish(at + 1)

    def _finish(self, at: int) -> None:
        if self._skip(at) != self.size_bytes:
            raise _Fault(self._skip(at), "there is more after the end of the cassette")
        if self.others and not self._named:
            raise _Fault(0, "there is no list of interactions")
        ready = self.salt is not None and self._version == VERSION
        if ready and self._listed and self._rest() == TAIL:
            self.state = LayoutState.READY

    def _member(self, name: Any, start: int, at: int) -> int:
        end = self._value_end(at)
        value = self._value(at, end) if name in ("version", "salt") else None
        if name == "version":
            if type(value) is not int or value < 0:
                raise _Fault(at, "version must be a number")
            if value > VERSION:
                raise _Fault(at, f"version {value} is newer than this buffr reads ({VERSION})")
            self._version = value
        elif name == "salt":
            if not isinstance(value, str) or not _SALT.fullmatch(value):
                raise _Fault(at, "salt must be 32 hexadecimal digits")
            self.salt = value
        else:
            self.others.append(self.piece(start, end))
        return end

    def _value(self, start: int, end: int) -> Any:
        try:
            return json.loads(self.piece(start, end))
        except UnicodeDecodeError:
            raise _Fault(start, "the text is not UTF-8") from None

    def _list(self, at: int) -> Generator[tuple[int, Element], None, int]:
        """The elements. Returns the offset after the list."""
        if self._named:
            raise _Fault(at, "interactions must not occur twice")
        self._named = True
        if self._window.starts(b"null", at):  # the Go program's empty list
            return at + 4
        self._expect(at, b"[", "interactions must be a list")
        self._listed = True
        self.spans = Spans(at + 1, crc32(self._window.piece(0, at + 1)))
        at = self._skip(at + 1)
        if self._window.starts(b"]", at):
            return at + 1
        return (yield from self._elements(at))

    def _elements(self, at: int) -> Generator[tuple[int, Element], None, int]:
        window, spans = self._window, self.spans
        last = spans.end
        while True:
            if at + _AHEAD_BYTES > window.end < window.size_bytes or last < window.start:
                window.hold(last, 0)
            end, record = self._quick(at) or self._scanned(at)
            start = window.start
            if start <= last and end <= window.end:  # like nearly all
                spans.add(window.view[last - start : end - start], end)
            else:
                spans.add(window.piece(last, end), end)
            last = end
            yield at, record
            if window.data.startswith(_NEXT_ELEMENT, end - window.start):
                at = end + len(_NEXT_ELEMENT) - 1
                continue
            at = self._skip(end)
            if window.starts(b"]", at):
                return at + 1
            self._expect(at, b",", "expected ',' or ']'")
            at = self._skip(at + 1)

    def _quick(self, at: int) -> tuple[int, Element] | None:
        """An element in our layout; ``None`` for any other, or one with a fault."""
        if not self._fast_tries:
            return None
        window = self._window
        start = at - window.start
        found = _ELEMENT_END.search(window.data, start)
        try:
            if found is not None:
                end = found.end()
                return window.start + end, decode_index(window.view[start:end])
            end = self._guess(at)
            return end, decode_index(window.piece(at, end))
        except ValueError:
            self._fast_tries -= 1
            return None

    def _scanned(self, at: int) -> tuple[int, Element]:
        self._expect(at, b"{", "expected an interaction")
        end = self._value_end(at)
        element = self._window.piece(at, end)
        try:
            record = decode_index(element)
        except ValueError as error:
            if self._guess(at) == end:
                self._fast_tries += 1  # the element is at fault, not the layout
            kind = kind_of(element)
            return end, str(error) if kind in RECORDED_KINDS else ElementRecord(kind)
        return end, record

    def _guess(self, at: int) -> int:
        """Where an element ends in our layout; its start if no end is found."""
        window = self._window
        while True:
            found = _ELEMENT_END.search(window.data, at - window.start)
            if found is not None:
                return window.start + found.end()
            if window.end == window.size_bytes or window.end - at > _REACH_BYTES:
                return at
            window.hold(self.end, 2 * (window.end - self.end))

    def _skip(self, at: int) -> int:
        window = self._window
        while True:
            if not window.start <= at <= window.end:
                window.hold(at, 0)
            match = _SPACE.match(window.data, at - window.start)
            assert match is not None
            at = window.start + match.end()
            if at < window.end or window.end == window.size_bytes:
                return at
            window.hold(at, 0)

    def _expect(self, at: int, mark: bytes, what: str) -> None:
        if not self._window.starts(mark, at):
            raise _Fault(at, what)

    def _value_end(self, start: int) -> int:
        """Where the JSON value that starts here ends. Raises ``_Fault`` at its first error.

        Latin-1 makes offsets in the parser's text offsets in bytes. The
        stretch is extended while the value, or an apparent error, may only be
        cut off by its end.
        """
        size = _SCAN_BYTES
        while True:
            text = str(self._window.piece(start, start + size), "latin-1")
            cut = start + size < self.size_bytes
            try:
                _, end = _scan(text)
            except json.JSONDecodeError as error:
                if not cut or (error.pos < size - 16 and "Unterminated" not in error.msg):
                    raise _Fault(start + error.pos, error.msg) from None
            else:
                if not cut or end < size:
                    return start + end
            size *= 4

    def _is_torn(self) -> bool:
        """Whether only an incomplete text follows the last whole element."""
        rest = self._rest()
        end = _before_zeros(rest)
        if is_cut_short(rest, 0, end, after_element=len(self.spans) > 0):
            # A text cut out of the middle may still parse to its end, with recordings in it.
            return len(_RECORDING.findall(rest)) <= 1
        closing = _CLOSING.match(rest)
        return closing is not None and _is_unfinished(rest, closing.end())

    def _seam(self) -> bytes | None:
        """What belongs after the last element, if the second step of an append was cut off there.

        Its seven bytes may be on two pages, of which one was written.
        """
        first = opening(first=not self.spans)
        found = self.piece(self.end, self.end + len(TAIL))
        mixed = all(byte in pair for byte, *pair in zip(found, first, TAIL, strict=False))
        return first if mixed and len(found) == len(TAIL) and found != first else None

    def _repaired(self, seam: bytes, fault: _Fault) -> Iterator[tuple[int, Element]]:
        """The elements after a seam, if the rest of the text is whole."""
        torn, before = self._read_at, len(self.spans)
        self.patch = self.end, seam
        self.reopened(torn)
        try:
            at = yield from self._elements(self._skip(self.end + (1 if before else 0)))
            self._expect(self._skip(at), b"}", "expected '}'")
            self._finish(self._skip(at) + 1)
            if self.state is not LayoutState.READY:
                raise fault
        except (_Fault, CassetteError):
            self.patch = None
            self.reopened(torn)
            raise self.error(fault.at, fault.what) from None
        self.state = LayoutState.TORN

    def line(self, at: int) -> int:
        """The line number at an offset, counted from 1."""
        blocks = (
            self.piece(start, min(start + _BLOCK_BYTES, at)) for start in range(0, at, _BLOCK_BYTES)
        )
        return 1 + sum(block.count(b"\n") for block in blocks)

    def _line_start(self, at: int) -> int:
        while at:
            start = max(0, at - _BLOCK_BYTES)
            found = self.piece(start, at).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            at = start
        return 0

    def error(self, at: int, what: str) -> CassetteError:
        """The error at this offset, with path, line and column."""
        start = self._line_start(at)
        column = len(str(self._window.piece(start, at), "utf-8", "replace")) + 1
        if _CONFLICT.match(self.piece(start, start + 7)):
            what, column = "it contains a merge conflict", 1
        return CassetteError(
            f"{self._path}:{self.line(at)}:{column}: {what}",
            hint="fix the file; buffr has not changed it",
        )


def _is_unfinished(rest: bytes, start: int) -> bool:
    """Whether an append that was cut off in its first step may have left what follows the end."""
    if _CONFLICT.search(rest):
        return False
    return rest.startswith(b'"', start) or not _RECORDING.search(rest, start)


def _before_zeros(text: bytes) -> int:
    """The end of the text without the zero bytes that a system crash may leave after it."""
    return len(text.rstrip(b"\0"))
