"""permessage-deflate: how it is negotiated, and how messages are compressed (RFC 7692)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from attrs import frozen

from buffr.errors import BadUpstreamAnswer, WebSocketFault
from buffr.message import Headers

__all__ = ["Deflate", "Deflater", "Inflater", "accepted", "answer_for", "without_others"]

_TAIL = b"\x00\x00\xff\xff"
"""The end of an empty block, which senders leave out (RFC 7692 7.2.1)."""
_PIECE_BYTES = 65536
_LARGEST_WINDOW = -15
_SMALLEST_WINDOW_BITS = 9
"""zlib cannot compress with the window of 8 bits that RFC 7692 allows."""
_INVALID_DATA = 1007
_FIELD = b"sec-websocket-extensions"
_NAME = b"permessage-deflate"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb'|"[^"\\]*"))?'
_EXTENSION = re.compile(
    rb"[ \t]*(%b)((?:[ \t]*;[ \t]*%b%b)*)[ \t]*(?:,|$)" % (_TOKEN, _TOKEN, _VALUE)
)
_PARAMETER = re.compile(rb";[ \t]*(" + _TOKEN + rb')(?:[ \t]*=[ \t]*"?([^";]*)"?)?[ \t]*')
_TAKEOVER = (b"server_no_context_takeover", b"client_no_context_takeover")
_WINDOW = (b"server_max_window_bits", b"client_max_window_bits")
_BITS = tuple(b"%d" % bits for bits in range(8, 16))

Parameters = dict[bytes, bytes]


class Inflater:
    """Inflates the messages of one direction, in pieces that stay small.

    It always has the largest window, which suits every sender's.
    ``takeover`` says that a message may refer to those before it.
    """

    def __init__(self, *, takeover: bool = True) -> None:
        self._takeover = takeover
        self._stream = zlib.decompressobj(_LARGEST_WINDOW)

    def inflate(self, data: bytes, *, final: bool) -> Iterator[bytes]:
        """The pieces of a part of a message, made as they are asked for.

        ``final`` says that the message ends with it. Raises ``WebSocketFault``.
        """
        left = data + _TAIL if final else data
        while left:
            try:
                piece = self._stream.decompress(left, _PIECE_BYTES)
            except zlib.error:
                raise WebSocketFault(
                    "a message that does not inflate", close_code=_INVALID_DATA
                ) from None
            left = self._stream.unconsumed_tail
            if self._stream.eof:
                # A final block ends the stream, not the message (RFC 7692 7.2.3.4).
                left = self._stream.unused_data
                self._stream = zlib.decompressobj(_LARGEST_WINDOW)
            if piece:
                yield piece
        if final and not self._takeover:
            self._stream = zlib.decompressobj(_LARGEST_WINDOW)


class Deflater:
    """Deflates the messages of one direction."""

    def __init__(self, *, takeover: bool = True, window_bits: int = 15) -> None:
        self._takeover = takeover
        self._window_bits = max(window_bits, _SMALLEST_WINDOW_BITS)
        self._stream = self._new()

    def _new(self) -> zlib._Compress:
        return zlib.compressobj(wbits=-self._window_bits)

    def deflate(self, data: bytes, *, final: bool) -> bytes:
        """A part of a message; ``final`` says that the message ends with it."""
        deflated = self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        if not final:
            return deflated
        if not self._takeover:
            self._stream = self._new()
        return deflated.removesuffix(_TAIL)


@frozen
class Deflate:
    """The parameters that both ends agreed on: context takeover and window size of each."""

    server_takeover: bool = True
    client_takeover: bool = True
    server_bits: int = 15
    client_bits: int = 15


def _listed(value: bytes) -> list[tuple[bytes, bytes, Parameters | None]] | None:
    """The extensions in a field: each as written, its name and its parameters.

    ``None`` for a malformed field. Parameters are ``None`` if one is repeated.
    """
    found: list[tuple[bytes, bytes, Parameters | None]] = []
    at = 0
    while at < len(value):
        matched = _EXTENSION.match(value, at)
        if matched is None:
            return None
        at = matched.end()
        pairs = _PARAMETER.findall(matched[2])
        parameters: Parameters | None = {name.lower(): bits.strip() for name, bits in pairs}
        if len(parameters or ()) != len(pairs):
            parameters = None
        found.append((matched[0].strip(b" \t,"), matched[1].lower(), parameters))
    return found


def without_others(headers: Headers) -> Headers:
    """A handshake's fields without offers of extensions other than permessage-deflate."""
    kept = []
    for name, value in headers:
        if name.lower() == _FIELD:
            offers = _listed(value)
            ours = [written for written, each, _ in offers or () if each == _NAME]
            if not ours:
                continue
            if offers is not None and len(ours) < len(offers):
                kept.append((name, b", ".join(ours)))
                continue
        kept.append((name, value))
    return tuple(kept)


def _offers(headers: Headers) -> list[Parameters]:
    """The valid offers of permessage-deflate, in the client's order."""
    offers = []
    for name, value in headers:
        if name.lower() == _FIELD:
            for _, each, parameters in _listed(value) or ():
                if each == _NAME and parameters is not None and _valid(parameters, offer=True):
                    offers.append(parameters)
    return offers


def _valid(parameters: Parameters, *, offer: bool) -> bool:
    for name, value in parameters.items():
        if name in _TAKEOVER:
            if value:
                return False
        elif name in _WINDOW:
            bare = offer and name == _WINDOW[1] and not value
            if not bare and value not in _BITS:
                return False
        else:
            return False
    return True


def accepted(offer: Headers, answer: Headers) -> Deflate | None:
    """The compression that an upstream's answer agrees to; ``None`` for none.

    Raises ``BadUpstreamAnswer`` for anything that was not offered (RFC 6455 4.1, 6).
    """
    fields = [value for name, value in answer if name.lower() == _FIELD and value]
    if not fields:
        return None
    chosen = _listed(b", ".join(fields))
    offers = _offers(offer)
    if chosen is None or len(chosen) != 1 or chosen[0][1] != _NAME or not offers:
        raise BadUpstreamAnswer("the upstream chose a WebSocket extension that was not offered")
    parameters = chosen[0][2]
    if parameters is None or not _valid(parameters, offer=False):
        raise BadUpstreamAnswer("the upstream's permessage-deflate parameters are invalid")
    if _WINDOW[1] in parameters and not any(_WINDOW[1] in each for each in offers):
        raise BadUpstreamAnswer("the upstream asks for a window size that the client did not offer")
    return _deflate(parameters)


def _deflate(parameters: Parameters) -> Deflate:
    server, client = (int(parameters.get(name) or b"15") for name in _WINDOW)
    return Deflate(
        server_takeover=_TAKEOVER[0] not in parameters,
        client_takeover=_TAKEOVER[1] not in parameters,
        server_bits=server,
        client_bits=client,
    )


def answer_for(offer: Headers) -> tuple[bytes, Deflate] | None:
    """The field value that accepts the first offer that buffr can meet, and its parameters.

    A requested window size is confirmed, even the largest (RFC 7692 7.1.2.1).
    """
    for parameters in _offers(offer):
        deflate = _deflate(parameters)
        if deflate.server_bits < _SMALLEST_WINDOW_BITS:
            continue
        words = [_NAME, *(name for name in _TAKEOVER if name in parameters)]
        if _WINDOW[0] in parameters:
            words.append(b"%b=%d" % (_WINDOW[0], deflate.server_bits))
        return b"; ".join(words), deflate
    return None
