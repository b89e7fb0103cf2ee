"""Where the interactions of a cassette's text stand, whatever program laid it out.

The text is gone through once, a stretch of it in memory at a time. In buffr's
own layout, which is the Go program's but for the last line, an element ends at
the first line that starts with four spaces and a brace; that is found quickly,
and the decoder proves it. Anything else is scanned by a JSON parser, element
by element, so that no single step holds the interpreter for long.
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

__all__ = ["TAIL", "Element", "Layout", "Shape", "opening"]

TAIL = b"\n  ]\n}\n"
"""How the text ends behind the last element. As long as ``opening`` is."""

Element = ElementRecord | str
"""An element as it was decoded, or what is wrong with one that is whole JSON."""

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
"""What each recording has once: in strings, quotes are escaped."""
_CONFLICT = re.compile(rb"^(?:<{7}|={7}|>{7}|\|{7})", re.MULTILINE)
_SALT = re.compile("[0-9a-f]{32}")
_BOM = b"\xef\xbb\xbf"
_BLOCK_BYTES = 1 << 20
_scan = json.JSONDecoder().raw_decode


def opening(*, first: bool) -> bytes:
    """The first seven bytes of what takes the tail's place when an element is appended."""
    return b"\n    {\n" if first else b",\n    {"


class Shape(Enum):
    """What must be done before an element can be appended in place."""

    READY = "nothing"
    FOREIGN = "lay it out anew"
    TORN = "set aside what stands behind the last whole element"


class _Fault(Exception):
    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at
        self.what = what


