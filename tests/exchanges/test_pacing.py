from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from buffr.errors import RateLimited
from buffr.exchanges.pace import Pace
from buffr.message import ResponseHead
from buffr.policy.rate_limits import RateRules, Window

TWO_A_SECOND = (Window(2, 1, "second"),)


class Asking:
    """Requests that wait for their turn, and when each left."""

    def __init__(self, rules: RateRules, max_hold_s: float = 3600) -> None:
        self.clock = Clock()
        seconds = self.clock.seconds
        self.pace = Pace(self.clock, rules, max_hold_s, seconds=seconds, wall=seconds)
        self.left: list[tuple[int, float]] = []
        self.errors: list[Failure] = []
        self.waits: list[Deferred[None]] = []

    def ask(self) -> Deferred[None]:
        number = len(self.waits)
        waiting = Deferred.fromCoroutine(self.pace.turn())
        self.waits.append(waiting)
        waiting.addCallback(lambda _: self.left.append((number, self.clock.seconds())))
        waiting.addErrback(self.errors.append)
        return waiting

    def pump(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.01)):
            self.clock.advance(0.01)

    def answered(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        self.pace.heard(ResponseHead(status, b"", fields))


class TestTurns:
    def test_twenty_at_two_a_second_take_nine_seconds_and_all_leave(self) -> None:
        asking = Asking(RateRules(TWO_A_SECOND))
        for _ in range(20):
            asking.ask()
        asking.pump(8.99)
        assert len(asking.left) < 20
        asking.pump(0.7)
        assert [number for number, _ in asking.left] == list(range(20))
        times = [moment for _, moment in asking.left]
        assert all(late - early >= 1 for early, late in zip(times, times[2:], strict=False))
        assert asking.clock.getDelayedCalls() == []

    def test_a_client_that_leaves_gives_its_turn_back(self) -> None:
        asking = Asking(RateRules((Window(1, 1, "second"),)))
        for _ in range(4):
            asking.ask()
        asking.waits[1].cancel()
        asking.waits[2].cancel()
        asking.pump(1.1)
        assert [number for number, _ in asking.left] == [0, 3]
        assert all(failure.check(CancelledError) for failure in asking.errors)
        assert asking.pace.state().waiting == 0

    def test_one_that_must_wait_for_too_long_is_refused_at_once(self) -> None:
        asking = Asking(RateRules((Window(1, 60, "minute"),), max_delay_s=10))
        asking.clock.advance(5)
        asking.ask()
        asking.ask()
        assert [failure.type for failure in asking.errors] == [RateLimited]
        assert asking.pace.refused_at == 5
        assert asking.pace.state().refused == 1

    def test_without_windows_nothing_waits(self) -> None:
        asking = Asking(RateRules())
        for _ in range(100):
            asking.ask()
        assert len(asking.left) == 100


class TestLearning:
    def test_an_upstream_that_asks_for_silence_has_it(self) -> None:
        asking = Asking(RateRules())
        asking.answered(429, (b"Retry-After", b"7"))
        asking.ask()
        asking.pump(6.9)
        assert asking.left == []
        asking.pump(0.2)
        assert len(asking.left) == 1

    def test_it_is_believed_up_to_a_bound(self) -> None:
        asking = Asking(RateRules(), max_hold_s=3)
        asking.answered(503, (b"Retry-After", b"99999"))
        assert asking.pace.state().held_s == 3

    def test_zero_is_not_to_listen(self) -> None:
        asking = Asking(RateRules(), max_hold_s=0)
        asking.answered(429, (b"Retry-After", b"9"))
        asking.ask()
        assert len(asking.left) == 1

    def test_429_that_does_not_say_doubles(self) -> None:
        asking = Asking(RateRules())
        held = []
        for status in (429, 429, 429, 200, 429):
            asking.clock.advance(100)
            asking.answered(status)
            held.append(asking.pace.state().held_s)
        assert held == [2, 4, 8, 0, 2]

    def test_nothing_remains_so_nothing_is_sent(self) -> None:
        asking = Asking(RateRules())
        asking.answered(200, (b"RateLimit", b'"default";r=0;t=4'))
        assert asking.pace.state().held_s == 4

    def test_waiting_requests_are_delayed_or_refused(self) -> None:
        asking = Asking(RateRules(TWO_A_SECOND, max_delay_s=5))
        for _ in range(6):
            asking.ask()
        asking.answered(429, (b"Retry-After", b"4"))
        assert len(asking.errors) == 2
        asking.pump(5.1)
        assert len(asking.left) == 4


class TestChanges:
    def test_other_limits_apply_at_once_to_waiting_requests(self) -> None:
        """Defect 10: live changes of limits did nothing."""
        asking = Asking(RateRules((Window(1, 3600, "hour"),), max_delay_s=1e6))
        for _ in range(3):
            asking.ask()
        assert len(asking.left) == 1
        asking.pace.change(RateRules(), 3600)
        asking.clock.advance(0)
        assert len(asking.left) == 3
        asking.pace.change(RateRules((Window(1, 60, "minute"),), max_delay_s=1), 3600)
        asking.ask()
        assert [failure.type for failure in asking.errors] == [RateLimited]
