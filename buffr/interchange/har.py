"""HAR 1.2, as browsers, Playwright, mitmproxy and Polly write it.

The dialects differ in what they leave out, in how bodies are written, and in
the unit of the times of WebSocket messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from buffr.errors import CassetteError
from buffr.formats.codings import are_plain
from buffr.interaction import Body, Direction, Frame, FrameKind
from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    body_of_base64,
    charset_of,
    each_imported,
    exchange,
    fields,
    form_of,
    session,
    text_bytes,
    utc,
)
from buffr.interchange.source import Source, shaped
from buffr.message import Headers, first_value
from buffr.stores.cassette.format import decode

__all__ = ["LACKS", "read"]

LACKS = ("where a body was cut, and when its pieces came", "trailers")

_KINDS = {
    1: FrameKind.TEXT,
    2: FrameKind.BINARY,
    8: FrameKind.CLOSE,
    9: FrameKind.PING,
    10: FrameKind.PONG,
}
_NO_FILES = Path()
"""An element in a HAR has its bodies in itself."""
_MILLISECONDS_FROM = 1e11
"""A time since 1970 that is larger is in milliseconds: in seconds it would be the year 5138."""


class _Pair(msgspec.Struct):
    name: str = ""
    value: str = ""


class _Param(msgspec.Struct):
    name: str = ""
    value: str | None = None
    fileName: str | None = None  # HAR's names


class _PostData(msgspec.Struct):
    mimeType: str | None = None
    text: str | None = None
    params: list[_Param] = []
    encoding: str | None = None
    file: str | None = msgspec.field(default=None, name="_file")


class _Request(msgspec.Struct):
    method: str
    url: str
    headers: list[_Pair] = []
    postData: _PostData | None = None
    bodySize: float | None = None


class _Content(msgspec.Struct):
    size: float | None = None
    mimeType: str | None = None
    text: str | None = None
    encoding: str | None = None
    file: str | None = msgspec.field(default=None, name="_file")


class _Response(msgspec.Struct):
    status: int
    statusText: str | None = None
    headers: list[_Pair] = []
    content: _Content = msgspec.field(default_factory=_Content)


class _Message(msgspec.Struct):
    type: str
    opcode: int
    data: str = ""
    time: float | None = None


class _Timings(msgspec.Struct):
    receive: float | None = None


class _Entry(msgspec.Struct):
    request: _Request
    response: _Response
    startedDateTime: str | None = None
    timings: _Timings | None = None
    order: float | None = msgspec.field(default=None, name="_order")
    messages: list[_Message] | None = msgspec.field(default=None, name="_webSocketMessages")
    element: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="_buffr")


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The entries of a HAR, in their order."""
    texts = source.elements("entries")
    return each_imported(texts, lambda text: _imported(shaped(text, _Entry), source))


def _imported(entry: _Entry, source: Source) -> Imported:
    if entry.element:
        return _own(bytes(entry.element))
    request = entry.request
    headers = fields([(each.name, each.value) for each in request.headers])
    losses: list[str] = []
    if first_value(headers, b"upgrade") is not None or entry.messages is not None:
        return _session(entry, headers, source)
    asked = Asked(request.method, request.url, headers, _request_body(request, headers, source))
    content = entry.response.content
    answer_headers = fields(_split_cookies(entry.response.headers))
    receive = entry.timings.receive if entry.timings and entry.timings.receive else 0
    answer = Answer(
        entry.response.status,
        answer_headers,
        _answer_body(content, answer_headers, source, losses),
        reason=entry.response.statusText or None,
        delay_ms=max(0, round(receive)),
    )
    return exchange(asked, answer, recorded_at=utc(entry.startedDateTime), losses=losses)


def _own(element: bytes) -> Imported:
    """The interaction that buffr itself embedded, in a cassette's format."""
    try:
        interaction = decode(element, _NO_FILES)
    except CassetteError as error:
        raise NotImported(f"_buffr: {error.message}") from error
    if any(body.file is not None for body in interaction.bodies):
        raise NotImported("_buffr: it names files for its bodies")
    return Imported(interaction)


def _split_cookies(pairs: list[_Pair]) -> Iterator[tuple[str, str]]:
    """Chromium joins lines of ``Set-Cookie`` by line feeds."""
    for pair in pairs:
        if pair.name.lower() == "set-cookie":
            yield from ((pair.name, value) for value in pair.value.split("\n"))
        else:
            yield pair.name, pair.value


