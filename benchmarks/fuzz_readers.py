"""What reads strangers' bytes, each as a function of bytes, for ``benchmarks.fuzz``.

One may return, or raise a ``BuffrError``. Another error stands beside the reader
whose callers expect it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import zstandard
from attrs import define, field

from buffr.config import load
from buffr.drift.documents import document_of as drift_document
from buffr.formats.codings import BadCoding, are_known, decoded, decoding
from buffr.formats.envelopes import Splitter
from buffr.formats.grpc import frames, without_compression
from buffr.formats.json_paths import BadPath, JSONPath, walk_along
from buffr.formats.jsonrpc import messages
from buffr.formats.llm_usage import usage_of
from buffr.formats.multipart import disposition_of, multipart, parameters
from buffr.formats.protobuf.bodies import BadDescriptors
from buffr.formats.protobuf.descriptors import Descriptors, files_in
from buffr.formats.protobuf.wire import raw_document
from buffr.interaction import Body
from buffr.interchange.formats import FORMATS, Format, format_of
from buffr.interchange.source import ImportLimits, Source
from buffr.isolate import dns
from buffr.isolate.first_bytes import recognised, server_name_in
from buffr.isolate.names import Names
from buffr.isolate.packets import parsed
from buffr.listeners.request_target import absolute_form, authority_form
from buffr.matching.canonical_json import canonical, slow_canonical
from buffr.matching.forms import canonical_form
from buffr.matching.json_fields import JSONFields
from buffr.message import CHUNKED, Headers, Request
from buffr.stores.cassette.format import decode
from buffr.stores.cassette.layout import Layout
from buffr.stores.sqlite.elements import plain
from buffr.stores.sqlite.rows import body_of, entry_of
from buffr.tls.server_name import BadServerName, server_name
from buffr.wire.http1_body import decoder_for
from buffr.wire.http1_head import END_OF_HEAD, HeadLimits, parse_request_head, parse_response_head
from buffr.wire.http2.engines import EngineName, open_engine
from buffr.wire.http2.interface import Bounds, Engine, Nuisance, Role
from buffr.wire.http2.requests import request_of, trailers_of
from buffr.wire.websocket_deflate import Inflater
from buffr.wire.websocket_frames import FrameReader

__all__ = ["READERS", "Read"]

Read = Callable[[bytes], None]

_LIMITS = HeadLimits()
_CODINGS = (b"gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"gzip, " * 9)
_LARGEST = 1 << 20
_NO_FIELDS, _ = JSONFields.of(())
_EVENTS = b"text/event-stream"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def _request_head(data: bytes) -> None:
    parse_request_head(data + END_OF_HEAD, _LIMITS)


def _answer_head(data: bytes) -> None:
    parse_response_head(data + END_OF_HEAD, _LIMITS)


def _chunks(data: bytes) -> None:
    decoder = decoder_for(CHUNKED)
    for place in range(0, len(data), 7):
        decoder.feed(data[place : place + 7])


def _frames(data: bytes) -> None:
    if data:
        inflater = Inflater() if data[0] & 2 else None
        masked = bool(data[0] & 1)
        reader = FrameReader(masked=masked, inflater=inflater, message_bytes=_LARGEST)
        for place in range(1, len(data), 5):
            list(reader.feed(data[place : place + 5]))


@define
class _Peer:
    """Takes all that an HTTP/2 connection says, and makes requests of its heads."""

    engine: Engine = field(init=False)

    def head(self, stream: int, fields: Headers, *, ended: bool) -> None:
        del stream
        request_of(fields, ended=ended, limits=_LIMITS, new_key=lambda: b"key")

    def interim(self, stream: int, fields: Headers) -> None: ...

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        del ended
        self.engine.consumed(stream, len(data))

    def trailers(self, stream: int, fields: Headers) -> None:
        del stream
        trailers_of(fields)

    def reset(self, stream: int, code: int) -> None: ...

    def going_away(self, last: int, code: int) -> None: ...

    def nuisance(self, kind: Nuisance) -> None: ...


def _http2(role: Role, name: EngineName, data: bytes) -> None:
    """A server reads what comes behind the preface; a client, what answers its first request."""
    peer = _Peer()
    peer.engine = engine = open_engine(role, peer, Bounds(), name)
    if role is Role.CLIENT:
        fields = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"))
        engine.request((*fields, (b":authority", b"a")), ended=True)
    else:
        engine.receive(_PREFACE)
    for place in range(0, len(data), 100):
        engine.receive(data[place : place + 100])
        engine.take(_LARGEST)


def _codings(data: bytes) -> None:
    if data:
        codings = _CODINGS[data[0] % len(_CODINGS)]
        decoded(codings, data[1:], limit_bytes=_LARGEST)
        if are_known(codings):
            size = 0
            with suppress(BadCoding):
                for piece in decoding(codings, [data[1:]]):
                    size += len(piece)
                    if size > _LARGEST:
                        break


def _authority(data: bytes) -> None:
    authority_form(Request(b"CONNECT", data, ()))


def _absolute(data: bytes) -> None:
    absolute_form(Request(b"GET", b"http://" + data, ()))


def _server_name(data: bytes) -> None:
    with suppress(BadServerName):
        server_name(data)


def _first_bytes(data: bytes) -> None:
    """What a client says first: of which protocol it is, and the name in a TLS hello."""
    if data:
        recognised(data)
    server_name_in(data)


def _packets(data: bytes) -> None:
    parsed(data)
    dns.answer(data, Names())


def _messages(data: bytes) -> None:
    """The frames of gRPC, as a whole and piece by piece; a message by its wire format."""
    without_compression(data, _LARGEST)
    with suppress(ValueError):
        for each in frames(data, _LARGEST, cut=bool(data and data[0] & 1)):
            json.dumps(raw_document(each.content))
    with suppress(ValueError):
        json.dumps(raw_document(data))
    splitter = Splitter()
    for place in range(0, len(data), 7):
        splitter.feed(data[place : place + 7])


def _descriptors(data: bytes) -> None:
    with suppress(BadDescriptors):
        Descriptors.of(files_in(data))


def _event_stream(data: bytes) -> None:
    usage_of(b"/v1/messages", data, _EVENTS)
    drift_document(Body.of(data), ((b"Content-Type", _EVENTS),))
    messages(data)


def _json(data: bytes) -> None:
    if canonical(data) != slow_canonical(data):
        raise AssertionError("two readings of one document")
    _NO_FIELDS.in_slices(data, lambda: None)


def _json_path(data: bytes) -> None:
    """A path, and behind an empty line the document that it is asked of."""
    text, _, document = data.partition(b"\n\n")
    with suppress(BadPath):
        path = JSONPath.of(text.decode("utf-8", "replace"))
        walk_along([path])
        with suppress(ValueError, RecursionError):
            path.places(json.loads(document))


def _forms(data: bytes) -> None:
    multipart(b"--b" + data, b"b")
    canonical_form(data, lambda _, value: value)
    list(parameters(data))
    disposition_of(data)


def _cassette(data: bytes) -> None:
    for _ in Layout.of(data, Path("fuzz.json")).elements():
        pass


def _element(data: bytes) -> None:
    decode(data, Path("fuzz.d"))


def _rows(data: bytes) -> None:
    """A row whose bytes are any; its columns have the types that the table demands."""
    with suppress(ValueError):
        entry_of(b"k", (1, b"", "", "", 0.0, 0.0, 0.0, 0.0, data, 0, 0, None), b"")
    with suppress(ValueError):
        body_of(data, 1, 1000, zstandard.ZstdDecompressor())
    with suppress(zstandard.ZstdError):
        plain((data, 1, 1000))


def _in_file(read: Callable[[Path], None]) -> Read:
    directory = TemporaryDirectory()
    path = Path(directory.name) / "fuzz"

    def take(data: bytes, _kept: object = directory) -> None:
        path.write_bytes(data)
        read(path)

    return take


def _settings(path: Path) -> None:
    load(path, {}, {})


def _import(kind: Format, path: Path) -> None:
    source = Source(path, ImportLimits(element_bytes=_LARGEST, file_bytes=_LARGEST))
    for _ in FORMATS[kind].read(source):
        pass


def _format(path: Path) -> None:
    format_of(Source(path))


READERS: dict[str, Callable[[], Read]] = {
    "request-head": lambda: _request_head,
    "answer-head": lambda: _answer_head,
    "chunks": lambda: _chunks,
    "frames": lambda: _frames,
    "http2-server-ngh2": lambda: partial(_http2, Role.SERVER, "ngh2"),
    "http2-server-h2": lambda: partial(_http2, Role.SERVER, "h2"),
    "http2-client-ngh2": lambda: partial(_http2, Role.CLIENT, "ngh2"),
    "http2-client-h2": lambda: partial(_http2, Role.CLIENT, "h2"),
    "codings": lambda: _codings,
    "authority": lambda: _authority,
    "absolute": lambda: _absolute,
    "server-name": lambda: _server_name,
    "first-bytes": lambda: _first_bytes,
    "packets": lambda: _packets,
    "messages": lambda: _messages,
    "descriptors": lambda: _descriptors,
    "event-stream": lambda: _event_stream,
    "json": lambda: _json,
    "json-path": lambda: _json_path,
    "forms": lambda: _forms,
    "cassette": lambda: _cassette,
    "element": lambda: _element,
    "rows": lambda: _rows,
    "settings": lambda: _in_file(_settings),
    "format": lambda: _in_file(_format),
    **{f"import-{kind}": partial(_in_file, partial(_import, kind)) for kind in FORMATS},
}
