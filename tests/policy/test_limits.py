from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import RateLimited
from buffr.policy.rate_limits import RateLimiter, RateRules, Turn, Window

SECOND = Window(2, 1, "second")
FOREVER = 1e9


def rules(*windows: Window, max_delay_s: float = FOREVER, max_waiting: int = 10**6) -> RateRules:
    return RateRules(windows, max_delay_s, max_waiting)


class Simulation:
    """A limiter on a clock that goes on from event to event."""

    def __init__(self, of: RateRules) -> None:
        self.limiter = RateLimiter(of)
        self.now = 0.0
        self.departures: list[float] = []
        self.order: list[int] = []
        self.waits: list[float] = []
        self.names: dict[Turn, int] = {}
        self.came = 0

    def ask(self) -> Turn | None:
        """One more request; its place in the order of coming is its name."""
        name = self.came
        self.came += 1
        self.let_leave()
        turn = self.limiter.reserve(self.now)
        if turn is None:
            self.departures.append(self.now)
            self.order.append(name)
        else:
            self.names[turn] = name
        return turn

    def let_leave(self) -> None:
        while (turn := self.limiter.leave(self.now)) is not None:
            self.departures.append(self.now)
            self.order.append(self.names.pop(turn))
            self.waits.append(self.now - turn.came_s)

    def go_to(self, moment: float, late_s: float = 0.0) -> None:
        """Let the time pass; what is due leaves, ``late_s`` after it may."""
        while (due := self.limiter.next_due()) is not None and due + late_s <= moment:
            self.now = max(self.now, due + late_s)
            self.let_leave()
        self.now = max(self.now, moment)
        self.let_leave()

    def finish(self) -> None:
        while (due := self.limiter.next_due()) is not None:
            self.now = max(self.now, due)
            self.let_leave()


def assert_within(departures: Sequence[float], windows: Sequence[Window]) -> None:
    """No window that ends with a departure holds more than its count."""
    for window in windows:
        for early, late in zip(departures, departures[window.count :], strict=False):
            assert late >= early + window.length_s


WINDOWS = st.lists(
    st.builds(Window, st.integers(1, 5), st.sampled_from((1, 60, 3600)), st.just("w")),
    max_size=3,
)
GAPS = st.floats(0, 100, allow_nan=False) | st.just(0.0)


