"""Decisions: every mode, with and without a recording, for every kind of method."""

from __future__ import annotations

import pytest

from buffr.interaction import Body
from buffr.message import ResponseHead
from buffr.policy.cache.directives import request_directives
from buffr.policy.cache.rules import CacheRules
from buffr.policy.mode import (
    CacheDecision,
    Decision,
    Fetch,
    Mode,
    Refuse,
    Replay,
    Reuse,
    decide,
    decide_cached,
    needs_key,
)
from buffr.stores.cache import CacheEntry, StoredEntry

RECORDED = Fetch(record=True, share=False)
SHARED = Fetch(record=True, share=True)
RELAYED = Fetch(record=False, share=False)

SHAREABLE = (b"GET", b"HEAD", b"POST")
OTHERS = (b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"QUERY", b"BREW", b"get")
METHODS = SHAREABLE + OTHERS

TABLE = [
    *[(Mode.AUTO, 7, method, share, Replay(7)) for method in METHODS for share in (False, True)],
    *[(Mode.AUTO, None, method, True, SHARED) for method in SHAREABLE],
    *[(Mode.AUTO, None, method, True, RECORDED) for method in OTHERS],
    *[(Mode.AUTO, None, method, False, RECORDED) for method in METHODS],
    *[
        (Mode.CACHE, place, method, share, RELAYED)
        for method in METHODS
        for share in (False, True)
        for place in (None, 7)
    ],
    *[(Mode.RECORD, place, method, True, SHARED) for method in SHAREABLE for place in (None, 7)],
    *[(Mode.RECORD, place, method, True, RECORDED) for method in OTHERS for place in (None, 7)],
    *[(Mode.RECORD, place, method, False, RECORDED) for method in METHODS for place in (None, 7)],
    *[(Mode.REPLAY, 7, method, share, Replay(7)) for method in METHODS for share in (False, True)],
    *[
        (Mode.REPLAY, None, method, share, Refuse())
        for method in METHODS
        for share in (False, True)
    ],
    *[
        (Mode.PASSTHROUGH, place, method, share, RELAYED)
        for method in METHODS
        for share in (False, True)
        for place in (None, 7)
    ],
]


class TestDecide:
    @pytest.mark.parametrize(("mode", "place", "method", "share", "decision"), TABLE)
    def test_table(
        self, mode: Mode, place: int | None, method: bytes, *, share: bool, decision: Decision
    ) -> None:
        """One decision for each mode, recording, method and wish to share."""
        assert decide(mode, method, place, share=share) == decision

    @pytest.mark.parametrize("mode", Mode)
    def test_the_first_recording(self, mode: Mode) -> None:
        """Place zero is a place."""
        with_recording = decide(mode, b"GET", 0, share=False)
        assert isinstance(with_recording, Replay) is (mode in (Mode.AUTO, Mode.REPLAY))


class TestNeedsKey:
    @pytest.mark.parametrize(
        ("mode", "share", "needed"),
        [
            *[(mode, share, True) for mode in (Mode.AUTO, Mode.REPLAY) for share in (0, 1)],
            (Mode.CACHE, True, False),
            (Mode.CACHE, False, False),
            (Mode.RECORD, True, True),
            (Mode.RECORD, False, False),
            (Mode.PASSTHROUGH, True, False),
            (Mode.PASSTHROUGH, False, False),
        ],
    )
    def test_table(self, mode: Mode, *, share: bool, needed: bool) -> None:
        """Who looks something up, or shares, has to read the request whole; others stream it."""
        assert needs_key(mode, share=bool(share)) is needed

    @pytest.mark.parametrize("mode", Mode)
    def test_no_sharing_without_a_key(self, mode: Mode) -> None:
        """Nothing is shared that was not identified."""
        for share in (False, True):
            decision = decide(mode, b"GET", None, share=share)
            assert needs_key(mode, share=share) or not (
                isinstance(decision, Fetch) and decision.share
            )


RULES = CacheRules()
FRESH_UNTIL = 1000.0


def stored(*said: tuple[bytes, bytes]) -> StoredEntry:
    """A stored answer, fresh until a moment."""
    head = ResponseHead(200, b"OK", said)
    entry = CacheEntry(
        key=b"k",
        route="r",
        method=b"GET",
        url="http://a/",
        vary=(),
        head=head,
        body=Body.of(b"x"),
        trailers=(),
        born_at=0.0,
        responded_at=0.0,
        fresh_until=FRESH_UNTIL,
        keep_until=2 * FRESH_UNTIL,
    )
    return StoredEntry(1, entry)


def cached(
    kept: StoredEntry | None,
    asked: bytes = b"",
    now: float = 0.0,
    rules: CacheRules = RULES,
    *,
    for_upstream: bool = False,
    ranged: bool = False,
) -> CacheDecision:
    said = request_directives(((b"Cache-Control", asked),) if asked else ())
    return decide_cached(rules, said, kept, now, for_upstream=for_upstream, ranged=ranged)


def fetch(why: bytes, *, share: bool = True) -> Fetch:
    return Fetch(record=True, share=share, why=why)


class TestCached:
    """Mode cache, in the same words as the other modes."""

    def test_a_fresh_answer_is_reused(self) -> None:
        kept = stored()
        assert cached(kept) == Reuse(kept, revalidate=False)

    def test_a_stale_one_is_validated(self) -> None:
        assert cached(stored(), now=FRESH_UNTIL) == fetch(b"stale")

    def test_one_that_may_serve_while_it_is_brought_up_to_date(self) -> None:
        kept = stored((b"Cache-Control", b"stale-while-revalidate=10"))
        assert cached(kept, now=FRESH_UNTIL + 5) == Reuse(kept, revalidate=True)
        assert cached(kept, now=FRESH_UNTIL + 10) == fetch(b"stale")

    def test_nothing_stored(self) -> None:
        assert cached(None) == fetch(b"uri-miss")
        assert cached(None, for_upstream=True) == fetch(b"request", share=False)
        assert cached(None, ranged=True) == fetch(b"uri-miss", share=False)

    @pytest.mark.parametrize("asked", [b"no-cache", b"no-store", b"max-age=0"])
    def test_a_client_that_wants_a_new_answer(self, asked: bytes) -> None:
        """It gets one of its own; unless the route's settings override requests."""
        assert cached(stored(), asked, now=1.0) == fetch(b"request", share=False)
        assert isinstance(cached(stored(), asked, 1.0, overriding()), Reuse)

    def test_a_client_that_wants_no_new_answer(self) -> None:
        assert cached(None, b"only-if-cached") == Refuse()
        assert cached(stored(), b"only-if-cached", now=FRESH_UNTIL) == Refuse()
        assert isinstance(cached(stored(), b"only-if-cached"), Reuse)
        assert cached(None, b"only-if-cached", rules=overriding()) == fetch(b"uri-miss")


def overriding() -> CacheRules:
    return CacheRules(override=frozenset(("request",)))
