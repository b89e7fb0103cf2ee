"""Parent proxies: what a route or the environment says, for which origins."""

from __future__ import annotations

import string
from base64 import b64encode

import pytest
from config_sources import loaded, refused
from hypothesis import given
from hypothesis import strategies as st

from buffr.config import Config, ParentProxies, ParentProxy, Via
from buffr.origin import Origin
from buffr.policy.bypass import Bypass

SECRET = "Zq9xW7vK3m"
HTTP, HTTPS = Origin.parse("http://api.example"), Origin.parse("https://api.example")


def parent(url: str) -> ParentProxy:
    return ParentProxy.parse(url)


class TestURLs:
    @pytest.mark.parametrize(
        ("text", "url", "credentials"),
        [
            ("http://p.example:3128", "http://p.example:3128", None),
            ("http://p.example:3128/", "http://p.example:3128", None),
            ("HTTPS://P.example", "https://p.example", None),
            ("http://[::1]:3128", "http://[::1]:3128", None),
            ("http://10.0.0.1", "http://10.0.0.1", None),
            ("http://u:p@p:1", "http://p:1", b"u:p"),
            ("http://u@p:1", "http://p:1", b"u:"),
            ("http://@p:1", "http://p:1", b":"),
            ("http://u:p:q@p:1", "http://p:1", b"u:p:q"),
            ("http://u:p@q@p:1", "http://p:1", b"u:p@q"),
            ("http://do%5Cm%40in:%2F%C3%BC@p:1", "http://p:1", b"do\\m@in:/\xc3\xbc"),
            ("http://u:100%@p:1", "http://p:1", b"u:100%"),
        ],
    )
    def test_taken(self, text: str, url: str, credentials: bytes | None) -> None:
        """A URL gives the origin of the proxy, and the credentials for it, ready to send."""
        value = parent(text)
        expected = None if credentials is None else b"Basic " + b64encode(credentials)
        assert (value.url, value.authorization) == (url, expected)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "does not begin with http://"),
            ("none:", "does not begin with http://"),
            ("p.example:3128", "does not begin with http://"),
            ("//p.example", "does not begin with http://"),
            ("socks5://p:1080", "does not begin with http://"),
            ("http://", "invalid host name"),
            ("http://u:p@", "invalid host name"),
            ("http://p:0", "port that is not"),
            ("http://p:x", "host or port"),
            ("http://p/path", "has a path"),
            ("http://u:p/q@p:1", "has a path"),
            ("http://u:p?q@p:1", "has a path"),
            ("http://u:p#q@p:1", "has a path"),
            ("http://p?x", "query or a fragment"),
            ("http://u%3Av:p@p:1", "colon in its user name"),
            ("http://u:\u00fc@p:1", "percent-encoded"),
            ("http://u:\udcff@p:1", "percent-encoded"),
            ("http://127.1:80", "not an IPv4"),
        ],
    )
    def test_refused(self, text: str, why: str) -> None:
        """Text that is not a proxy's URL is refused with the reason."""
        with pytest.raises(ValueError, match=why):
            parent(text)

    @given(st.text(alphabet=string.ascii_lowercase + ":/?#[]%@-. \u00fc", max_size=9))
    def test_no_word_of_a_password(self, around: str) -> None:
        """Any URL is a value or an error, and neither shows the password."""
        text = f"http://user:{around}{SECRET}{around}@p.example:1"
        try:
            said = repr(parent(text))
        except ValueError as error:
            said = str(error)
        assert SECRET not in said


