"""Both sides of an exchange or a recording as data: heads, bodies, chunks, frames."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

from buffr.errors import CassetteError
from buffr.formats.protobuf.bodies import Messages, MessageTypes
from buffr.interaction import (
    Body,
    Chunk,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    WebSocketInteraction,
)
from buffr.matching.key import MatchKey
from buffr.message import Headers, media_type
from buffr.recording.readable import beginning, codings_of, content
from buffr.redaction.for_log import url_for_log
from buffr.redaction.rules import RedactionRules

__all__ = [
    "TOO_LONG_DECODED",
    "body_data",
    "frames_data",
    "is_too_long_decoded",
    "match_data",
    "request_data",
    "response_data",
]

TOO_LONG_DECODED = "it is too long without its coding to be searched for credentials"

_MOST_CHUNKS = 10_000
_MOST_FRAMES = 10_000
_LONGEST_PART = 500
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_DECODED = 16 << 20
"""That is searched in half a second; 200 KB of gzip can be 200 MB, and take ten."""
_INPUT_FACTOR = 4
"""A body with a coding is read up to so many times what is shown of it."""


def is_too_long_decoded(interaction: Interaction) -> bool:
    """Whether a body with a coding holds more than can be searched while somebody waits."""
    sides = [(interaction.request.body, interaction.request.headers)]
    if isinstance(interaction, HTTPInteraction):
        sides.append((interaction.body, interaction.response.headers))
    return any(_is_too_long(body, headers) for body, headers in sides if codings_of(headers))


def _is_too_long(body: Body, headers: Headers) -> bool:
    try:
        undone = beginning(content(body), headers, _MOST_DECODED)
    except CassetteError:
        return False
    return undone is not None and len(undone[0]) == _MOST_DECODED


def body_data(
    body: Body,
    headers: Headers,
    most_bytes: int,
    messages: Messages | None,
    *,
    missing: str | None = None,
    cut: bool = False,
) -> dict[str, Any]:
    """As ``Body`` in the API's document.

    ``messages`` are protobuf's. ``missing`` says why there is no body although
    there was one; ``cut``: the body goes on after what is there.
    """
    codings, decoded, more = codings_of(headers), False, cut
    data = b""
    if missing is None:
        try:
            data = content(body, most_bytes * _INPUT_FACTOR + 1 if codings else most_bytes)
        except CassetteError as error:
            missing = error.message
        more = cut or len(data) < body.size_bytes
        if codings and data:
            undone = beginning(data, headers, most_bytes)
            if undone is not None:
                decoded, (data, longer) = True, undone
                more = more or longer
    if len(data) > most_bytes:
        data, more = data[:most_bytes], True
    text = _text(data, more=more)
    return {
        "size_bytes": body.size_bytes,
        "media_type": media_type(headers).decode("latin-1") or None,
        "coding": codings.decode("latin-1") or None,
        "decoded": decoded,
        "encoding": "base64" if text is None else "text",
        "data": b64encode(data).decode("ascii") if text is None else text,
        "truncated": more and missing is None,
        "unavailable": missing,
        "messages": None if more else _messages(data, messages, most_bytes),
    }


def _messages(data: bytes, messages: Messages | None, most_bytes: int) -> dict[str, str] | None:
    """As ``Messages``; ``None`` if their types are not known."""
    if messages is None or messages.type is None:
        return None
    document = messages.document(data, most_bytes)
    if document is None:
        return None
    return {"type": messages.type.name, "text": document.decode("utf-8")}


def _text(data: bytes, *, more: bool) -> str | None:
    """Bytes as text; ``None`` if they are not text. A character that was cut is left out."""
    if _BINARY.search(data):
        return None
    for short in range(4 if more else 1):
        try:
            return data[: len(data) - short].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return None


def headers_data(headers: Headers) -> list[tuple[str, str]]:
    """Names and values."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def request_data(
    interaction: Interaction,
    rules: RedactionRules,
    most_bytes: int,
    types: MessageTypes,
    *,
    missing: str | None = None,
    base: str = "",
) -> dict[str, Any]:
    """As ``RequestSide``. ``base`` stands before a target without an origin."""
    request = interaction.request
    url = url_for_log(request, rules)
    messages = types.of_request(request.target, media_type(request.headers))
    return {
        "method": request.method.decode("latin-1"),
        "url": f"{base}{url}" if url.startswith("/") else url,
        "headers": headers_data(request.headers),
        "body": body_data(request.body, request.headers, most_bytes, messages, missing=missing),
    }