class TestWindows:
    def test_twenty_at_two_a_second_take_nine_seconds(self) -> None:
        simulation = Simulation(rules(SECOND))
        for _ in range(20):
            simulation.ask()
        simulation.finish()
        assert simulation.departures == [float(n // 2) for n in range(20)]

    @given(WINDOWS, st.lists(GAPS, max_size=60), st.floats(0, 0.5))
    def test_no_window_is_ever_exceeded(
        self, windows: list[Window], gaps: list[float], late_s: float
    ) -> None:
        """However requests come, and however late the timer is."""
        simulation = Simulation(rules(*windows))
        for gap in gaps:
            simulation.go_to(simulation.now + gap, late_s)
            simulation.ask()
        simulation.finish()
        assert len(simulation.departures) == len(gaps)
        assert_within(simulation.departures, windows)

    @given(WINDOWS, st.lists(GAPS, max_size=60))
    def test_first_come_first_served_and_nobody_starves(
        self, windows: list[Window], gaps: list[float]
    ) -> None:
        """All leave, in the order in which they came, none later than it must."""
        simulation = Simulation(rules(*windows))
        for gap in gaps:
            simulation.go_to(simulation.now + gap)
            simulation.ask()
        simulation.finish()
        assert simulation.order == list(range(len(gaps)))
        came, earliest = 0.0, 0.0
        for position, left in enumerate(simulation.departures):
            came += gaps[position]
            for window in windows:
                if position >= window.count:
                    start = simulation.departures[position - window.count] + window.length_s
                    earliest = max(earliest, start)
            earliest = max(earliest, came)
            assert left == pytest.approx(earliest)

    @given(WINDOWS, st.lists(GAPS, min_size=1, max_size=40), st.data())
    def test_the_wait_is_known_before_it_begins(
        self, windows: list[Window], gaps: list[float], data: st.DataObject
    ) -> None:
        simulation = Simulation(rules(*windows))
        for gap in gaps:
            simulation.go_to(simulation.now + gap)
            turn = simulation.ask()
        said = simulation.now if turn is None else turn.due_s
        simulation.finish()
        assert simulation.departures[-1] == pytest.approx(said)

    @given(WINDOWS, st.lists(st.tuples(GAPS, st.integers(0, 40)), max_size=60))
    def test_a_cancelled_turn_is_given_back(
        self, windows: list[Window], steps: list[tuple[float, int]]
    ) -> None:
        """The rest leaves as if the cancelled ones had never come."""
        with_them, without = Simulation(rules(*windows)), Simulation(rules(*windows))
        for gap, number in steps:
            for simulation in (with_them, without):
                simulation.go_to(simulation.now + gap)
            turn = with_them.ask()
            if turn is not None and number % 3 == 0:
                with_them.limiter.cancel(turn)
            else:
                without.ask()
        for simulation in (with_them, without):
            simulation.finish()
        assert with_them.departures == pytest.approx(without.departures)

    def test_a_turn_in_the_middle_moves_the_rest_up(self) -> None:
        limiter = RateLimiter(rules(Window(1, 1, "second")))
        turns = [limiter.reserve(0.0) for _ in range(4)]
        assert turns[2] is not None
        limiter.cancel(turns[2])
        last = limiter.reserve(0.0)
        assert turns[3] is not None
        assert last is not None
        assert (turns[3].due_s, last.due_s) == (2.0, 3.0)

    def test_slack_keeps_windows_apart(self) -> None:
        limiter = RateLimiter(evolve(rules(SECOND), slack_s=0.5))
        turns = [limiter.reserve(0.0) for _ in range(3)]
        assert turns[2] is not None
        assert turns[2].due_s == 1.5

    def test_what_is_remembered_is_bounded(self) -> None:
        limiter = RateLimiter(rules(Window(5, 3600, "hour")))
        for number in range(20_000):
            assert limiter.reserve(number * 3600.0) is None
        assert len(limiter._left) < 2000


class TestNotes:
    """Requests that a program sends past the route, and tells of."""

    @given(WINDOWS, st.lists(GAPS, max_size=40))
    def test_the_wait_is_that_of_a_request_that_comes_now(
        self, windows: list[Window], gaps: list[float]
    ) -> None:
        noted, asked = RateLimiter(rules(*windows)), RateLimiter(rules(*windows))
        now = 0.0
        for gap in gaps:
            now += gap
            turn = asked.reserve(now)
            due = now if turn is None else turn.due_s
            assert noted.wait_s(now) == pytest.approx(due - now)
            now = due
            if turn is not None:
                assert asked.leave(now) is turn
            noted.note(now)
        assert noted.state(now).departed == len(gaps)

    def test_those_that_wait_move_back(self) -> None:
        limiter = RateLimiter(rules(Window(1, 10, "w")))
        limiter.note(0.0)
        turn = limiter.reserve(1.0)
        assert turn is not None
        limiter.note(5.0)
        assert limiter.next_due() == limiter.wait_s(5.0) + 5.0 - 10.0 == 15.0

    def test_more_than_the_limit_is_a_violation(self) -> None:
        limiter = RateLimiter(rules(Window(2, 3600, "hour"), max_delay_s=8))
        for _ in range(2):
            limiter.note(0.0)
            assert not limiter.is_exceeded(0.0)
        for delay_s in (2.0, 4.0, 8.0, 8.0):
            limiter.note(0.0)
            assert limiter.is_exceeded(0.0)
            assert limiter.state(0.0).delay_s == delay_s
        assert limiter.state(0.0).violations == 4
        assert not limiter.is_exceeded(3601.0)

    def test_what_was_seen_can_be_restored_and_forgotten(self) -> None:
        limiter = RateLimiter(rules(Window(2, 60, "minute")))
        limiter.restore((3.0, 1.0), departed=7, violations=2)
        assert (limiter.state(4.0).departed, limiter.state(4.0).violations) == (7, 2)
        assert limiter.wait_s(4.0) == 57.0
        assert list(limiter.left_since(2.0)) == [3.0]
        limiter.restore()
        assert limiter.wait_s(4.0) == limiter.state(4.0).violations == 0


class TestRefusals:
    def refused(self, limiter: RateLimiter, now: float) -> RateLimited:
        with pytest.raises(RateLimited) as caught:
            limiter.reserve(now)
        return caught.value

    def test_a_wait_over_max_delay_is_refused_with_the_true_wait(self) -> None:
        limiter = RateLimiter(rules(Window(1, 60, "minute"), max_delay_s=30))
        assert limiter.reserve(0.0) is None
        error = self.refused(limiter, 17.5)
        assert error.status == 429
        assert dict(error.headers) == {
            b"Retry-After": b"43",
            b"RateLimit-Policy": b'"minute";q=1;w=60',
            b"RateLimit": b'"minute";r=0;t=43',
            b"X-RateLimit-Limit": b"1",
            b"X-RateLimit-Remaining": b"0",
            b"X-RateLimit-Reset": b"43",
        }
        assert limiter.reserve(17.5 + 43) is None

    def test_the_window_that_binds_is_named(self) -> None:
        windows = (Window(2, 1, "second"), Window(2, 60, "minute"), Window(3, 3600, "hour"))
        limiter = RateLimiter(rules(*windows, max_delay_s=0))
        assert [limiter.reserve(0.0), limiter.reserve(0.0)] == [None, None]
        headers = dict(self.refused(limiter, 2.0).headers)
        assert headers[b"RateLimit"] == b'"minute";r=0;t=58'
        assert headers[b"X-RateLimit-Limit"] == b"2"
        assert self.refused(limiter, 2.0).limit == 2
        policies = b'"second";q=2;w=1, "minute";q=2;w=60, "hour";q=3;w=3600'
        assert headers[b"RateLimit-Policy"] == policies

    def test_waiting_is_bounded(self) -> None:
        limiter = RateLimiter(rules(Window(1, 1, "second"), max_waiting=2))
        for _ in range(3):
            limiter.reserve(0.0)
        assert dict(self.refused(limiter, 0.0).headers)[b"Retry-After"] == b"3"

    def test_violations_double_the_back_off(self) -> None:
        """2, 4, 8 … seconds up to the maximum; a wait is none."""
        limiter = RateLimiter(rules(Window(1, 3600, "hour"), max_delay_s=10))
        limiter.reserve(0.0)
        seen = []
        for _ in range(5):
            self.refused(limiter, 1.0)
            state = limiter.state(1.0)
            seen.append((state.violations, state.delay_s))
        assert seen == [(1, 2), (2, 4), (3, 8), (4, 10), (5, 10)]
        turn = limiter.reserve(3595.0)
        assert turn is not None
        assert limiter.state(3595.0).violations == 0
        assert limiter.state(3595.0).refused == 5

    def test_the_back_off_holds_newcomers_when_there_is_room_again(self) -> None:
        limiter = RateLimiter(rules(Window(1, 10, "w"), max_delay_s=10))
        limiter.reserve(0.0)
        turn = limiter.reserve(0.0)
        assert turn is not None
        self.refused(limiter, 1.0)
        limiter.cancel(turn)
        newcomer = limiter.reserve(9.5)
        assert newcomer is not None
        self.refused(limiter, 9.5)
        limiter.cancel(newcomer)
        late = limiter.reserve(10.5)
        assert late is not None
        assert late.due_s == 11.5

    @given(WINDOWS, st.lists(GAPS, max_size=60), st.floats(0, 100))
    def test_nobody_who_comes_back_when_told_is_refused(
        self, windows: list[Window], gaps: list[float], max_delay_s: float
    ) -> None:
        """``Retry-After`` is true: alone, whoever obeys it is served."""
        limiter = RateLimiter(rules(*windows, max_delay_s=max_delay_s))
        simulation = Simulation(rules())
        simulation.limiter = limiter
        for gap in gaps:
            simulation.go_to(simulation.now + gap)
            try:
                simulation.ask()
            except RateLimited as error:
                simulation.go_to(simulation.now + error.retry_after_s)
                simulation.ask()
        simulation.finish()
        assert len(simulation.departures) == len(gaps)
        assert_within(simulation.departures, windows)
        assert all(wait <= max_delay_s + 1e-6 for wait in simulation.waits)


class TestHolding:
    def test_what_waits_leaves_later(self) -> None:
        simulation = Simulation(rules(Window(1, 1, "second")))
        for _ in range(3):
            simulation.ask()
        assert simulation.limiter.hold(0.5, 10) == []
        simulation.finish()
        assert simulation.departures == [0.0, 10.5, 11.5]

    def test_a_shorter_hold_changes_nothing(self) -> None:
        limiter = RateLimiter(rules())
        limiter.hold(0.0, 10)
        limiter.hold(0.0, 5)
        turn = limiter.reserve(0.0)
        assert turn is not None
        assert turn.due_s == 10.0
        assert limiter.state(4.0).held_s == 6.0

    def test_those_for_whom_it_is_too_long_are_refused(self) -> None:
        limiter = RateLimiter(rules(Window(1, 1, "second"), max_delay_s=5))
        assert limiter.reserve(0.0) is None
        turns = [limiter.reserve(0.0), limiter.reserve(0.0)]
        refused = limiter.hold(0.5, 4.25)
        assert [(turn, error.retry_after_s) for turn, error in refused] == [(turns[1], 6)]
        assert limiter.next_due() == 4.75

    def test_a_newcomer_is_told_how_long(self) -> None:
        limiter = RateLimiter(rules(max_delay_s=5))
        limiter.hold(0.0, 60)
        with pytest.raises(RateLimited) as caught:
            limiter.reserve(10.0)
        assert dict(caught.value.headers)[b"Retry-After"] == b"50"


class TestChanges:
    def test_a_stricter_limit_holds_at_once(self) -> None:
        """What has left counts, too."""
        simulation = Simulation(rules(Window(100, 60, "minute")))
        for _ in range(10):
            simulation.ask()
        simulation.limiter.change(rules(Window(5, 60, "minute")), 0.0)
        simulation.ask()
        simulation.finish()
        assert simulation.departures[-1] == 60.0

    def test_a_laxer_one_lets_go_of_what_waits(self) -> None:
        simulation = Simulation(rules(Window(1, 60, "minute")))
        for _ in range(3):
            simulation.ask()
        simulation.go_to(1.0)
        simulation.limiter.change(rules(), 1.0)
        simulation.let_leave()
        assert simulation.departures == [0.0, 1.0, 1.0]

    def test_what_would_wait_for_too_long_is_refused(self) -> None:
        limiter = RateLimiter(rules(Window(1, 1, "second")))
        for _ in range(4):
            limiter.reserve(0.0)
        changed = rules(Window(1, 10, "w"), max_delay_s=15)
        assert len(limiter.change(changed, 0.0)) == 2
        assert limiter.state(0.0).waiting == 1


class TestQuiet:
    """A limiter that can be forgotten: a new one would let the same requests leave."""

    def test_while_a_request_still_counts(self) -> None:
        limiter = RateLimiter(rules(SECOND, Window(9, 60, "minute")))
        assert limiter.is_quiet(0.0)
        limiter.reserve(0.0)
        assert not limiter.is_quiet(59.9)
        assert limiter.is_quiet(60.0)

    def test_while_the_upstream_wants_silence(self) -> None:
        limiter = RateLimiter(rules(SECOND))
        limiter.hold(0.0, 90.0)
        assert not limiter.is_quiet(89.9)
        assert limiter.is_quiet(90.0)

    def test_while_somebody_waits(self) -> None:
        limiter = RateLimiter(rules(Window(1, 1, "second")))
        limiter.reserve(0.0)
        waiting = limiter.reserve(0.0)
        assert waiting is not None
        assert not limiter.is_quiet(100.0)
        limiter.cancel(waiting)
        assert limiter.is_quiet(100.0)

    @given(
        gaps=st.lists(st.floats(0, 3), max_size=12),
        later=st.lists(st.floats(0, 3), max_size=12),
    )
    def test_a_new_one_does_the_same_from_then_on(
        self, gaps: list[float], later: list[float]
    ) -> None:
        of = rules(SECOND, Window(3, 5, "minute"), max_delay_s=4.0)
        old, now = RateLimiter(of), 0.0
        for gap in gaps:
            now += gap
            _asked(old, now)
        while not old.is_quiet(now):
            now += 1
            while old.leave(now) is not None:
                pass
        new = RateLimiter(of)
        for gap in later:
            now += gap
            assert _asked(old, now) == _asked(new, now)


def _asked(limiter: RateLimiter, now: float) -> float | str:
    """When a request that comes now leaves, or why it does not."""
    while limiter.leave(now) is not None:
        pass
    try:
        turn = limiter.reserve(now)
    except RateLimited as error:
        return error.message
    return now if turn is None else turn.due_s
