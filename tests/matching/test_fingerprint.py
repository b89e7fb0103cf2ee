"""Which requests may share a call to the upstream."""

from __future__ import annotations

import pytest

from buffr.matching.header_table import fingerprint, is_shareable
from buffr.message import Request


def asked(*fields: tuple[bytes, bytes], body: bytes = b"x", target: bytes = b"/") -> object:
    return fingerprint(Request(b"POST", target, fields), body)


class TestFingerprint:
    @pytest.mark.parametrize(
        "name", [b"User-Agent", b"traceparent", b"X-Amz-Date", b"Sec-Fetch-Mode", b"X-Request-Id"]
    )
    def test_noise(self, name: bytes) -> None:
        assert asked((name, b"1")) == asked((name, b"2")) == asked()

    @pytest.mark.parametrize(
        "name",
        [b"X-Amz-Target", b"Accept", b"Accept-Encoding", b"Origin", b"Authorization", b"Cookie",
         b"Proxy-Authorization", b"Idempotency-Key", b"Host", b"X-Unknown", b"Stripe-Version"],
    )  # fmt: skip
    def test_all_else(self, name: bytes) -> None:
        assert len({asked((name, b"1")), asked((name, b"2")), asked()}) == 3
        assert asked((name, b"1")) == asked((name.lower(), b"1"))

    def test_order_of_fields(self) -> None:
        """Of different names it does not count; of the same name it does."""
        a, b, c = (b"a", b"1"), (b"b", b"2"), (b"a", b"3")
        assert asked(a, b) == asked(b, a)
        assert asked(a, c) != asked(c, a)

    def test_bytes(self) -> None:
        assert asked(body=b'{"a":1}') != asked(body=b'{"a": 1}')
        assert asked(target=b"/?a=1&b=2") != asked(target=b"/?b=2&a=1")

    def test_fields_of_the_connection(self) -> None:
        """They never reach the upstream."""
        assert asked((b"Connection", b"x-hop"), (b"X-Hop", b"1")) == asked()


class TestShareable:
    @pytest.mark.parametrize("body", [b"", b"{}", b" { } \r\n"])
    def test_unsafe_and_empty(self, body: bytes) -> None:
        """Two that purge a queue are two."""
        assert not is_shareable(Request(b"POST", b"/", ()), body)
        assert is_shareable(Request(b"GET", b"/", ()), body)

    def test_unsafe_with_a_body(self) -> None:
        assert is_shareable(Request(b"POST", b"/", ()), b'{"a": 1}')