class TestOf:
    PARENTS = ParentProxies(
        http=parent("http://h:1"), https=parent("http://s:1"), bypass=Bypass.of(["no.example:443"])
    )

    @pytest.mark.parametrize(
        ("origin", "url"),
        [
            ("http://api.example", "http://h:1"),
            ("https://api.example:8443", "http://s:1"),
            ("https://x.no.example", None),
            ("https://no.example:8443", "http://s:1"),
            ("http://no.example", "http://h:1"),
            ("http://localhost:80", None),
            ("https://api.localhost", None),
            ("http://127.0.0.2", None),
            ("https://[::1]", None),
            ("http://10.0.0.1", "http://h:1"),
            ("http://notlocalhost", "http://h:1"),
        ],
    )
    def test_by_environment(self, origin: str, url: str | None) -> None:
        """By the origin's scheme, for other machines, but for those of NO_PROXY."""
        found = self.PARENTS.of(Origin.parse(origin))
        assert (found and found.url) == url

    @pytest.mark.parametrize("origin", ["http://api.example", "https://no.example", "http://[::1]"])
    @pytest.mark.parametrize(("via", "url"), [("none", None), (parent("http://v:1"), "http://v:1")])
    def test_by_route(self, origin: str, via: Via, url: str | None) -> None:
        """What a route says holds, whatever the environment says."""
        found = self.PARENTS.of(Origin.parse(origin), via)
        assert (found and found.url) == url

    def test_none(self) -> None:
        """Without any setting there is no parent."""
        assert ParentProxies().of(HTTPS) is None


def urls(config: Config) -> tuple[str | None, str | None]:
    http, https = config.parents.of(HTTP), config.parents.of(HTTPS)
    return (http.url if http else None, https.url if https else None)


class TestEnvironment:
    @pytest.mark.parametrize(
        ("environ", "http", "https"),
        [
            ({}, None, None),
            ({"HTTPS_PROXY": "http://s:1"}, None, "http://s:1"),
            ({"HTTP_PROXY": "http://h:1"}, "http://h:1", None),
            ({"https_proxy": "http://l:1", "HTTPS_PROXY": "http://u:1"}, None, "http://l:1"),
            ({"ALL_PROXY": "http://a:1"}, "http://a:1", "http://a:1"),
            ({"all_proxy": "http://l:1", "ALL_PROXY": "http://a:1"}, "http://l:1", "http://l:1"),
            ({"ALL_PROXY": "http://a:1", "HTTP_PROXY": "http://h:1"}, "http://h:1", "http://a:1"),
            ({"HTTPS_PROXY": " proxy.example:3128 "}, None, "http://proxy.example:3128"),
            ({"HTTPS_PROXY": "", "ALL_PROXY": "http://a:1"}, "http://a:1", "http://a:1"),
            ({"ALL_PROXY": "http://a:1", "no_proxy": ".example"}, None, None),
            ({"ALL_PROXY": "http://a:1", "NO_PROXY": "*"}, None, None),
            ({"ALL_PROXY": "http://a:1", "NO_PROXY": "api.example:443"}, "http://a:1", None),
        ],
    )
    def test_variables(self, environ: dict[str, str], http: str | None, https: str | None) -> None:
        """The usual variables, in lower case before upper, the scheme's own before that for all."""
        config = loaded(environ=environ)
        assert urls(config) == (http, https)
        assert config.warnings == ()

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (f"socks5://u:{SECRET}@p:1080", "does not begin with http:// or https://"),
            (f"http://u:{SECRET}/x@p:1", "has a path, which a proxy cannot have; write /"),
            ("http://p:99999", "has a port that is not from 1 to 65535"),
        ],
    )
    def test_unusable(self, value: str, why: str) -> None:
        """One that cannot be used is reported without its value, and does not prevent the start."""
        config = loaded(environ={"HTTPS_PROXY": value, "ALL_PROXY": "http://a:1"})
        assert urls(config) == ("http://a:1", None)
        (warning,) = config.warnings
        assert warning.startswith(f"HTTPS_PROXY: {why}")
        assert warning.endswith("; not used as a parent proxy")
        assert SECRET not in warning


