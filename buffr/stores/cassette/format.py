"""An interaction as a cassette's JSON: version 1 of the Go program with buffr's additions.

``encode`` writes an element in the layout of the file's list (its first brace
without indentation, the rest indented by four spaces), so that it is appended
unchanged. ``decode`` and ``decode_index`` read one. docs/cassette-format.md
describes the fields.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from buffr.errors import CassetteError
from buffr.interaction import (
    CLIENT_LEFT,
    Body,
    BrokenInteraction,
    Chunk,
    HTTPInteraction,
    IndexEntry,
    Interaction,
    RecordedRequest,
)
from buffr.message import Headers, ResponseHead, media_type
from buffr.stores.cassette.checks import exchange_fault, session_fault
from buffr.stores.cassette.fields import charset, unfold
from buffr.stores.cassette.reason_phrases import reason_phrase
from buffr.stores.cassette.records import (
    ElementRecord,
    ExchangeRecord,
    KindRecord,
    ResponseRecord,
    SessionRecord,
    SwitchRecord,
)
from buffr.stores.cassette.requests import body_of, encode_request, request_of, upgrade_of
from buffr.stores.cassette.sessions import encode_session, session_of
from buffr.stores.cassette.text import (
    ELEMENT,
    EXCHANGE,
    FIELD,
    MESSAGE,
    VALUE,
    body_members,
    field_members,
    list_text,
    object_text,
    text_member,
    to_json,
)

__all__ = [
    "RECORDED_KINDS",
    "broken_request",
    "decode",
    "decode_index",
    "encode",
    "index_entry",
    "kind_of",
]

_CHOOSING = frozenset(("vary", "content-type"))
_LENGTHS = frozenset(map(len, _CHOOSING))

_KINDS = ("http", "websocket")
RECORDED_KINDS = frozenset(("", *_KINDS))
"""Types of recordings; an element of another type, by a newer program, is ignored."""

decode_index = msgspec.json.Decoder(ElementRecord).decode
"""Reads an element. Raises ``ValueError`` that names the wrong field."""

_decode_kind = msgspec.json.Decoder(KindRecord).decode


def kind_of(element: bytes | memoryview) -> str:
    """The ``type`` of an element: ``http``, ``websocket`` or any other; empty if absent."""
    try:
        kind = _decode_kind(element).type
    except ValueError:
        return ""
    return kind if isinstance(kind, str) else ""


def decode(element: bytes | memoryview, bodies: Path) -> Interaction:
    """The interaction of an element; ``bodies`` is the directory of its body files.

    Raises ``CassetteError`` that names the wrong field.
    """
    try:
        record = decode_index(element)
        if _broke_off(record) is None and (fault := _fault(record)):
            raise CassetteError(fault)
        if record.type == "http" and record.http is not None:
            return _exchange(record.http, bodies)
        if record.type == "websocket" and record.websocket is not None:
            return session_of(record.websocket, bodies)
    except (ValueError, LookupError) as error:
        raise CassetteError(str(error)) from error
    raise CassetteError(f"it is not an interaction of a known type: {record.type!r}")


def index_entry(element: ElementRecord, bodies: Path) -> IndexEntry | None:
    """The part of a whole interaction for lookups; ``None`` if it is never replayed.

    Raises ``ValueError`` if it cannot be replayed although it is whole.
    """
    exchange = element.http
    if element.type == "http" and exchange is not None:  # like nearly all
        if exchange.end is not None and exchange.end.truncated:
            return None
        if fault := exchange_fault(exchange):
            raise ValueError(fault)
        answer = exchange.response
        begins_after = answer.turns[0] if answer.turns else None
        return IndexEntry(request_of(exchange.request, bodies), _choosing(answer), begins_after)
    if element.type not in _KINDS or _broke_off(element) is not None:
        return None
    if fault := _fault(element):
        raise ValueError(fault)
    session = element.websocket
    switch = None if session is None else session.response
    return IndexEntry(_request(element, bodies), _choosing(switch))


def broken_request(element: ElementRecord, bodies: Path) -> BrokenInteraction | None:
    """The request of an interaction that cannot be replayed, and the reason.

    Raises ``ValueError`` for text that cannot be converted to bytes.
    """
    if element.type not in _KINDS:
        return None
    reason, fault = _broke_off(element), _fault(element)
    if reason is not None:
        unended = reason == CLIENT_LEFT and element.type == "http" and not fault
        return BrokenInteraction.off(_request(element, bodies), reason, unended=unended)
    return BrokenInteraction(_request(element, bodies), fault) if fault else None


def _recorded(element: ElementRecord) -> ExchangeRecord | SessionRecord | None:
    return element.http if element.type == "http" else element.websocket


def _broke_off(element: ElementRecord) -> str | None:
    """Why an interaction is incomplete."""
    recorded = _recorded(element)
    end = None if recorded is None else recorded.end
    return end.reason if end is not None and end.truncated else None


def _fault(element: ElementRecord) -> str:
    """Why a whole interaction cannot be replayed; empty if it can."""
    if element.type == "http":
        return _no_member("http") if element.http is None else exchange_fault(element.http)
    if element.type == "websocket":
        session = element.websocket
        return _no_member("websocket") if session is None else session_fault(session)
    return ""


def _no_member(name: str) -> str:
    return f"Object missing required field `{name}`"


def _request(element: ElementRecord, bodies: Path) -> RecordedRequest:
    if element.type == "http" and element.http is not None:
        return request_of(element.http.request, bodies)
    if element.websocket is not None:
        return upgrade_of(element.websocket.request)
    raise ValueError(_no_member(element.type))


def _choosing(answer: ResponseRecord | SwitchRecord | None) -> Headers:
    if answer is None:
        return ()
    encoding = answer.header_encoding
    return tuple(
        [
            (name.encode(encoding), value.encode(encoding))
            for name, values in answer.headers.items()
            if len(name) in _LENGTHS and name.lower() in _CHOOSING
            for value in values
        ]
    )


def _exchange(record: ExchangeRecord, bodies: Path) -> HTTPInteraction:
    answer = record.response
    encoding = answer.header_encoding
    if answer.body_chunks:
        parts = [part.data_b64 or part.data.encode() for part in answer.body_chunks]
        body = Body.of(b"".join(parts))
        chunks = [
            Chunk(len(data), part.delay_ms, part.after)
            for data, part in zip(parts, answer.body_chunks, strict=True)
        ]
    else:
        body = body_of(answer, bodies)
        chunks = [Chunk(size, delay_ms) for size, delay_ms in answer.chunks]
        if sum(chunk.size_bytes for chunk in chunks) != body.size_bytes:
            chunks = []  # a body that was edited by hand is replayed whole
    reason, end = answer.reason, record.end
    captures = () if record.match is None else record.match.captures
    return HTTPInteraction(
        request=request_of(record.request, bodies),
        response=ResponseHead(
            answer.status,
            reason_phrase(answer.status) if reason is None else reason.encode(encoding),
            unfold(answer.headers, answer.raw_headers, encoding),
        ),
        body=body,
        chunks=tuple(chunks),
        trailers=tuple([(n.encode(encoding), v.encode(encoding)) for n, v in answer.trailers]),
        truncated=end.reason if end is not None and end.truncated else None,
        uncertain=end.reason if end is not None and not end.truncated else None,
        recorded_at=record.recorded_at,
        captures=tuple([(item.pattern, item.captured) for item in captures]),
        left_after_ms=0 if end is None else end.after_ms,
        took_ms=record.took_ms,
        note=record.note,
        recorded_by=record.recorded_by,
        turns=tuple(answer.turns),
    )


def encode(interaction: Interaction) -> bytes:
    """The element of an interaction. A body in a file is referenced by the file's name."""
    if isinstance(interaction, HTTPInteraction):
        kind, exchange = b"http", _encode_exchange(interaction)
    else:
        kind, exchange = b"websocket", encode_session(interaction)
    members = [[b'"type": "%b"' % kind], [b'"%b": ' % kind, *exchange]]
    return b"".join(object_text(members, ELEMENT))


