"""The clock of one replayed session: which instant of the recording is when now."""

from __future__ import annotations

from bisect import bisect_left

from buffr.clock.names import TimeNames
from buffr.clock.texts import TextMover

__all__ = ["SessionClock", "SessionClocks"]

_MOST_ANCHORS = 1024
_MOST_KNOWN = 16384
_MOST_SCOPES = 1000
_MOST_BEHIND_S = 60
"""An answer that is given again later than that begins the session anew."""


class SessionClock:
    """Maps instants of a recording to the time of its replay, and back.

    Each answer ties the moment of its recording to that of its replay:

    - What was in the future then is as far in the future now: what had five
      minutes to live, still has.
    - What was past is past. Before the session it keeps its distance to the
      first answer; within the session it lies between the two answers between
      which it was recorded, even if the replay is faster than the recording
      was. An instant that two answers name stays one instant; one in the
      future does while it has more than half of its time left.

    All are whole seconds since 1970, so that fractions keep their digits.
    """

    def __init__(self) -> None:
        self._recorded: list[int] = []
        self._live: list[int] = []
        self._now = self._then = 0
        self._ahead: dict[int, int] = {}
        self._given: dict[int, int] = {}

    @property
    def has_given(self) -> bool:
        """Whether any instant was moved."""
        return bool(self._given)

    def answers(self, then: int, now: int) -> None:
        """An answer that was recorded ``then`` is given ``now``."""
        self._then, self._now = then, now
        if self._recorded and then > self._recorded[-1] and now >= self._live[-1]:
            self._anchor(then, now)
        elif not self._recorded or now - self._past(then) > _MOST_BEHIND_S or now < self._live[-1]:
            self._recorded.clear()
            self._live.clear()
            self._ahead.clear()
            self._anchor(then, now)

    def _anchor(self, then: int, now: int) -> None:
        if len(self._recorded) >= _MOST_ANCHORS:
            del self._recorded[: _MOST_ANCHORS // 2], self._live[: _MOST_ANCHORS // 2]
        self._recorded.append(then)
        self._live.append(now)

    def move(self, instant: int, unit: int) -> int:
        """The instant of the replay for one in the current answer."""
        moved = self._past(instant) if instant <= self._then else self._future(instant)
        moved -= (moved - instant) % unit
        _remember(self._given, moved, instant)
        return moved

    def _past(self, instant: int) -> int:
        """The last answer before it was given no later, and the next one no earlier."""
        at = min(bisect_left(self._recorded, instant), len(self._recorded) - 1)
        moved = self._live[at] - (self._recorded[at] - instant)
        return moved if at == 0 else max(self._live[at - 1], moved)

    def _future(self, instant: int) -> int:
        left = instant - self._then
        known = self._ahead.get(instant)
        if known is not None and 2 * (known - self._now) > left:
            return known
        _remember(self._ahead, instant, self._now + left)
        return self._now + left

    def move_back(self, instant: int, _unit: int) -> int:
        """The recorded instant for one that a client was given; any other is itself."""
        return self._given.get(instant, instant)


class SessionClocks:
    """The clocks of a route: one for each scope, the idlest of which is forgotten first.

    ``names`` say which members are about time. Without ``bodies`` only the
    fields of answers move.
    """

    def __init__(self, names: TimeNames, *, bodies: bool) -> None:
        self.bodies = bodies
        self._names = names
        self._clocks: dict[str, SessionClock] = {}

    def mover(self, scope: str, then: int, now: int) -> TextMover:
        """Moves the instants of an answer that was recorded ``then``, and is given ``now``."""
        clock = self._clocks.pop(scope, None)
        if clock is None:
            clock = SessionClock()
            if len(self._clocks) >= _MOST_SCOPES:
                del self._clocks[next(iter(self._clocks))]
        self._clocks[scope] = clock
        clock.answers(then, now)
        return TextMover(clock.move, self._names)

    def back(self, scope: str) -> TextMover | None:
        """Moves the instants that were given in a scope back; ``None`` if there are none."""
        clock = self._clocks.get(scope)
        if clock is None or not clock.has_given:
            return None
        return TextMover(clock.move_back, self._names)


def _remember(known: dict[int, int], key: int, value: int) -> None:
    if key not in known and len(known) >= _MOST_KNOWN:
        del known[next(iter(known))]
    known[key] = value