class TestVia:
    @pytest.mark.parametrize(
        "place", ["reverse: [{{target: http://a, {}}}]", "forward: {{hosts: [{{host: a, {}}}]}}"]
    )
    def test_settings(self, place: str) -> None:
        """Routes and hosts name their own, or none."""
        for written, expected in (
            ("'http://u:p@q:1'", parent("http://u:p@q:1")),
            ("none", "none"),
            ("~", None),
        ):
            config = loaded(place.format(f"via: {written}") + "\n")
            row = config.reverse[0] if config.reverse else config.forward and config.forward.of("a")
            assert row is not None
            assert row.upstream.via == expected

    @pytest.mark.parametrize(
        ("written", "why"),
        [
            (f"'socks5://u:{SECRET}@p'", "does not begin with http:// or https://; must be"),
            (f"'http://u:{SECRET}/@p'", "has a path, which a proxy cannot have; write / in a"),
            (f"{SECRET}", "does not begin with"),
            (f"[{SECRET}]", "is a list; must be http(s)://[USER:PASSWORD@]HOST[:PORT], or none"),
        ],
    )
    def test_refused_unseen(self, written: str, why: str) -> None:
        """A wrong one is refused with the reason, and not shown at all."""
        (line,) = refused(f"reverse: [{{target: http://a, via: {written}}}]\n")
        assert line.startswith("s.yaml:1: reverse[0].via: ")
        assert why in line
        assert SECRET not in line


class TestLoops:
    @pytest.mark.parametrize(
        ("listen", "url", "own"),
        [
            ("127.0.0.1", "http://127.0.0.1:8080", True),
            ("127.0.0.1", "http://localhost:8080", True),
            ("0.0.0.0", "http://localhost:8080", True),
            ("127.0.0.1", "http://0.0.0.0:8080", True),
            ("::1", "http://[::]:8080", True),
            ("127.0.0.1", "http://[::ffff:127.0.0.1]:8080", True),
            ("0.0.0.0", "http://[::ffff:0.0.0.0]:8080", True),
            ("0.0.0.0", "http://10.0.0.1:8080", False),
            ("10.0.0.1", "http://10.0.0.1:8080", True),
            ("10.0.0.1", "http://127.0.0.1:8080", False),
            ("127.0.0.1", "http://127.0.0.1:8081", False),
            ("127.0.0.1", "http://proxy.example:8080", False),
        ],
    )
    def test_buffr_is_not_its_own_parent(self, listen: str, url: str, own: object) -> None:
        """A via that is buffr is refused; one in the environment is reported and skipped."""
        base = f"listen: {listen}\naccess: {{key: x}}\n"
        text = f"{base}forward: {{}}\n"
        config = loaded(text, {"ALL_PROXY": url})
        assert urls(config) == ((None, None) if own else (url, url))
        assert len(config.warnings) == (2 if own else 0)
        for section in (f"{{via: '{url}'}}", f"{{hosts: [{{host: a, via: '{url}'}}]}}"):
            if own:
                (line,) = refused(f"{base}forward: {section}\n")
                assert line.endswith(".via: is one of buffr's own ports; must be another")
            else:
                assert loaded(f"{base}forward: {section}\n")

    def test_free_ports(self) -> None:
        """A port that is not known yet is nobody's."""
        assert loaded("forward: {port: 0}\n", {"ALL_PROXY": "http://localhost:8080"}).parents.http


class TestAddress:
    """An address to connect to is of no use to a parent, which looks the name up for itself."""

    @pytest.mark.parametrize(
        ("settings", "through"),
        [("", True), ("resolve: 127.0.0.1", False), ("resolve: 127.0.0.1, via: none", False)],
    )
    @pytest.mark.parametrize("general", ["", "via: 'http://p.example'"])
    def test_it_leaves_parents_out(self, settings: str, general: str, *, through: bool) -> None:
        text = f"forward: {{hosts: [{{host: api.example, {settings}}}], {general}}}"
        config = loaded(text, {"HTTP_PROXY": "http://p.example"})
        assert config.forward is not None
        options = config.forward.of("api.example").upstream
        found = config.parents.of(HTTP, options.parent)
        assert (found is not None) is through
