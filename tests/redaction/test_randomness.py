"""Which values look machine-generated, and which mean something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.redaction.randomness import holds_random, looks_random
from buffr.redaction.rules import RedactionRules

TOKENS = (
    b"sk-proj-0123456789abcdefghij",
    b"s3cr3t-value-in-a-query",
    b"AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    b"X8Q2ZJ4K9M1N7P3R",
    b"550e8400-e29b-41d4-a716-446655440000",
    b"9f86d081884c7d659a2feaa0c55ad015",
    b"xoxb-123456789012-a1b2c3d4",
    b"dXNlcjpwYXNzd29yZDEyMw==",
)
DATA = (
    b"",
    b"en",
    b"hunter2",
    b"photos/2024/12/january.csv",
    b"IMG_20240101_123456.jpg",
    b"configuration-2.json",
    b"checkoutPageShippingAddressTitle",
    b"checkout.shipping.address.title",
    b"2024-01-01T00:00:00Z",
    b"12345678901234567890",
    b"user_1234567890123",
    b"a sentence of words and the number 4711",
)


class TestLooksRandom:
    @pytest.mark.parametrize("value", TOKENS)
    def test_tokens(self, value: bytes) -> None:
        assert looks_random(value)
        assert holds_random(value)

    @pytest.mark.parametrize("value", DATA)
    def test_data(self, value: bytes) -> None:
        assert not looks_random(value)
        assert not holds_random(value)


class TestHoldsRandom:
    @pytest.mark.parametrize("around", [b"x;%b", b'a"%b"', b"a b %b", b"<%b>", b"x?y=%b#z"])
    def test_any_stretch(self, around: bytes) -> None:
        """A value is split where a character is not in the alphabet of tokens."""
        assert holds_random(around % TOKENS[0])
        assert not looks_random(around % TOKENS[0])

    def test_base64(self) -> None:
        """A slash belongs to base64; a path has one, and less else."""
        assert holds_random(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        assert not holds_random(b"reports/january/of/the/year/2024")

    def test_pseudonyms(self) -> None:
        """What redaction has put there is found no second time."""
        assert not holds_random(b"x;password=REDACTED-access-token-1a2b3c4d")


class TestShortestHidden:
    @pytest.mark.parametrize(
        "name", [b"password", b"token", b"session-id", b"page", b"api_key", b"key"]
    )
    @given(value=st.text("aB3-/ ", max_size=40).map(str.encode))
    def test_nothing_shorter_is_hidden(self, name: bytes, value: bytes) -> None:
        rules = RedactionRules()
        assert not rules.hides(name, value) or len(value) >= rules.shortest_hidden(name)
