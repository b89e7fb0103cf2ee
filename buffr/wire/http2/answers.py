"""Answers in HTTP/2 as heads that the rest of buffr knows, and requests as an upstream takes them.

A body without a length is chunked for clients in HTTP/1.1, and its head says
so: it is framed again on each hop. A status has the reason phrase of RFC 9110,
since HTTP/2 has none (RFC 9113 8).
"""

from __future__ import annotations

from http import HTTPStatus

from buffr.errors import BadRequest, BadUpstreamAnswer
from buffr.message import OF_A_CONNECTION, Headers, ResponseHead, first_value
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http2.requests import checked

__all__ = ["answer_of", "request_fields"]

_CHUNKED = (b"transfer-encoding", b"chunked")
_EMPTY = (b"content-length", b"0")
_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_BODILESS = frozenset((204, 304))


def answer_of(fields: Headers, *, ended: bool, limits: HeadLimits, method: bytes) -> ResponseHead:
    """The head of an answer; ``ended`` says that it has no body.

    Raises ``BadUpstreamAnswer`` for what could not be written in HTTP/1.1.
    """
    if len(fields) > limits.count:
        raise BadUpstreamAnswer(
            f"the upstream's answer has over {limits.count} fields",
            hint="limits.header_count sets the bound",
        )
    status = fields[0][1] if fields and fields[0][0] == b":status" else b""
    if len(status) != 3 or not status.isdigit() or status[:1] == b"0" or status == b"101":
        raise BadUpstreamAnswer("the upstream's answer has no valid :status")
    try:
        headers = checked(fields[1:])
    except BadRequest as error:
        raise BadUpstreamAnswer(f"the upstream's answer has {error.message}") from None
    code = int(status)
    if code >= 200 and method != b"HEAD" and code not in _BODILESS:
        headers += _framing(headers, ended=ended)
    return ResponseHead(code, _PHRASES.get(code, b""), headers)


def _framing(headers: Headers, *, ended: bool) -> Headers:
    if first_value(headers, b"content-length") is not None:
        return ()
    return (_EMPTY,) if ended else (_CHUNKED,)


def request_fields(
    method: bytes, scheme: bytes, authority: bytes, target: bytes, headers: Headers
) -> Headers:
    """A request's fields for the wire; ``Host`` is in ``:authority``.

    Fields about a connection in HTTP/1.1 are left out, and of ``TE`` only
    ``trailers`` stays (8.2.2). A field that was sent never to be indexed stays
    so.
    """
    fields = [
        (b":method", method),
        (b":scheme", scheme),
        (b":authority", authority),
        (b":path", target),
    ]
    for field in headers:
        name = field[0].lower()
        if name in OF_A_CONNECTION or name == b"host":
            continue
        if name == b"te":
            if b"trailers" in field[1].lower():
                fields.append((b"te", b"trailers"))
            continue
        fields.append(field if name == field[0] else (name, field[1]))
    return tuple(fields)
