"""An interaction as a cassette's JSON, version 1 of the Go program and what buffr adds to it.

``encode`` writes an element laid out as it stands in the file's list (its
first brace without indentation, the rest four spaces in), so that an element
is appended as it is. ``decode`` and ``decode_index`` read one. The fields are
described in docs/cassette-format.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from buffr.errors import CassetteError
from buffr.interaction import Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.message import Headers, ResponseHead, media_type
from buffr.stores.cassette_fields import UTF_8, charset, fold, sendable_target, unfold
from buffr.stores.cassette_records import (
    ElementIndexRecord,
    ElementRecord,
    ExchangeRecord,
    RequestRecord,
    ResponseRecord,
)
from buffr.stores.reason_phrases import reason_phrase

__all__ = ["decode", "decode_index", "encode", "indexed_request", "stored_request"]

_json = msgspec.json.Encoder().encode
_DIGEST = re.compile("[0-9a-f]{64}")
_elements = msgspec.json.Decoder(ElementRecord)
decode_index = msgspec.json.Decoder(ElementIndexRecord).decode
"""Reads an element as far as an index needs it. Raises ``ValueError``."""


def decode(element: bytes | memoryview, bodies: Path) -> HTTPInteraction:
    """The HTTP interaction of an element; ``bodies`` is the directory of its body files.

    Raises ``CassetteError`` that says which field is wrong.
    """
    try:
        exchange = _elements.decode(element).http
        if exchange is None:
            raise CassetteError("it is no HTTP interaction")
        return _interaction(exchange, bodies)
    except (ValueError, LookupError) as error:
        raise CassetteError(str(error)) from error


def indexed_request(element: ElementIndexRecord, bodies: Path) -> RecordedRequest | None:
    """The request of a whole HTTP interaction; ``None`` for all that is never looked up.

    Raises ``ValueError`` for text that cannot be turned into bytes.
    """
    if element.type != "http":
        return None
    if element.http is None:
        raise ValueError("Object missing required field `http`")
    if element.http.end is not None:
        return None
    return _request(element.http.request, bodies)


def stored_request(request: RecordedRequest) -> RecordedRequest:
    """The request as it is read back: its target in bytes that may stand on the wire."""
    path, mark, query = request.target.partition(b"?")
    target = sendable_target(path, query if mark else None)
    if target == request.target:
        return request
    return RecordedRequest(
        request.method,
        target,
        request.headers,
        request.body,
        request.scheme,
        request.host,
        request.port,
    )


def _request(record: RequestRecord, bodies: Path) -> RecordedRequest:
    query = record.query
    return RecordedRequest(
        record.method.encode(),
        sendable_target(record.path.encode() or b"/", None if query is None else query.encode()),
        unfold(record.headers, record.raw_headers, record.header_encoding),
        _body(record, bodies),
        record.scheme,
        record.host,
        record.port,
    )


def _interaction(record: ExchangeRecord, bodies: Path) -> HTTPInteraction:
    answer = record.response
    encoding = answer.header_encoding
    if answer.body_chunks:
        parts = [part.data_b64 or part.data.encode() for part in answer.body_chunks]
        body = Body.of(b"".join(parts))
        sizes = [
            (len(data), part.delay_ms) for data, part in zip(parts, answer.body_chunks, strict=True)
        ]
    else:
        body = _body(answer, bodies)
        sizes = answer.chunks
        if sum(size for size, _ in sizes) != body.size_bytes:
            sizes = []  # a body that was edited by hand is played whole
    reason = answer.reason
    captures = () if record.match is None else record.match.captures
    return HTTPInteraction(
        request=_request(record.request, bodies),
        response=ResponseHead(
            answer.status,
            reason_phrase(answer.status) if reason is None else reason.encode(encoding),
            unfold(answer.headers, answer.raw_headers, encoding),
        ),
        body=body,
        chunks=tuple([Chunk(size, delay_ms) for size, delay_ms in sizes]),
        trailers=tuple([(n.encode(encoding), v.encode(encoding)) for n, v in answer.trailers]),
        truncated=None if record.end is None else record.end.reason,
        recorded_at=record.recorded_at,
        captures=tuple([(item.pattern, item.captured) for item in captures]),
    )


def _body(record: RequestRecord | ResponseRecord, bodies: Path) -> Body:
    if record.body_file:
        if not _DIGEST.fullmatch(record.body_file):
            raise ValueError(f"body_file {record.body_file!r} is no SHA-256 in hex")
        return Body(size_bytes=record.body_size, file=bodies / record.body_file)
    return Body.of(record.body_b64 or record.body.encode())


# The indentations of an element's parts, as the Go program writes them.
_ELEMENT, _EXCHANGE, _MESSAGE, _FIELD = b"    ", b"      ", b"        ", b"          "
_VALUE = b"            "


def encode(interaction: HTTPInteraction) -> bytes:
    """The element of an interaction. A body in a file is named by the file's name."""
    members = [
        [b'"request": ', *_encode_request(interaction.request)],
        [b'"response": ', *_encode_response(interaction)],
    ]
    if interaction.captures:
        captures = [{"pattern": p, "captured": c} for p, c in interaction.captures]
        members.append([b'"match": {"captures": ', _json(captures), b"}"])
    if interaction.truncated is not None:
        members.append([b'"end": {"reason": ', _json(interaction.truncated), b"}"])
    if interaction.recorded_at is not None:
        members.append([b'"recorded_at": ', _json(interaction.recorded_at)])
    exchange = _object(members, _EXCHANGE)
    return b"".join(_object([[b'"type": "http"'], [b'"http": ', *exchange]], _ELEMENT))


