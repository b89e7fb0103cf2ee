"""The quick look before a search: it may show too much, and never too little."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import planted

from buffr.redaction.detectors import NamedSecrets
from buffr.redaction.own_credentials import KnownSecrets, Secret, spellings_of
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import Scanner
from buffr.redaction.screen import Screen, boundless
from buffr.redaction.shapes import Shapes
from buffr.redaction.telling import TellingNames
from buffr.redaction.vocabulary import OPAQUE_WORDS, SECRET_PAIRS, SECRET_WORDS

RULES = RedactionRules.with_extra(json=["favourite colour"], patterns=["tea-[0-9]+"])
SEARCHES = (
    *NamedSecrets(RULES).searches,
    *TellingNames(RULES).searches,
    *Shapes(RULES.patterns).searches,
)
MEMBERS = [number for number, each in enumerate(SEARCHES) if "_members" in repr(each.find)]
SCREEN = Screen([each.shown for each in SEARCHES], probe=b"tea-1")
PLANTED = planted()

# Each a step towards a secret, so that many texts have one.
PIECES: tuple[bytes, ...] = (
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


PLACES = (
    b"%b%b",
    b'"%b": "%b"',
    b'"%b" : ["x", "%b"],',
    b"{'%b': '%b'}",
    b'{\\"%b\\":\\"%b\\"}',
    b"?a=b&%b=%b",
    b"\n%b=%b\n",
    b"- %b: %b\r\n",
    b'<input name="%b" type="hidden" value="%b">',
    b'{"name": "%b", "in": "query", "value": "%b"}',
    b"<%b>%b</x>",
    b'{%b: "%b"}',
    b' %b="%b"',
    b"-H '%b: %b'",
    b"https://%b:%b@x",
)
TEXTS = st.lists(
    st.sampled_from(PIECES)
    | st.builds(
        lambda place, one, case: place % (case(one.name).encode(), one.value.encode()),
        st.sampled_from(PLACES),
        st.sampled_from(PLANTED),
        st.sampled_from((str, str.upper, str.title)),
    ),
    max_size=12,
).map(b"".join)


class TestScreen:
    @given(TEXTS)
    def test_shows_each_search_that_finds_something(self, text: bytes) -> None:
        finding = {number for number, each in enumerate(SEARCHES) if any(each.find(text))}
        assert finding <= set(SCREEN.shown(text))

    @pytest.mark.parametrize(
        "text", [b'{"messages":[{"role":"user","content":"a token of joy"}]}', b"/v1/models?x=1"]
    )
    def test_shows_nothing_where_nothing_is(self, text: bytes) -> None:
        assert not SCREEN.shown(text)

    def test_that_would_be_too_large_shows_all(self) -> None:
        patterns = [f"x{number}y[a-z]{{300}}[0-9a-z]{{600}}" for number in range(100)]
        assert len(Screen(patterns, probe=b"x").shown(b"a text")) == 100

    def test_that_does_not_match_its_probe_shows_all(self) -> None:
        assert Screen(["abc"], probe=b"xyz").shown(b"a text") == range(1)

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


class TestMembers:
    """Only names that may be credentials are shown, and only values that are long enough."""

    NAMES = sorted(
        {
            *(name.decode() for name in RULES.endings_of_members()),
            *(word for words in (SECRET_WORDS, SECRET_PAIRS, OPAQUE_WORDS) for word in words),
            *("key-one-api", "user_names_of_api-key", "favourite colour", "device_code", "code"),
        }
    )
    SPELLINGS: tuple[Callable[[str], str], ...] = (
        str,
        str.upper,
        lambda name: name.replace("-", "_"),
        lambda name: name.replace("-", ""),
        lambda name: name.replace("-", ". "),
        lambda name: "my" + name.title().replace("-", ""),
        lambda name: f"x-{name}-y",
    )
    VALUES = (b'"hunter2 h"', b'"Zk9xQ2mW7vR4tB8n"', b'["a-1", "Zk9xQ2mW7vR4tB8n"]', b"123456")

    @pytest.mark.parametrize("spelled", SPELLINGS)
    def test_each_with_a_secret_is_shown(self, spelled: Callable[[str], str]) -> None:
        for name, value in product(self.NAMES, self.VALUES):
            text = b'{"%b": %b}' % (spelled(name).encode(), value)
            shown = set(SCREEN.shown(text))
            for number in MEMBERS:
                assert number in shown or not any(SEARCHES[number].find(text)), text

    @pytest.mark.parametrize(
        "member",
        [
            b'"key": "PROJ-1"',
            b'"author": "Somebody Who Writes"',
            b'"login": "octocat"',
            b'"country_code": "US"',
            b'"response": "a long text about something"',
        ],
    )
    def test_ordinary_ones_are_not(self, member: bytes) -> None:
        assert not SCREEN.shown(member)
