"""HAR 1.2, with what HAR does not know in a member of its own.

``_buffr`` is the interaction as a cassette has it, so that nothing is lost
on the way back.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from buffr import __version__
from buffr.formats.codings import decoded
from buffr.interaction import (
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.interchange.exported import Exported, url_of
from buffr.message import Headers, first_value
from buffr.origin import Origin
from buffr.stores.cassette.format import encode

__all__ = ["HARWriter"]

_OPCODES = {
    FrameKind.TEXT: 1,
    FrameKind.BINARY: 2,
    FrameKind.CLOSE: 8,
    FrameKind.PING: 9,
    FrameKind.PONG: 10,
}
_VERSIONS = {2: "HTTP/2"}
_LONGEST_BYTES = 64 << 20
_NEVER = "1970-01-01T00:00:00.000Z"


class HARWriter:
    """Writes entries; ``origin`` is for interactions that have no host."""

    between = b",\n"
    end = b"\n]}}\n"

    def __init__(self, origin: Origin | None = None) -> None:
        creator = {"name": "buffr", "version": __version__}
        head = msgspec.json.encode({"version": "1.2", "creator": creator, "pages": []})
        self.beginning = b'{"log":' + head[:-1] + b',"entries":[\n'
        self._origin = origin

    def write(self, interaction: Interaction) -> Exported:
        """One entry; nothing of the interaction is lost. Raises ``NotExported``."""
        request, response = interaction.request, interaction.response
        scheme = "ws" if isinstance(interaction, WebSocketInteraction) else None
        delays = (
            [frame.delay_ms for frame in interaction.frames]
            if isinstance(interaction, WebSocketInteraction)
            else [chunk.delay_ms for chunk in interaction.chunks]
        )
        entry: dict[str, Any] = {
            "startedDateTime": interaction.recorded_at or _NEVER,
            "time": sum(delays),
            "request": _request(request, url_of(request, self._origin, scheme)),
            "response": {
                "status": response.status,
                "statusText": response.reason.decode("latin-1"),
                "httpVersion": _VERSIONS.get(request.major, "HTTP/1.1"),
                "cookies": [],
                "headers": _pairs(response.headers),
                "content": _content(interaction),
                "redirectURL": _text(first_value(response.headers, b"location")),
                "headersSize": -1,
                "bodySize": -1,
            },
            "cache": {},
            "timings": {"send": 0, "wait": 0, "receive": sum(delays)},
            "_buffr": msgspec.Raw(encode(interaction)),
        }
        if isinstance(interaction, WebSocketInteraction):
            entry["_resourceType"] = "websocket"
            entry["_webSocketMessages"] = list(_messages(interaction))
        return Exported(msgspec.json.encode(entry))


def _request(request: RecordedRequest, url: str) -> dict[str, Any]:
    data = request.body.data
    query = request.target.partition(b"?")[2].decode("latin-1")
    told: dict[str, Any] = {
        "method": request.method.decode("latin-1"),
        "url": url,
        "httpVersion": _VERSIONS.get(request.major, "HTTP/1.1"),
        "cookies": [],
        "headers": _pairs(request.headers),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(query, keep_blank_values=True, errors="replace")
        ],
        "headersSize": -1,
        "bodySize": len(data),
    }
    if data:
        told["postData"] = {
            "mimeType": _text(first_value(request.headers, b"content-type")),
            **_spelled(data),
        }
    return told


def _content(interaction: Interaction) -> dict[str, Any]:
    """The body without its content codings, as HAR wants it and its readers expect it."""
    data = interaction.body.data if isinstance(interaction, HTTPInteraction) else b""
    headers = interaction.response.headers
    codings = b",".join([value for name, value in headers if name.lower() == b"content-encoding"])
    plain = decoded(codings, data, limit_bytes=_LONGEST_BYTES) if codings else data
    plain = data if plain is None else plain
    media_type = _text(first_value(headers, b"content-type"))
    told: dict[str, Any] = {"size": len(plain), "mimeType": media_type}
    if len(plain) != len(data):
        told["compression"] = len(plain) - len(data)
    return {**told, **_spelled(plain)}


def _spelled(data: bytes) -> dict[str, str]:
    """Text where the bytes are UTF-8, else base64."""
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text": b64encode(data).decode(), "encoding": "base64"}


def _pairs(headers: Headers) -> list[dict[str, str]]:
    return [{"name": _text(name), "value": _text(value)} for name, value in headers]


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")


def _messages(session: WebSocketInteraction) -> Any:
    at = 0.0
    for frame in session.frames:
        at += frame.delay_ms / 1000
        is_text = frame.kind is FrameKind.TEXT
        data = frame.data.data if frame.kind is not FrameKind.CLOSE else _close(frame)
        yield {
            "type": "send" if frame.direction is Direction.CLIENT else "receive",
            "time": at,
            "opcode": _OPCODES[frame.kind],
            "data": data.decode("utf-8", "replace") if is_text else b64encode(data).decode(),
        }


def _close(frame: Frame) -> bytes:
    if frame.close_code is None:
        return b""
    return frame.close_code.to_bytes(2, "big") + frame.reason.encode()
