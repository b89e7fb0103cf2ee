"""Flow dumps of mitmproxy, format 21 (mitmproxy 11 and later)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from buffr.interaction import (
    Direction,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.interchange.exported import Exported, NotExported
from buffr.interchange.mitmproxy import NEWEST
from buffr.message import Headers
from buffr.origin import Origin

__all__ = ["MitmproxyWriter"]

_OPCODES = {FrameKind.TEXT: 1, FrameKind.BINARY: 2}


class MitmproxyWriter:
    """Writes flows; ``origin`` is for interactions that have no host."""

    beginning = between = end = b""

    def __init__(self, origin: Origin | None = None) -> None:
        self._origin = origin

    def write(self, interaction: Interaction) -> Exported:
        """One flow. Raises ``NotExported`` where no host is known."""
        losses = []
        request = interaction.request
        host, port, scheme = self._place(request)
        at = _seconds(interaction.recorded_at)
        flow: dict[str, Any] = {
            "version": NEWEST,
            "type": "http",
            "id": str(uuid4()),
            "error": None,
            "intercepted": False,
            "is_replay": None,
            "marked": "",
            "comment": "",
            "metadata": {},
            "backup": None,
            "timestamp_created": at,
            "client_conn": _connection(("127.0.0.1", 0), at, secure=scheme == "https", client=True),
            "server_conn": _connection((host, port), at, secure=scheme == "https", client=False),
            "request": {
                "host": host,
                "port": port,
                "scheme": scheme.encode(),
                "authority": b"",
                "method": request.method,
                "path": request.target,
                **_message(request.headers, request.body.data, (), at, at),
            },
            "websocket": None,
        }
        response = interaction.response
        data, took = b"", 0.0
        trailers: Headers = ()
        if isinstance(interaction, HTTPInteraction):
            data, trailers = interaction.body.data, interaction.trailers
            took = sum(chunk.delay_ms for chunk in interaction.chunks) / 1000
            if len(interaction.chunks) > 1:
                losses.append("where the body was cut, and when its pieces came")
            if not interaction.whole:
                losses.append(f"that the answer is not whole: {interaction.truncated}")
        else:
            flow["websocket"] = _session(interaction, at, losses)
        flow["response"] = {
            "status_code": response.status,
            "reason": response.reason,
            **_message(response.headers, data, trailers, at, at + took),
        }
        return Exported(_tnetstring(flow), tuple(losses))

    def _place(self, request: RecordedRequest) -> tuple[str, int, str]:
        if request.host is not None:
            scheme = request.scheme or "http"
            return request.host, request.port or (443 if scheme == "https" else 80), scheme
        if self._origin is None:
            raise NotExported("it has no host: --target says which one it is of")
        return self._origin.host, self._origin.port, self._origin.scheme


def _message(
    headers: Headers, data: bytes, trailers: Headers, begun: float, ended: float
) -> dict[str, Any]:
    return {
        "http_version": b"HTTP/1.1",
        "headers": [list(pair) for pair in headers],
        "content": data,
        "trailers": [list(pair) for pair in trailers] if trailers else None,
        "timestamp_start": begun,
        "timestamp_end": ended,
    }


def _connection(place: tuple[str, int], at: float, *, secure: bool, client: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": str(uuid4()),
        "peername": list(place),
        "sockname": ["127.0.0.1", 0],
        "transport_protocol": "tcp",
        "timestamp_start": at,
        "timestamp_end": None,
        "timestamp_tls_setup": None,
        "tls": secure,
        "error": None,
        "certificate_list": [],
        "alpn": None,
        "alpn_offers": [],
        "cipher": None,
        "cipher_list": [],
        "tls_version": None,
        "sni": place[0] if secure and not client else None,
    }
    if client:
        return {**told, "mitmcert": None, "proxy_mode": "regular"}
    return {**told, "address": list(place), "via": None, "timestamp_tcp_setup": at}


def _session(session: WebSocketInteraction, at: float, losses: list[str]) -> dict[str, Any]:
    messages = []
    code, reason, by_client = None, "", None
    for frame in session.frames:
        at += frame.delay_ms / 1000
        from_client = frame.direction is Direction.CLIENT
        if frame.kind in _OPCODES:
            content = frame.data.data
            messages.append([_OPCODES[frame.kind], from_client, content, at, False, False])
        elif frame.kind is FrameKind.CLOSE and by_client is None:
            code, reason, by_client = frame.close_code, frame.reason, from_client
        elif frame.kind is not FrameKind.CLOSE:
            losses.append("pings and pongs")
    return {
        "messages": messages,
        "closed_by_client": by_client,
        "close_code": code,
        "close_reason": reason or None,
        "timestamp_end": at,
    }


def _seconds(recorded_at: str | None) -> float:
    try:
        return datetime.fromisoformat(recorded_at or "").timestamp()
    except ValueError:
        return 0.0


def _tnetstring(value: Any) -> bytes:
    match value:
        case None:
            return b"0:~"
        case bool():
            return b"4:true!" if value else b"5:false!"
        case int():
            return _framed(b"%d" % value, b"#")
        case float():
            return _framed(repr(value).encode(), b"^")
        case bytes():
            return _framed(value, b",")
        case str():
            return _framed(value.encode("utf-8", "surrogateescape"), b";")
        case list():
            return _framed(b"".join(map(_tnetstring, value)), b"]")
        case dict():
            pairs = (_tnetstring(key) + _tnetstring(each) for key, each in value.items())
            return _framed(b"".join(pairs), b"}")
    raise TypeError(type(value).__name__)


def _framed(payload: bytes, kind: bytes) -> bytes:
    return b"%d:%b%b" % (len(payload), payload, kind)
