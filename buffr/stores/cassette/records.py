"""The fields of version 1, as msgspec reads them.

Unknown fields are ignored, so that newer programs may add some.
``docs/cassette-format.md`` describes each one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from buffr.stores.cassette.fields import UTF_8

__all__ = [
    "ElementRecord",
    "ExchangeRecord",
    "FrameRecord",
    "KindRecord",
    "RequestRecord",
    "ResponseRecord",
    "SessionRecord",
    "SwitchRecord",
    "UpgradeRecord",
]


_Status = Annotated[int, msgspec.Meta(ge=200, le=999)]
_Switching = Annotated[int, msgspec.Meta(ge=101, le=101)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Size = Annotated[int, msgspec.Meta(ge=0)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0)]


class BodyKeyRecord(msgspec.Struct, gc=False):
    """``of`` is the name of the body's file, which the other fields describe."""

    rules: str = ""
    sha256: str = ""
    of: str = ""


_NO_HEADERS = msgspec.Raw(b"{}")
_NO_NAMES = msgspec.Raw(b"null")


class RequestRecord(msgspec.Struct, gc=False):
    method: str
    path: str
    query: str | None = None
    scheme: str | None = None
    host: str | None = None
    port: _Port | None = None
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: msgspec.Raw = _NO_HEADERS
    raw_headers: msgspec.Raw = _NO_NAMES
    body: str = ""
    body_b64: bytes = b""
    body_file: str = ""
    body_size: _Size = 0
    body_key: BodyKeyRecord | None = None
    http_version: int = 1


class BodyChunkRecord(msgspec.Struct, gc=False):
    data: str = ""
    data_b64: bytes = b""
    delay_ms: _Milliseconds = 0
    after: _Size = 0


class ResponseRecord(msgspec.Struct, gc=False):
    status: _Status
    reason: str | None = None
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: dict[str, list[str]] = {}
    raw_headers: list[str] | None = None
    body: str = ""
    body_b64: bytes = b""
    body_file: str = ""
    body_size: _Size = 0
    body_chunks: list[BodyChunkRecord] = []
    chunks: list[tuple[_Size, _Milliseconds]] = []
    trailers: list[tuple[str, str]] = []
    turns: list[_Size] = []


class EndRecord(msgspec.Struct, gc=False):
    reason: str = ""
    truncated: bool = True
    after_ms: _Milliseconds = 0


class CaptureRecord(msgspec.Struct, gc=False):
    pattern: str
    captured: str


class MatchRecord(msgspec.Struct, gc=False):
    captures: list[CaptureRecord] = []


class ExchangeRecord(msgspec.Struct, gc=False):
    request: RequestRecord
    response: ResponseRecord
    match: MatchRecord | None = None
    end: EndRecord | None = None
    recorded_at: str | None = None
    took_ms: _Milliseconds | None = None
    note: str | None = None
    recorded_by: str | None = None


class UpgradeRecord(msgspec.Struct, gc=False):
    """A request that asks for a WebSocket: always a GET, never with a body."""

    path: str = ""
    query: str | None = None
    scheme: str | None = None
    host: str | None = None
    port: _Port | None = None
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: msgspec.Raw = _NO_HEADERS
    raw_headers: msgspec.Raw = _NO_NAMES
    http_version: int = 1


class SwitchRecord(msgspec.Struct, gc=False):
    """The answer to it."""

    status: _Switching = 101
    reason: str | None = None
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: dict[str, list[str]] = {}
    raw_headers: list[str] | None = None


class FrameRecord(msgspec.Struct, gc=False):
    direction: Literal["client_to_server", "server_to_client"]
    opcode: Literal["text", "binary", "close"]
    data: str = ""
    data_b64: bytes = b""
    data_file: str = ""
    data_size: _Size = 0
    delay_ms: _Milliseconds = 0
    close_code: int = 0
    reason: str = ""
    fragments: list[_Size] = []
    compressed: bool = False


class ControlRecord(msgspec.Struct, gc=False):
    after: _Size
    direction: Literal["client_to_server", "server_to_client"]
    opcode: Literal["ping", "pong"]
    data: str = ""
    data_b64: bytes = b""
    delay_ms: _Milliseconds = 0


class SessionEndRecord(msgspec.Struct, gc=False):
    reason: str = ""
    by: Literal["client_to_server", "server_to_client"] | None = None
    truncated: bool = False


class SessionRecord(msgspec.Struct, gc=False):
    request: UpgradeRecord
    response: SwitchRecord | None = None
    frames: list[FrameRecord] | None = None
    control: list[ControlRecord] = []
    end: SessionEndRecord | None = None
    recorded_at: str | None = None
    note: str | None = None
    recorded_by: str | None = None


class ElementRecord(msgspec.Struct, gc=False):
    type: str
    http: ExchangeRecord | None = None
    websocket: SessionRecord | None = None


class KindRecord(msgspec.Struct, gc=False):
    """An element's type, whatever the rest of it is."""

    type: object = None
