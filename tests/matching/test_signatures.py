"""What signs a URL for a time makes no difference; the same names elsewhere do."""

from __future__ import annotations

import pytest

from buffr.matching.target import unsigned

SIGV4 = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20240101%2Feu%2Fs3%2Faws4_request"
    b"&X-Amz-Date=20240101T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=ab"
)


class TestUnsigned:
    @pytest.mark.parametrize(
        ("query", "rest"),
        [
            (b"versionId=3&" + SIGV4 + b"&x-id=GetObject", b"versionId=3&x-id=GetObject"),
            (SIGV4.lower(), b""),
            (SIGV4.replace(b"Amz", b"Goog") + b"&a=1", b"a=1"),
            (b"a=1&AWSAccessKeyId=AKIA&Expires=1700000000&Signature=x%2B", b"a=1"),
            (b"Expires=1&GoogleAccessId=me&Signature=x&generation=7", b"generation=7"),
            (b"Expires=1&Signature=x&Key-Pair-Id=K&size=2", b"size=2"),
            (b"sv=2022-11-02&sr=b&sp=r&st=1&se=2&sig=x%3D", b"sv=2022-11-02&sr=b&sp=r"),
        ],
    )
    def test_signed(self, query: bytes, rest: bytes) -> None:
        """Key, signature and times are removed; what is requested stays."""
        assert unsigned(query) == rest

    @pytest.mark.parametrize(
        "query",
        [
            b"Expires=1&a=2",
            b"sig=x&a=1",
            b"X-Amz-Date=1",
            b"signature=x",
            b"a=1",
            b"",
            b"st=1&se=2",
        ],
    )
    def test_not_signed(self, query: bytes) -> None:
        """A field alone that is called like one of a signature counts."""
        assert unsigned(query) == query
