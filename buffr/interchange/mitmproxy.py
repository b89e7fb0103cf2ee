"""Flow dumps of mitmproxy: tnetstrings, one flow after another.

https://docs.mitmproxy.org/stable/concepts-filters/ has no description of the
format; what is here comes from dumps of versions 8 to 12 (formats 15 to 21),
in which the members that are read have not changed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import msgspec

from buffr.interaction import Body, Direction, Frame, FrameKind
from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    each_imported,
    exchange,
    session,
    utc,
)
from buffr.interchange.source import Source, SourceError, converted
from buffr.message import Headers, first_value

__all__ = ["LACKS", "NEWEST", "OLDEST", "read"]

LACKS = ("where a body was cut, and when its pieces came",)

OLDEST, NEWEST = 15, 21
"""Formats whose members are known."""

_KINDS = {1: FrameKind.TEXT, 2: FrameKind.BINARY}
_LENGTH_DIGITS = 12
_LONGEST_PAUSE_S = 86400 * 365


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The flows of a dump, in their order. Raises ``SourceError``."""
    return each_imported(_flows(source), lambda flow: _imported(converted(flow, _Flow)))


def _flows(source: Source) -> Iterator[dict[str, Any]]:
    try:
        with source.path.open("rb") as file:
            if not source.path.stat().st_size:
                raise SourceError(f"{source.path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                yield from _all(text, source)
    except OSError as error:
        raise SourceError(f"{source.path}: {error.strerror}") from error


def _all(text: mmap.mmap, source: Source) -> Iterator[dict[str, Any]]:
    at = 0
    while at < len(text):
        try:
            start, end = _extent(text, at, len(text))
            if end - start > source.limits.element_bytes:
                raise _Malformed("it is too large")
            flow = _value(text[at : end + 1], 0, end + 1 - at, source.limits.depth)[0]
        except (_Malformed, ValueError, IndexError) as error:
            raise SourceError(f"{source.path}: the flow at byte {at} is broken: {error}") from error
        if not isinstance(flow, dict):
            raise SourceError(f"{source.path}: there is no flow at byte {at}")
        version = flow.get("version")
        if not isinstance(version, int) or not OLDEST <= version <= NEWEST:
            raise SourceError(
                f"{source.path}: flow format {version!r} is not known; have mitmproxy write it "
                f"anew: mitmdump -nr OLD -w NEW"
            )
        yield flow
        at = end + 1


class _Malformed(Exception):
    """Bytes that are no tnetstring."""


def _extent(text: bytes | mmap.mmap, at: int, limit: int) -> tuple[int, int]:
    """Where the payload of the tnetstring here begins, and where its type stands."""
    colon = text.find(b":", at, at + _LENGTH_DIGITS)
    digits = text[at:colon]
    if colon < 0 or not digits.isdigit():
        raise _Malformed("a length is expected")
    end = colon + 1 + int(digits)
    if end >= limit:
        raise _Malformed("it ends too early")
    return colon + 1, end


def _value(text: bytes, at: int, limit: int, depth: int) -> tuple[Any, int]:
    start, end = _extent(text, at, limit)
    kind = text[end : end + 1]
    payload = text[start:end]
    if kind == b",":
        return payload, end + 1
    if kind == b";":
        return payload.decode("utf-8", "surrogateescape"), end + 1
    if kind == b"#":
        return int(payload), end + 1
    if kind == b"^":
        return float(payload), end + 1
    if kind == b"!":
        return payload == b"true", end + 1
    if kind == b"~":
        return None, end + 1
    if kind not in b"]}" or not depth:
        raise _Malformed(f"{kind!r} is not a type" if depth else "it is nested too deeply")
    items = []
    at = start
    while at < end:
        item, at = _value(text, at, end, depth - 1)
        items.append(item)
    if kind == b"]":
        return items, end + 1
    keys = [key.decode() if isinstance(key, bytes) else str(key) for key in items[::2]]
    return dict(zip(keys, items[1::2], strict=True)), end + 1


class _Message(msgspec.Struct):
    headers: list[tuple[bytes, bytes]]
    content: bytes | None = None
    trailers: list[tuple[bytes, bytes]] | None = None
    timestamp_start: float | None = None
    timestamp_end: float | None = None


class _Request(_Message, kw_only=True):
    method: bytes
    path: bytes
    port: int
    host: Any
    scheme: bytes = b"http"
    authority: bytes = b""


class _Response(_Message, kw_only=True):
    status_code: int
    reason: bytes = b""


class _Session(msgspec.Struct):
    messages: list[list[Any]] = []
    closed_by_client: bool | None = None
    close_code: int | None = None
    close_reason: Any = None
    timestamp_end: float | None = None


class _Error(msgspec.Struct):
    msg: str = ""


class _Flow(msgspec.Struct):
    type: str
    request: _Request | None = None
    response: _Response | None = None
    websocket: _Session | None = None
    error: _Error | None = None


def _imported(flow: _Flow) -> Imported:
    request, response = flow.request, flow.response
    if flow.type != "http" or request is None:
        raise NotImported(f"it is a flow of type {flow.type!r}, not HTTP")
    if response is None:
        why = flow.error.msg if flow.error is not None else "none came"
        raise NotImported(f"it has no answer: {why}")
    asked = _asked(request)
    at = utc(request.timestamp_start)
    if flow.websocket is not None:
        frames = tuple(_frames(flow.websocket, response.timestamp_end or 0))
        return session(asked, tuple(response.headers), frames, recorded_at=at)
    losses = []
    if response.content is None:
        losses.append("the source does not have the body of the answer")
    begun, ended = response.timestamp_start, response.timestamp_end
    answer = Answer(
        response.status_code,
        tuple(response.headers),
        response.content or b"",
        reason=response.reason.decode("latin-1") or None,
        trailers=tuple(response.trailers or ()),
        delay_ms=_ms(ended - begun) if begun and ended else 0,
    )
    return exchange(asked, answer, recorded_at=at, losses=losses)


def _asked(request: _Request) -> Asked:
    headers: Headers = tuple(request.headers)
    if request.authority and first_value(headers, b"host") is None:
        headers = ((b"Host", request.authority), *headers)
    host = _text(request.host)
    literal = f"[{host}]" if ":" in host else host
    url = f"{_text(request.scheme)}://{literal}:{request.port}{_text(request.path)}"
    return Asked(_text(request.method), url, headers, request.content)


def _ms(seconds: float) -> int:
    """Milliseconds of a pause; none where a clock was set back, or is no number."""
    return round(seconds * 1000) if 0 < seconds < _LONGEST_PAUSE_S else 0


def _text(value: Any) -> str:
    return (
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value or "")
    )


