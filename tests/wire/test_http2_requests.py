"""Requests in HTTP/2 as requests that HTTP/1.1 can carry; and what it must not be made to carry."""

from __future__ import annotations

import pytest
from http2_pair import GET, POST
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import BadRequest
from buffr.message import CHUNKED, Headers, Request, ResponseHead
from buffr.wire.http1_body import request_head
from buffr.wire.http1_head import HeadLimits, parse_request_head
from buffr.wire.http2.interface import NeverIndexed
from buffr.wire.http2.requests import request_of, trailers_of

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
LIMITS = HeadLimits(2000, 20)
CONNECT: Headers = ((b":method", b"CONNECT"), (b":authority", b"api.test:443"))
SOCKET: Headers = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:])


def translated(fields: Headers, *, ended: bool = True) -> Request:
    return request_of(fields, ended=ended, limits=LIMITS, new_key=lambda: KEY)


def refusal(fields: Headers, *, ended: bool = True) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        translated(fields, ended=ended)
    return caught.value


def changed(**pseudo: bytes | None) -> Headers:
    """A GET with other pseudo-header fields; those that are ``None`` are missing."""
    given = {b":" + name.encode(): value for name, value in pseudo.items()}
    fields: dict[bytes, bytes | None] = {**dict(GET), **given}
    return tuple([(name, value) for name, value in fields.items() if value is not None])


