"""Where the interactions of a cassette's text stand, whatever program laid it out.

The elements stay slices of the text. In buffr's own layout, which is the Go
program's but for the last line, an element ends at the first line that
starts with four spaces and a brace; that is found quickly, and the decoder
proves it. Anything else is scanned by a JSON parser, element by element, so
that no single step holds the interpreter for long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from buffr.errors import CassetteError
from buffr.stores.cassette_format import RECORDED_KINDS, decode_index, kind_of
from buffr.stores.cassette_records import ElementRecord
from buffr.stores.cassette_torn import is_cut_short
from buffr.stores.spans import Spans, Text

__all__ = ["TAIL", "Element", "Layout", "Shape", "opening"]

TAIL = b"\n  ]\n}\n"
"""How the text ends behind the last element. As long as ``opening`` is."""

Element = ElementRecord | str
"""An element as it was decoded, or what is wrong with one that is whole JSON."""

VERSION = 1

_ELEMENT_END = re.compile(rb"\n    \}")
_NEXT_ELEMENT = b",\n    {"
_WINDOW_BYTES = 65536
_REACH_BYTES = 4 << 20
_FAST_TRIES = 8
_SPACE = re.compile(rb"[ \t\r\n]*")
_CLOSING = re.compile(rb"\s*\]\s*\}\s*")
_RECORDING = re.compile(rb'"(?:http|websocket)"\s*:\s*\{')
"""What each recording has once: in strings, quotes are escaped."""
_CONFLICT = re.compile(rb"^(?:<{7}|={7}|>{7}|\|{7})", re.MULTILINE)
_SALT = re.compile("[0-9a-f]{32}")
_BOM = b"\xef\xbb\xbf"
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

    Then ``shape`` says how it may be appended to, ``salt`` is its salt if it
    has one, ``others`` are the other members of its head as
    ``"name": value``, and ``end`` is the offset behind the last element, or
    behind the bracket of an empty list. ``blank`` says that there is no JSON.
    """

    def __init__(self, text: Text, path: Path) -> None:
        self.text = text
        self.spans = Spans()
        self.salt: str | None = None
        self.others: list[bytes] = []
        self.shape = Shape.FOREIGN
        self.blank = False
        self.end = 0
        self._view = memoryview(text)
        self._path = path
        self._version: int | None = None
        self._named = False
        self._listed = False
        self._fast_tries = _FAST_TRIES
        self._is_repaired = False

    def elements(self) -> Iterator[tuple[int, int, Element]]:
        """Start, end and record of each element, in order.

        One whose fields are wrong does not spoil the others: the JSON is whole.
        Raises ``CassetteError`` with path, line and column when the text is
        no cassette of this version. Text that merely stops too early ends
        the elements, and leaves the shape TORN.
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
    def rest(self) -> bytes:
        """What stands behind the last whole element, but for a closing tail or a part of one."""
        rest = bytes(self._view[self.end :]).rstrip(b"\0")
        closing = _CLOSING.match(rest)
        rest = rest[closing.end() :] if closing else rest
        return b"" if re.fullmatch(rb"\s*,?\s*\]?\s*", rest) else rest

    @property
    def damage(self) -> str:
        """What is wrong with a torn text, and what of it is used."""
        count = len(self.spans)
        if self._is_repaired:
            return "its last append was cut in the middle; all of it is there and used"
        if not self.rest:
            return f"its closing brackets are missing; all {count} interactions are used"
        if _CLOSING.match(self.text, self.end):
            return "something stands behind its end, as an unfinished append leaves it"
        return f"it ends in the middle of interaction {count}; those before it are used"

    def _document(self) -> Iterator[tuple[int, int, Element]]:
        text = self.text
        at = self._skip(len(_BOM) if text.startswith(_BOM) else 0)
        if at == len(text):
            self.blank = True
            return  # an empty file is an empty cassette: there is nothing to misread
        self._expect(at, b"{", "the top level must be an object")
        at = self._skip(at + 1)
        while not text.startswith(b"}", at):
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
            if text.startswith(b"}", at):
                break
            self._expect(at, b",", "expected ',' or '}'")
            at = self._skip(at + 1)
            self._expect(at, b'"', "expected a name")
        self._finish(at + 1)

    def _finish(self, at: int) -> None:
        if self._skip(at) != len(self.text):
            raise _Fault(self._skip(at), "there is more after the end of the cassette")
        if self.others and not self._named:
            raise _Fault(0, "there is no list of interactions")
        ready = self.salt is not None and self._version == VERSION
        if ready and self._listed and self._view[self.end :] == TAIL:
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
            self.others.append(bytes(self._view[start:end]))
        return end

    def _value(self, start: int, end: int) -> Any:
        try:
            return json.loads(self.text[start:end])
        except UnicodeDecodeError:
            raise _Fault(start, "the text is not UTF-8") from None

    def _list(self, at: int) -> Generator[tuple[int, int, Element], None, int]:
        """The elements; returns the offset behind the list."""
        text = self.text
        if self._named:
            raise _Fault(at, "interactions must not stand twice")
        self._named = True
        if text.startswith(b"null", at):  # the Go program's empty list
            return at + 4
        self._expect(at, b"[", "interactions must be a list")
        self._listed = True
        self.end = at + 1
        at = self._skip(at + 1)
        if text.startswith(b"]", at):
            return at + 1
        return (yield from self._elements(at))

    def _elements(self, at: int) -> Generator[tuple[int, int, Element], None, int]:
        text = self.text
        while True:
            end, record = self._element(at)
            self.end = end
            self.spans.add(at, end)
            yield at, end, record
            if text.startswith(_NEXT_ELEMENT, end):
                at = end + len(_NEXT_ELEMENT) - 1
                continue
            at = self._skip(end)
            if text.startswith(b"]", at):
                return at + 1
            self._expect(at, b",", "expected ',' or ']'")
            at = self._skip(at + 1)

    def _element(self, at: int) -> tuple[int, Element]:
        self._expect(at, b"{", "expected an interaction")
        guess = at
        if self._fast_tries:
            found = _ELEMENT_END.search(self.text, at, at + _REACH_BYTES)
            guess = at if found is None else found.end()
            # What fails is not in our layout, or has a fault that the scan will name.
            with suppress(ValueError):
                return guess, decode_index(self._view[at:guess])
        end = self._value_end(at)
        if guess != end and self._fast_tries:
            self._fast_tries -= 1
        element = self._view[at:end]
        try:
            return end, decode_index(element)
        except ValueError as error:
            kind = kind_of(element)
            return end, str(error) if kind in RECORDED_KINDS else ElementRecord(kind)

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        assert match is not None
        return match.end()

    def _expect(self, at: int, mark: bytes, what: str) -> None:
        if not self.text.startswith(mark, at):
            raise _Fault(at, what)

    def _value_end(self, start: int) -> int:
        """Where the JSON value that starts here ends. Raises ``_Fault`` at its first error.

        Latin-1 makes offsets in the parser's text offsets in bytes. The
        window grows while the value, or what looks like an error, may only
        be cut by it.
        """
        window = _WINDOW_BYTES
        while True:
            text = str(self._view[start : start + window], "latin-1")
            cut = start + window < len(self.text)
            try:
                _, end = _scan(text)
            except json.JSONDecodeError as error:
                if not cut or (error.pos < window - 16 and "Unterminated" not in error.msg):
                    raise _Fault(start + error.pos, error.msg) from None
            else:
                if not cut or end < window:
                    return start + end
            window *= 4

    def _is_torn(self) -> bool:
        """Whether nothing that could be read stands behind the last whole element."""
        end = _before_zeros(self.text, self.end)
        if is_cut_short(self.text, self.end, end, after_element=len(self.spans) > 0):
            # Cut out of the middle, it may still parse to its end, with recordings in it.
            return len(_RECORDING.findall(self.text, self.end)) <= 1
        closing = _CLOSING.match(self.text, self.end)
        return closing is not None and self._is_unfinished(closing.end())

    def _is_unfinished(self, start: int) -> bool:
        """Whether an append, cut in its first step, may have left what stands behind the end."""
        if _CONFLICT.search(self.text, self.end):
            return False
        return self.text.startswith(b'"', start) or not _RECORDING.search(self.text, start)

    def _seam(self) -> bytes | None:
        """What belongs behind the last element, if the second step of an append was cut there.

        Its seven bytes may lie on two pages, of which one was written.
        """
        first = opening(first=not self.spans)
        found = bytes(self._view[self.end : self.end + len(TAIL)])
        mixed = all(byte in pair for byte, *pair in zip(found, first, TAIL, strict=False))
        return first if mixed and len(found) == len(TAIL) and found != first else None

    def _repaired(self, seam: bytes, fault: _Fault) -> Iterator[tuple[int, int, Element]]:
        """The elements behind a seam, if the text is whole but for that."""
        torn = self.text
        self.text = torn[: self.end] + seam + torn[self.end + len(seam) :]
        self._view = memoryview(self.text)
        try:
            at = self.end + (1 if self.spans else 0)
            at = yield from self._elements(self._skip(at))
            self._expect(self._skip(at), b"}", "expected '}'")
            self._finish(self._skip(at) + 1)
            if self.shape is not Shape.READY:
                raise fault
        except (_Fault, CassetteError):
            self.text, self._view = torn, memoryview(torn)
            raise self.error(fault.at, fault.what) from None
        self._is_repaired, self.shape = True, Shape.TORN

    def slice(self, start: int, end: int) -> bytes:
        return bytes(self._view[start:end])

    def line(self, at: int) -> int:
        """The number of the line at an offset, counted from 1."""
        return self.text.count(b"\n", 0, at) + 1

    def error(self, at: int, what: str) -> CassetteError:
        """What is wrong at this offset, with path, line and column."""
        line = self.line(at)
        line_start = self.text.rfind(b"\n", 0, at) + 1
        column = len(str(self._view[line_start:at], "utf-8", "replace")) + 1
        if _CONFLICT.match(self.text, line_start):
            what, column = "there is the mark of a merge conflict", 1
        return CassetteError(
            f"{self._path}:{line}:{column}: {what}", hint="fix the file; it is left as it is"
        )


def _before_zeros(text: Text, start: int) -> int:
    """The end of the text without the zero bytes that a crashed machine may leave behind it."""
    end = len(text)
    while end - start >= 4096 and not any(text[end - 4096 : end]):
        end -= 4096
    while end > start and not text[end - 1]:
        end -= 1
    return end