def _request_body(request: _Request, headers: Headers, source: Source) -> bytes | None:
    data = request.postData
    content_type = (first_value(headers, b"content-type") or b"").decode("latin-1")
    if data is None:
        sends = (request.bodySize or 0) > 0
        sends = sends or (first_value(headers, b"content-length") or b"0") != b"0"
        return None if sends or content_type.startswith("multipart/") else b""
    if data.file is not None:
        return source.beside(data.file)
    if data.text:
        if data.encoding == "base64":
            return body_of_base64(data.text)
        sent = text_bytes(data.text, charset_of(data.mimeType or content_type))
        size = None if request.bodySize is None else int(request.bodySize)
        return _by_size(data.text, size, sent) if size and size > 0 else sent
    if data.params and "multipart" not in (data.mimeType or content_type):
        return form_of((each.name, each.value or "") for each in data.params).encode()
    length = first_value(headers, b"content-length")
    # Playwright writes an empty text for a body that is not text, Polly none.
    return b"" if length == b"0" or (data.text == "" and length is None) else None


def _answer_body(content: _Content, headers: Headers, source: Source, losses: list[str]) -> bytes:
    if content.file is not None:
        return _recoded(source.beside(content.file), content.mimeType or "")
    if content.text is None:
        if content.size is not None and content.size > 0:
            losses.append("the source does not have the body of the answer")
        return b""
    if content.encoding == "base64":
        return _from_chunks(content.text, headers)
    if content.encoding:
        raise NotImported(f"its body has the encoding {content.encoding!r}")
    given = first_value(headers, b"content-type")
    media_type = given.decode("latin-1") if given else content.mimeType or ""
    body = text_bytes(content.text, charset_of(media_type))
    size = None if content.size is None else int(content.size)
    if size is not None and size >= 0 and size != len(body):
        return _by_size(content.text, size, body)
    return body


def _recoded(data: bytes, media_type: str) -> bytes:
    """Playwright writes what the browser took for text as UTF-8, whatever it came in."""
    charset = charset_of(media_type)
    try:
        return text_bytes(data.decode("utf-8"), charset) if charset != "utf-8" else data
    except UnicodeDecodeError:
        return data


def _by_size(text: str, size: int, body: bytes) -> bytes:
    """The bytes of a text whose charset is not what was thought, if another has this size."""
    for charset in ("utf-8", "latin-1", "utf-16"):
        other = text_bytes(text, charset)
        if len(other) == size:
            return body if charset == "utf-8" else other
    return body


def _from_chunks(text: str, headers: Headers) -> bytes:
    """Base64; Polly writes a coded body as a JSON list of it, by chunks."""
    codings = first_value(headers, b"content-encoding") or b""
    if text.startswith("[") and not are_plain(codings):
        try:
            parts = json.loads(text)
        except ValueError as error:
            raise NotImported(f"its body is not a list of base64: {error}") from error
        return b"".join([body_of_base64(str(part)) for part in parts])
    return body_of_base64(text)


def _session(entry: _Entry, headers: Headers, source: Source) -> Imported:
    messages = entry.messages
    losses = []
    file = entry.response.content.file
    if messages is None and file is not None and file.endswith(".jsonl"):
        lines = source.beside(file).splitlines()
        messages = [shaped(line, _Message) for line in lines if line.strip()]
    if messages is None:
        raise NotImported("the source does not have the messages of this WebSocket session")
    if entry.response.status != 101:
        raise NotImported(f"its status is {entry.response.status}: no session was begun")
    frames = list(_frames(messages))
    if not any(frame.kind is FrameKind.CLOSE for frame in frames):
        losses.append("the source does not have the close of the session")
    answered = fields([(each.name, each.value) for each in entry.response.headers])
    asked = Asked("GET", entry.request.url, headers)
    at = utc(entry.startedDateTime)
    return session(asked, answered, frames, recorded_at=at, losses=losses)


def _frames(messages: list[_Message]) -> Iterator[Frame]:
    before: float | None = None
    for message in messages:
        kind = _KINDS.get(message.opcode)
        if kind is None:
            raise NotImported(f"a message has the opcode {message.opcode}")
        direction = Direction.CLIENT if message.type == "send" else Direction.SERVER
        now = message.time
        if now is not None and now < _MILLISECONDS_FROM:
            now *= 1000
        delay = 0 if before is None or now is None or now < 0 else max(0, round(now - before))
        before = now if now is not None and now >= 0 else before
        is_text = kind is FrameKind.TEXT
        data = text_bytes(message.data) if is_text else body_of_base64(message.data)
        if kind is FrameKind.CLOSE:
            code, reason = _close(data)
            yield Frame(direction, kind, delay_ms=delay, close_code=code, reason=reason)
        else:
            yield Frame(direction, kind, Body.of(data), delay_ms=delay)


def _close(payload: bytes) -> tuple[int | None, str]:
    if len(payload) < 2:
        return None, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
