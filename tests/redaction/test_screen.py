"""The quick look before a search: it may show too much, and never too little."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.redaction.detectors import NamedSecrets
from buffr.redaction.own_credentials import KnownSecrets, Secret, spellings_of
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import Scanner
from buffr.redaction.screen import Screen, boundless
from buffr.redaction.shapes import PROBE, Shapes

RULES = RedactionRules.with_extra(json=["favourite colour"])
NAMED = NamedSecrets(RULES)
SHAPES = Shapes()
SCREEN = Screen((NAMED.screened, *SHAPES.screened), probe=PROBE)

# Each a step towards a secret, so that many texts have one.
PIECES = (
    *(b'"', b"'", b"\\", b":", b" ", b"<", b">", b"</", b"?", b"&", b"=", b"%3D", b"://", b"@"),
    *(b"token", b"my-api", b"Key", b"favouriteColour", b"pass", b"bearer ", b"x" * 70),
    *(
        b"sk-",
        b"AKIA",
        b"aws_secret",
        b"0123456789ABCDEFabcdef0123456789abcdEFGH",
        b"eyJhbGciOiJ9.",
    ),
    *(b"-----BEGIN ", b"PRIVATE KEY-----", b"\n"),
)


class TestScreen:
    @given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
    def test_shows_all_that_is_found(self, text: bytes) -> None:
        if [*NAMED.find(text), *SHAPES.find(text)]:
            assert SCREEN.shows(text)

    @pytest.mark.parametrize(
        "text", [b'{"messages":[{"role":"user","content":"a token of joy"}]}', b"/v1/models?x=1"]
    )
    def test_shows_nothing_where_nothing_is(self, text: bytes) -> None:
        assert not SCREEN.shows(text)

    def test_that_would_be_too_large_shows_all(self) -> None:
        patterns = [f"x{number}y[a-z]{{300}}[0-9a-z]{{600}}" for number in range(100)]
        assert Screen(patterns, probe=PROBE).shows(b"a text")

    def test_that_does_not_match_its_probe_shows_all(self) -> None:
        assert Screen(["abc"], probe=b"xyz").shows(b"a text")

    def test_secrets_are_found_after_many_patterns(self) -> None:
        patterns = [f"x{number}y[a-z]{{300}}[0-9a-z]{{600}}" for number in range(100)]
        scanner = Scanner(RedactionRules.with_extra(patterns=[*patterns, "tea-[0-9]+"]))
        assert [one.secret for one in scanner.in_body(b"tea-42", b"")] == [b"tea-42"]


class TestBoundless:
    @given(st.text("ab", max_size=8))
    def test_matches_whatever_the_pattern_matches(self, text: str) -> None:
        pattern = "a{0,2}b{1,3}(?:ab){2,}a?"
        if re.search(pattern, text):
            assert re.search(boundless(pattern), text)

    def test_keeps_required_text(self) -> None:
        assert boundless("[a-z]{0,64}x{1,9}y{16,}z{40}") == "[a-z]*x+y{16,}z{40}"


class TestKnown:
    @given(st.binary(min_size=16, max_size=40), st.integers(0, 30), st.binary(max_size=3))
    def test_occurs_in_every_text_in_which_it_is_found(
        self, value: bytes, number: int, around: bytes
    ) -> None:
        secret = Secret(value, b"token")
        known = KnownSecrets((secret,))
        spellings = spellings_of(value)
        text = around + spellings[number % len(spellings)] + around
        assert known.stand_in(text)
        assert list(known.find(text))
        assert not known.stand_in(b"nothing")


class TestLongTexts:
    """A long text of letters is read by an automaton for each group of patterns."""

    PROSE = b"some words of a long story, " * 1000

    @pytest.mark.parametrize("secret", [b"abc1", b"xyz2"])
    def test_each_group_counts(self, secret: bytes) -> None:
        screen = Screen(["abc[0-9]"], ["xyz[0-9]"], probe=b"xyz0")
        assert not screen.shows(self.PROSE)
        assert screen.shows(self.PROSE + secret)
        assert screen.shows(secret)
        assert screen.shows(bytes(len(self.PROSE)) + secret)
