"""Which answers are worth recording, where the settings do not say."""

from __future__ import annotations

from collections.abc import Container

from buffr.policy.mode import Mode

__all__ = ["recorded_by_default"]

_ALL = range(100, 1000)
_NOT_PASSING = frozenset(status for status in _ALL if status != 429 and status < 500)


def recorded_by_default(mode: Mode) -> Container[int]:
    """All in record; else all but 429 and 5xx, which say how the upstream is and not what."""
    return _ALL if mode is Mode.RECORD else _NOT_PASSING
