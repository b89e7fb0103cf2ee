"""Cassettes of VCR.py, pytest-recording and cassetter, of VCR for Ruby and betamax.

All have a request and an answer with fields by name, each with its values.
They differ in how a body is written. VCR.py leaves ``Content-Encoding`` as it
was whether the body is decoded or not.
"""

from __future__ import annotations

import json
import tomllib
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
    fields,
    json_bytes,
    text_bytes,
    utc,
)
from buffr.interchange.source import Source, SourceError, converted, shaped
from buffr.interchange.yaml_text import read_yaml
from buffr.message import Headers

__all__ = ["LACKS", "read"]

LACKS = (
    "order and case of header fields",
    "where a body was cut, and when its pieces came",
    "trailers",
    "WebSocket sessions",
)

_RESPELLED = "the source has parsed JSON bodies, and does not have their spelling"

_Fields = dict[str, Any]


class _Request(msgspec.Struct):
    method: str
    uri: str
    headers: _Fields | list[tuple[str, Any]] | None = None
    body: Any = None
    parsed_body: Any = None
    body_type: str | None = None
    body_content: str | None = None


class _Status(msgspec.Struct):
    code: int
    message: str | None = None


class _Response(msgspec.Struct):
    status: _Status | int | None = None
    status_code: int | None = None
    headers: _Fields | list[tuple[str, Any]] | None = None
    body: Any = None
    parsed_body: Any = None
    content: Any = None
    body_type: str | None = None
    body_content: str | None = None


class _Interaction(msgspec.Struct):
    request: _Request
    response: _Response
    recorded_at: str | None = None


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The interactions of a cassette, in their order. Raises ``SourceError``."""
    data = source.whole()
    document = _document(data, source)
    if not isinstance(document, dict):
        raise SourceError(f"{source.path}: it has no interactions")
    found = document.get("interactions", document.get("http_interactions"))
    if not isinstance(found, list):
        raise SourceError(f"{source.path}: its interactions are not a list")
    if _is_sorted(found):
        found = sorted(found, key=lambda value: str(value.get("recorded_at")))
    yield from each_imported(found, lambda value: _imported(converted(value, _Interaction)))


def _is_sorted(found: list[Any]) -> bool:
    """Whether cassetter wrote it, which sorts by URL: only the times have the order."""
    if not all(isinstance(value, dict) and value.get("recorded_at") for value in found):
        return False
    requests = [value.get("request") for value in found]
    return any(
        isinstance(request, dict)
        and (
            "body_type" in request
            or (isinstance(body := request.get("body"), dict) and "type" in body)
        )
        for request in requests
    )


def _document(data: bytes, source: Source) -> Any:
    if source.path.suffix == ".toml":
        try:
            return tomllib.loads(data.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SourceError(f"{source.path}: it is not TOML: {error}") from error
    if data.lstrip()[:1] == b"{":
        try:
            return shaped(data, dict[str, Any])
        except NotImported as error:
            raise SourceError(f"{source.path}: {error.message}") from error
    return read_yaml(data, str(source.path), source.limits)


def _imported(given: _Interaction) -> Imported:
    request, response = given.request, given.response
    asked = Asked(request.method, request.uri, _fields(request.headers), _body_of(request))
    status, code, reason = response.status, response.status_code, None
    if isinstance(status, _Status):
        code, reason = status.code, status.message
    elif status is not None:
        code = status
    if code is None:
        raise NotImported("its answer has no status")
    answer = Answer(code, _fields(response.headers), _body_of(response), reason=reason)
    losses = [_RESPELLED] if _is_parsed(request) or _is_parsed(response) else []
    return exchange(asked, answer, recorded_at=utc(given.recorded_at), losses=losses)


def _is_parsed(message: _Request | _Response) -> bool:
    """Whether a body was stored as what its JSON means."""
    body = message.body
    kind = body.get("type") if isinstance(body, dict) else message.body_type
    return message.parsed_body is not None or kind == "json"


def _fields(given: _Fields | list[tuple[str, Any]] | None) -> Headers:
    """A mapping, or the list of pairs that the stub of Tornado has written."""
    pairs: list[tuple[str, str]] = []
    for name, values in given.items() if isinstance(given, dict) else given or ():
        listed = values if isinstance(values, list) else [values]
        pairs += [(name, _as_text(value)) for value in listed if value is not None]
    return fields(pairs)


def _as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _body_of(message: _Request | _Response) -> bytes:
    """A body in whatever way one of the tools wrote it."""
    body = message.body
    if message.parsed_body is not None:  # a serializer of pydantic's projects
        return json.dumps(message.parsed_body).encode("utf-8", "surrogatepass")
    if message.body_type is not None:
        return _typed(message.body_type, message.body_content)
    if isinstance(message, _Response) and message.content is not None:
        return _plain(message.content)
    if isinstance(body, dict) and "type" in body:
        return _typed(str(body["type"]), body.get("content"))
    return _spelled(body) if isinstance(body, dict) else _plain(body)


def _spelled(body: dict[str, Any]) -> bytes:
    """``{string: …}``, or ``{encoding: …, base64_string: …}``."""
    if isinstance(encoded := body.get("base64_string"), str):
        return body_of_base64(encoded)
    text = body.get("string")
    encoding = body.get("encoding")
    if isinstance(text, str) and isinstance(encoding, str) and encoding.upper() != "ASCII-8BIT":
        return text_bytes(text, encoding)
    return _plain(text)


def _typed(kind: str, content: Any) -> bytes:
    """cassetter: the type says how the content is written."""
    if kind in ("none", "empty") or content is None:
        return b""
    if kind == "binary" and isinstance(content, str):
        try:
            return bytes.fromhex(content)
        except ValueError:
            return _spelled({"base64_string": content})
    if kind == "json" and not isinstance(content, str):
        return json_bytes(content)
    return _plain(content)


def _plain(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return text_bytes(body)
    if isinstance(body, list):  # older ones kept what an iterator gave
        return b"".join(_plain(part) for part in body)
    raise NotImported(f"its body is written in an unknown way: {type(body).__name__}")