def _encode_exchange(interaction: HTTPInteraction) -> list[bytes]:
    members = [
        [b'"request": ', *encode_request(interaction.request)],
        [b'"response": ', *_encode_response(interaction)],
    ]
    if interaction.captures:
        captures = [{"pattern": p, "captured": c} for p, c in interaction.captures]
        members.append([b'"match": {"captures": ', to_json(captures), b"}"])
    if interaction.truncated is not None:
        after = (
            b', "after_ms": %d' % interaction.left_after_ms if interaction.left_after_ms else b""
        )
        members.append([b'"end": {"reason": ', to_json(interaction.truncated), after, b"}"])
    elif interaction.uncertain is not None:
        reason = to_json(interaction.uncertain)
        members.append([b'"end": {"reason": ', reason, b', "truncated": false}'])
    if interaction.recorded_at is not None:
        members.append([b'"recorded_at": ', to_json(interaction.recorded_at)])
    if interaction.took_ms is not None:
        members.append([b'"took_ms": %d' % interaction.took_ms])
    if interaction.note:
        members.append([b'"note": ', to_json(interaction.note)])
    if interaction.recorded_by is not None:
        members.append([b'"recorded_by": ', to_json(interaction.recorded_by)])
    return object_text(members, EXCHANGE)


def _encode_response(interaction: HTTPInteraction) -> list[bytes]:
    head, trailers = interaction.response, interaction.trailers
    encoding = charset(head.headers + trailers, head.reason)
    members = [[b'"status": %d' % head.status]]
    if head.reason != reason_phrase(head.status):
        members.append([b'"reason": ', to_json(head.reason.decode(encoding))])
    members += field_members(head.headers, encoding)
    chunks = interaction.chunks
    if sum([chunk.size_bytes for chunk in chunks]) != interaction.body.size_bytes:
        chunks = ()
    if chunks and _is_text_stream(interaction):
        members.append([b'"body_chunks": ', *_encode_body_chunks(interaction.body.data, chunks)])
    else:
        members += body_members(b"body", interaction.body)
        if chunks:
            cuts = b", ".join([b"[%d, %d]" % (c.size_bytes, c.delay_ms) for c in chunks])
            members.append([b'"chunks": [', cuts, b"]"])
    if trailers:
        pairs = [(name.decode(encoding), value.decode(encoding)) for name, value in trailers]
        members.append([b'"trailers": ', to_json(pairs)])
    if interaction.turns:
        members.append([b'"turns": ', to_json(interaction.turns)])
    return object_text(members, MESSAGE)


def _is_text_stream(interaction: HTTPInteraction) -> bool:
    in_memory = interaction.body.file is None
    return in_memory and media_type(interaction.response.headers) == b"text/event-stream"


def _encode_body_chunks(data: bytes, chunks: tuple[Chunk, ...]) -> list[bytes]:
    items = []
    start = 0
    for chunk in chunks:
        end = start + chunk.size_bytes
        members = [text_member(b"data", data[start:end])] if chunk.size_bytes else []
        members.append([b'"delay_ms": %d' % chunk.delay_ms])
        if chunk.after:
            members.append([b'"after": %d' % chunk.after])
        items.append(b"".join(object_text(members, VALUE)))
        start = end
    return [list_text(items, FIELD)]
