"""Who may use a proxy's port, and which destinations are private."""

from __future__ import annotations

import inspect
from base64 import b64encode
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import AccessDenied, ProxyKeyNeeded
from buffr.policy.access import Access, is_loopback, is_private

KEY = b"s3cret:with-colon"
NETWORKS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.7"


def basic(text: bytes) -> bytes:
    return b"Basic " + b64encode(text)


class TestKey:
    @pytest.mark.parametrize(
        ("authorization", "scope"),
        [
            (basic(b"test-42:" + KEY), "test-42"),
            (basic(b":" + KEY), ""),
            (b"basic  " + b64encode(b"a.B_~9:" + KEY) + b" ", "a.B_~9"),
            (b"BASIC " + b64encode(b"x" * 64 + b":" + KEY), "x" * 64),
            (b"Bearer " + KEY, ""),
            (b"bearer " + KEY, ""),
        ],
    )
    def test_admits(self, authorization: bytes, scope: str) -> None:
        """The key admits, as password or as token; the user name is the scope."""
        assert Access(KEY).admit(OUTSIDE, authorization) == scope

    @pytest.mark.parametrize(
        "authorization",
        [
            None,
            b"",
            b"Basic",
            b"Basic ",
            b"Bearer",
            b"Bearer ",
            b"Basic !!!",
            b"Basic " + b64encode(b"no colon"),
            b"Basic " + b64encode(b"x:" + KEY)[:-1],
            b"Basic " + b64encode(b"x:" + KEY) + b"\xff",
            basic(b"x:" + KEY[:-1]),
            basic(b"x:" + KEY + b"x"),
            basic(b"x:"),
            basic(KEY),
            basic(b"\xff:" + KEY),
            basic(b"a b:" + KEY),
            basic(b"../x:" + KEY),
            basic(b"x\n:" + KEY),
            basic(b"x" * 65 + b":" + KEY),
            b"Bearer " + KEY + b"x",
            b"Bearer x" + KEY,
            b"Negotiate " + KEY,
            b"Digest username=x",
            KEY,
        ],
    )
    def test_refuses(self, authorization: bytes | None) -> None:
        """Anything else is 407, which names the scheme and no word of a key."""
        with pytest.raises(ProxyKeyNeeded) as caught:
            Access(KEY).admit(OUTSIDE, authorization)
        error = caught.value
        assert (error.status, error.reason) == (407, b"Proxy Authentication Required")
        assert error.headers == ((b"Proxy-Authenticate", b'Basic realm="buffr"'),)
        assert "s3cret" not in str(error)

    def test_constant_time(self) -> None:
        """Keys are compared by the one function that takes as long for every wrong one."""
        source = inspect.getsource(Access)
        assert "hmac.compare_digest(" in source
        assert "== self.key" not in source

    def test_not_shown(self) -> None:
        """Whoever prints the value gets no key."""
        assert "s3cret" not in repr(Access(KEY, NETWORKS))


class TestNetworks:
    @pytest.mark.parametrize("client", [INSIDE, "::ffff:10.1.2.3", "fd12::1", "fd12::1%eth0"])
    @pytest.mark.parametrize("key", [None, KEY])
    def test_admits(self, client: str, key: bytes | None) -> None:
        """An allowed network needs no key; the user name is the scope all the same."""
        guard = Access(key, NETWORKS)
        assert guard.admit(client, None) == ""
        assert guard.admit(client, basic(b"test-1:")) == "test-1"
        assert guard.admit(client, basic(b"test-1:wrong")) == "test-1"
        assert guard.admit(client, b"Bearer wrong") == ""

    @pytest.mark.parametrize(
        "client", [OUTSIDE, "11.0.0.1", "fe80::1", "127.0.0.1", "::1", "x", ""]
    )
    @pytest.mark.parametrize("authorization", [None, basic(b"x:" + KEY), b"Bearer " + KEY])
    def test_refuses(self, client: str, authorization: bytes | None) -> None:
        """Outside of it no credentials help if there is no key: 403."""
        with pytest.raises(AccessDenied) as caught:
            Access(None, NETWORKS).admit(client, authorization)
        assert (caught.value.status, caught.value.headers) == (403, ())

    def test_key_from_elsewhere(self) -> None:
        """Where there are both, either admits."""
        guard = Access(KEY, NETWORKS)
        assert guard.admit(OUTSIDE, basic(b"a:" + KEY)) == "a"
        with pytest.raises(ProxyKeyNeeded):
            guard.admit(OUTSIDE, None)

    @pytest.mark.parametrize("authorization", [b"Basic !!!", b"Digest x", basic(b"a/b:")])
    def test_malformed(self, authorization: bytes) -> None:
        """Credentials that cannot be read are reported, not passed over: their scope is unknown."""
        with pytest.raises(ProxyKeyNeeded):
            Access(None, NETWORKS).admit(INSIDE, authorization)

    def test_nothing_is_allowed_by_default(self) -> None:
        """Without key, networks and loopback nobody gets in."""
        for client in (OUTSIDE, "127.0.0.1"):
            with pytest.raises(AccessDenied):
                Access().admit(client, None)


