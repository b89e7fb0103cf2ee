"""Decisions: every mode, with and without a recording, for every kind of method."""

from __future__ import annotations

import pytest

from buffr.policy.mode import Decision, Fetch, Mode, Refuse, Replay, decide, needs_key

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
