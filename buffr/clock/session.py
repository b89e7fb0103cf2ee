"""The clock of one replayed session: which instant of the recording is when now."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial

from buffr.clock.names import TimeNames
from buffr.clock.spellings import Move
from buffr.clock.texts import TextMover

__all__ = ["GivenInstants", "SessionClock", "SessionClocks"]

_MOST_ANCHORS = 1024
_MOST_KNOWN = 16384
_MOST_SCOPES = 1000
_BLUR_S = 2
"""An instant that is said in whole seconds may be of this answer, or of the one just before."""
_MOST_BEHIND_S = 60
"""An answer that is given again later than that begins the session anew."""


class SessionClock:
    """Maps instants of a recording to the time of its replay.

    Each answer ties the moment of its recording to that of its replay:

    - What was in the future then is as far in the future now: what had five
      minutes to live, still has.
    - What was past is past. Before the session it keeps its distance to the
      first answer; within the session it lies between the two answers between
      which it was recorded, even if the replay is faster than the recording
      was. An instant that two answers name stays one instant; one in the
      future does while it has more than half of its time left.

    All are whole seconds since 1970, so that fractions keep their digits.
    ``given`` is told where each moved instant comes from.
    """

    def __init__(self, given: dict[int, int] | None = None) -> None:
        self._recorded: list[int] = []
        self._live: list[int] = []
        self._ahead: dict[int, int] = {}
        self._behind: dict[int, int] = {}
        self._given: dict[int, int] = {} if given is None else given

    def answer(self, then: int, now: int) -> Move:
        """What moves the instants of an answer that was recorded ``then``, and is given ``now``."""
        if self._recorded and then > self._recorded[-1] and now >= self._live[-1]:
            self._anchor(then, now)
        elif not self._recorded or self._is_over(then, now):
            for each in (self._recorded, self._live, self._ahead, self._behind):
                each.clear()
            self._anchor(then, now)
        return partial(self._moved, then, now)

    def _is_over(self, then: int, now: int) -> bool:
        """Whether an answer that was given before begins the session anew."""
        at = min(bisect_left(self._recorded, then), len(self._recorded) - 1)
        return now < self._live[-1] or now - self._live[at] > _MOST_BEHIND_S

    def _anchor(self, then: int, now: int) -> None:
        if len(self._recorded) >= _MOST_ANCHORS:
            del self._recorded[: _MOST_ANCHORS // 2], self._live[: _MOST_ANCHORS // 2]
        self._recorded.append(then)
        self._live.append(now)

    def _moved(self, then: int, now: int, instant: int, unit: int) -> int:
        moved = self._past(instant) if instant <= then else self._future(instant, then, now)
        moved -= (moved - instant) % unit
        _remember(self._given, moved, instant)
        return moved

    def _past(self, instant: int) -> int:
        """Between the two answers between which it was; what an answer said before, it stays."""
        known = self._behind.get(instant)
        if known is not None:
            return known
        at = min(bisect_left(self._recorded, instant + _BLUR_S), len(self._recorded) - 1)
        moved = self._live[at] - (self._recorded[at] - instant)
        if at:
            moved = max(moved, self._live[at - 1] - _BLUR_S)
        _remember(self._behind, instant, moved)
        return moved

    def _future(self, instant: int, then: int, now: int) -> int:
        left = instant - then
        known = self._ahead.get(instant)
        if known is not None and 2 * (known - now) > left:
            return known
        _remember(self._ahead, instant, now + left)
        return now + left


class GivenInstants:
    """What clients were given in each scope, and where recordings have it.

    All routes of a service share it: what one host says, a client may send to
    another. The scope that was idle longest is forgotten first.
    """

    def __init__(self) -> None:
        self._scopes: dict[str, dict[int, int]] = {}

    def of(self, scope: str) -> dict[int, int]:
        """Recorded instants by the given ones, to be added to."""
        given = self._scopes.pop(scope, None)
        if given is None:
            given = {}
            if len(self._scopes) >= _MOST_SCOPES:
                del self._scopes[next(iter(self._scopes))]
        self._scopes[scope] = given
        return given


class SessionClocks:
    """The clocks of a route: one for each scope, the idlest of which is forgotten first.

    ``names`` say which members are about time. Without ``bodies`` only the
    fields of answers move.
    """

    def __init__(self, names: TimeNames, given: GivenInstants, *, bodies: bool) -> None:
        self.bodies = bodies
        self._names = names
        self._given = given
        self._clocks: dict[str, SessionClock] = {}

    def mover(self, scope: str, then: int, now: int) -> TextMover:
        """Moves the instants of an answer that was recorded ``then``, and is given ``now``."""
        clock = self._clocks.pop(scope, None)
        if clock is None:
            clock = SessionClock(self._given.of(scope))
            if len(self._clocks) >= _MOST_SCOPES:
                del self._clocks[next(iter(self._clocks))]
        self._clocks[scope] = clock
        return TextMover(clock.answer(then, now), self._names)

    def back(self, scope: str) -> TextMover | None:
        """Moves the instants that were given in a scope back, and leaves all others.

        ``None`` if none were given.
        """
        given = self._given.of(scope)
        return TextMover(lambda each, _: given.get(each, each), self._names) if given else None


def _remember(known: dict[int, int], key: int, value: int) -> None:
    if key not in known and len(known) >= _MOST_KNOWN:
        del known[next(iter(known))]
    known[key] = value