class TestLoopback:
    @pytest.mark.parametrize("client", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
    @pytest.mark.parametrize("key", [None, KEY])
    def test_this_machine(self, client: str, key: bytes | None) -> None:
        """On a loopback port its clients need nothing, and may name a scope."""
        guard = Access(key, on_loopback=True)
        assert guard.admit(client, None) == ""
        assert guard.admit(client, basic(b"test-1:whatever")) == "test-1"

    def test_not_from_elsewhere(self) -> None:
        """A client that is not on loopback gets nothing of that."""
        with pytest.raises(AccessDenied):
            Access(on_loopback=True).admit(OUTSIDE, None)

    def test_not_on_other_ports(self) -> None:
        """On a port for others, this machine's clients need the key like all."""
        with pytest.raises(ProxyKeyNeeded):
            Access(KEY).admit("127.0.0.1", None)

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("localhost", True),
            ("127.0.0.1", True),
            ("127.1.2.3", True),
            ("::1", True),
            ("::ffff:127.0.0.1", True),
            ("0.0.0.0", False),
            ("::", False),
            ("10.0.0.1", False),
            ("fe80::1%eth0", False),
            ("example.com", False),
            ("", False),
        ],
    )
    def test_addresses(self, address: str, expected: object) -> None:
        """What only this machine can reach."""
        assert is_loopback(address) is expected


class TestRequiredScope:
    def test_asked_for(self) -> None:
        """Many clients give their credentials only when asked: 407 asks, from everywhere."""
        guard = Access(KEY, NETWORKS, on_loopback=True, require_scope=True)
        for client, given_ in (("127.0.0.1", None), (INSIDE, None), (OUTSIDE, b"Bearer " + KEY)):
            with pytest.raises(ProxyKeyNeeded, match="user name"):
                guard.check_scope(guard.admit(client, given_))
            guard.check_scope(guard.admit(client, basic(b"a:" + KEY)))
        Access(KEY).check_scope("")


class TestAnything:
    @given(
        st.sampled_from([INSIDE, OUTSIDE, "127.0.0.1"]) | st.text(max_size=8),
        st.none() | st.binary(max_size=40) | st.binary(max_size=40).map(basic),
        st.none() | st.just(KEY),
    )
    def test_a_scope_or_an_error(
        self, client: str, authorization: bytes | None, key: bytes | None
    ) -> None:
        """Any client and any credentials: a safe scope, or a denial."""
        try:
            scope = Access(key, NETWORKS).admit(client, authorization)
        except AccessDenied:
            return
        assert len(scope) <= 64
        assert scope.isascii()
        assert not set(scope) & set("/\\:% \t\n\0")

    @given(st.binary(max_size=40).filter(lambda key: key != KEY), st.booleans())
    def test_only_the_key(self, guess: bytes, as_token: object) -> None:
        """No other key admits."""
        authorization = b"Bearer " + guess if as_token else basic(b"x:" + guess)
        if as_token and guess.strip(b" ") == KEY:
            return
        with pytest.raises(ProxyKeyNeeded):
            Access(KEY).admit(OUTSIDE, authorization)


class TestPrivate:
    @pytest.mark.parametrize(
        "address",
        [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:a00:1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fe80::1%eth0",
            "fec0::1",
            "ff02::1",
            "",
            "localhost",
            "127.1",
            "0x7f000001",
            "2130706433",
            "[::1]",
        ],
    )
    def test_private(self, address: str) -> None:
        """Not for everybody on the Internet, or no address at all."""
        assert is_private(address)

    @pytest.mark.parametrize(
        "address",
        [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "223.255.255.255",
            "2600::1",
            "2a00:1450:4001::8a",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ],
    )
    def test_public(self, address: str) -> None:
        """Everybody's."""
        assert not is_private(address)

    @given(st.ip_addresses())
    def test_at_least_what_python_knows(self, address: IPv4Address | IPv6Address) -> None:
        """What the standard library calls multicast, or not global, is private here too."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            return
        if address.is_multicast or not address.is_global:
            assert is_private(str(address))

    @given(st.ip_addresses(v=4))
    def test_carried(self, address: object) -> None:
        """An IPv4 address is judged the same however IPv6 carries it."""
        expected = is_private(str(address))
        assert is_private(f"::ffff:{address}") == expected
        assert is_private(f"64:ff9b::{address}") == expected

    @given(st.text(max_size=20))
    def test_anything(self, text: str) -> None:
        """Any text can be asked for."""
        assert is_private(text) in {True, False}
