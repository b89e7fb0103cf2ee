"""HTTP/1.1 heads: bytes up to the empty line are parsed into a request or a response head.

llhttp (by httptools) splits and validates the fields in its strict mode. This
module adds what llhttp does not do: methods that it does not know, transfer
codings other than ``chunked``, repeated ``Host`` and length fields, and bounds.
"""

from __future__ import annotations

import re

import httptools
from attrs import frozen

from buffr.errors import BadRequest, BadUpstreamAnswer, BuffrError
from buffr.message import CHUNKED, Headers, Request, ResponseHead, has_token

__all__ = [
    "END_OF_HEAD",
    "HeadLimits",
    "check_expectation",
    "check_host",
    "check_request_line",
    "content_length",
    "parse_request_head",
    "parse_response_head",
    "percent_encoded",
    "too_large",
    "too_many_fields",
]

END_OF_HEAD = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(
    rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n"
)
_OTHER_VERSION = re.compile(_TOKEN + rb" [\x21-\x7e\x80-\xff]+ HTTP/(?!1\.[01])[0-9]\.[0-9]\r\n")
_OTHER_TARGET = re.compile(_TOKEN + rb" ([^\r\n]+) HTTP/1\.[01]\r\n")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
_HOST = re.compile(
    rb"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]{0,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_OF_FRAMING = frozenset((b"content-length", b"transfer-encoding"))

_READ_OTHERWISE = frozenset(
    b"ANNOUNCE CONNECT DESCRIBE FLUSH GET_PARAMETER PAUSE PLAY RECORD REDIRECT SETUP "
    b"SET_PARAMETER TEARDOWN".split()
)
"""Methods for which llhttp expects RTSP, or the target of a tunnel."""


@frozen
class HeadLimits:
    """Bounds on one head: its ``size_bytes`` in all, and its ``count`` of fields."""

    size_bytes: int = 65536
    count: int = 256


class _Fields:
    """Collects httptools' callbacks, which have these names."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))


def _split(parser_class: type, raw: bytes) -> Headers:
    collected = _Fields()
    try:  # noqa: SIM105  # ``suppress`` is three calls more
        parser_class(collected).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    return tuple(collected.fields)


def check_request_line(line: bytes) -> None:
    """Validate a head's first line, including its line end. Raises ``BadRequest``."""
    _request_line(line)


def _request_line(raw: bytes) -> re.Match[bytes]:
    line = _REQUEST_LINE.match(raw)
    if line is not None:
        return line
    if _OTHER_VERSION.match(raw):
        raise BadRequest(
            "only HTTP/1.0 and HTTP/1.1 are served here",
            status=505,
            reason=b"HTTP Version Not Supported",
        )
    raise _bad_line(raw)


def _bad_line(raw: bytes) -> BadRequest:
    """Why a line is refused, in detail if only its target is wrong."""
    target = _OTHER_TARGET.match(raw)
    if target is None:
        return BadRequest("malformed request line", hint="this port speaks HTTP/1.1")
    if b"#" in target[1]:
        return BadRequest(
            "a request target with a fragment (#)",
            hint="a client keeps the fragment to itself; write # in a path or query as %23",
        )
    return BadRequest(
        "a request target with white space or a control character",
        hint="percent-encode it: a space is %20",
    )


def parse_request_head(raw: bytes, limits: HeadLimits) -> Request:
    """Parse one request head, from its first byte to its empty line.

    The target may be in any form; the listener decides which ones it serves.
    Its non-ASCII bytes are percent-encoded (RFC 3986 2.1): servers treat both
    alike, and parsers with other ideas of white space would split the line.
    Raises ``BadRequest`` with 400, 417, 431, 501 or 505.
    """
    line = _request_line(raw)
    if raw.count(b"\r\n") - 2 > limits.count:
        raise too_many_fields(limits)
    method, target, minor_digit = line.groups()
    whole = target.isascii()
    headers = _request_fields(method if whole else None, raw, line.end())
    if not whole:
        target = percent_encoded(target)
    minor = int(minor_digit)
    check_host(headers, minor, target if method == b"CONNECT" else None)
    length, expects, upgrade, keep_alive = 0, False, b"", minor == 1
    names = {name.lower() for name, _ in headers}
    if not names.isdisjoint(_OF_FRAMING):
        length = _request_length(headers, minor)
    if b"expect" in names:
        expects = check_expectation(headers, minor)
    if b"connection" in names:
        keep_alive, upgrade = _keep_alive(headers, minor), _upgrade(headers, minor)
    return Request(
        method=method,
        target=target,
        headers=headers,
        minor=minor,
        body_length=length,
        keep_alive=keep_alive,
        expects_continue=expects,
        upgrade=upgrade,
    )


def too_large(limits: HeadLimits) -> BadRequest:
    """The error about a head of too many bytes."""
    return BadRequest(
        f"a request head of over {limits.size_bytes} bytes",
        status=431,
        reason=b"Request Header Fields Too Large",
        hint="limits.head_bytes sets the bound",
    )


def too_many_fields(limits: HeadLimits) -> BadRequest:
    """The error about a head of too many fields."""
    return BadRequest(
        f"more than {limits.count} header fields",
        status=431,
        reason=b"Request Header Fields Too Large",
        hint="limits.header_count sets the bound",
    )


def percent_encoded(target: bytes) -> bytes:
    """A target with its bytes beyond ASCII percent-encoded (RFC 3986 2.1)."""
    return _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], target)


