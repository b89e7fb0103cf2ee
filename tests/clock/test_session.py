"""The clock of a session: what lives on, what is past, and what a client sends back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.clock.names import TimeNames
from buffr.clock.session import GivenInstants, SessionClock, SessionClocks

THEN, NOW = 1_700_000_000, 1_800_000_000
INSTANTS = st.integers(THEN - 10_000, THEN + 10_000)


class Session:
    """A session's clock, and the answer that it gives now."""

    def __init__(self, then: int, now: int) -> None:
        self.given: dict[int, int] = {}
        self.clock = SessionClock(self.given)
        self.answers(THEN + then, NOW + now)

    def answers(self, then: int, now: int) -> None:
        self.move = self.clock.answer(then, now)


def at(then: int, now: int) -> Session:
    return Session(then, now)


class TestAnAnswer:
    @given(INSTANTS)
    def test_the_first_keeps_every_distance(self, instant: int) -> None:
        assert at(0, 0).move(instant, 1) == instant + NOW - THEN

    def test_what_expires_lives_as_long_as_it_did(self) -> None:
        """Also in an answer that comes sooner, or later, than in the recording."""
        for now in (1, 600):
            clock = at(0, 0)
            clock.answers(THEN + 60, NOW + now)
            assert clock.move(THEN + 360, 1) == NOW + now + 300

    def test_what_happened_between_two_answers_still_does(self) -> None:
        clock = at(0, 0)
        clock.answers(THEN + 60, NOW + 2)
        assert clock.move(THEN + 59, 1) == NOW + 1
        assert clock.move(THEN + 30, 1) == NOW - 2
        assert clock.move(THEN - 30, 1) == NOW - 30

    def test_one_instant_stays_one(self) -> None:
        clock = at(0, 0)
        before = [clock.move(THEN + each, 1) for each in (-50, 0, 3000)]
        clock.answers(THEN + 7, NOW + 1)
        assert [clock.move(THEN + each, 1) for each in (-50, 0, 3000)] == before
        clock.answers(THEN + 70, NOW + 200)
        assert [clock.move(THEN + each, 1) for each in (-50, 0, 3000)] == before

    def test_distances_within_an_answer(self) -> None:
        """A token that was issued with its answer, however soon after the last one."""
        clock = at(0, 0)
        clock.answers(THEN + 20, NOW)
        assert clock.move(THEN + 319, 1) - clock.move(THEN + 19, 1) == 300

    def test_given_again_soon(self) -> None:
        """It says what it said, except for what would have run out."""
        clock = at(0, 0)
        created, expires = clock.move(THEN - 5, 1), clock.move(THEN + 10, 1)
        clock.answers(THEN, NOW + 30)
        assert clock.move(THEN - 5, 1) == created
        assert clock.move(THEN + 10, 1) == expires + 30

    def test_given_again_much_later(self) -> None:
        """The session begins anew."""
        clock = at(0, 0)
        clock.answers(THEN, NOW + 86400)
        assert clock.move(THEN - 5, 1) == NOW + 86400 - 5

    def test_a_clock_that_is_set_back(self) -> None:
        clock = at(0, 0)
        clock.answers(THEN + 5, NOW - 3600)
        assert clock.move(THEN + 5, 1) == NOW - 3600

    @given(
        st.lists(st.tuples(st.integers(0, 100), st.integers(0, 200)), min_size=1, max_size=8),
        st.lists(INSTANTS, min_size=2, max_size=8),
    )
    def test_any_session(self, gaps: list[tuple[int, int]], instants: list[int]) -> None:
        """What was past is past, what was to come is to come, and order is kept to the second."""
        clock, then, now = at(0, 0), THEN, NOW
        for gap, live_gap in gaps:
            then, now = then + gap, now + live_gap
            clock.answers(then, now)
            past = {each: clock.move(each, 1) for each in sorted(instants) if each <= then}
            pairs = [(one, other) for one, other in pairwise(past) if other - one > 2]
            assert all(past[one] <= past[other] + 2 for one, other in pairs)
            assert all(each <= now for each in past.values())
            assert all(clock.move(each, 1) > now for each in instants if each > then)


class TestBack:
    @pytest.mark.parametrize("unit", [1, 60, 86400])
    def test_where_a_moved_instant_comes_from(self, unit: int) -> None:
        clock = at(0, 77)
        moved = clock.move(THEN - 5, unit)
        assert (moved - (THEN - 5)) % unit == 0
        assert clock.given == {moved: THEN - 5}

    def test_other_answers_meanwhile(self) -> None:
        """Each has its own time, however long it takes."""
        clock = at(0, 0)
        first = clock.move
        clock.answers(THEN + 50, NOW + 10)
        assert first(THEN + 5, 1) == NOW + 5
        assert clock.move(THEN + 55, 1) == NOW + 15

    def test_each_scope_has_its_own_and_all_routes_share_it(self) -> None:
        """A client may send to one host what another said."""
        given = GivenInstants()
        one, other = (SessionClocks(TimeNames(), given, bodies=True) for _ in range(2))
        assert one.back("a") is None
        moved = one.mover("a", THEN, NOW).move(THEN, 1)
        for clocks in (one, other):
            mover = clocks.back("a")
            assert mover is not None
            assert mover.move(moved, 1) == THEN
            assert mover.move(moved + 1, 1) == moved + 1
            assert clocks.back("b") is None

    def test_memory_is_bounded(self) -> None:
        clock = at(0, 0)
        for number in range(3000):
            clock.answers(THEN + number, NOW + number)
            for each in range(10):
                clock.move(THEN - 100 * number - each, 1)
        sizes = [len(value) for value in vars(clock.clock).values()]
        assert max(sizes) <= 16384