def response_data(
    interaction: Interaction,
    most_bytes: int,
    types: MessageTypes,
    *,
    missing: str | None = None,
    size_bytes: int | None = None,
) -> dict[str, Any]:
    """As ``ResponseSide``. ``size_bytes`` is that of the whole body, if not all is kept."""
    head = interaction.response
    body = Body()
    chunks: tuple[Chunk, ...] = ()
    trailers: Headers = ()
    if isinstance(interaction, HTTPInteraction):
        body, chunks, trailers = interaction.body, interaction.chunks, interaction.trailers
    cut = size_bytes is not None and size_bytes > body.size_bytes
    messages = types.of_answer(interaction.request.target, media_type(head.headers))
    shown = body_data(body, head.headers, most_bytes, messages, missing=missing, cut=cut)
    if cut:
        shown["size_bytes"] = size_bytes
    listed = [
        {"size_bytes": one.size_bytes, "delay_ms": one.delay_ms} for one in chunks[:_MOST_CHUNKS]
    ]
    for one in chunks[_MOST_CHUNKS:]:
        listed[-1]["size_bytes"] += one.size_bytes
        listed[-1]["delay_ms"] += one.delay_ms
    return {
        "status": head.status,
        "reason": head.reason.decode("latin-1"),
        "headers": headers_data(head.headers),
        "body": shown,
        "chunks": listed,
        "trailers": headers_data(trailers),
        "truncated": interaction.broke_off,
    }


def frames_data(interaction: Interaction, most_bytes: int) -> list[dict[str, Any]] | None:
    """As a list of ``Frame``, ``most_bytes`` for all together; ``None`` for what is no session."""
    if not isinstance(interaction, WebSocketInteraction):
        return None
    listed, left = [], most_bytes
    for frame in interaction.frames[:_MOST_FRAMES]:
        shown = _frame(frame, left)
        left = max(0, left - frame.data.size_bytes)
        listed.append(shown)
    return listed


def _frame(frame: Frame, most_bytes: int) -> dict[str, Any]:
    try:
        data = content(frame.data, most_bytes)
    except CassetteError:
        data = b""
    more = len(data) < frame.data.size_bytes
    text = _text(data, more=more) if frame.kind is not FrameKind.BINARY else None
    return {
        "direction": "client" if frame.direction is Direction.CLIENT else "server",
        "kind": frame.kind.value,
        "delay_ms": frame.delay_ms,
        "size_bytes": frame.data.size_bytes,
        "encoding": "base64" if text is None else "text",
        "data": b64encode(data).decode("ascii") if text is None else text,
        "truncated": more,
        "close_code": frame.close_code,
        "reason": frame.reason or None,
    }


def match_data(key: MatchKey, headers: Headers) -> dict[str, Any]:
    """As ``Match``: the parts of a request's key, and the names of its fields that are in none."""
    parts = [(name, _part(value)) for name, value in key.parts]
    counted = {name.removeprefix("header ") for name, _ in key.parts if name.startswith("header ")}
    names = [name.decode("latin-1").lower() for name, _ in headers]
    left_out = list(dict.fromkeys(name for name in names if name not in counted))
    return {"parts": parts, "left_out": left_out}


def _part(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return text if len(text) <= _LONGEST_PART else f"{text[:_LONGEST_PART]}…"
