"""The fields of version 1, as msgspec reads them.

Unknown fields are passed over, so that newer programs may add some.
``docs/cassette-format.md`` says what each one means.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from buffr.stores.cassette_fields import UTF_8

__all__ = [
    "ElementIndexRecord",
    "ElementRecord",
    "ExchangeRecord",
    "RequestRecord",
    "ResponseRecord",
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


class ElementRecord(msgspec.Struct, gc=False):
    type: str
    http: ExchangeRecord | None = None


class ExchangeIndexRecord(msgspec.Struct, gc=False):
    request: RequestRecord
    end: EndRecord | None = None


class ElementIndexRecord(msgspec.Struct, gc=False):
    """As much of an element as an index needs; the answer is not decoded."""

    type: str
    http: ExchangeIndexRecord | None = None
