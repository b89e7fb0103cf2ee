"""What answers and sessions hold: JSON, messages of several kinds, text, or bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from attrs import field, frozen

from buffr.formats.codings import decoded, unlabelled
from buffr.interaction import Body, Direction, Frame, FrameKind, WebSocketInteraction
from buffr.message import Headers, media_type
from buffr.recording.player import reader

__all__ = [
    "JSON",
    "Document",
    "Message",
    "Messages",
    "Opaque",
    "Text",
    "document_of",
    "frames_of",
    "message_of",
]

LARGEST_BYTES = 64 << 20
"""Larger bodies are only compared by their bytes."""

_MOST_MESSAGES = 100_000
_LINE_END = re.compile(rb"\r\n|\r|\n")
_MARK = re.compile(r"\[[A-Z_]{1,32}\]")
_LINES = frozenset((b"application/x-ndjson", b"application/jsonl", b"application/x-jsonlines"))
_PINGS = frozenset((FrameKind.PING, FrameKind.PONG))
_NAMES_OF_KINDS = ("type", "event", "object")
_LONGEST_KIND = 80

_decode = msgspec.json.Decoder().decode


@frozen(eq=False)
class JSON:
    """One JSON document."""

    value: Any


@frozen(eq=False)
class Message:
    """One event of a stream, or one message of a session.

    ``kind`` names what it is: an event's name, the ``type`` of its JSON, or
    ``text`` and the like. ``value`` is its JSON, or its text.
    """

    kind: str
    value: Any


@frozen(eq=False)
class Messages:
    """A sequence of messages. ``noun`` is what one is called: ``event``, ``line``, ``message``."""

    noun: str
    all: Sequence[Message]

    @property
    def kinds(self) -> dict[str, list[Any]]:
        """The values of each kind, in the order in which the kinds first came."""
        found: dict[str, list[Any]] = {}
        for message in self.all:
            found.setdefault(message.kind, []).append(message.value)
        return found


@frozen
class Text:
    """Any other text."""

    text: str


@frozen
class Opaque:
    """Bytes that are not read: how many, and their SHA-256."""

    size_bytes: int
    sha256: bytes = field(repr=False)


Document = JSON | Messages | Text | Opaque


def document_of(body: Body, headers: Headers) -> Document:
    """What an answer's body holds. Raises ``CassetteError`` if its file cannot be read."""
    if body.size_bytes > LARGEST_BYTES:
        return _digest_of(body)
    data = b"".join(_blocks(body))
    codings = b",".join([value for name, value in headers if name.lower() == b"content-encoding"])
    plain = decoded(codings or unlabelled(data[:512]), data, limit_bytes=LARGEST_BYTES)
    if plain is None:
        return Opaque(len(data), sha256(data).digest())
    kind = media_type(headers)
    if kind == b"text/event-stream":
        return Messages("event", tuple(_events(plain)))
    if kind in _LINES:
        lines = (line for line in plain.split(b"\n") if line.strip())
        return Messages("line", tuple(_message(line, "", "line") for line in lines))
    return _single(plain)


def _single(data: bytes) -> Document:
    if data.lstrip()[:1] in (b"{", b"[", b'"') or data[:4] in (b"null", b"true", b"fals"):
        try:
            return JSON(_decode(data))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
    try:
        return Text(data.decode("utf-8"))
    except UnicodeDecodeError:
        return Opaque(len(data), sha256(data).digest())


def _digest_of(body: Body) -> Opaque:
    digest = sha256()
    for block in _blocks(body):
        digest.update(block)
    return Opaque(body.size_bytes, digest.digest())


def _blocks(body: Body) -> Iterator[bytes]:
    if body.file is None:
        yield body.data
        return
    read, at = reader(body), 0
    while at < body.size_bytes:
        block = read(at, min(1 << 20, body.size_bytes - at))
        at += len(block)
        yield block


def _events(stream: bytes) -> Iterator[Message]:
    """The events of a stream, as browsers dispatch them (HTML, 9.2.6)."""
    name, count = "", 0
    data: list[bytes] = []
    for line in _LINE_END.split(stream.removeprefix(b"\xef\xbb\xbf")):
        if not line:
            if data:
                yield _message(b"\n".join(data), name, "message")
                count += 1
                if count == _MOST_MESSAGES:
                    return
            name, data = "", []
            continue
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"event":
            name = value.decode("utf-8", "replace")
        elif key == b"data":
            data.append(value)


def message_of(frame: Frame) -> Message:
    """One frame of a session. Raises ``CassetteError`` if its file cannot be read."""
    match frame.kind:
        case FrameKind.TEXT:
            return _message(b"".join(_blocks(frame.data)), "", "text")
        case FrameKind.CLOSE:
            return Message(f"close {frame.close_code or 'without a code'}", None)
    return Message(str(frame.kind), None)


def _message(data: bytes, name: str, otherwise: str) -> Message:
    single = _single(data)
    match single:
        case JSON(value):
            kind = _kind_of(value)
            words = [name, kind] if kind not in ("", name) else [name]
            return Message(" ".join(filter(None, words)) or otherwise, value)
        case Text(text):
            mark = text if _MARK.fullmatch(text) else ""
            return Message(mark or name or otherwise, text)
    return Message(name or otherwise, None)


def _kind_of(value: object) -> str:
    """What a JSON message calls itself."""
    if isinstance(value, dict):
        for name in _NAMES_OF_KINDS:
            kind = value.get(name)
            if isinstance(kind, str) and 0 < len(kind) <= _LONGEST_KIND:
                return kind
    return ""


def frames_of(session: WebSocketInteraction) -> Messages:
    """What the server sent in a session: its messages, and its close frame."""
    return Messages("message", tuple(_server_messages(session)))


def _server_messages(session: WebSocketInteraction) -> Iterable[Message]:
    for frame in session.frames[:_MOST_MESSAGES]:
        if frame.direction is Direction.SERVER and frame.kind not in _PINGS:
            yield message_of(frame)
