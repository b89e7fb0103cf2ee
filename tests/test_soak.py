"""Mixed load for a while, then a kill: a short form of ``make soak``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak import SLOPE_KIB, soak

SECONDS = 3.0
_PAGES_KIB = 8192.0
"""Memory comes in pages and arenas, of which a short run is not the measure."""


def test_nothing_grows_and_nothing_is_lost(tmp_path: Path) -> None:
    """Replays, recordings, events, sessions, a cache, misses, and clients that are idle."""
    got = soak(tmp_path, SECONDS)
    assert got.lost == []
    assert got.recordings > 0
    assert got.descriptors_after <= got.descriptors_before
    assert got.slope_kib * got.thousands <= SLOPE_KIB * got.thousands + _PAGES_KIB
