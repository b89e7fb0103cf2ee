"""Cassettes of go-vcr, v1 to v4: YAML, formats 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    exchange,
    fields,
    text_bytes,
)
from buffr.interchange.source import Source, SourceError, converted
from buffr.interchange.yaml_text import read_yaml
from buffr.message import Headers

__all__ = ["LACKS", "read"]

LACKS = (
    "order and case of header fields",
    "where a body was cut, and when its pieces came",
    "times of recordings",
    "WebSocket sessions",
)

_Fields = dict[str, list[str]] | None


class _Request(msgspec.Struct):
    method: str
    url: str
    headers: _Fields = None
    body: Any = ""
    host: str = ""


class _Response(msgspec.Struct):
    code: int
    status: str = ""
    headers: _Fields = None
    trailer: _Fields = None
    body: Any = ""
    uncompressed: bool = False


class _Interaction(msgspec.Struct):
    request: _Request
    response: _Response


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The interactions of a cassette, in their order. Raises ``SourceError``."""
    document = read_yaml(source.whole(), str(source.path), source.limits)
    found = document.get("interactions") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise SourceError(f"{source.path}: it has no interactions")
    for value in found:
        try:
            yield _imported(converted(value, _Interaction))
        except NotImported as error:
            yield error


def _imported(given: _Interaction) -> Imported:
    request, response = given.request, given.response
    losses = []
    if response.uncompressed:
        losses.append("Go had undone the coding of the body, and taken Content-Encoding away")
    asked = Asked(request.method, request.url, _fields(request.headers), _bytes(request.body))
    answer = Answer(
        response.code,
        _fields(response.headers),
        _bytes(response.body),
        reason=response.status.removeprefix(str(response.code)).strip() or None,
        trailers=_fields(response.trailer),
    )
    return exchange(asked, answer, losses=losses)


def _fields(given: _Fields) -> Headers:
    return fields((name, value) for name, values in (given or {}).items() for value in values)


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else text_bytes(str(body or ""))