def _request_fields(method: bytes | None, raw: bytes, line_end: int) -> Headers:
    """The fields of a head; ``method`` is ``None`` if llhttp must not see the first line."""
    try:
        if method is not None and method not in _READ_OTHERWISE:
            try:  # ``suppress`` is three calls more
                return _split(httptools.HttpRequestParser, raw)
            except httptools.HttpParserInvalidMethodError:
                pass
        # llhttp accepts only a list of methods, and targets in ASCII.
        return _split(httptools.HttpRequestParser, b"GET / HTTP/1.1\r\n" + raw[line_end:])
    except httptools.HttpParserError as error:
        raise BadRequest(f"malformed request head: {error}") from error


def check_host(headers: Headers, minor: int, authority: bytes | None) -> None:
    """Require one valid ``Host``. ``authority`` is the target of a CONNECT.

    Raises ``BadRequest``.
    """
    hosts = [value for name, value in headers if name.lower() == b"host"]
    if len(hosts) > 1 or (minor == 1 and not hosts):
        raise BadRequest("a request needs exactly one Host field")
    if hosts:
        host = _HOST.fullmatch(hosts[0])
        valid = host is not None and int(host[1] or 0) <= 65535
        if not valid and (authority is None or not _lacks_brackets(hosts[0], authority)):
            raise BadRequest("malformed Host field")


def _lacks_brackets(host: bytes, authority: bytes) -> bool:
    """Whether ``Host`` is a tunnel's target without the brackets of its IPv6 address.

    Some clients write it so. It adds nothing to the target, and is not passed on.
    """
    address, bracket, _ = authority.removeprefix(b"[").partition(b"]")
    return bool(bracket) and host in (address, authority.replace(b"[", b"").replace(b"]", b""))


def _framing(headers: Headers, minor: int, error: type[BuffrError]) -> int | None:
    """The body's length according to the fields; ``None`` if no field gives it."""
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    if not codings:
        return _length(lengths, error)
    if lengths:
        raise error("both Transfer-Encoding and Content-Length")
    if minor == 0:
        raise error("Transfer-Encoding in an HTTP/1.0 message")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise error("a transfer coding other than chunked")
    return CHUNKED


def _length(lengths: list[bytes], error: type[BuffrError]) -> int | None:
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise error("a malformed or repeated Content-Length")
    return int(lengths[0])


def content_length(headers: Headers) -> int | None:
    """The ``Content-Length`` of a request in bytes, if it has one. Raises ``BadRequest``."""
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    return _length(lengths, BadRequest)


def _request_length(headers: Headers, minor: int) -> int:
    length = _framing(headers, minor, BadRequest)
    return 0 if length is None else length


def _keep_alive(headers: Headers, minor: int) -> bool:
    if has_token(headers, b"connection", b"close"):
        return False
    return minor == 1 or has_token(headers, b"connection", b"keep-alive")


def check_expectation(headers: Headers, minor: int) -> bool:
    """Whether the client waits for 100 (Continue). Raises ``BadRequest`` for other expectations."""
    values = [value.lower() for name, value in headers if name.lower() == b"expect"]
    if not values or minor == 0:
        return False
    if any(value != b"100-continue" for value in values):
        raise BadRequest(
            "an expectation other than 100-continue", status=417, reason=b"Expectation Failed"
        )
    return True


def _upgrade(headers: Headers, minor: int) -> bytes:
    """The protocols that the client asks to switch to (RFC 9110 7.8); empty if there are none."""
    if minor == 0 or not has_token(headers, b"connection", b"upgrade"):
        return b""
    return b", ".join(value for name, value in headers if name.lower() == b"upgrade").lower()


def parse_response_head(raw: bytes, limits: HeadLimits, peer: str = "the upstream") -> ResponseHead:
    """Parse one response head, from its first byte to its empty line.

    ``peer`` names its sender in errors. Raises ``BadUpstreamAnswer``.
    """
    line = _STATUS_LINE.match(raw)
    if line is None:
        raise BadUpstreamAnswer(f"{peer}'s status line is malformed")
    if raw.count(b"\r\n") - 2 > limits.count:
        raise BadUpstreamAnswer(
            f"{peer} sent more than {limits.count} header fields",
            hint="limits.header_count sets the bound",
        )
    try:
        headers = _split(httptools.HttpResponseParser, raw)
    except httptools.HttpParserError as error:
        raise BadUpstreamAnswer(f"{peer}'s head is malformed: {error}") from error
    minor, status, reason = line.groups()
    try:
        _framing(headers, int(minor), BadUpstreamAnswer)
    except BadUpstreamAnswer as error:
        raise BadUpstreamAnswer(f"{peer}'s head has {error.message}") from None
    return ResponseHead(int(status), reason or b"", headers, int(minor))