def _frames(given: _Session, before: float) -> Iterator[Frame]:
    for each in given.messages:
        message = converted([*each, False][:5], _Sent)
        if message.dropped:
            continue  # a person dropped it, and it never arrived
        kind = _KINDS.get(message.opcode)
        if kind is None:
            raise NotImported(f"a message has the opcode {message.opcode}")
        delay = _ms(message.at - before) if before else 0
        before = message.at
        direction = _direction(message.from_client)
        yield Frame(direction, kind, Body.of(message.data), delay_ms=delay)
    if given.close_code is None:
        return
    delay = _ms(given.timestamp_end - before) if given.timestamp_end and before else 0
    by, reason = _direction(given.closed_by_client), _text(given.close_reason)
    for direction, pause in ((by, delay), (_other(by), 0)):
        yield Frame(
            direction,
            FrameKind.CLOSE,
            delay_ms=pause,
            close_code=given.close_code,
            reason=reason,
        )


class _Sent(msgspec.Struct, array_like=True):
    opcode: int
    from_client: bool
    data: bytes
    at: float
    dropped: bool = False


def _direction(from_client: Any) -> Direction:
    return Direction.CLIENT if from_client else Direction.SERVER


def _other(direction: Direction) -> Direction:
    return Direction.SERVER if direction is Direction.CLIENT else Direction.CLIENT
