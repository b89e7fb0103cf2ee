"""Which recordings of one key answer which request."""

from __future__ import annotations

import pytest

from buffr.matching.variants import Selecting, names_in_vary
from buffr.message import Headers

JSON: Headers = ((b"Content-Type", b"application/json; charset=utf-8"),)


def selecting(*fields: tuple[bytes, bytes]) -> Selecting:
    return Selecting(fields)


def fits(recorded: Selecting, answer: Headers, live: Selecting) -> bool:
    return not live.differences(recorded.variant(answer))


class TestFixed:
    """Version and beta headers select, whatever Vary says."""

    def test_versions(self) -> None:
        old, new = selecting((b"stripe-version", b"1")), selecting((b"stripe-version", b"2"))
        assert fits(old, JSON, old)
        assert not fits(old, JSON, new)

    def test_absence_is_a_value(self) -> None:
        old = selecting((b"anthropic-beta", b"tools"))
        assert not fits(old, JSON, selecting())
        assert not fits(selecting(), JSON, old)

    def test_lists_are_sets(self) -> None:
        """In any order, in one field or in several."""
        recorded = selecting((b"anthropic-beta", b"a,b"))
        assert fits(recorded, JSON, selecting((b"anthropic-beta", b"b, a, b")))
        assert fits(recorded, JSON, selecting((b"anthropic-beta", b"b"), (b"anthropic-beta", b"a")))

    def test_differences_are_reported(self) -> None:
        variant = selecting((b"anthropic-beta", b"a")).variant(JSON)
        (difference,) = selecting((b"anthropic-beta", b"b")).differences(variant)
        assert (difference.name, difference.recorded, difference.live) == (
            "anthropic-beta", b"a", b"b",
        )  # fmt: skip


class TestNegotiated:
    """Other fields choose where the recorded answer's Vary names them."""

    VARY: Headers = ((b"vary", b"Accept, Origin, X-Theme"), *JSON)

    @pytest.mark.parametrize("name", [b"origin", b"x-theme"])
    def test_named(self, name: bytes) -> None:
        one, other = selecting((name, b"1")), selecting((name, b"2"))
        assert fits(one, self.VARY, one)
        assert not fits(one, self.VARY, other)
        assert not fits(one, self.VARY, selecting())
        assert fits(one, JSON, other)

    def test_an_absent_accept_is_anything(self) -> None:
        assert fits(selecting((b"accept", b"*/*")), self.VARY, selecting())
        assert not fits(selecting((b"accept", b"text/csv")), self.VARY, selecting())
        vary: Headers = ((b"Vary", b"Accept-Language"),)
        assert fits(selecting((b"accept-language", b"*")), vary, selecting())

    def test_an_empty_accept_says_no_more_than_an_absent_one(self) -> None:
        """Its recordings have their turns with the others, and no turns of their own."""
        empty = selecting((b"accept", b""))
        assert fits(empty, self.VARY, selecting())
        assert not fits(empty, self.VARY, selecting((b"accept", b"text/csv")))
        assert selecting().accepts_like(empty.variant(JSON))
        assert not selecting((b"accept", b"text/csv")).accepts_like(empty.variant(JSON))

    def test_spelling_makes_no_difference(self) -> None:
        one = selecting((b"accept", b"text/html, application/xml;q=0.9"))
        assert fits(one, self.VARY, selecting((b"accept", b"application/xml; q=0.9,TEXT/html")))

    @pytest.mark.parametrize(
        "never",
        [b"Accept-Encoding", b"User-Agent", b"Cookie", b"Authorization", b"Sec-Fetch-Mode",
         b"Referer", b"traceparent", b"*", b""],
    )  # fmt: skip
    def test_never(self, never: bytes) -> None:
        assert names_in_vary(((b"Vary", never + b", Origin"),)) == ("origin",)


class TestMediaType:
    """Without Vary, an answer fits clients that accept its media type."""

    @pytest.mark.parametrize(
        ("accept", "expected"),
        [
            (b"application/json", True),
            (b"*/*", True),
            (b"application/*;q=0.1", True),
            (b"text/csv", False),
            (b"text/csv, */*;q=0.1", True),
            (b"application/json;q=0, */*", False),
            (b"application/json; q=0.0, */*", False),
            (b"", True),
        ],
    )
    def test_accept(self, accept: bytes, expected: bool) -> None:
        live = selecting((b"accept", accept))
        assert fits(selecting(), JSON, live) is expected

    def test_a_client_with_the_same_accept_gets_it_anyway(self) -> None:
        """Servers answer errors as JSON to everybody."""
        recorded = selecting((b"accept", b"text/csv"))
        assert fits(recorded, JSON, recorded)

    def test_without_a_media_type(self) -> None:
        assert fits(selecting(), (), selecting((b"accept", b"text/csv")))


class TestAnything:
    def test_a_recording_without_headers(self) -> None:
        """It answers whatever is asked."""
        assert not selecting((b"stripe-version", b"1")).differences(None)

    def test_memory_is_bounded(self) -> None:
        live = selecting()
        for number in range(1000):
            one = selecting((b"stripe-version", b"%d" % number)).variant(JSON)
            assert live.differences(one)
        assert len(live.compared) <= 257
        assert live.differences(None) == ()
