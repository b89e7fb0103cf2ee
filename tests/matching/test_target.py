"""Illegal bytes of a target get their legal spelling; legal ones stay."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.matcher import Matcher
from buffr.matching.rules import IgnoreRule, MatchRules, Normalisation
from buffr.matching.target import in_one_spelling, legal_target
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
    def test_it_counts_unless_a_rule_ignores_it(
        self, one: bytes, other: bytes, *, alike: bool
    ) -> None:
        def keys(target: bytes, normalise: Normalisation) -> object:
            matcher = Matcher(MatchRules(normalise=normalise), with_origin=False)
            return matcher.live(Request(b"GET", target, ()), b"").keys[0].digest

        assert keys(one, Normalisation()) != keys(other, Normalisation())
        loose = Normalisation(query_order=True)
        assert (keys(one, loose) == keys(other, loose)) is alike


def key(target: bytes, rules: MatchRules | None = None) -> bytes:
    matcher = Matcher(rules or MatchRules(), with_origin=False)
    return matcher.live(Request(b"GET", target, ()), b"").keys[0].digest


class TestEqualSpellings:
    """RFC 3986 6.2.2.1 and 6.2.2.2."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (b"/%7Euser/%2d.%5F", b"/~user/-._"),
            (b"/a%2fb?q=%c3%bc", b"/a%2Fb?q=%C3%BC"),
            (b"/x?%61=%7e&b", b"/x?a=~&b"),
        ],
    )
    def test_they_are_one(self, one: bytes, other: bytes) -> None:
        assert key(one) == key(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (b"/a%2Fb", b"/a/b"),
            (b"/a%252Fb", b"/a%2Fb"),
            (b"/a/./b", b"/a/b"),
            (b"/x?a=b%26c", b"/x?a=b&c"),
            (b"/x?a=b%2Bc", b"/x?a=b+c"),
            (b"/x?a+b", b"/x?a%20b"),
            (b"/x%3Fa", b"/x?a"),
        ],
    )
    def test_others_stay_two(self, one: bytes, other: bytes) -> None:
        assert key(one) != key(other)

    @given(st.binary(max_size=20))
    def test_one_spelling_is_its_own(self, text: bytes) -> None:
        spelled = in_one_spelling(legal_target(text))
        assert in_one_spelling(spelled) == spelled
        assert unquote_to_bytes(spelled) == unquote_to_bytes(legal_target(text))

    def test_ignore_rules_see_what_was_sent(self) -> None:
        """A pattern for one spelling matches as before, and its stand-in has one spelling, too."""
        rules = MatchRules(
            ignore=(
                IgnoreRule(part="request.path", pattern="%7[eE][a-z]+", replace_with="%7Eme"),
                IgnoreRule(part="request.query", pattern="t=%2[fF][0-9]+", replace_with="t"),
            )
        )
        assert key(b"/%7Eann?t=%2f1", rules) == key(b"/%7Ebob?t=%2F2", rules)
        assert key(b"/%7Eann", rules) == key(b"/~me", rules) != key(b"/~ann", rules)


class TestTokens:
    def test_generated_ones_do_not_count(self) -> None:
        one, other = [b"/x?clientToken=" + uuid4().hex.encode() + b"&a=1" for _ in "12"]
        assert key(one) == key(other) == key(b"/x?a=1")
        assert key(one, MatchRules(normalise=Normalisation(idempotency=False))) != key(
            other, MatchRules(normalise=Normalisation(idempotency=False))
        )

    def test_chosen_ones_and_other_names_count(self) -> None:
        assert key(b"/x?clientToken=order-1") != key(b"/x?clientToken=order-2")
        assert key(b"/x?requestId=" + uuid4().hex.encode()) != key(b"/x?requestId=")
