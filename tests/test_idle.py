"""Idle clients cost little: a short form of ``make idle``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.idle import CONNECTION_KIB, TUNNEL_KIB, idle


def test_each_is_within_its_bound(tmp_path: Path) -> None:
    """Memory comes in pages and arenas: fewer connections would measure these."""
    cost = idle(tmp_path, connections=800, tunnels=100)
    assert cost.connection_kib <= CONNECTION_KIB
    assert cost.tunnel_kib <= TUNNEL_KIB
