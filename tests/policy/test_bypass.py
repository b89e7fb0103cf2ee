"""Which hosts a list as in ``NO_PROXY`` holds for."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.policy.bypass import Bypass


class TestMatches:
    @pytest.mark.parametrize(
        ("entry", "inside", "outside"),
        [
            (
                "example.com",
                ["example.com:1", "EXAMPLE.com.:443", "a.b.example.com:80"],
                ["notexample.com:80", "com:80", "example.com.evil.net:80", "1.2.3.4:80"],
            ),
            (".example.com", ["example.com:1", "a.example.com:1"], ["aexample.com:1"]),
            ("*.example.com", ["a.example.com:1", "a.b.example.com:1"], ["example.com:1"]),
            ("Example.COM.", ["example.com:1", "A.example.com:1"], ["example.org:1"]),
            ("example.com:8443", ["example.com:8443", "a.example.com:8443"], ["example.com:443"]),
            ("*.example.com:1", ["a.example.com:1"], ["a.example.com:2", "example.com:1"]),
            ("*", ["a:1", "127.0.0.1:1", "[::1]:1"], []),
            ("*:8080", ["a:8080", "[::1]:8080"], ["a:80"]),
            ("s3", ["s3:1", "x.s3:1"], ["s33:1"]),
            ("localhost", ["localhost:1", "a.localhost:1"], ["127.0.0.1:1"]),
            ("xn--mnchen-3ya.de", ["XN--mnchen-3ya.de:1"], ["mnchen.de:1"]),
            ("127.0.0.1", ["127.0.0.1:1", "[::ffff:127.0.0.1]:1"], ["127.0.0.2:1", "a:1"]),
            ("127.0.0.1:80", ["127.0.0.1:80"], ["127.0.0.1:81"]),
            ("10.0.0.0/8", ["10.255.0.1:9", "[::ffff:10.1.1.1]:9"], ["11.0.0.1:9", "10.a:9"]),
            ("10.1.2.3/8", ["10.9.9.9:1"], ["11.0.0.1:1"]),
            ("0.0.0.0/0", ["1.2.3.4:1"], ["[::1]:1", "a:1"]),
            ("::1", ["[::1]:1", "[0:0::1]:1"], ["[::2]:1"]),
            ("[::1]", ["[::1]:1"], ["[::2]:1"]),
            ("[::1]:80", ["[::1]:80"], ["[::1]:81"]),
            ("fd00::/8", ["[fd12::1]:1"], ["[fe80::1]:1", "10.0.0.1:1"]),
            ("::ffff:10.0.0.0/104", ["10.1.1.1:1"], ["11.1.1.1:1"]),
        ],
    )
    def test_one_entry(self, entry: str, inside: list[str], outside: list[str]) -> None:
        """An entry holds for these, and not for those."""
        bypass = Bypass.of([entry])
        for authority in inside + outside:
            host, _, port = authority.rpartition(":")
            assert bypass.matches(host, int(port)) == (authority in inside), authority

    def test_any_of_many(self) -> None:
        """One of them is enough, whatever ports the others ask for."""
        bypass = Bypass.of(["a.example:1", ".a.example:2", "b.example"])
        assert [bypass.matches("a.example", port) for port in (1, 2, 3)] == [True, True, False]
        assert bypass.matches("b.example", 3)

    def test_those_of_loopback(self) -> None:
        """Whatever may lead to another machine is none of them."""
        own = ("localhost", ".localhost:80", "127.0.0.1", "127.0.0.0/8", "::1", "[::1]:80")
        others = ("*", "*:80", "corp", ".corp", "10.0.0.1", "0.0.0.0/0", "::/0", "126.0.0.0/7")
        assert Bypass.of((*others, *own)).of_loopback() == own

    def test_empty(self) -> None:
        """An empty list holds for nothing."""
        assert not Bypass().matches("a", 80)
        assert not Bypass.of([]).matches("127.0.0.1", 80)

    def test_names(self) -> None:
        """Named hosts are distinguished from those that only ``*`` covers."""
        bypass = Bypass.of(["*", "a.example"])
        assert bypass.matches("b.example", 80)
        assert not bypass.names("b.example", 80)
        assert bypass.names("a.example", 80)

    def test_values(self) -> None:
        """Lists are values."""
        assert Bypass.of(["a"]) == Bypass(("a",))
        assert Bypass.of(["a"]) != Bypass.of(["b"])
        assert hash(Bypass.of(["a"])) == hash(Bypass(("a",)))


class TestEntries:
    @pytest.mark.parametrize(
        ("entry", "why"),
        [
            ("", "not a host name"),
            (".", "not a host name"),
            ("a b", "not a host name"),
            ("a_b!", "not a host name"),
            ("..a", "not a host name"),
            ("a.*", "not a host name"),
            ("*a", "not a host name"),
            ("m\u00fcnchen.de", "xn--"),
            ("http://a", "is a URL"),
            ("a/b", "not an address range"),
            ("10.0.0.0/33", "not an address range"),
            ("10.0.0/8", "not an address range"),
            ("fd00::/129", "not an address range"),
            ("[fd00::]/8", "not an address range"),
            ("10.0.0.0/8:80", "not an address range"),
            ("a:", "port that is not a number"),
            ("a:http", "port that is not a number"),
            ("a:0", "not from 1 to 65535"),
            ("a:65536", "not from 1 to 65535"),
            ("a:\u0661", "port that is not a number"),
            ("[::1]80", "port that is not a number"),
            ("[::1", "not an IPv6"),
            ("1:2:3", "not an IPv6"),
            ("[fe80::1%eth0]", "not an IPv6"),
            ("127.1", "not an IPv4"),
            (".127.0.0.1", "an address where only a name"),
            ("*.[::1]", "an address where only a name"),
        ],
    )
    def test_refused(self, entry: str, why: str) -> None:
        """Invalid entries are refused with the reason."""
        with pytest.raises(ValueError, match=why):
            Bypass.of(["fine.example", entry])

    @given(st.text(alphabet="aB1.:[]*-/0", max_size=12) | st.text(max_size=12), st.text(max_size=9))
    def test_anything(self, entry: str, host: str) -> None:
        """Any text is an entry or a ValueError, and any host can be asked for."""
        try:
            bypass = Bypass.of([entry])
        except ValueError:
            return
        assert bypass.matches(host, 80) in {True, False}


labels = st.sampled_from(["a", "b", "c-d", "xn--e"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
ports = st.sampled_from([80, 443])
v4 = st.integers(0, 7).map(lambda n: str(ipaddress.IPv4Address(0x0A000000 + n)))
v6 = st.integers(0, 7).map(lambda n: str(ipaddress.IPv6Address(0xFD << 120 | n)))
ranges = st.builds("{}/{}".format, v4, st.integers(28, 32)) | st.builds(
    "{}/{}".format, v6, st.integers(124, 128)
)
hosts = st.builds("{}{}".format, st.sampled_from(["", ".", "*."]), names) | v4
entries = (
    hosts
    | v6
    | ranges
    | st.builds("{}:{}".format, hosts, ports)
    | st.builds("[{}]:{}".format, v6, ports)
)


def slow(entry: str, host: str, port: int) -> bool:
    """What one entry means, spelled out."""
    if "/" in entry:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    wanted = entry
    if entry.startswith("[") or entry.count(":") == 1:
        wanted, _, only = entry.rpartition(":")
        wanted = wanted.strip("[]")
        if int(only) != port:
            return False
    if wanted.startswith("*."):
        return host.endswith(wanted[1:])
    wanted = wanted.removeprefix(".")
    return host == wanted or (host.endswith(f".{wanted}") and not wanted[0].isdigit())


class TestReference:
    @given(st.lists(entries, max_size=5), names | v4 | v6, ports)
    def test_against_a_slow_one(self, listed: list[str], host: str, port: int) -> None:
        """A list holds for exactly what some entry of it holds for."""
        expected = any(slow(entry, host, port) for entry in listed)
        assert Bypass.of(listed).matches(host, port) == expected

    @given(st.lists(entries, max_size=5), names | v4 | v6, ports)
    def test_spelling(self, listed: list[str], host: str, port: int) -> None:
        """Case, brackets and the dot at the end make no difference."""
        bypass = Bypass.of(listed)
        spelled = f"[{host}]" if ":" in host else f"{host}.".upper()
        assert bypass.matches(spelled, port) == bypass.matches(host, port)
