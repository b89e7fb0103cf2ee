"""Request heads: what is accepted and how it is read, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from request_heads import ACCEPTED, ENCODED, REFUSED, REFUSED_CODINGS, head, target

from buffr.errors import BadRequest
from buffr.message import CHUNKED, Request
from buffr.wire.http1_head import HeadLimits, parse_request_head


def parse(raw: bytes, limits: HeadLimits = HeadLimits()) -> Request:  # noqa: B008  # frozen
    return parse_request_head(raw, limits)


def refusal(raw: bytes, limits: HeadLimits = HeadLimits()) -> int:  # noqa: B008  # frozen
    with pytest.raises(BadRequest) as caught:
        parse_request_head(raw, limits)
    assert caught.value.close
    return caught.value.status


class TestAccepted:
    @pytest.mark.parametrize("name", ACCEPTED)
    def test_every_field_stays_as_it_was_sent(self, name: str) -> None:
        """Line and fields come out with their bytes, case and order."""
        raw = ACCEPTED[name]
        line, *fields = raw[:-4].split(b"\r\n")
        method, form, version = line.split(b" ")
        request = parse(raw)
        assert (request.method, request.target) == (method, form)
        assert b"HTTP/1.%d" % request.minor == version
        pairs = [field.split(b":", 1) for field in fields]
        assert request.headers == tuple((key, value.strip(b" \t")) for key, value in pairs)

    @pytest.mark.parametrize(
        ("name", "read"),
        [
            ("plain", {"body_length": 0, "keep_alive": True, "upgrade": b""}),
            ("http10", {"keep_alive": False, "minor": 0}),
            ("length", {"body_length": 5}),
            ("length over 2**32", {"body_length": 4294967301}),
            ("length with leading zeros", {"body_length": 5}),
            ("chunked", {"body_length": CHUNKED}),
            ("chunked in capitals", {"body_length": CHUNKED}),
            ("chunked behind a tab", {"body_length": CHUNKED}),
            ("chunked named by Connection", {"body_length": CHUNKED}),
            ("underscore is another field", {"body_length": 5}),
            ("underscored coding is another field", {"body_length": 0}),
            ("close", {"keep_alive": False}),
            ("expect", {"expects_continue": True, "body_length": 5}),
            ("upgrade", {"upgrade": b"foo/9, websocket"}),
            ("upgrade with a body", {"upgrade": b"h2c", "body_length": 5}),
        ],
    )
    def test_what_the_fields_say(self, name: str, read: dict[str, Any]) -> None:
        """Framing, persistence, expectation and upgrade are read from the fields."""
        request = parse(ACCEPTED[name])
        assert {key: getattr(request, key) for key in read} == read

    @pytest.mark.parametrize(
        ("fields", "keep_alive"),
        [
            (b"Connection: keep-alive\r\n", True),
            (b"Connection: x, KEEP-ALIVE\r\n", True),
            (b"Connection: keep-alive\r\nConnection: close\r\n", False),
            (b"Proxy-Connection: keep-alive\r\n", False),
        ],
    )
    def test_keep_alive_of_http_1_0(self, fields: bytes, *, keep_alive: bool) -> None:
        """A 1.0 client has to ask for it; ``close`` wins."""
        assert parse(head(fields, line=b"GET /p HTTP/1.0")).keep_alive is keep_alive

    @pytest.mark.parametrize(
        "fields",
        [b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n", b"Connection: x-upgrade\r\n"],
    )
    def test_half_an_upgrade_is_none(self, fields: bytes) -> None:
        """``Upgrade`` counts only together with its ``Connection`` option (RFC 9110 7.8)."""
        assert parse(head(fields)).upgrade == b""

    @pytest.mark.parametrize("field", [b"Expect: 100-continue\r\n", b"Upgrade: x\r\n"])
    def test_http_1_0_knows_no_such_field(self, field: bytes) -> None:
        """What came with HTTP/1.1 says nothing in HTTP/1.0."""
        request = parse(head(b"Connection: upgrade\r\n" + field, line=b"GET /p HTTP/1.0"))
        assert not request.expects_continue
        assert request.upgrade == b""

    @pytest.mark.parametrize(
        "method",
        (
            b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH PROPFIND MKCALENDAR M-SEARCH QUERY "
            b"PURGE LINK SOURCE CONNECT BREW get Get G GETX GE !#$%&'*+-.^_`|~09 "
            b"DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT "
            b"RECORD FLUSH"
        ).split(),
    )
    def test_every_method(self, method: bytes) -> None:
        """A method is any token, known to the parser or not, also one of RTSP's."""
        request = parse(head(b"X-A: 1\r\n", line=method + b" /p HTTP/1.1"))
        assert (request.method, request.target) == (method, b"/p")
        assert request.headers == ((b"Host", b"h"), (b"X-A", b"1"))

    @pytest.mark.parametrize("form", ENCODED)
    @pytest.mark.parametrize("method", [b"GET", b"POST", b"BREW", b"PLAY"])
    def test_targets_beyond_ascii(self, form: bytes, method: bytes) -> None:
        """They are percent-encoded, and never taken for the end of a line or of the target."""
        raw = target(form).replace(b"GET", method)
        request = parse(raw)
        assert (request.method, request.target) == (method, ENCODED[form])
        assert request.headers == ((b"Host", b"h"),)

    @pytest.mark.parametrize("host", [b"::1:443", b"::1", b"[::1]:443"])
    def test_the_host_of_a_tunnel_may_lack_the_brackets_of_its_target(self, host: bytes) -> None:
        """Some clients write it so; where the tunnel leads is said by the target alone."""
        request = parse(head(line=b"CONNECT [::1]:443 HTTP/1.1", host=host))
        assert request.target == b"[::1]:443"