def _object(members: list[list[bytes]], indent: bytes) -> list[bytes]:
    """An object's text in parts, which are joined once: bodies may be long."""
    inner = b"\n" + indent + b"  "
    parts = [b"{" + inner]
    for member in members:
        parts += member
        parts.append(b"," + inner)
    parts[-1] = b"\n" + indent + b"}"
    return parts


def _encode_request(request: RecordedRequest) -> list[bytes]:
    path, mark, query = stored_request(request).target.partition(b"?")
    members = [[b'"method": ', _json(request.method.decode())]]
    if request.scheme is not None:
        members.append([b'"scheme": ', _json(request.scheme)])
    if request.host is not None:
        members.append([b'"host": ', _json(request.host)])
    if request.port is not None:
        members.append([b'"port": %d' % request.port])
    members.append([b'"path": ', _json(path.decode())])
    if mark:
        members.append([b'"query": ', _json(query.decode())])
    members += _encode_fields(request.headers, charset(request.headers))
    members += _encode_body(request.body)
    return _object(members, _MESSAGE)


def _encode_response(interaction: HTTPInteraction) -> list[bytes]:
    head, trailers = interaction.response, interaction.trailers
    encoding = charset(head.headers + trailers, head.reason)
    members = [[b'"status": %d' % head.status]]
    if head.reason != reason_phrase(head.status):
        members.append([b'"reason": ', _json(head.reason.decode(encoding))])
    members += _encode_fields(head.headers, encoding)
    chunks = interaction.chunks
    if sum([chunk.size_bytes for chunk in chunks]) != interaction.body.size_bytes:
        chunks = ()
    if chunks and _is_text_stream(interaction):
        members.append([b'"body_chunks": ', *_encode_body_chunks(interaction.body.data, chunks)])
    else:
        members += _encode_body(interaction.body)
        if chunks:
            cuts = b", ".join([b"[%d, %d]" % (c.size_bytes, c.delay_ms) for c in chunks])
            members.append([b'"chunks": [', cuts, b"]"])
    if trailers:
        pairs = [(name.decode(encoding), value.decode(encoding)) for name, value in trailers]
        members.append([b'"trailers": ', _json(pairs)])
    return _object(members, _MESSAGE)


def _is_text_stream(interaction: HTTPInteraction) -> bool:
    in_memory = interaction.body.file is None
    return in_memory and media_type(interaction.response.headers) == b"text/event-stream"


def _encode_fields(fields: Headers, encoding: str) -> list[list[bytes]]:
    members = []
    folded, names = fold(fields, encoding)
    if encoding != UTF_8:
        members.append([b'"header_encoding": ', _json(encoding)])
    if folded:
        lists = [
            [_json(name), b": ", _list([_json(value) for value in values], _VALUE)]
            for name, values in folded.items()
        ]
        members.append([b'"headers": ', *_object(lists, _FIELD)])
    if names is not None:
        members.append([b'"raw_headers": [', b", ".join([_json(name) for name in names]), b"]"])
    return members


def _list(items: list[bytes], indent: bytes) -> bytes:
    inner = b"\n" + indent + b"  "
    return b"[" + inner + (b"," + inner).join(items) + b"\n" + indent + b"]"


def _text_or_base64(name: bytes, data: bytes) -> list[bytes]:
    try:
        return [b'"%b": ' % name, _json(data.decode())]
    except UnicodeDecodeError:
        return [b'"%b_b64": ' % name, _json(data)]


def _encode_body(body: Body) -> list[list[bytes]]:
    if body.file is not None:
        return [
            [b'"body_file": ', _json(body.file.name)],
            [b'"body_size": %d' % body.size_bytes],
        ]
    return [_text_or_base64(b"body", body.data)] if body.data else []


def _encode_body_chunks(data: bytes, chunks: tuple[Chunk, ...]) -> list[bytes]:
    items = []
    start = 0
    for chunk in chunks:
        end = start + chunk.size_bytes
        members = [_text_or_base64(b"data", data[start:end])] if chunk.size_bytes else []
        members.append([b'"delay_ms": %d' % chunk.delay_ms])
        items.append(b"".join(_object(members, _VALUE)))
        start = end
    return [_list(items, _FIELD)]
