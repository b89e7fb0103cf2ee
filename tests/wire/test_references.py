"""URLs in WebDAV's fields: which name the server itself, and how they are changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.message import Headers
from buffr.wire.references import path_at, with_references


def changed(url: bytes) -> bytes:
    return b"!" + url


class TestWhere:
    @pytest.mark.parametrize(
        ("url", "host", "path"),
        [
            (b"http://h.test/a/b?c", b"h.test", b"/a/b?c"),
            (b"HTTP://H.Test:80/a", b"h.test", b"/a"),
            (b"http://h.test/a", b"h.test:80", b"/a"),
            (b"https://h.test:443/a", b"h.test", b"/a"),
            (b"https://127.0.0.1:8080/a", b"127.0.0.1:8080", b"/a"),
            (b"http://[::1]:8080/a", b"[::1]:8080", b"/a"),
            (b"http://h.test", b"h.test", b""),
            (b"http://h.test?a", b"h.test", b"?a"),
            (b"/a/b", b"h.test", b"/a/b"),
            (b"/a/b", b"", b"/a/b"),
        ],
    )
    def test_its_own(self, url: bytes, host: bytes, path: bytes) -> None:
        at = path_at(url, host)
        assert at is not None
        assert url[at:] == path

    @pytest.mark.parametrize(
        ("url", "host"),
        [
            (b"http://other.test/a", b"h.test"),
            (b"http://h.test:81/a", b"h.test"),
            (b"https://h.test/a", b"h.test:80"),
            (b"http://h.test.evil.test/a", b"h.test"),
            (b"http://user@h.test/a", b"h.test"),
            (b"//h.test/a", b"h.test"),
            (b"ftp://h.test/a", b"h.test"),
            (b"http:///a", b""),
            (b"a/b", b"h.test"),
            (b"", b"h.test"),
        ],
    )
    def test_another_servers(self, url: bytes, host: bytes) -> None:
        assert path_at(url, host) is None


class TestFields:
    def test_others_stay(self) -> None:
        """One object for what has none of these fields."""
        headers: Headers = ((b"Host", b"h"), (b"Location", b"/a"), (b"If-Match", b"<a>"))
        assert with_references(headers, changed) is headers

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"(<urn:uuid:1>)", b"(<urn:uuid:1>)"),
            (b'<http://h/a> (<urn:uuid:1> ["e)<x>"])', b'<!http://h/a> (<urn:uuid:1> ["e)<x>"])'),
            (
                b"</a> (Not <http://h/t>) (<x>) </b>(<y>)",
                b"<!/a> (Not <http://h/t>) (<x>) <!/b>(<y>)",
            ),
            (b"no list", b"no list"),
            (b"<unclosed (x", b"<unclosed (x"),
        ],
    )
    def test_if_has_resources_and_state_tokens(self, value: bytes, expected: bytes) -> None:
        """Tokens are opaque, though they may be URLs (RFC 4918 10.4.2)."""
        headers = ((b"IF", value), (b"X", b"<y>"))
        assert with_references(headers, changed) == ((b"IF", expected), (b"X", b"<y>"))

    def test_a_destination_is_one(self) -> None:
        headers = ((b"destination", b"/b"), (b"Overwrite", b"F"))
        assert with_references(headers, changed) == ((b"destination", b"!/b"), (b"Overwrite", b"F"))

    @given(st.binary(max_size=60))
    def test_any_bytes_pass_where_nothing_is_changed(self, value: bytes) -> None:
        headers = ((b"If", value), (b"Destination", value))
        assert with_references(headers, lambda url: url) == headers
        path_at(value, b"h")
