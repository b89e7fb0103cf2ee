"""Which answers are worth recording, where the settings do not say."""

from __future__ import annotations

from collections.abc import Container

from buffr.policy.mode import Mode

__all__ = ["recorded_by_default"]

_ALL = range(100, 1000)
_PASSING = frozenset((401, 407, 408, 429))
_NOT_PASSING = frozenset(status for status in _ALL if status < 500) - _PASSING


def recorded_by_default(mode: Mode) -> Container[int]:
    """All in record; else all but those that say how it went rather than what the answer is.

    Those are 5xx, 408 and 429, and 401 and 407: as all keys count as one, the
    refusal of a wrong key would be replayed to the right one.
    """
    return _ALL if mode is Mode.RECORD else _NOT_PASSING
