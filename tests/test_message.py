"""Messages: which fields end at this hop, how an answer is framed, how a head looks as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.message import (
    CHUNKED,
    UNTIL_CLOSE,
    Headers,
    Request,
    ResponseHead,
    end_to_end,
    first_value,
    has_token,
    media_type,
    response_length,
)
from buffr.wire.http1_head import HeadLimits, parse_response_head

KEPT = ((b"Host", b"h"), (b"X-A", b"1"), (b"x-a", b"2"), (b"Cache-Control", b"no-cache"))


class TestEndToEnd:
    @pytest.mark.parametrize(
        "name",
        [
            *(b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"UPGRADE"),
            *(b"Transfer-Encoding", b"Proxy-Authenticate", b"proxy-authorization"),
        ],
    )
    def test_fields_of_the_hop_end_here(self, name: bytes) -> None:
        """Each stays behind, whatever its case, and the others keep their order."""
        assert end_to_end((*KEPT[:2], (name, b"x"), *KEPT[2:])) == KEPT

    @pytest.mark.parametrize(
        ("connection", "left"),
        [
            (b"x-a", KEPT[:1] + KEPT[3:]),
            (b"keep-alive , X-A,, ,close", KEPT[:1] + KEPT[3:]),
            (b"Host, Cache-Control, Content-Length", KEPT),
            (b"", KEPT),
            (b"X-B", KEPT),
        ],
    )
    def test_fields_that_connection_names(self, connection: bytes, left: Headers) -> None:
        """They end here too, but never framing, routing and ``Cache-Control`` (RFC 9110 7.6.1)."""
        assert end_to_end((*KEPT, (b"Connection", connection))) == left
        assert end_to_end(((b"CONNECTION", connection), *KEPT)) == left

    def test_several_connection_fields(self) -> None:
        """The options of all of them count."""
        headers = ((b"Connection", b"a"), (b"A", b"1"), (b"B", b"2"), (b"Connection", b"close, b"))
        assert end_to_end(headers) == ()

    def test_the_length_survives_its_naming(self) -> None:
        """A client cannot have the framing of its body taken away."""
        length = (b"Content-Length", b"5")
        assert end_to_end((length, (b"Connection", b"content-length"))) == (length,)

    def test_keep_wins(self) -> None:
        """What the next hop is framed by stays, also when ``Connection`` names it."""
        coding = (b"Transfer-Encoding", b"chunked")
        headers = (coding, (b"Connection", b"transfer-encoding, x"), (b"X", b"1"))
        assert end_to_end(headers, keep=frozenset((b"transfer-encoding",))) == (coding,)

    @given(st.lists(st.tuples(st.sampled_from([b"Connection", b"TE", b"X", b"Y"]), st.binary())))
    def test_once_is_enough(self, fields: list[tuple[bytes, bytes]]) -> None:
        """What has passed one hop passes the next one unchanged."""
        once = end_to_end(tuple(fields))
        assert end_to_end(once) == once


class TestResponseLength:
    @pytest.mark.parametrize(
        ("method", "status", "headers", "length"),
        [
            (b"GET", 200, ((b"Content-Length", b"5"),), 5),
            (b"GET", 200, ((b"content-length", b"005"),), 5),
            (b"GET", 200, ((b"Content-Length", b"0"),), 0),
            (b"GET", 200, ((b"Transfer-Encoding", b"chunked"),), CHUNKED),
            (b"GET", 200, ((b"X", b"1"), (b"TRANSFER-encoding", b"Chunked")), CHUNKED),
            (b"GET", 200, (), UNTIL_CLOSE),
            (b"GET", 404, (), UNTIL_CLOSE),
            (b"GET", 205, ((b"Content-Length", b"0"),), 0),
            (b"POST", 201, (), UNTIL_CLOSE),
            (b"head", 200, (), UNTIL_CLOSE),
            (b"HEAD", 200, ((b"Content-Length", b"5"),), 0),
            (b"HEAD", 200, ((b"Transfer-Encoding", b"chunked"),), 0),
            (b"HEAD", 200, (), 0),
            (b"GET", 204, (), 0),
            (b"GET", 204, ((b"Content-Length", b"5"),), 0),
            (b"GET", 304, ((b"Content-Length", b"5"),), 0),
            (b"GET", 304, ((b"Transfer-Encoding", b"chunked"),), 0),
            (b"GET", 100, (), 0),
            (b"GET", 103, ((b"Content-Length", b"5"),), 0),
        ],
    )
    def test_by_method_status_and_fields(
        self, method: bytes, status: int, headers: Headers, length: int
    ) -> None:
        """The rules of RFC 9112 6.3, in their order."""
        assert response_length(method, ResponseHead(status, b"", headers)) == length


class TestEncoded:
    def test_all_bytes(self) -> None:
        """Status line and fields in their order, without the empty line."""
        head = ResponseHead(404, b"Not  Found", ((b"X-b", b"1"), (b"X-B", b""), (b"A", b"\xff")))
        assert head.encoded == b"HTTP/1.1 404 Not  Found\r\nX-b: 1\r\nX-B: \r\nA: \xff\r\n"

    @pytest.mark.parametrize("minor", [0, 1])
    def test_our_own_version(self, minor: int) -> None:
        """The version on the wire is the sender's own (RFC 9110 2.5); a reason may be absent."""
        assert ResponseHead(200, b"", (), minor).encoded == b"HTTP/1.1 200 \r\n"

    @given(
        st.integers(100, 999).filter(lambda status: status != 101),
        st.lists(
            st.tuples(st.sampled_from([b"X-A", b"x-a"]), st.sampled_from([b"", b"b\tc", b"\xe9"]))
        ),
    )
    def test_it_reads_back(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        """What is written is what the other side reads."""
        head = ResponseHead(status, b"Some Reason", tuple(fields))
        back = parse_response_head(head.encoded + b"\r\n", HeadLimits())
        assert (back.status, back.reason, back.headers) == (status, head.reason, head.headers)


class TestFields:
    HEADERS = ((b"Accept", b"a"), (b"ACCEPT", b"B, c ,, D"), (b"Content-Type", b" Text/HTML ; x=Y"))

    def test_first_value(self) -> None:
        """The first field of that name in any case; ``None`` when there is none."""
        assert first_value(self.HEADERS, b"accept") == b"a"
        assert first_value(self.HEADERS, b"x") is None

    @pytest.mark.parametrize(
        ("token", "found"),
        [(b"a", True), (b"b", True), (b"d", True), (b"b, c", False), (b"x", False)],
    )
    def test_has_token(self, token: bytes, *, found: bool) -> None:
        """All fields of that name make one list."""
        assert has_token(self.HEADERS, b"accept", token) is found

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [(HEADERS, b"text/html"), ((), b""), (((b"content-type", b""),), b"")],
    )
    def test_media_type(self, headers: Headers, expected: bytes) -> None:
        """Type and subtype in lower case, without parameters."""
        assert media_type(headers) == expected