class TestRefused:
    @pytest.mark.parametrize(
        ("line", "host"),
        [
            (b"CONNECT [::1]:443 HTTP/1.1", b"::2:443"),
            (b"CONNECT [::1]:443 HTTP/1.1", b"::1:444"),
            (b"CONNECT [::1]:443 HTTP/1.1", b"[::1:443"),
            (b"CONNECT ::1:443 HTTP/1.1", b"::1:443"),
            (b"GET [::1]:443 HTTP/1.1", b"::1:443"),
            (b"GET / HTTP/1.1", b"::1:443"),
        ],
    )
    def test_hosts_without_brackets_elsewhere(self, line: bytes, host: bytes) -> None:
        assert refusal(head(line=line, host=host)) == 400

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            (b"/p#frag", "fragment"),
            (b"/\xc3\xbc#frag", "fragment"),
            (b"/a b", "white space"),
            (b"/a\x01b", "control character"),
        ],
    )
    def test_a_target_that_is_the_only_fault_is_named(self, form: bytes, said: str) -> None:
        with pytest.raises(BadRequest, match=said) as caught:
            parse(target(form))
        assert "%" in caught.value.hint
        assert "speaks" not in str(caught.value)

    @pytest.mark.parametrize("name", REFUSED)
    def test_malformed_or_ambiguous(self, name: str) -> None:
        """What two parsers could read in two ways gets 400."""
        assert refusal(REFUSED[name]) == 400

    @pytest.mark.parametrize("name", REFUSED_CODINGS)
    def test_a_disguised_coding_beside_a_length(self, name: str) -> None:
        """Neither CL.TE nor TE.CL: a coding that somebody may see rules out a length."""
        coding = REFUSED_CODINGS[name] + b"\r\n"
        assert refusal(head(coding + b"Content-Length: 5\r\n")) == 400
        assert refusal(head(b"Content-Length: 5\r\n" + coding)) == 400

    @pytest.mark.parametrize("version", [b"1.2", b"2.0", b"9.9", b"0.9"])
    def test_other_versions(self, version: bytes) -> None:
        """A well-formed line of another version gets 505."""
        assert refusal(head(line=b"GET /p HTTP/" + version)) == 505

    @pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b""])
    def test_other_expectations(self, value: bytes) -> None:
        """Only ``100-continue`` can be met (RFC 9110 10.1.1)."""
        assert refusal(head(b"Expect: " + value + b"\r\n")) == 417
        both = b"Expect: 100-continue\r\nExpect: " + value + b"\r\n"
        assert refusal(head(both)) == 417

    def test_count_of_fields(self) -> None:
        """As many fields as the bound allows, and not one more."""
        limits = HeadLimits(count=10)
        assert len(parse(head(b"X: y\r\n" * 9), limits).headers) == 10
        assert refusal(head(b"X: y\r\n" * 10), limits) == 431
