"""Which names get certificates, and which are refused before one is made."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from handshakes import NOW
from hypothesis import given, settings
from hypothesis import strategies as st

from buffr.tls.minting import Issuer, new_authority, new_key
from buffr.tls.server_name import BadServerName, is_address, server_name

LONGEST = b".".join([b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61])

_KEY = new_key()
ISSUER = Issuer(new_authority(_KEY, NOW), _KEY, new_key())


class TestNames:
    @pytest.mark.parametrize(
        ("raw", "name"),
        [
            (b"example.com", "example.com"),
            (b"localhost", "localhost"),
            (b"API.Example.COM", "api.example.com"),
            (b"example.com.", "example.com"),
            (b"my_service.default.svc", "my_service.default.svc"),
            (b"_dmarc.example.com", "_dmarc.example.com"),
            (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
            (b"-x.tumblr.com", "-x.tumblr.com"),
            (b"r3---sn-4g5e.example.com", "r3---sn-4g5e.example.com"),
            (b"1and1.com", "1and1.com"),
            (b"1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
            (b"a" * 63 + b".example", "a" * 63 + ".example"),
            (LONGEST, LONGEST.decode()),
            (LONGEST + b".", LONGEST.decode()),
        ],
    )
    def test_of_hosts(self, raw: bytes, name: str) -> None:
        """A host's name comes back in lower case and without its last dot."""
        assert server_name(raw) == name
        assert not is_address(name)

    @pytest.mark.parametrize(
        ("raw", "name"),
        [
            (b"127.0.0.1", "127.0.0.1"),
            (b"127.0.0.1.", "127.0.0.1"),
            (b"::1", "::1"),
            (b"[::1]", "::1"),
            (b"[2001:DB8:0:0::1]", "2001:db8::1"),
            (b"::ffff:1.2.3.4", str(ip_address("::ffff:1.2.3.4"))),
        ],
    )
    def test_of_addresses(self, raw: bytes, name: str) -> None:
        """An address comes back as such, in one spelling."""
        assert server_name(raw) == name
        assert is_address(name)

    @pytest.mark.parametrize(
        ("raw", "why"),
        [
            (b"", "empty"),
            (b".", "label"),
            (b"..", "label"),
            (b"a..b", "label"),
            (b".example.com", "label"),
            (b"example.com..", "label"),
            (b"*", "letters"),
            (b"*.example.com", "letters"),
            (b"a*.example.com", "letters"),
            (b"exam\0ple.com", "letters"),
            (b"example.com\0", "letters"),
            (b"example.com\n", "letters"),
            (b"exam ple.com", "letters"),
            (b"example.com/x", "letters"),
            (b"user@example.com", "letters"),
            (b"a,DNS=b", "letters"),
            (b"\x7f.com", "letters"),
            ("bücher.example".encode(), "ASCII"),
            (b"\xff\xfe", "ASCII"),
            (b"a" * 64 + b".com", "label"),
            (LONGEST + b"d", "253"),
            (b"a." * 200, "253"),
            (b"a" * 70_000, "253"),
            (b"127.1", "number"),
            (b"1.2.3.4.5", "number"),
            (b"256.1.1.1", "number"),
            (b"01.02.03.04", "number"),
            (b"2130706433", "number"),
            (b"0x7f000001", "number"),
            (b"example.0x7f", "number"),
            (b"1.2.3.4..", "label"),
            (b"[::1", "IPv6"),
            (b"::1]", "IPv6"),
            (b"[127.0.0.1]", "letters"),
            (b"example.com:443", "IPv6"),
            (b"1::2::3", "IPv6"),
            (b"fe80::1%eth0", "zone"),
            (b"[]:", "IPv6"),
        ],
    )
    def test_refused(self, raw: bytes, why: str) -> None:
        """Everything else is the one error, which says why on one printable line."""
        with pytest.raises(BadServerName, match=why) as caught:
            server_name(raw)
        assert caught.value.message.isascii()
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 400
        assert caught.value.status == 400


_PIECES = st.sampled_from(
    [
        *(b"a", b"A", b"-", b"_", b".", b"..", b"*", b"\0", b" ", b":", b"[", b"]", b"%", b"1"),
        *(b"0x", b"127.0.0.1", b"::1", b"xn--", b"com", b"\xc3\xbc", b"a" * 63, b"b." * 60),
        *(b"/", b"\r\n"),
    ]
)
_RAW = st.one_of(st.binary(max_size=300), st.lists(_PIECES, max_size=12).map(b"".join))
_SAFE = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


class TestAnyBytes:
    @given(_RAW)
    @settings(max_examples=settings().max_examples * 4)
    def test_give_a_safe_name_or_the_one_error(self, raw: bytes) -> None:
        """What passes is an address or a plain host name, and passes again unchanged."""
        try:
            name = server_name(raw)
        except BadServerName:
            return
        assert server_name(name.encode()) == name
        if is_address(name):
            assert str(ip_address(name)) == name
        else:
            assert _SAFE.fullmatch(name)
            assert len(name) <= 253
            with pytest.raises(ValueError):
                ip_address(name)

    @given(_RAW)
    def test_can_be_minted_where_they_pass(self, raw: bytes) -> None:
        """Whatever passes stands in the certificate exactly so, and nothing else does."""
        try:
            name = server_name(raw)
        except BadServerName:
            return
        leaf = ISSUER.leaf((name,), NOW + timedelta(days=1))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        expected = ip_address(name) if is_address(name) else name
        assert [general.value for general in names] == [expected]
