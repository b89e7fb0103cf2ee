"""Requests and bodies as a cassette's JSON, common to all kinds of interactions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from attrs import evolve

from buffr.interaction import Body, BodyKey, RecordedRequest
from buffr.message import Headers, has_token
from buffr.stores.cassette.checks import digest_fault
from buffr.stores.cassette.fields import charset, sendable_target, unfold
from buffr.stores.cassette.records import RequestRecord, ResponseRecord, UpgradeRecord
from buffr.stores.cassette.text import (
    MESSAGE,
    body_members,
    field_members,
    object_text,
    to_json,
)

__all__ = [
    "body_file",
    "body_of",
    "encode_request",
    "request_of",
    "stored_request",
    "upgrade_of",
]

_T = TypeVar("_T")

_UPGRADE: Final = (b"Upgrade", b"websocket")
_NO_BODY = Body()
_USUAL_VERSION = 1
_MOST_HEADS = 256
_MOST_HEAD_BYTES = 4096

_headers = msgspec.json.Decoder(dict[str, list[str]]).decode
_names = msgspec.json.Decoder(list[str] | None).decode
_heads: dict[tuple[bytes, bytes, str], Headers] = {}


def stored_request(request: RecordedRequest) -> RecordedRequest:
    """The request as it is read back: its target in bytes that are valid on the wire."""
    path, mark, query = request.target.partition(b"?")
    target = sendable_target(path, query if mark else None)
    return request if target == request.target else evolve(request, target=target)


def request_of(record: RequestRecord, bodies: Path) -> RecordedRequest:
    return RecordedRequest(
        record.method.encode(),
        _target(record),
        _fields(record),
        _with_key(body_of(record, bodies), record),
        record.scheme,
        record.host,
        record.port,
        record.http_version,
    )


def upgrade_of(record: UpgradeRecord) -> RecordedRequest:
    """A request for a WebSocket. The Go program does not store the field that says so."""
    headers = _fields(record)
    if not has_token(headers, b"upgrade", b"websocket"):
        headers = (*headers, _UPGRADE)
    return RecordedRequest(
        b"GET",
        _target(record),
        headers,
        scheme=record.scheme,
        host=record.host,
        port=record.port,
        major=record.http_version,
    )


def _fields(record: RequestRecord | UpgradeRecord) -> Headers:
    """The fields of a request. A client sends many requests with the same ones.

    Raises ``ValueError`` that names the member of a wrong type.
    """
    key = bytes(record.headers), bytes(record.raw_headers), record.header_encoding
    known = _heads.get(key)
    if known is None:
        headers = _typed(_headers, key[0], "headers")
        known = unfold(headers, _typed(_names, key[1], "raw_headers"), key[2])
        if len(key[0]) + len(key[1]) <= _MOST_HEAD_BYTES:
            if len(_heads) >= _MOST_HEADS:
                _heads.clear()
            _heads[key] = known
    return known


def _typed(decode: Callable[[bytes], _T], text: bytes, name: str) -> _T:
    try:
        return decode(text)
    except msgspec.ValidationError as error:
        raise ValueError(f"request.{name}: {error}") from None


def _target(record: RequestRecord | UpgradeRecord) -> bytes:
    query = record.query
    return sendable_target(record.path.encode() or b"/", None if query is None else query.encode())


def body_of(record: RequestRecord | ResponseRecord, bodies: Path) -> Body:
    if record.body_file:
        return body_file("body_file", record.body_file, record.body_size, bodies)
    data = record.body_b64 or record.body.encode()
    return Body(data, len(data)) if data else _NO_BODY


def _with_key(body: Body, record: RequestRecord) -> Body:
    key = record.body_key
    # A program that changes a recording's file may not know the key.
    if key is None or key.of != record.body_file or digest_fault(key.sha256):
        return body
    return evolve(body, key=BodyKey(key.rules, key.sha256))


def body_file(name: str, digest: str, size_bytes: int, bodies: Path) -> Body:
    """A body in a separate file; ``name`` is the name of the field that says so."""
    if fault := digest_fault(digest):
        raise ValueError(f"{name}: {fault}")
    return Body(size_bytes=size_bytes, file=bodies / digest)


def _key_members(body: Body) -> list[list[bytes]]:
    if body.key is None or body.file is None:
        return []
    key = {"rules": body.key.rules, "sha256": body.key.sha256, "of": body.file.name}
    return [[b'"body_key": ', to_json(key)]]


def encode_request(request: RecordedRequest, *, upgrade: bool = False) -> list[bytes]:
    """A request's text; an upgrade has neither method nor body."""
    path, mark, query = stored_request(request).target.partition(b"?")
    members = [] if upgrade else [[b'"method": ', to_json(request.method.decode())]]
    if request.scheme is not None:
        members.append([b'"scheme": ', to_json(request.scheme)])
    if request.host is not None:
        members.append([b'"host": ', to_json(request.host)])
    if request.port is not None:
        members.append([b'"port": %d' % request.port])
    members.append([b'"path": ', to_json(path.decode())])
    if mark:
        members.append([b'"query": ', to_json(query.decode())])
    members += field_members(request.headers, charset(request.headers))
    if not upgrade:
        members += body_members(b"body", request.body)
        members += _key_members(request.body)
    if request.major != _USUAL_VERSION:
        members.append([b'"http_version": %d' % request.major])
    return object_text(members, MESSAGE)
