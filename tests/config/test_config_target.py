"""An upstream's URL, and the file name made of a host."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.config import cassette_name, scope_cassette
from buffr.origin import Origin, host_and_port


class TestTarget:
    @pytest.mark.parametrize(
        ("text", "target", "authority"),
        [
            ("http://a.example", Origin("http", "a.example", 80), b"a.example"),
            ("https://a.example/", Origin("https", "a.example", 443), b"a.example"),
            ("HTTPS://A.Example:443", Origin("https", "a.example", 443), b"a.example"),
            ("https://a:80/v1", Origin("https", "a", 80, "/v1"), b"a:80"),
            ("http://a/v1/", Origin("http", "a", 80, "/v1"), b"a"),
            ("http://a//", Origin("http", "a", 80, "/"), b"a"),
            ("http://a/b%2Fc@d", Origin("http", "a", 80, "/b%2Fc@d"), b"a"),
            ("http://[::1]:8080", Origin("http", "::1", 8080), b"[::1]:8080"),
            ("http://[0:0::1]", Origin("http", "::1", 80), b"[::1]"),
            ("http://127.0.0.1:9", Origin("http", "127.0.0.1", 9), b"127.0.0.1:9"),
            ("http://my_host-1", Origin("http", "my_host-1", 80), b"my_host-1"),
        ],
    )
    def test_taken(self, text: str, target: Origin, authority: bytes) -> None:
        """A URL gives scheme, host, port and base path, and the value of ``Host``."""
        assert Origin.parse(text) == target
        assert target.authority == authority
        assert target.tls == (target.scheme == "https")
        assert target.base_path_bytes == target.base_path.encode()

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "does not begin with http://"),
            ("a.example", "does not begin with http://"),
            ("ftp://a", "does not begin with http://"),
            ("http:a", "does not begin with http://"),
            ("http:/a", "does not begin with http://"),
            (" http://a", "does not begin with http://"),
            ("http://", "invalid host name"),
            ("http://:80", "invalid host name"),
            ("http://a..b", "invalid host name"),
            ("http://a b", "invalid host name"),
            ("http://a\n", "invalid host name"),
            ("http://\u00fc.example", "xn--"),
            ("http://" + "a" * 64, "invalid host name"),
            ("http://" + "a." * 130 + "a", "invalid host name"),
            ("http://127.1", "not an IPv4"),
            ("http://2130706433", "not an IPv4"),
            ("http://0x7f000001", "not an IPv4"),
            ("http://1.2.3.256", "not an IPv4"),
            ("http://[::1", "host or port"),
            ("http://[1.2.3.4]", "not an IPv6"),
            ("http://[fe80::1%25eth0]", "not an IPv6"),
            ("http://::1", "host or port"),
            ("http://a:", "port that is not"),
            ("http://a:0", "port that is not"),
            ("http://a:65536", "port that is not"),
            ("http://a:http", "host or port"),
            ("http://u@a", "contains a user name"),
            ("http://u:p@a", "contains a user name"),
            ("http://a?x=1", "query or a fragment"),
            ("http://a/#x", "query or a fragment"),
            ("http://a/b c", "percent-encoded"),
            ("http://a/%zz", "percent-encoded"),
            ("http://a/\u00fc", "percent-encoded"),
            ("http://a/\\b", "percent-encoded"),
        ],
    )
    def test_refused(self, text: str, why: str) -> None:
        """Text that is not such a URL is refused with the reason."""
        with pytest.raises(ValueError, match=why):
            Origin.parse(text)

    @given(st.text(alphabet="htps:/@[].%0a1?#x-_\n\u00fc", max_size=40))
    def test_anything(self, text: str) -> None:
        """Any text is a target whose own URL names it again, or a ValueError."""
        try:
            target = Origin.parse("http://" + text)
        except ValueError:
            return
        assert Origin.parse(target.url + "/") == target
        assert target.authority.isascii()


class TestCassetteName:
    @pytest.mark.parametrize(
        ("host", "name"),
        [
            ("api.openai.com", "api.openai.com.json"),
            ("API.Example", "api.example.json"),
            ("::1", "__1.json"),
            ("..", "_..json"),
            ("", "_.json"),
            ("../x", "_._x.json"),
            ("-rf", "_rf.json"),
            ("a/b\\c\0d", "a_b_c_d.json"),
        ],
    )
    def test_names(self, host: str, name: str) -> None:
        """A host gives a name that people recognise."""
        assert cassette_name(host) == name

    def test_long_hosts_stay_apart(self) -> None:
        """Hosts that are alike for a hundred characters have cassettes of their own."""
        assert cassette_name("a" * 150 + "b") != cassette_name("a" * 150 + "c")

    @given(st.text(max_size=300))
    def test_any_host(self, host: str) -> None:
        """Whatever the host is, its file is one plain name within the directory."""
        name = cassette_name(host)
        assert PurePosixPath(name).name == name
        assert name.isascii()
        assert name.isprintable()
        assert name[0] not in ".-"
        assert len(name) <= 105


class TestScopeCassette:
    @pytest.mark.parametrize(
        ("cassette", "scope", "name"),
        [
            ("d/a.example.json", "", "d/a.example.json"),
            ("d/a.example.json", "test-42", "d/a.example@test-42.json"),
            ("misc.json", "a_b.c", "misc@a_b.c.json"),
            ("plain", "x", "plain@x"),
        ],
    )
    def test_names(self, cassette: str, scope: str, name: str) -> None:
        """A scope's cassette is beside that of all, under a name that no host has."""
        assert scope_cassette(Path(cassette), scope) == Path(name)

    def test_scopes_stay_apart(self) -> None:
        """Also where a file system does not tell case, or names are long."""
        scopes = ["a", "A", "~a", "_a", "x" * 64, "X" * 64, "x" * 65, "x" * 66]
        names = [scope_cassette(Path("m.json"), scope).name for scope in scopes]
        assert len({name.lower() for name in names}) == len(scopes)

    @given(st.text(max_size=300))
    def test_any_scope(self, scope: str) -> None:
        """Whatever the scope is, its file is in the cassette's directory."""
        path = scope_cassette(Path("d/m.json"), scope)
        assert path.parent == Path("d")
        assert path.name.isascii()
        assert path.name.isprintable()
        assert len(path.name) <= 90


@pytest.mark.parametrize(
    ("host", "written"),
    [("h.test", "h.test:80"), ("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")],
)
def test_host_and_port(host: str, written: str) -> None:
    assert host_and_port(host, 80) == written
