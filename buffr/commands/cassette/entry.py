"""One recording from a file of any kind, and the conversion of foreign ones."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from attrs import frozen

from buffr.errors import CassetteError
from buffr.interaction import Body, HTTPInteraction, Interaction, RecordedRequest
from buffr.message import Headers, ResponseHead

__all__ = [
    "Entry",
    "as_json",
    "exchange",
    "fields",
    "from_base64",
    "mapping",
    "read_text",
    "rest_of",
    "to_bytes",
    "within_bounds",
]

LARGEST_BYTES = 512 << 20
"""Larger files of other programs are not read."""

_MOST_DEPTH = 200
_EXPANSION = 8


@frozen(eq=False)
class Entry:
    """A recording and the line where it begins, counted from 1.

    ``number`` counts from 0; ``None`` for what belongs to the whole file.
    ``texts`` are what stands beside the interaction, with the names of their places.
    """

    number: int | None
    line: int
    interaction: Interaction | None
    texts: tuple[tuple[str, bytes], ...] = ()


def read_text(path: Path) -> bytes:
    """The bytes of another program's file. Raises ``CassetteError``."""
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise CassetteError(f"{path}: it is too large to be read ({size} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise CassetteError(f"{path}: {error.strerror}") from error


def within_bounds(value: Any, size_bytes: int) -> bool:
    """Whether a document of so many bytes is not nested too deeply, nor much larger than its file.

    YAML's aliases let a small file stand for a huge document.
    """
    left = size_bytes * _EXPANSION + 1024
    waiting: list[Iterator[Any]] = [iter((value,))]
    while waiting:
        for one in waiting[-1]:
            left -= 1 + (len(one) if isinstance(one, str | bytes) else 0)
            if left < 0:
                return False
            if isinstance(one, dict):
                left -= sum(len(name) for name in one if isinstance(name, str))
                waiting.append(iter(one.values()))
                break
            if isinstance(one, list):
                waiting.append(iter(one))
                break
        else:
            waiting.pop()
        if len(waiting) > _MOST_DEPTH:
            return False
    return True


def mapping(value: Any) -> Mapping[str, Any]:
    """A value that should be an object; empty for any other."""
    return value if isinstance(value, dict) else {}


def to_bytes(value: Any) -> bytes:
    """A text or a number of a document as bytes; empty for nothing and for anything nested."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return str(value).encode() if isinstance(value, int | float) else b""


def from_base64(value: Any) -> bytes:
    """Decoded base64; the text itself if it is not base64."""
    text = to_bytes(value)
    with suppress(Error, ValueError):
        return b64decode(b"".join(text.split()), validate=True)
    return text


def fields(value: Any) -> Headers:
    """Header fields: of a list of names and values, or an object of one or several values."""
    found: list[tuple[bytes, bytes]] = []
    if isinstance(value, dict):
        for name, held in value.items():
            values = held if isinstance(held, list) else [held]
            found += [(to_bytes(name), to_bytes(one)) for one in values]
    elif isinstance(value, list):
        for one in map(mapping, value):
            found.append((to_bytes(one.get("name")), to_bytes(one.get("value"))))
    return tuple(found)


def exchange(
    method: bytes,
    url: bytes,
    asked: Headers,
    question: bytes,
    head: ResponseHead,
    answer: bytes,
) -> tuple[HTTPInteraction, tuple[tuple[str, bytes], ...]]:
    """An interaction, and what of its URL has no place in one."""
    text = url.decode("utf-8", "replace")
    try:
        parts = urlsplit(text)
    except ValueError:
        return _exchange(method, url, asked, question, head, answer), ()
    target = parts.path + ("?" + parts.query if parts.query else "")
    whole = "@" in parts.netloc or parts.fragment
    texts = (("request url", url),) if whole else ()
    made = _exchange(method, target.encode() or b"/", asked, question, head, answer)
    return made, texts


def _exchange(
    method: bytes, target: bytes, asked: Headers, question: bytes, head: ResponseHead, answer: bytes
) -> HTTPInteraction:
    request = RecordedRequest(method, target, asked, Body.of(question))
    return HTTPInteraction(request, head, Body.of(answer))


def rest_of(what: str, document: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    """What nothing else reads of a recording, as JSON; the name of its place before it."""
    if not any(document.values()):
        return ()
    return ((what, as_json(document)),)


def as_json(document: Any) -> bytes:
    """A part of a document as JSON."""
    return msgspec.json.encode(_plain(document))


def _plain(value: Any) -> Any:
    """A document without text that is not Unicode, which JSON cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
