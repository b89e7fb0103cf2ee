"""The fields of version 1, as msgspec reads them.

Unknown fields are passed over, so that newer programs may add some.
``docs/cassette-format.md`` says what each one means.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from buffr.stores.cassette_fields import UTF_8

__all__ = [
    "AnswerIndexRecord",
    "ElementIndexRecord",
    "ElementRecord",
    "ExchangeRecord",
    "FrameRecord",
    "RequestRecord",
    "ResponseRecord",
    "SessionRecord",
    "UpgradeRecord",
]


class RequestRecord(msgspec.Struct, gc=False):
    method: str
    path: str
    query: str | None = None
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: dict[str, list[str]] = {}
    raw_headers: list[str] | None = None
    body: str = ""
    body_b64: bytes = b""
    body_file: str = ""
    body_size: int = 0


class BodyChunkRecord(msgspec.Struct, gc=False):
    data: str = ""
    data_b64: bytes = b""
    delay_ms: int = 0


class ResponseRecord(msgspec.Struct, gc=False):
    status: int
    reason: str | None = None
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: dict[str, list[str]] = {}
    raw_headers: list[str] | None = None
    body: str = ""
    body_b64: bytes = b""
    body_file: str = ""
    body_size: int = 0
    body_chunks: list[BodyChunkRecord] = []
    chunks: list[tuple[int, int]] = []
    trailers: list[tuple[str, str]] = []


class EndRecord(msgspec.Struct, gc=False):
    reason: str = ""
    truncated: bool = True


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


class UpgradeRecord(msgspec.Struct, gc=False):
    """A request that asks for a WebSocket: always a GET, never with a body."""

    path: str = ""
    query: str | None = None
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: dict[str, list[str]] = {}
    raw_headers: list[str] | None = None


class SwitchRecord(msgspec.Struct, gc=False):
    """The answer to it."""

    status: int = 101
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
    data_size: int = 0
    delay_ms: int = 0
    close_code: int = 0
    reason: str = ""
    fragments: list[int] = []
    compressed: bool = False


class ControlRecord(msgspec.Struct, gc=False):
    after: int
    direction: Literal["client_to_server", "server_to_client"]
    opcode: Literal["ping", "pong"]
    data: str = ""
    data_b64: bytes = b""
    delay_ms: int = 0


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


class ElementRecord(msgspec.Struct, gc=False):
    type: str
    http: ExchangeRecord | None = None
    websocket: SessionRecord | None = None


class AnswerIndexRecord(msgspec.Struct, gc=False):
    header_encoding: Literal["utf-8", "latin-1"] = UTF_8
    headers: dict[str, list[str]] = {}


class ExchangeIndexRecord(msgspec.Struct, gc=False):
    request: RequestRecord
    response: AnswerIndexRecord | None = None
    end: EndRecord | None = None


class SessionIndexRecord(msgspec.Struct, gc=False):
    request: UpgradeRecord
    response: AnswerIndexRecord | None = None
    end: SessionEndRecord | None = None


class ElementIndexRecord(msgspec.Struct, gc=False):
    """As much of an element as an index needs; neither bodies of answers nor frames."""

    type: str
    http: ExchangeIndexRecord | None = None
    websocket: SessionIndexRecord | None = None
