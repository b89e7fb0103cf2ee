"""Response heads: what an upstream may say, and what is refused."""

from __future__ import annotations

import pytest

from buffr.errors import BadUpstreamAnswer
from buffr.message import Headers
from buffr.wire.http1_head import HeadLimits, parse_response_head

LIMITS = HeadLimits()


def answer(fields: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


class TestAccepted:
    @pytest.mark.parametrize(
        ("line", "status", "reason", "minor"),
        [
            (b"HTTP/1.1 200 OK", 200, b"OK", 1),
            (b"HTTP/1.0 404 Not Found", 404, b"Not Found", 0),
            (b"HTTP/1.1 200", 200, b"", 1),
            (b"HTTP/1.1 200 ", 200, b"", 1),
            (b"HTTP/1.1 299  two  spaces", 299, b" two  spaces", 1),
            (b"HTTP/1.1 503 caf\xc3\xa9", 503, b"caf\xc3\xa9", 1),
            (b"HTTP/1.1 103 Early Hints", 103, b"Early Hints", 1),
            (b"HTTP/1.1 999 x", 999, b"x", 1),
        ],
    )
    def test_status_line(self, line: bytes, status: int, reason: bytes, minor: int) -> None:
        """Any three digits, and a reason of any text or none."""
        head = parse_response_head(answer(line=line), LIMITS)
        assert (head.status, head.reason, head.minor) == (status, reason, minor)

    @pytest.mark.parametrize(
        "headers",
        [
            ((b"Set-Cookie", b"a=1"), (b"SET-cookie", b"b=2"), (b"Set-Cookie", b"a=1")),
            ((b"X-Empty", b""), (b"X-U", b"caf\xc3\xa9")),
            ((b"Connection", b"upgrade"), (b"Upgrade", b"h2c"), (b"X-Behind", b"1")),
            ((b"Transfer-Encoding", b"chunked"), (b"X-Behind", b"1")),
            ((b"Content-Length", b"0"), (b"X-Behind", b"1")),
            ((b"Content-Encoding", b"gzip, " * 500 + b"gzip"),),
            ((b"Location", b"/a%0d%0aX-Smuggled:%201"),),
        ],
    )
    @pytest.mark.parametrize("status", [b"200", b"204", b"304"])
    def test_fields_stay_as_they_were_sent(self, headers: Headers, status: bytes) -> None:
        """Names in their case, duplicates in their order, values untouched."""
        fields = b"".join(b"%b: %b\r\n" % field for field in headers)
        raw = answer(fields, b"HTTP/1.1 " + status)
        assert parse_response_head(raw, LIMITS).headers == headers


class TestRefused:
    @pytest.mark.parametrize(
        "line",
        [
            b"hello there",
            b"<html>hi</html>",
            b"\0\0\x12\x04\0\0\0\0\0",
            b"HTTP/1.1 9999 X",
            b"HTTP/1.1 -1 X",
            b"HTTP/1.1 099 X",
            b"HTTP/1.1 20 X",
            b"HTTP/7.7 200 OK",
            b"HTTP/1.2 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 200 a\rX-Smuggled: 1",
            b"HTTP/1.1 200 a\nX-Smuggled: 1",
            b"HTTP/1.1 200 a\0b",
            b"\r\nHTTP/1.1 200 OK",
        ],
    )
    def test_status_line(self, line: bytes) -> None:
        """What is not a status line of HTTP/1 is no answer."""
        with pytest.raises(BadUpstreamAnswer):
            parse_response_head(answer(line=line), LIMITS)

    @pytest.mark.parametrize(
        "fields",
        [
            b"Content-Length: 2\r\nContent-Length: 50\r\n",
            b"Content-Length: 2\r\nContent-Length: 2\r\n",
            b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length: +2\r\n",
            b"Content-Length: two\r\n",
            b"Content-Length: 2, 2\r\n",
            b"Content-Length: " + b"9" * 23 + b"\r\n",
            b"Content-Length: " + b"1" * 5000 + b"\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: identity\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"X-A: b\rX-Smuggled: 1\r\n",
            b"X-A: b\nX-Smuggled: 1\r\n",
            b"X-A: b\0X-Smuggled: 1\r\n",
            b"X-A: b\r\n X-Smuggled: 1\r\n",
            b"X-Smuggled : 1\r\n",
            b"garbage line\r\n",
            b": v\r\n",
        ],
    )
    def test_fields(self, fields: bytes) -> None:
        """Broken fields and ambiguous framing are refused."""
        with pytest.raises(BadUpstreamAnswer):
            parse_response_head(answer(fields), LIMITS)

    def test_transfer_coding_in_http_1_0(self) -> None:
        """HTTP/1.0 knows no transfer coding (RFC 9112 6.1)."""
        raw = answer(b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0 200 OK")
        with pytest.raises(BadUpstreamAnswer):
            parse_response_head(raw, LIMITS)

    def test_count_of_fields(self) -> None:
        """As many fields as the bound allows, and not one more."""
        limits = HeadLimits(count=10)
        assert len(parse_response_head(answer(b"X: y\r\n" * 10), limits).headers) == 10
        with pytest.raises(BadUpstreamAnswer, match="more than 10"):
            parse_response_head(answer(b"X: y\r\n" * 11), limits)
