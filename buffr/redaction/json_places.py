"""Places in JSON documents that settings select by JSONPaths (RFC 9535)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from buffr.formats.json_paths import BadPath, JSONPath
from buffr.formats.json_text import Place, scalars
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.spans import SecretSpan

__all__ = ["JSONPlaces", "Place", "documents", "strings"]

_DOCUMENT = re.compile(rb"^(?:data:)?[ \t]*([\[{].*)$", re.MULTILINE)


class JSONPlaces:
    """Finds what its paths select, in one document or in documents on a line each.

    Such lines may be events of a stream. Raises ``ValueError`` for an invalid
    path.
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths: list[JSONPath] = []
        for path in paths:
            try:
                self._paths.append(JSONPath.of(path))
            except BadPath as error:
                raise ValueError(f"json: {path!r}: {error}") from error

    def __bool__(self) -> bool:
        return bool(self._paths)

    def find(self, text: bytes) -> Iterator[SecretSpan]:
        """The values at the places: strings, numbers, and all of these in an object or array."""
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

    def _of(self, document: Any, text: bytes, offset: int) -> Iterator[SecretSpan]:
        places: set[Place] = set()
        for path in self._paths:
            places |= path.places(document)
        sizes = {len(place) for place in places}
        for place, start, end in scalars(text) if places else ():
            if not any(place[:size] in places for size in sizes):
                continue
            name = next((str(part) for part in reversed(place) if isinstance(part, str)), "value")
            raw = text[start:end]
            if raw.startswith(b'"'):
                if raw != b'""' and not is_pseudonym(raw[1:-1]):
                    plain = json.loads(raw, strict=False).encode("utf-8", "surrogatepass")
                    yield SecretSpan(
                        offset + start + 1, offset + end - 1, name.encode(), plain, "json path"
                    )
            elif raw not in (b"null", b"true", b"false"):
                yield SecretSpan(
                    offset + start, offset + end, name.encode(), raw, "json path", quotes=True
                )


def documents(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The documents of a text with one document a line, as in events, with their offsets.

    If the whole text is a document, it is the only one. Documents that are
    neither an object nor an array are skipped.
    """
    if _read(text) is not None:
        yield 0, text
        return
    for line in _DOCUMENT.finditer(text):
        if _read(line[1]) is not None:
            yield line.start(1), line[1]


def strings(document: bytes) -> Iterator[tuple[Place, int, int]]:
    """Every string value of a valid document, and the position of its content."""
    for place, start, end in scalars(document):
        if document.startswith(b'"', start):
            yield place, start + 1, end - 1


def _read(text: bytes) -> Any | None:
    """The document, if it is an object or an array, and in UTF-8: ``scalars`` reads no other."""
    if text.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"), strict=False)
    except (ValueError, RecursionError):
        return None
