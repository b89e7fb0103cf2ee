"""Request targets: which origin one names, and what of it the origin is sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import BadRequest
from buffr.listeners.request_target import (
    absolute_form,
    authority_form,
    named_origin,
    origin_form,
    scoped,
)
from buffr.message import Headers, Request
from buffr.origin import Origin

STARTS = (b"", b"http://", b"https://h.test", b"http://h.test:1")


def asked(target: bytes, method: bytes = b"GET", headers: Headers = ()) -> Request:
    return Request(method, target, headers)


class TestOriginForm:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (b"/", b"/"),
            (b"/a%2Fb//c/../d?x=1&y#z", b"/a%2Fb//c/../d?x=1&y#z"),
            (b"http://h.test", b"/"),
            (b"http://h.test/a?b", b"/a?b"),
            (b"https://h.test?b", b"/?b"),
            (b"HTTP://h.test:80//x", b"//x"),
        ],
    )
    def test_it_is_what_stands_behind_the_authority(self, target: bytes, expected: bytes) -> None:
        """Byte for byte; seed defect 9: nothing is decoded or tidied up."""
        assert origin_form(asked(target)).target == expected

    @pytest.mark.parametrize("method", [b"OPTIONS", b"M-SEARCH"])
    def test_an_asterisk_is_for_methods_that_ask_for_no_resource(self, method: bytes) -> None:
        assert origin_form(asked(b"*", method)).target == b"*"
        with pytest.raises(BadRequest):
            origin_form(asked(b"*"))

    @pytest.mark.parametrize(
        ("target", "method"),
        [
            (b"h.test:443", b"CONNECT"),
            (b"h.test", b"GET"),
            (b"ftp://h.test/", b"GET"),
            (b"http:///x", b"GET"),
            (b"http://", b"GET"),
            (b"https:/h.test/", b"GET"),
        ],
    )
    def test_others_are_refused(self, target: bytes, method: bytes) -> None:
        with pytest.raises(BadRequest):
            origin_form(asked(target, method))


class TestNamedOrigin:
    @pytest.mark.parametrize(
        ("target", "origin", "plain"),
        [
            (b"/x", None, b"/x"),
            (b"http://H.test:80/x?y", "http://h.test", b"/x?y"),
            (b"http://h.test:81", "http://h.test:81", b"/"),
            (b"http://user@h.test/x", None, b"/x"),
            (b"http://h.test:x/y", None, b"/y"),
        ],
    )
    def test_it_is_that_of_an_absolute_url(
        self, target: bytes, origin: str | None, plain: bytes
    ) -> None:
        """One that cannot be read is the server's own affair, which takes any."""
        named, request = named_origin(asked(target))
        assert (named and named.url, request.target) == (origin, plain)

    @pytest.mark.parametrize("target", [b"h.test:443", b"ftp://h.test/", b"http:///x"])
    def test_what_no_server_takes_is_refused(self, target: bytes) -> None:
        with pytest.raises(BadRequest):
            named_origin(asked(target, b"CONNECT"))


class TestAbsoluteForm:
    @pytest.mark.parametrize(
        ("target", "origin", "rest"),
        [
            (b"http://h.test/a?b", Origin("http", "h.test", 80), b"/a?b"),
            (b"http://H.Test:8080", Origin("http", "h.test", 8080), b"/"),
            (b"https://h.test/x", Origin("https", "h.test", 443), b"/x"),
            (b"http://[2001:DB8::0:1]:81/x", Origin("http", "2001:db8::1", 81), b"/x"),
            (b"http://10.0.0.1?q", Origin("http", "10.0.0.1", 80), b"/?q"),
        ],
    )
    def test_it_is_an_origin_and_the_rest(self, target: bytes, origin: Origin, rest: bytes) -> None:
        found, request = absolute_form(asked(target))
        assert found == origin
        assert request.target == rest

    @pytest.mark.parametrize("target", [b"/", b"/v1/models", b"*", b"h.test", b"h.test:443"])
    def test_without_an_origin_it_says_what_this_port_is(self, target: bytes) -> None:
        with pytest.raises(BadRequest, match="forward proxy") as caught:
            absolute_form(asked(target))
        assert "HTTPS_PROXY" in caught.value.hint
        assert caught.value.close

    @pytest.mark.parametrize(
        "target",
        [
            b"ftp://h.test/",
            b"http:///x",
            b"http://user:pass@h.test/",
            b"http://h.test:0/",
            b"http://h.test:99999/",
            b"http://h.test:/",
            b"http://127.1/",
            b"http://0x7f.1/",
            b"http://2130706433/",
            b"http://[::1%25lo]/",
            b"http://[::1/",
            b"http://a..b/",
            b"http://" + b"x" * 64 + b".test/",
            b"http://h\xc3\xa4.test/",
            b"http://h.test\\@evil.test/",
            b"http://h.test:80:90/",
        ],
    )
    def test_what_could_be_read_in_two_ways_is_refused(self, target: bytes) -> None:
        with pytest.raises(BadRequest):
            absolute_form(asked(target))


