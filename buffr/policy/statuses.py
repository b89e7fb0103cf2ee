"""Which answers are worth recording, where the settings do not say."""

from __future__ import annotations

from collections.abc import Container

from buffr.policy.mode import Mode

__all__ = ["recorded_by_default"]

_ALL = range(100, 1000)
_PASSING = frozenset((401, 407, 408, 429))
_ERRORS = range(500, 600)
_NOT_PASSING = frozenset(_ALL) - _PASSING - frozenset(_ERRORS)


def recorded_by_default(mode: Mode) -> Container[int]:
    """All in record; else all but those that say how it went rather than what the answer is.

    Those are 5xx, 408 and 429, and 401 and 407: as all keys count as one, the
    refusal of a wrong key would be replayed to the right one. Statuses from
    600 to 999 are an API's own, and say what it means by them.
    """
    return _ALL if mode is Mode.RECORD else _NOT_PASSING
