"""permessage-deflate is agreed on (RFC 6455 9.1, RFC 7692 7.1)."""

from __future__ import annotations

import re

from attrs import frozen

from buffr.errors import BadUpstreamAnswer
from buffr.message import Headers

__all__ = ["Deflate", "accepted", "answer_for", "without_others"]

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
_LEAST_FOR_ZLIB = 9


@frozen
class Deflate:
    """How two ends have agreed to compress: whether each takes its context over, in what window."""

    server_takeover: bool = True
    client_takeover: bool = True
    server_bits: int = 15
    client_bits: int = 15


Parameters = dict[bytes, bytes]


def _listed(value: bytes) -> list[tuple[bytes, bytes, Parameters | None]] | None:
    """The extensions of a field: each as written, its name, its parameters.

    ``None`` for a malformed field; parameters are ``None`` where one repeats.
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
    """A handshake's fields without the offers of extensions that buffr cannot read."""
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
    """What an upstream's answer agrees to, of what was offered to it.

    Raises ``BadUpstreamAnswer`` for what was not offered (RFC 6455 4.1, 6).
    """
    fields = [value for name, value in answer if name.lower() == _FIELD and value]
    if not fields:
        return None
    chosen = _listed(b", ".join(fields))
    offers = _offers(offer)
    if chosen is None or len(chosen) != 1 or chosen[0][1] != _NAME or not offers:
        raise BadUpstreamAnswer("the upstream chose a WebSocket extension that nobody offered")
    parameters = chosen[0][2]
    if parameters is None or not _valid(parameters, offer=False):
        raise BadUpstreamAnswer("the upstream's parameters of permessage-deflate are invalid")
    if _WINDOW[1] in parameters and not any(_WINDOW[1] in each for each in offers):
        raise BadUpstreamAnswer("the upstream asks for a window that the client did not offer")
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
    """The value that accepts a client's first offer that can be met, and what it means.

    A window that is asked for is confirmed, also the largest (RFC 7692 7.1.2.1).
    """
    for parameters in _offers(offer):
        deflate = _deflate(parameters)
        if deflate.server_bits < _LEAST_FOR_ZLIB:
            continue
        words = [_NAME, *(name for name in _TAKEOVER if name in parameters)]
        if _WINDOW[0] in parameters:
            words.append(b"%b=%d" % (_WINDOW[0], deflate.server_bits))
        return b"; ".join(words), deflate
    return None
