"""Which names of Host and Origin are buffr's own, and which another site may have sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.policy.own_names import OwnNames

CONFIGURED = ("buffr.example", "*.inner.example", "192.0.2.7")
LOOPBACK = OwnNames("127.0.0.1", CONFIGURED)
LOCALHOST = OwnNames("localhost")
BOUND = OwnNames("192.0.2.1", CONFIGURED)
EVERYWHERE = OwnNames("0.0.0.0", CONFIGURED)
EVERYWHERE_V6 = OwnNames("::")
ALL = (LOOPBACK, LOCALHOST, BOUND, EVERYWHERE, EVERYWHERE_V6)
OPEN = OwnNames("127.0.0.1", ("*",))


def is_own(names: OwnNames, authority: bytes) -> bool:
    """By Host, and by an Origin of that host."""
    by_host = names.foreign(((b"Accept", b"*/*"), (b"host", authority))) is None
    for scheme in (b"http://", b"https://"):
        origin = scheme + authority
        headers = ((b"Host", b"localhost:8080"), (b"Origin", origin))
        assert (names.foreign(headers) is None) is by_host
    return by_host


class TestNames:
    @pytest.mark.parametrize(
        "authority",
        [
            b"localhost",
            b"localhost:8080",
            b"LOCALHOST:8080",
            b"localhost.:8080",
            b"app.localhost:3000",
            b"127.0.0.1",
            b"127.0.0.1:8080",
            b"127.9.9.9:8080",
            b"[::1]:8080",
            b"[0:0::1]",
            b"[::ffff:127.0.0.1]:8080",
            b"0.0.0.0:8080",
            b"[::]:8080",
        ],
    )
    def test_this_machines_are_its_own(self, authority: bytes) -> None:
        assert all(is_own(names, authority) for names in ALL)

    @pytest.mark.parametrize(
        "authority",
        [
            b"evil.example",
            b"evil.example:8080",
            b"localhost.evil.example:8080",
            b"127.0.0.1.evil.example:8080",
            b"evillocalhost",
            b"2130706433:8080",
            b"0x7f000001",
            b"127.0.0.1@evil.example",
            b"evil.example:8080:127.0.0.1",
            b"evil.example#localhost",
            b"[::1].evil.example",
            b"[::1",
            b"[evil.example]",
            b"localhost evil.example",
            b"localhost,evil.example",
            b"\xe9vil",
            b"",
            b":8080",
        ],
    )
    def test_others_are_foreign(self, authority: bytes) -> None:
        """Whatever they are made to look like."""
        assert not any(is_own(names, authority) for names in ALL)

    @pytest.mark.parametrize(
        ("authority", "own"),
        [
            (b"buffr.example:8080", True),
            (b"BUFFR.example.", True),
            (b"a.inner.example", True),
            (b"inner.example", False),
            (b"192.0.2.7:80", True),
            (b"notbuffr.example", False),
        ],
    )
    def test_configured_ones_are_its_own(self, authority: bytes, *, own: bool) -> None:
        assert is_own(LOOPBACK, authority) is own
        assert is_own(OPEN, authority)

    @pytest.mark.parametrize("authority", [b"192.0.2.1:8080", b"[::ffff:192.0.2.1]:8080"])
    def test_the_address_it_listens_on_is_its_own(self, authority: bytes) -> None:
        assert is_own(BOUND, authority)
        assert not is_own(LOOPBACK, authority)

    @pytest.mark.parametrize("authority", [b"198.51.100.4:8080", b"[2001:db8::1]:8080"])
    def test_of_every_address_each_is_its_own(self, authority: bytes) -> None:
        """That of a container's host, say: a name can be made to lead here, an address not."""
        assert is_own(EVERYWHERE, authority)
        assert is_own(EVERYWHERE_V6, authority)
        assert not is_own(BOUND, authority)


class TestFields:
    def test_without_them_it_is_no_browser(self) -> None:
        assert LOOPBACK.foreign(()) is None
        assert LOOPBACK.foreign(((b"Host", b"localhost"),)) is None

    @pytest.mark.parametrize(
        "origin",
        [
            b"null",
            b"https://evil.example",
            b"file://",
            b"chrome-extension://abcdef",
            b"localhost",
            b"http://localhost/evil.example",
            b"http://",
            b"",
        ],
    )
    def test_a_foreign_origin_is_named(self, origin: bytes) -> None:
        headers = ((b"Host", b"localhost:8080"), (b"Origin", origin))
        assert LOOPBACK.foreign(headers) == ("Origin", origin.decode())

    def test_a_foreign_host_is_named(self) -> None:
        headers = ((b"Host", b"evil.example"), (b"Origin", b"http://evil.example"))
        assert LOOPBACK.foreign(headers) == ("Host", "evil.example")

    def test_each_line_counts(self) -> None:
        headers = ((b"Host", b"localhost"), (b"ORIGIN", b"http://localhost"), (b"origin", b"null"))
        assert LOOPBACK.foreign(headers) == ("origin", "null")

    @given(st.binary(max_size=60))
    def test_never_fails(self, value: bytes) -> None:
        for name in (b"Host", b"Origin"):
            LOOPBACK.foreign(((name, value),))
