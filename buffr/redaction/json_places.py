"""Places in JSON documents that settings name by JSONPaths (RFC 9535)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

from buffr.redaction.found import Found
from buffr.redaction.pseudonym import is_pseudonym

__all__ = ["JSONPlaces", "Place", "documents", "strings"]

Place = tuple[int | str, ...]
"""The way to a value: names of members, and numbers of elements."""

_TOKEN = re.compile(rb'\s*+("(?:[^"\\]|\\.)*+"|[\[\]{}:,]|[^\s\[\]{}:,"]++)', re.DOTALL)
_DOCUMENT = re.compile(rb"^(?:data:)?[ \t]*([\[{].*)$", re.MULTILINE)


class _Match(Protocol):
    parts: Place


class _Path(Protocol):
    def finditer(self, data: Any) -> Iterable[_Match]: ...


class JSONPlaces:
    """Finds what its paths name, in a document, or in documents of a line each.

    Those may be events of a stream. Raises ``ValueError`` for a path that is
    none.
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths: list[_Path] = []
        if not paths:
            return
        # Few settings have paths.
        library: Any = import_module("jsonpath")
        for path in paths:
            try:
                self._paths.append(library.compile(path, strict=True))
            except library.JSONPathError as error:
                reason = error.args[0] if error.args else "no valid path"
                raise ValueError(f"json: {path!r}: {reason}") from error

    def __bool__(self) -> bool:
        return bool(self._paths)

    def find(self, text: bytes) -> Iterator[Found]:
        """The values at the places: strings, numbers, and all those in an object or array."""
        if not self._paths:
            return
        whole = _read(text)
        if whole is not None:
            yield from self._of(whole, text, 0)
            return
        for line in _DOCUMENT.finditer(text):
            document = _read(line[1])
            if document is not None:
                yield from self._of(document, line[1], line.start(1))

    def _of(self, document: Any, text: bytes, offset: int) -> Iterator[Found]:
        places: set[Place] = set()
        for path in self._paths:
            with suppress(RecursionError):
                places.update(found.parts for found in path.finditer(document))
        sizes = {len(place) for place in places}
        for place, start, end in _scalars(text) if places else ():
            if not any(place[:size] in places for size in sizes):
                continue
            name = next((str(part) for part in reversed(place) if isinstance(part, str)), "value")
            raw = text[start:end]
            if raw.startswith(b'"'):
                if raw != b'""' and not is_pseudonym(raw[1:-1]):
                    plain = json.loads(raw, strict=False).encode("utf-8", "surrogatepass")
                    yield Found(
                        offset + start + 1, offset + end - 1, name.encode(), plain, "json path"
                    )
            elif raw not in (b"null", b"true", b"false"):
                yield Found(
                    offset + start, offset + end, name.encode(), raw, "json path", quotes=True
                )


def documents(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The documents of a text with one a line, as events have them: where each starts, and it.

    One that is a whole document is its only one. Others than objects and
    arrays are passed over.
    """
    if _read(text) is not None:
        yield 0, text
        return
    for line in _DOCUMENT.finditer(text):
        if _read(line[1]) is not None:
            yield line.start(1), line[1]


def strings(document: bytes) -> Iterator[tuple[Place, int, int]]:
    """Every string of a valid document that is a value, and where its content stands."""
    for place, start, end in _scalars(document):
        if document.startswith(b'"', start):
            yield place, start + 1, end - 1


def _read(text: bytes) -> Any | None:
    """A document that is an object or an array."""
    if text.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _scalars(text: bytes) -> Iterator[tuple[Place, int, int]]:
    """Every string, number and word of a document that is valid, and where it stands."""
    place: list[int | str] = []
    kinds: list[bool] = []
    key_next = False
    for token in _TOKEN.finditer(text):
        mark = token[1]
        if mark in (b"{", b"["):
            kinds.append(mark == b"{")
            key_next = kinds[-1]
            place.append("" if key_next else 0)
        elif mark in (b"}", b"]"):
            kinds.pop()
            place.pop()
            key_next = False
        elif mark == b",":
            key_next = kinds[-1]
            if not key_next:
                place[-1] = int(place[-1]) + 1
        elif mark == b":":
            key_next = False
        elif key_next:
            place[-1] = json.loads(mark, strict=False)
        else:
            yield tuple(place), *token.span(1)