class TestWebSocketURL:
    @pytest.mark.parametrize(
        ("target", "origin"),
        [
            (b"ws://a.test/x", Origin("http", "a.test", 80)),
            (b"WSS://a.test/x", Origin("https", "a.test", 443)),
        ],
    )
    def test_a_handshake_may_name_it(self, target: bytes, origin: Origin) -> None:
        """RFC 6455 3: its origin is that of the HTTP URL; nothing else may come with it."""
        found, request = absolute_form(Request(b"GET", target, (), upgrade=b"websocket"))
        assert (found, request.target) == (origin, b"/x")
        with pytest.raises(BadRequest):
            absolute_form(Request(b"GET", target, ()))


class TestAbsoluteName:
    """``example.com.`` is the host ``example.com``, so both have one route and one recording."""

    @pytest.mark.parametrize("url", [b"http://h.test./x", b"http://H.test.:80/x"])
    def test_its_last_dot_is_left_out(self, url: bytes) -> None:
        assert absolute_form(asked(url))[0] == Origin("http", "h.test", 80)


class TestAuthorityForm:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (b"h.test:443", ("h.test", 443)),
            (b"H.TEST:08443", ("h.test", 8443)),
            (b"a_b-c.test:1", ("a_b-c.test", 1)),
            (b"[::1]:65535", ("::1", 65535)),
            (b"127.0.0.1:80", ("127.0.0.1", 80)),
            (b"h.test.:443", ("h.test", 443)),
        ],
    )
    def test_it_is_host_and_port(self, target: bytes, expected: tuple[str, int]) -> None:
        assert authority_form(asked(target, b"CONNECT")) == expected

    @pytest.mark.parametrize("name", [b"content-length", b"Transfer-Encoding"])
    def test_a_body_is_refused(self, name: bytes) -> None:
        """RFC 9110 9.3.6: it has no meaning, so that parsers differ in what they make of it."""
        with pytest.raises(BadRequest, match="body"):
            authority_form(asked(b"h.test:443", b"CONNECT", ((name, b"3"),)))

    @pytest.mark.parametrize("length", [b"0", b"00"])
    def test_that_there_is_none_may_be_said(self, length: bytes) -> None:
        headers = ((b"Content-Length", length),)
        assert authority_form(asked(b"h.test:443", b"CONNECT", headers)) == ("h.test", 443)

    @pytest.mark.parametrize("target", [b"h.test..:443", b".:443", b":443"])
    def test_dots_are_no_name(self, target: bytes) -> None:
        with pytest.raises(BadRequest):
            authority_form(asked(target, b"CONNECT"))

    @given(st.binary(max_size=40))
    def test_any_bytes_are_a_host_and_a_port_or_the_one_error(self, target: bytes) -> None:
        try:
            host, port = authority_form(asked(target, b"CONNECT"))
        except BadRequest:
            return
        assert host
        assert host == host.lower()
        assert not set(host) & set("/@\\%[] \0")
        assert 1 <= port <= 65535

    @given(st.binary(min_size=1, max_size=60), st.sampled_from(STARTS))
    def test_any_bytes_are_an_origin_or_the_one_error(self, rest: bytes, start: bytes) -> None:
        """And what is left for the origin begins with a slash."""
        try:
            origin, request = absolute_form(asked(start + rest))
        except BadRequest:
            return
        assert origin.scheme in ("http", "https")
        assert request.target.startswith(b"/")
        assert not origin.base_path


def named(*values: bytes) -> Request:
    return Request(b"GET", b"/", tuple((b"X-Buffr-Scope", value) for value in values))


class TestScoped:
    def test_the_header_is_taken_off(self) -> None:
        """Whatever its case; all other fields stay."""
        fields = ((b"A", b"1"), (b"x-BUFFR-scope", b"test-1"), (b"B", b"2"))
        request, scope = scoped(Request(b"GET", b"/", fields), "user")
        assert scope == "test-1"
        assert request.headers == ((b"A", b"1"), (b"B", b"2"))

    def test_without_it_the_other_scope_counts(self) -> None:
        request = named()
        assert scoped(request, "user") == (request, "user")
        assert scoped(request)[1] == ""

    def test_one_head_is_one_request(self) -> None:
        """What is remembered of a head is remembered of it without its scope."""
        request = named(b"a")
        assert scoped(request)[0] is scoped(request)[0]

    @pytest.mark.parametrize(
        "values", [(b"",), (b"a" * 65,), (b"a b",), (b"../x",), (b"\xc3\xa4",), (b"a", b"a")]
    )
    def test_no_scope(self, values: tuple[bytes, ...]) -> None:
        with pytest.raises(BadRequest, match="X-Buffr-Scope"):
            scoped(named(*values))
