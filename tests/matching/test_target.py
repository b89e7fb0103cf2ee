"""Illegal bytes of a target get their legal spelling; legal ones stay."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.target import legal_target


class TestLegalTarget:
    @pytest.mark.parametrize(
        ("target", "legal"),
        [
            (b"/a b", b"/a%20b"),
            ("/ü?q=ü".encode(), b"/%C3%BC?q=%C3%BC"),
            (b"/100%?a=%&b=%4", b"/100%25?a=%25&b=%254"),
            (b'/{a}|"#[]', b"/%7Ba%7D%7C%22%23%5B%5D"),
            (b"/a%2fb/%2F?x[]=1&y=%5b", b"/a%2fb/%2F?x[]=1&y=%5b"),
            (b"/x?", b"/x?"),
            (b"/x", b"/x"),
            (b"*", b"*"),
        ],
    )
    def test_examples(self, target: bytes, legal: bytes) -> None:
        """Decoded paths of the Go program are encoded again, raw ones untouched."""
        assert legal_target(target) == legal

    @given(st.binary())
    def test_legal_and_stable(self, target: bytes) -> None:
        """The result is legal, and legal targets stay as they are."""
        legal = legal_target(target)
        assert re.fullmatch(rb"[!-~]*", legal)
        assert legal_target(legal) == legal