class TestRequest:
    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            (b"/a%3F?b?c", b"/a%3F", b"b?c"),
            (b"/x?", b"/x", b""),
            (b"/x", b"/x", None),
            (b"*", b"*", None),
        ],
    )
    def test_target(self, target: bytes, path: bytes, query: bytes | None) -> None:
        """Path and query are the target's bytes around its first question mark."""
        request = Request(b"GET", target, ())
        assert (request.path, request.query) == (path, query)


class TestConnectionAuth:
    """Credentials that authenticate a connection (RFC 4559, MS-NTHT), and what asks for them."""

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"NTLM TlRM", True),
            (b"ntlm TlRM", True),
            (b"NTLM", True),
            (b"Negotiate YII=", True),
            (b"Nego2 YII=", True),
            (b"Kerberos YII=", True),
            (b"CredSSP TlRM", True),
            (b"Basic TlRM", False),
            (b"Bearer NTLM", False),
            (b"NTLMv2 x", False),
            (b'Digest username="NTLM"', False),
            (b"", False),
        ],
    )
    def test_carried(self, value: bytes, expected: bool) -> None:
        assert Request(b"GET", b"/", ((b"X", b"NTLM a"),)).authenticates_connection is False
        headers = (*KEPT, (b"authorization", value))
        assert Request(b"GET", b"/", headers).authenticates_connection is expected

    @pytest.mark.parametrize(
        ("status", "name", "values", "expected"),
        [
            (401, b"WWW-Authenticate", [b"NTLM"], True),
            (401, b"www-authenticate", [b"Negotiate", b"NTLM"], True),
            (401, b"WWW-Authenticate", [b'Basic realm="a"', b"negotiate"], True),
            (401, b"WWW-Authenticate", [b'Basic realm="a", NTLM'], True),
            (401, b"WWW-Authenticate", [b"Negotiate,NTLM,Basic realm=a"], True),
            (401, b"WWW-Authenticate", [b"NTLM TlRMTVNTUAAC"], True),
            (407, b"Proxy-Authenticate", [b"NTLM"], True),
            (401, b"WWW-Authenticate", [b'Basic realm="NTLM"', b"Bearer"], False),
            (401, b"Proxy-Authenticate", [b"NTLM"], False),
            (407, b"WWW-Authenticate", [b"NTLM"], False),
            (403, b"WWW-Authenticate", [b"NTLM"], False),
            (401, b"WWW-Authenticate", [], False),
        ],
    )
    def test_asked_for(self, status: int, name: bytes, values: list[bytes], expected: bool) -> None:
        head = ResponseHead(status, b"Who", tuple((name, value) for value in values))
        assert head.offers_connection_auth is expected