class TestTranslation:
    def test_a_request(self) -> None:
        """Host stands first, where HTTP/1.1 has it; everything else as it came."""
        request = translated((*GET, (b"b", b"2"), (b"a", b"1"), (b"b", b"3")))
        assert (request.method, request.target) == (b"GET", b"/x?y=1")
        assert request.headers == (
            (b"host", b"api.test"),
            (b"b", b"2"),
            (b"a", b"1"),
            (b"b", b"3"),
        )
        assert (request.major, request.scheme, request.body_length) == (2, b"https", 0)

    def test_crumbs_of_a_cookie_are_joined(self) -> None:
        """HTTP/1.1 has one Cookie (RFC 9113 8.2.3). It stays what no table may learn."""
        crumbs = ((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3"))
        assert translated(GET + crumbs).headers[1:] == ((b"cookie", b"a=1; b=2; c=3"), (b"x", b"y"))
        secret = (NeverIndexed(b"cookie", b"a=1"), (b"cookie", b"b=2"))
        ((field),) = translated(GET + secret).headers[1:]
        assert (type(field), field) == (NeverIndexed, (b"cookie", b"a=1; b=2"))

    @pytest.mark.parametrize(
        ("fields", "ended", "length", "added"),
        [
            (GET, True, 0, ()),
            (POST, True, 0, ((b"content-length", b"0"),)),
            (POST, False, CHUNKED, ((b"transfer-encoding", b"chunked"),)),
            ((*POST, (b"content-length", b"7")), False, 7, ((b"content-length", b"7"),)),
            ((*POST, (b"content-length", b"0")), True, 0, ((b"content-length", b"0"),)),
        ],
    )
    def test_bodies_are_framed(
        self, fields: Headers, ended: bool, length: int, added: Headers
    ) -> None:
        request = translated(fields, ended=ended)
        assert (request.body_length, request.headers[1:]) == (length, added)

    def test_host_may_repeat_the_authority(self) -> None:
        assert translated((*GET, (b"host", b"API.test"))).headers == ((b"host", b"api.test"),)
        alone = (*changed(authority=None), (b"x", b"y"), (b"host", b"api.test"))
        assert translated(alone).headers == ((b"x", b"y"), (b"host", b"api.test"))

    def test_bytes_beyond_ascii_in_a_path(self) -> None:
        assert translated(changed(path=b"/\xc3\xa4")).target == b"/%C3%A4"

    def test_an_asterisk(self) -> None:
        assert translated(changed(method=b"OPTIONS", path=b"*")).target == b"*"

    def test_expectations(self) -> None:
        assert translated((*POST, (b"expect", b"100-continue")), ended=False).expects_continue
        assert refusal((*POST, (b"expect", b"magic"))).status == 417

    def test_a_tunnel(self) -> None:
        request = translated(CONNECT, ended=False)
        assert (request.method, request.target) == (b"CONNECT", b"api.test:443")
        assert (request.headers, request.body_length) == (((b"host", b"api.test:443"),), 0)

    def test_a_websocket(self) -> None:
        """It is the handshake of HTTP/1.1 from here on (RFC 8441 5)."""
        fields = (*SOCKET, (b"sec-websocket-version", b"13"), (b"sec-websocket-key", b"other"))
        request = translated(fields, ended=False)
        assert (request.method, request.target, request.upgrade) == (
            b"GET",
            b"/x?y=1",
            b"websocket",
        )
        assert request.headers == (
            (b"host", b"api.test"),
            (b"sec-websocket-version", b"13"),
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-key", KEY),
        )

    def test_trailers(self) -> None:
        """Those that frame or route are dropped, as in HTTP/1.1."""
        assert trailers_of(((b"x", b"1"), (b"content-length", b"5"))) == ((b"x", b"1"),)
        for bad in ((b"x", b"a\r\nb"), (b":path", b"/"), (b"X", b"1")):
            with pytest.raises(BadRequest):
                trailers_of((bad,))


REFUSED: dict[str, Headers] = {
    "a space in the path": changed(path=b"/a HTTP/1.1\r\nX: y"),
    "a space alone": changed(path=b"/a b"),
    "a line end in the path": changed(path=b"/a\r\nX:y"),
    "a tab in the path": changed(path=b"/a\tb"),
    "a fragment": changed(path=b"/a#b"),
    "an empty path": changed(path=b""),
    "no path": changed(path=None),
    "an absolute path": changed(path=b"http://other.test/"),
    "an asterisk for GET": changed(path=b"*"),
    "a NUL in the path": changed(path=b"/\0"),
    "a space in the method": changed(method=b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET"),
    "an empty method": changed(method=b""),
    "no method": changed(method=None),
    "no scheme": changed(scheme=None),
    "another scheme": changed(scheme=b"ftp"),
    "a line end in the scheme": changed(scheme=b"https\r\n"),
    "an authority with a user": changed(authority=b"user@api.test"),
    "a line end in the authority": changed(authority=b"api.test\r\nX: y"),
    "a path in the authority": changed(authority=b"api.test/x"),
    "neither authority nor host": changed(authority=None),
    "two hosts": (*changed(authority=None), (b"host", b"a.test"), (b"host", b"a.test")),
    "another host": (*GET, (b"host", b"other.test")),
    "a response's field": ((b":status", b"200"), *GET),
    "a repeated pseudo-header field": (GET[0], *GET),
    "a pseudo-header field after others": ((b"x", b"y"), *GET),
    "an unknown pseudo-header field": (*GET, (b":x", b"y")),
    "a line end in a value": (*GET, (b"x", b"a\r\nTransfer-Encoding: chunked")),
    "a bare CR": (*GET, (b"x", b"a\rb")),
    "a bare LF": (*GET, (b"x", b"a\nb")),
    "a NUL": (*GET, (b"x", b"a\0b")),
    "DEL": (*GET, (b"x", b"\x7f")),
    "white space before a value": (*GET, (b"x", b" a")),
    "white space after a value": (*GET, (b"x", b"a\t")),
    "a capital in a name": (*GET, (b"X-Y", b"1")),
    "a space in a name": (*GET, (b"x y", b"1")),
    "a colon in a name": (*GET, (b"x:y", b"1")),
    "a line end in a name": (*GET, (b"x\r\ny", b"1")),
    "an empty name": (*GET, (b"", b"1")),
    "transfer-encoding": (*POST, (b"transfer-encoding", b"chunked")),
    "connection": (*GET, (b"connection", b"close, x-secret")),
    "proxy-connection": (*GET, (b"proxy-connection", b"keep-alive")),
    "keep-alive": (*GET, (b"keep-alive", b"timeout=5")),
    "upgrade": (*GET, (b"upgrade", b"websocket")),
    "te other than trailers": (*GET, (b"te", b"trailers, chunked")),
    "two lengths": (*POST, (b"content-length", b"5"), (b"content-length", b"6")),
    "a length twice": (*POST, (b"content-length", b"5"), (b"content-length", b"5")),
    "a list of lengths": (*POST, (b"content-length", b"5, 5")),
    "a signed length": (*POST, (b"content-length", b"+5")),
    "a length without a body": (*POST, (b"content-length", b"5")),
    "CONNECT with a path": (*CONNECT, (b":path", b"/")),
    "CONNECT without an authority": ((b":method", b"CONNECT"), (b"host", b"a.test:1")),
    "a protocol without CONNECT": (*GET[:1], (b":protocol", b"websocket"), *GET[1:]),
    "a socket with a body": (*SOCKET, (b"content-length", b"5")),
}


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSED)
    def test_what_another_parser_could_read_otherwise(self, case: str) -> None:
        assert refusal(REFUSED[case]).status == 400

    def test_another_protocol(self) -> None:
        fields = tuple([(n, b"connect-udp" if n == b":protocol" else v) for n, v in SOCKET])
        assert refusal(fields, ended=False).status == 501

    def test_too_much(self) -> None:
        """The same bounds as in HTTP/1.1, with the same status."""
        assert refusal((*GET, (b"x", b"y" * 2000))).status == 431
        assert refusal((*GET, *((b"x", b"y"),) * 20)).status == 431

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b":path", b":method", b"x", b"content-length", b"host", b"cookie"])
                | st.binary(max_size=6),
                st.sampled_from([b"5", b"GET", b"/x", b"chunked"]) | st.binary(max_size=12),
            ),
            max_size=8,
        ),
        st.booleans(),
    )
    def test_what_is_accepted_is_one_request_in_http_1(
        self, more: list[tuple[bytes, bytes]], ended: bool
    ) -> None:
        """Written as HTTP/1.1 and parsed again, it is the same request, and nothing follows it."""
        try:
            request = translated((*GET, *more), ended=ended)
        except BadRequest:
            return
        raw = request_head(request.method, request.target, request.headers)
        assert raw.count(b"\r\n\r\n") == 1
        again = parse_request_head(raw, LIMITS)
        assert (again.method, again.target, again.headers, again.body_length) == (
            request.method,
            request.target,
            request.headers,
            request.body_length,
        )


class TestAnswers:
    def test_a_head(self) -> None:
        """Names in lower case, and nothing about a connection or a transfer coding."""
        head = ResponseHead(
            200,
            b"Fine",
            (
                (b"X-One", b"1"),
                (b"Connection", b"keep-alive"),
                (b"Keep-Alive", b"timeout=5"),
                (b"Transfer-Encoding", b"chunked"),
                (b"Set-Cookie", b"a=b"),
                (b"set-cookie", b"c=d"),
                (b"Trailer", b"x-sum"),
            ),
        )
        assert head.fields == (
            (b":status", b"200"),
            (b"x-one", b"1"),
            (b"set-cookie", b"a=b"),
            (b"set-cookie", b"c=d"),
            (b"trailer", b"x-sum"),
        )
