"""Illegal bytes of a target get their legal spelling; legal ones stay."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules, Normalisation
from buffr.matching.target import legal_target
from buffr.message import Request


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


class TestQueryOrder:
    @pytest.mark.parametrize(
        ("one", "other", "alike"),
        [
            (b"/x?a=1&b=2", b"/x?b=2&a=1", True),
            (b"/x?a=1&b=2&a=3", b"/x?b=2&a=1&a=3", True),
            (b"/x?a=1&a=2", b"/x?a=2&a=1", False),
            (b"/x?a=1&b=2", b"/x?a=2&b=1", False),
            (b"/x?a&b", b"/x?a=&b", False),
            (b"/x?a=1&b=2", b"/x/?a=1&b=2", False),
        ],
    )
    def test_it_counts_unless_it_is_said(self, one: bytes, other: bytes, *, alike: bool) -> None:
        def keys(target: bytes, normalise: Normalisation) -> object:
            matcher = Matcher(MatchRules(normalise=normalise), with_origin=False)
            return matcher.live(Request(b"GET", target, ()), b"").keys[0].digest

        assert keys(one, Normalisation()) != keys(other, Normalisation())
        loose = Normalisation(query_order=True)
        assert (keys(one, loose) == keys(other, loose)) is alike
