"""Which value of a JSON text stands at an offset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

__all__ = ["pointers"]

_TOKEN = re.compile(rb'[\[\]{}:,]|"(?:[^"\\]|\\.)*+"|[^\s\[\]{}:,"]+', re.DOTALL)


def pointers(text: bytes, offsets: Sequence[int]) -> Iterator[str]:
    """The JSON pointer (RFC 6901) of the value at each of some ascending offsets.

    Empty for the whole, and where the text is no JSON. The name of a member
    counts as its value.
    """
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from ("" for _ in offsets)
        return
    path: list[bytes | int] = []
    tokens = _TOKEN.finditer(text)
    token = next(tokens, None)
    for offset in offsets:
        while token is not None and token.end() <= offset:
            _step(path, token[0])
            token = next(tokens, None)
        inner = path
        if token is not None and path and path[-1] == b"" and token[0].startswith(b'"'):
            inner = [*path[:-1], token[0]]  # at a member's name itself
        yield "".join(f"/{_escaped(part)}" for part in inner)


def _step(path: list[bytes | int], mark: bytes) -> None:
    """Take a token in: an empty name is one that is still to come."""
    if mark == b"{":
        path.append(b"")
    elif mark == b"[":
        path.append(0)
    elif mark in (b"}", b"]"):
        path.pop()
    elif mark == b"," and path:
        last = path[-1]
        path[-1] = last + 1 if isinstance(last, int) else b""
    elif path and path[-1] == b"" and mark.startswith(b'"'):
        path[-1] = mark


def _escaped(part: bytes | int) -> str:
    if isinstance(part, int):
        return str(part)
    name = str(msgspec.json.decode(part)) if part else ""
    return name.replace("~", "~0").replace("/", "~1")
