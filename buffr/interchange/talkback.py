"""Tapes of talkback (Node): one JSON5 file for each exchange."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    body_of_base64,
    each_imported,
    exchange,
    fields_by_name,
    json_bytes,
    text_bytes,
    utc,
)
from buffr.interchange.source import Source, SourceError, shaped

__all__ = ["LACKS", "json_of_json5", "read"]

LACKS = (
    "order of header fields",
    "the spelling of JSON bodies that were written readably",
    "where a body was cut, and when its pieces came",
    "trailers",
    "WebSocket sessions",
)

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<mark>[{}\[\]:,])
    |(?P<word>[^\s{}\[\]:,'"/]+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(\r\n|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = frozenset(("true", "false", "null"))


class _Meta(msgspec.Struct):
    host: str = ""
    createdAt: str | None = None  # talkback's names
    reqHumanReadable: bool = False
    resHumanReadable: bool = False


class _Request(msgspec.Struct):
    url: str
    method: str
    headers: dict[str, Any] = {}
    body: Any = ""


class _Response(msgspec.Struct):
    status: int
    headers: dict[str, Any] = {}
    body: Any = ""


class _Tape(msgspec.Struct):
    req: _Request
    res: _Response
    meta: _Meta = msgspec.field(default_factory=_Meta)


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The exchange of a file, or those of a directory in the order of their times."""
    tapes: list[tuple[str, _Tape]] = []
    for path in _paths(source):
        try:
            text = Source(path, source.limits).whole().decode("utf-8")
            tape = shaped(json_of_json5(text), _Tape)
            tapes.append((tape.meta.createdAt or "", tape))
        except (NotImported, UnicodeDecodeError) as error:
            yield NotImported(f"{path}: {error}")
    in_order = [tape for _, tape in sorted(tapes, key=lambda each: each[0])]
    yield from each_imported(in_order, _imported)


def _paths(source: Source) -> list[Any]:
    if not source.path.is_dir():
        return [source.path]
    paths = sorted(source.path.rglob("*.json5"))
    if len(paths) > source.limits.files:
        raise SourceError(f"{source.path}: {len(paths)} files are too many")
    return paths


def _imported(tape: _Tape) -> Imported:
    meta, request, response = tape.meta, tape.req, tape.res
    asked = Asked(
        request.method,
        meta.host.rstrip("/") + request.url,
        fields_by_name(request.headers),
        _bytes(request.body, readable=meta.reqHumanReadable),
    )
    body = _bytes(response.body, readable=meta.resHumanReadable)
    answer = Answer(response.status, fields_by_name(response.headers), body)
    return exchange(asked, answer, recorded_at=utc(meta.createdAt))


def _bytes(body: Any, *, readable: bool) -> bytes:
    if not isinstance(body, str):
        return b"" if body is None else json_bytes(body)
    if readable:
        return text_bytes(body)
    return body_of_base64(body, strict=True)


def json_of_json5(text: str) -> str:
    """JSON text that means the same (https://spec.json5.org). Raises ``NotImported``.

    Numbers that JSON does not know (hex, ``NaN``, ``+1``) are refused.
    """
    out: list[str] = []
    at, comma = 0, False
    for token in _TOKEN.finditer(text):
        if token.start() != at:
            break
        at = token.end()
        if token.lastgroup == "space":
            continue
        value = token[0]
        if comma and value not in "}]":
            out.append(",")
        comma = value == ","
        if not comma:
            out.append(_spelled(token, text, at))
    if at != len(text):
        raise NotImported(f"it is not JSON5 at character {at}")
    return "".join(out)


def _spelled(token: re.Match[str], text: str, end: int) -> str:
    value = token[0]
    if token.lastgroup == "string":
        # Halves of a character, which msgspec does not take; together they are one again.
        return json.dumps(_ESCAPE.sub(_unescaped, value[1:-1]))
    if token.lastgroup == "mark" or value in _LITERALS or _NUMBER.fullmatch(value):
        return value
    if text[end:].lstrip()[:1] == ":":
        return json_bytes(value).decode()
    raise NotImported(f"it is not JSON5: {value[:20]!r}")


def _unescaped(found: re.Match[str]) -> str:
    what = found[1]
    if what[0] in "ux" and len(what) > 1:
        return chr(int(what[1:], 16))
    if what in ("\n", "\r\n", "\r"):
        return ""
    return _ESCAPES.get(what, what)
