"""Where in a recording a secret may stand that redaction knows nothing of: long runs of token
characters, each with the name that stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import re2
from attrs import frozen

from buffr.interaction import Body, HTTPInteraction, Interaction
from buffr.message import Headers, media_type
from buffr.recording.readable import content, uncoded
from buffr.redaction.scanner import FORM
from buffr.redaction.vocabulary import is_never

__all__ = ["Candidate", "Text", "candidates", "texts_of"]

_TOKEN = re2.compile(rb"[A-Za-z0-9_+/=~.:@-]{20,}")
# Names are read backwards, from the value on.
_EMAN = re.compile(rb"[A-Za-z0-9_.\[\]-]{1,64}")
_EMEHCS = re.compile(rb"[ \t]+[A-Za-z0-9-]{2,16}(?=[ \t\"'])")
_DATA_URL = b";base64,"
_BETWEEN = b" \t\r\n\"'\\[:=>"
_ASSIGNS = frozenset(b":=>")
_ASSIGNED = re.compile(rb"([A-Za-z_][A-Za-z0-9_.-]{0,63})[=:](?=[A-Za-z0-9+/_-]{20})")
_BEFORE_BYTES = 128

# Fields that programs write for programs; secrets in cookies are found by redaction.
_PASSED_OVER = frozenset(
    b"""
    cookie set-cookie report-to nel reporting-endpoints content-security-policy via link date
    content-security-policy-report-only expect-ct x-cache x-cache-hits strict-transport-security
    x-amz-id-2 server x-served-by x-timer permissions-policy
    """.split()
)


@frozen
class Text:
    """A part of a recording: where it stands, the name that it has there, and its bytes.

    ``in_body``: the bytes are those of a body or a frame, decoded.
    """

    where: str
    name: bytes
    data: bytes
    in_body: bool = False


@frozen
class Candidate:
    """A run that may be a secret, at an offset of a text, and the name before it."""

    name: bytes
    token: bytes
    offset: int


def texts_of(interaction: Interaction) -> Iterator[Text]:
    """The parts of an interaction, in order. Raises ``CassetteError`` for a lost body file."""
    request, response = interaction.request, interaction.response
    path, _, query = request.target.partition(b"?")
    yield Text("request path", b"path", path)
    yield from _pairs("request query", query)
    yield from _headers("request header", request.headers)
    yield from _body("request body", request.body, request.headers)
    yield from _headers("response header", response.headers)
    if isinstance(interaction, HTTPInteraction):
        yield from _body("response body", interaction.body, response.headers)
        yield from _headers("trailer", interaction.trailers)
        return
    for number, frame in enumerate(interaction.frames):
        yield from _body(f"frame {number}", frame.data, ())
        yield Text(f"frame {number}", b"", frame.reason.encode())


def _pairs(where: str, query: bytes) -> Iterator[Text]:
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if value:
            yield Text(where, unquote_to_bytes(name), unquote_to_bytes(value))


def _headers(where: str, headers: Headers) -> Iterator[Text]:
    for name, value in headers:
        lower = name.lower()
        if lower not in _PASSED_OVER and not is_never(lower):
            yield Text(f"{where} {name.decode('latin-1')}", lower, value)


def _body(where: str, body: Body, headers: Headers) -> Iterator[Text]:
    if not body.size_bytes:
        return
    data, _ = uncoded(content(body), headers)
    if media_type(headers) == FORM:
        yield from _pairs(where, data)
    else:
        yield Text(where, b"", data, in_body=True)


def candidates(text: Text) -> Iterator[Candidate]:
    """The runs of a text, in order."""
    data = text.data
    for found in _TOKEN.finditer(data):
        start, end = found.span()
        token = data[start:end].rstrip(b".:@")
        name = _name_before(data, start) or text.name
        if data[max(0, start - 8) : start].endswith(_DATA_URL):
            continue
        inner = _ASSIGNED.match(token)  # "API_KEY=value" is one run
        if inner is not None and b"://" not in token:
            name, start, token = inner[1], start + inner.end(), token[inner.end() :]
        yield Candidate(name, token, start)


def _name_before(data: bytes, start: int) -> bytes:
    """The name to which a value at an offset belongs; empty for none."""
    before = data[max(0, start - _BEFORE_BYTES) : start]
    scheme = _EMEHCS.match(before[::-1])
    if scheme is not None:
        before = before[: -scheme.end()]
    bare = before.rstrip(_BETWEEN)
    if _ASSIGNS.isdisjoint(before[len(bare) :]):
        return b""
    found = _EMAN.match(bare[::-1])
    return b"" if found is None else found[0][::-1]
