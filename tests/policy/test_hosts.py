"""Which row of a table holds for a host."""

from __future__ import annotations

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from buffr.policy.hosts import HostTable, host_name, host_pattern, plain_host


@frozen
class Row:
    host: str


def found(rows: list[str], host: str) -> str | None:
    row = HostTable(Row(one) for one in rows).find(host)
    return None if row is None else row.host


class TestHostTable:
    @pytest.mark.parametrize(
        ("host", "row"),
        [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM.", "api.example.com"),
            ("x.example.com", "*.example.com"),
            ("x.api.example.com", "*.example.com"),
            ("x.eu.example.com", "*.eu.example.com"),
            ("eu.example.com", "*.example.com"),
            ("example.com", "*"),
            ("notexample.com", "*"),
            ("xn--mnchen-3ya.example.com", "xn--mnchen-3ya.example.com"),
            ("XN--MNCHEN-3YA.example.com", "xn--mnchen-3ya.example.com"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("::2", "*"),
            ("127.0.0.1", "127.0.0.1"),
            ("", "*"),
            (".", "*"),
        ],
    )
    def test_find(self, host: str, row: str) -> None:
        """The exact row, else that of the longest suffix, else the one for all."""
        rows = [
            "*",
            "*.example.com",
            "*.eu.example.com",
            "api.example.com",
            "xn--mnchen-3ya.example.com",
            "::1",
            "127.0.0.1",
        ]
        assert found(rows, host) == row

    def test_none(self) -> None:
        """Without a row for all, an unlisted host has none."""
        assert found(["a.example", "*.a.example"], "b.example") is None

    def test_the_first_counts(self) -> None:
        """Of several rows for one host, the first is taken."""
        first, second = Row("a"), Row("a")
        assert HostTable([first, second]).find("a") is first
        every = Row("*")
        assert HostTable([every, Row("*")]).find("b") is every

    labels = st.sampled_from(["a", "b", "xn--c", "example"])
    names = st.lists(labels, min_size=1, max_size=4).map(".".join)

    @given(
        st.lists(names | names.map("*.{}".format) | st.just("*"), max_size=6, unique=True),
        names,
    )
    def test_against_a_slow_one(self, rows: list[str], host: str) -> None:
        """It finds what going through all rows finds."""
        below = [row for row in rows if row.startswith("*.") and host.endswith(row[1:])]
        expected = host if host in rows else max(below, key=len, default=None)
        if expected is None and "*" in rows:
            expected = "*"
        assert found(rows, host) == expected


class TestPatterns:
    @pytest.mark.parametrize(
        ("text", "pattern"),
        [
            ("*", "*"),
            ("A.Example.", "a.example"),
            ("*.A.Example", "*.a.example"),
            ("*.com", "*.com"),
            ("localhost", "localhost"),
            ("my_host-1", "my_host-1"),
            ("[::1]", "::1"),
            ("FE80:0::1", "fe80::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("1.example", "1.example"),
        ],
    )
    def test_taken(self, text: str, pattern: str) -> None:
        """A pattern has one spelling."""
        assert host_pattern(text) == pattern

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "not a host name"),
            (".", "not a host name"),
            ("a..b", "not a host name"),
            (".a", "not a host name"),
            ("a b", "not a host name"),
            ("a\n", "not a host name"),
            ("a*", "not a host name"),
            ("*a", "not a host name"),
            ("a.*", "not a host name"),
            ("*.", "not a host name"),
            ("*.*.a", "not a host name"),
            ("a" * 64, "not a host name"),
            ("a." * 127 + "a", "not a host name"),
            ("m\u00fcnchen.de", "xn--"),
            ("*.m\u00fcnchen.de", "xn--"),
            ("a:443", "has a port"),
            ("[::1]:443", "has a port"),
            ("[::1", "not an IPv6"),
            ("fe80::1%eth0", "not an IPv6"),
            ("1:2:3", "not an IPv6"),
            ("*.::1", "address after its"),
            ("*.0.0.1", "not an IPv4"),
            ("*.10.0.0.1", "address after its"),
            ("127.1", "not an IPv4"),
            ("0x7f000001", "not an IPv4"),
            ("10.0.0.0/8", "a slash"),
            ("http://a", "a slash"),
        ],
    )
    def test_refused(self, text: str, why: str) -> None:
        """What is not a host is refused with the reason."""
        with pytest.raises(ValueError, match=why):
            host_pattern(text)

    @given(st.text(alphabet="aB1.:[]*-_%x/\u00fc\n", max_size=12) | st.text(max_size=12))
    def test_anything(self, text: str) -> None:
        """Any text is a pattern that stays itself, or a ValueError."""
        try:
            pattern = host_pattern(text)
        except ValueError:
            return
        assert host_pattern(pattern) == pattern
        assert pattern.isascii()
        assert pattern.isprintable()

    @given(st.text(max_size=20))
    def test_requests_and_settings_agree(self, text: str) -> None:
        """A request's host is spelled as settings spell it, and never raises."""
        plain = plain_host(text)
        try:
            assert plain == host_name(text)
        except ValueError:
            assert isinstance(plain, str)
