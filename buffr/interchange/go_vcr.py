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
    each_imported,
    exchange,
    fields_by_name,
    text_bytes,
)
from buffr.interchange.source import Source, SourceError, converted
from buffr.interchange.yaml_text import read_yaml

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
    yield from each_imported(found, lambda value: _imported(converted(value, _Interaction)))


def _imported(given: _Interaction) -> Imported:
    request, response = given.request, given.response
    losses = []
    if response.uncompressed:
        losses.append("Go had undone the coding of the body, and taken Content-Encoding away")
    asked = Asked(
        request.method, request.url, fields_by_name(request.headers or {}), _bytes(request.body)
    )
    answer = Answer(
        response.code,
        fields_by_name(response.headers or {}),
        _bytes(response.body),
        reason=response.status.removeprefix(str(response.code)).strip() or None,
        trailers=fields_by_name(response.trailer or {}),
    )
    return exchange(asked, answer, losses=losses)


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else text_bytes(str(body or ""))
