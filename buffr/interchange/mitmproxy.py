"""Flow dumps of mitmproxy: tnetstrings, one flow after another.

https://docs.mitmproxy.org/stable/concepts-filters/ has no description of the
format; what is here comes from dumps of versions 8 to 12 (formats 15 to 21),
in which the members that are read have not changed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

from buffr.interaction import Body, Direction, Frame, FrameKind
from buffr.interchange.imported import Answer, Asked, Imported, NotImported, exchange, session, utc
from buffr.interchange.source import Source, SourceError
from buffr.message import Headers, first_value

__all__ = ["LACKS", "NEWEST", "OLDEST", "read"]

LACKS = ("where a body was cut, and when its pieces came",)

OLDEST, NEWEST = 15, 21
"""Formats whose members are known."""

_KINDS = {1: FrameKind.TEXT, 2: FrameKind.BINARY}
_LENGTH_DIGITS = 12


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The flows of a dump, in their order. Raises ``SourceError``."""
    for flow in _flows(source):
        try:
            yield _imported(flow)
        except NotImported as error:
            yield error


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
        raise _Malformed(f"{kind!r} is no type" if depth else "it is nested too deeply")
    items = []
    at = start
    while at < end:
        item, at = _value(text, at, end, depth - 1)
        items.append(item)
    if kind == b"]":
        return items, end + 1
    keys = [key.decode() if isinstance(key, bytes) else str(key) for key in items[::2]]
    return dict(zip(keys, items[1::2], strict=True)), end + 1


def _imported(flow: dict[str, Any]) -> Imported:
    if flow.get("type") != "http":
        raise NotImported(f"it is a flow of type {flow.get('type')!r}, not HTTP")
    request, response = flow.get("request"), flow.get("response")
    if not isinstance(request, dict):
        raise NotImported("it has no request")
    if not isinstance(response, dict):
        error = flow.get("error")
        why = error.get("msg") if isinstance(error, dict) else "none came"
        raise NotImported(f"it has no answer: {why}")
    asked = _asked(request)
    at = utc(request.get("timestamp_start"))
    if isinstance(flow.get("websocket"), dict):
        start = response.get("timestamp_end") or 0
        frames = tuple(_frames(flow["websocket"], start))
        return session(asked, _headers(response), frames, recorded_at=at)
    losses = []
    body = response.get("content")
    if body is None:
        losses.append("the source does not have the body of the answer")
    begun, ended = response.get("timestamp_start"), response.get("timestamp_end")
    delay = round((ended - begun) * 1000) if begun and ended else 0
    answer = Answer(
        int(response["status_code"]),
        _headers(response),
        body or b"",
        reason=_text(response.get("reason")) or None,
        trailers=_pairs(response.get("trailers")),
        delay_ms=max(0, delay),
    )
    return exchange(asked, answer, recorded_at=at, losses=losses)


def _asked(request: dict[str, Any]) -> Asked:
    headers = _headers(request)
    authority = _text(request.get("authority"))
    if authority and first_value(headers, b"host") is None:
        headers = ((b"Host", authority.encode()), *headers)
    host, port = _text(request.get("host")), request.get("port")
    literal = f"[{host}]" if ":" in host else host
    path = _text(request.get("path"))
    url = f"{_text(request.get('scheme')) or 'http'}://{literal}:{port}{path}"
    return Asked(_text(request.get("method")), url, headers, request.get("content"))


def _headers(message: dict[str, Any]) -> Headers:
    return _pairs(message.get("headers"))


def _pairs(given: Any) -> Headers:
    return tuple([(bytes(name), bytes(value)) for name, value in given or ()])


def _text(value: Any) -> str:
    return (
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value or "")
    )


def _frames(given: dict[str, Any], before: float) -> Iterator[Frame]:
    for message in given.get("messages") or ():
        opcode, from_client, data, at, *rest = message
        if rest and rest[0]:
            continue  # it was dropped by a person, and never arrived
        kind = _KINDS.get(opcode)
        if kind is None:
            raise NotImported(f"a message has the opcode {opcode}")
        delay = max(0, round((at - before) * 1000)) if before else 0
        before = at
        yield Frame(_direction(from_client), kind, Body.of(data), delay_ms=delay)
    code = given.get("close_code")
    if code is not None:
        ended = given.get("timestamp_end")
        delay = max(0, round((ended - before) * 1000)) if ended and before else 0
        by, reason = _direction(given.get("closed_by_client")), _text(given.get("close_reason"))
        for direction, pause in ((by, delay), (_other(by), 0)):
            yield Frame(direction, FrameKind.CLOSE, delay_ms=pause, close_code=code, reason=reason)


def _direction(from_client: Any) -> Direction:
    return Direction.CLIENT if from_client else Direction.SERVER


def _other(direction: Direction) -> Direction:
    return Direction.SERVER if direction is Direction.CLIENT else Direction.CLIENT
