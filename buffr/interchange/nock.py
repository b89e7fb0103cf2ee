"""Fixtures of nock (Node): what its recorder gives with ``output_objects``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from buffr.formats.codings import are_plain
from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    each_imported,
    exchange,
    fields,
    fields_by_name,
    json_bytes,
    text_bytes,
)
from buffr.interchange.source import Source, SourceError, converted, shaped
from buffr.message import Headers, first_value

__all__ = ["LACKS", "read"]

LACKS = (
    "order of header fields, and all but the last of fields that are repeated",
    "the spelling of JSON bodies",
    "where a body was cut, and when its pieces came",
    "times of recordings",
    "WebSocket sessions",
)


class _Recording(msgspec.Struct):
    scope: str
    path: str
    method: str = "GET"
    body: Any = ""
    status: int = 200
    response: Any = ""
    rawHeaders: dict[str, Any] | list[str] = {}  # nock's names
    headers: dict[str, Any] = {}
    reqheaders: dict[str, Any] = {}
    responseIsBinary: bool = False


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The recordings of a fixture, in their order. Raises ``SourceError``."""
    try:
        found = shaped(source.whole(), list[Any])
    except NotImported as error:
        raise SourceError(f"{source.path}: {error.message}") from error
    yield from each_imported(found, lambda one: _imported(converted(one, _Recording)))


def _imported(given: _Recording) -> Imported:
    headers = _fields(given.rawHeaders or given.headers)
    asked = Asked(
        given.method,
        given.scope.rstrip("/") + given.path,
        _fields(given.reqheaders),
        _request_body(given.body),
    )
    return exchange(asked, Answer(given.status, headers, _answer_body(given, headers)))


def _fields(given: dict[str, Any] | list[str]) -> Headers:
    if isinstance(given, list):  # name, value, name, value …
        return fields(zip(given[::2], given[1::2], strict=False))
    return fields_by_name(given)


def _request_body(body: Any) -> bytes:
    return _spelled(body) if isinstance(body, str) else json_bytes(body)


def _answer_body(given: _Recording, headers: Headers) -> bytes:
    response = given.response
    codings = first_value(headers, b"content-encoding") or b""
    if isinstance(response, list) and not are_plain(codings):
        return b"".join(_from_hex(str(part)) for part in response)
    if isinstance(response, str):
        return _from_hex(response) if given.responseIsBinary else _spelled(response)
    return json_bytes(response)


def _spelled(text: str) -> bytes:
    """Text, or hex for bytes that are not text: then what it stands for is not UTF-8."""
    data = _from_hex(text)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    return text_bytes(text)


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return text_bytes(text)