class Layout:
    """One reading of a cassette's text. Go through ``elements()`` first.

    Then ``spans`` say where its elements stand, ``shape`` how it may be
    appended to, ``salt`` is its salt if it has one, ``others`` are the other
    members of its head as ``"name": value``, ``blank`` says that there is no
    JSON, and ``patch`` is what must be put behind the last element of those
    that were there before an append that was cut in its second step.
    """

    def __init__(self, read_at: ReadAt, size_bytes: int, path: Path) -> None:
        self.size_bytes = size_bytes
        self.spans = Spans()
        self.salt: str | None = None
        self.others: list[bytes] = []
        self.shape = Shape.FOREIGN
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
        """The layout of a text that is in memory."""
        return cls(in_memory(text), len(text), path)

    def elements(self) -> Iterator[tuple[int, Element]]:
        """Each element in order, and the offset of its start.

        One whose fields are wrong does not spoil the others: the JSON is whole.
        Raises ``CassetteError`` with path, line and column when the text is
        no cassette of this version. Text that merely stops too early ends
        the elements, and leaves the shape TORN. Raises ``Disturbed``.
        """
        try:
            yield from self._document()
        except _Fault as fault:
            if self._listed and self._is_torn():
                self.shape = Shape.TORN
            elif self._listed and (seam := self._seam()) is not None:
                yield from self._repaired(seam, fault)
            else:
                raise self.error(fault.at, fault.what) from None
        except RecursionError:
            raise self.error(self.end, "it is nested too deeply") from None

    @property
    def end(self) -> int:
        """The offset behind the last element, or behind the bracket of an empty list."""
        return self.spans.end

    @property
    def rest(self) -> bytes:
        """What stands behind the last whole element, but for a closing tail or a part of one."""
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
            return "something stands behind its end, as an unfinished append leaves it"
        return f"it ends in the middle of interaction {count}; those before it are used"

    @property
    def checksum(self) -> int:
        """The CRC-32 of the whole text."""
        return crc32(self._rest(), self.spans.end_sum)

    def piece(self, start: int, end: int) -> bytes:
        """The text between two offsets."""
        return bytes(self._window.piece(start, end))

    def element(self, number: int) -> bytes:
        """The JSON of an element as it stands in the text. Raises ``Disturbed``."""
        return self.spans.element(number, self._read_at)

    def reopened(self, read_at: ReadAt) -> None:
        """Read the same text from another descriptor from now on."""
        self._read_at = read_at if self.patch is None else patched(read_at, *self.patch)
        self._window = Window(self._read_at, self.size_bytes)

    def close(self) -> None:
        """Let go of the text; ``reopened`` has it back."""
        self._read_at = in_memory(b"")
        self._window = Window(self._read_at, self.size_bytes)

    def _rest(self) -> bytes:
        return self.piece(self.end, self.size_bytes)

    def _document(self) -> Iterator[tuple[int, Element]]:
        starts = self._window.starts
        at = self._skip(len(_BOM) if starts(_BOM, 0) else 0)
        if at == self.size_bytes:
            self.blank = True
            return  # an empty file is an empty cassette: there is nothing to misread
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
            self.shape = Shape.READY

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
        """The elements; returns the offset behind the list."""
        if self._named:
            raise _Fault(at, "interactions must not stand twice")
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
            if start <= last and end <= window.end:  # as nearly all are
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
                self._fast_tries += 1  # it is the element, and not the layout
            kind = kind_of(element)
            return end, str(error) if kind in RECORDED_KINDS else ElementRecord(kind)
        return end, record

    def _guess(self, at: int) -> int:
        """Where an element ends in our layout; its start where no end is in sight."""
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
        stretch grows while the value, or what looks like an error, may only
        be cut by it.
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
        """Whether nothing that could be read stands behind the last whole element."""
        rest = self._rest()
        end = _before_zeros(rest)
        if is_cut_short(rest, 0, end, after_element=len(self.spans) > 0):
            # Cut out of the middle, it may still parse to its end, with recordings in it.
            return len(_RECORDING.findall(rest)) <= 1
        closing = _CLOSING.match(rest)
        return closing is not None and _is_unfinished(rest, closing.end())

    def _seam(self) -> bytes | None:
        """What belongs behind the last element, if the second step of an append was cut there.

        Its seven bytes may lie on two pages, of which one was written.
        """
        first = opening(first=not self.spans)
        found = self.piece(self.end, self.end + len(TAIL))
        mixed = all(byte in pair for byte, *pair in zip(found, first, TAIL, strict=False))
        return first if mixed and len(found) == len(TAIL) and found != first else None

    def _repaired(self, seam: bytes, fault: _Fault) -> Iterator[tuple[int, Element]]:
        """The elements behind a seam, if the text is whole but for that."""
        torn, before = self._read_at, len(self.spans)
        self.patch = self.end, seam
        self.reopened(torn)
        try:
            at = yield from self._elements(self._skip(self.end + (1 if before else 0)))
            self._expect(self._skip(at), b"}", "expected '}'")
            self._finish(self._skip(at) + 1)
            if self.shape is not Shape.READY:
                raise fault
        except (_Fault, CassetteError):
            self.patch = None
            self.reopened(torn)
            raise self.error(fault.at, fault.what) from None
        self.shape = Shape.TORN

    def line(self, at: int) -> int:
        """The number of the line at an offset, counted from 1."""
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
        """What is wrong at this offset, with path, line and column."""
        start = self._line_start(at)
        column = len(str(self._window.piece(start, at), "utf-8", "replace")) + 1
        if _CONFLICT.match(self.piece(start, start + 7)):
            what, column = "there is the mark of a merge conflict", 1
        return CassetteError(
            f"{self._path}:{self.line(at)}:{column}: {what}",
            hint="fix the file; it is left as it is",
        )


def _is_unfinished(rest: bytes, start: int) -> bool:
    """Whether an append, cut in its first step, may have left what stands behind the end."""
    if _CONFLICT.search(rest):
        return False
    return rest.startswith(b'"', start) or not _RECORDING.search(rest, start)


def _before_zeros(text: bytes) -> int:
    """The end of the text without the zero bytes that a crashed machine may leave behind it."""
    return len(text.rstrip(b"\0"))
