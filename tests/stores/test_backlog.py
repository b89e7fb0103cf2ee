"""The backlog for the disk is bounded, and nothing is rejected."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from buffr.stores.cassette.thread import Backlog


def entering(backlog: Backlog, size_bytes: int) -> Deferred[None]:
    return Deferred.fromCoroutine(backlog.enter(size_bytes))


class TestRoom:
    def test_one_beyond_the_limit_waits_for_another_to_leave(self) -> None:
        backlog = Backlog(2, 100)
        first, second, third = (entering(backlog, 1) for _ in range(3))
        assert [each.called for each in (first, second, third)] == [True, True, False]
        backlog.leave(1)
        assert third.called
        assert backlog.held == 2

    def test_bytes_are_bounded(self) -> None:
        backlog = Backlog(10, 100)
        assert entering(backlog, 60).called
        waiting = entering(backlog, 60)
        assert not waiting.called
        backlog.leave(60)
        assert waiting.called

    def test_one_alone_is_let_in_whatever_its_size(self) -> None:
        assert entering(Backlog(10, 100), 1000).called

    def test_all_let_in_waits_for_those_outside(self) -> None:
        backlog = Backlog(1, 100)
        entering(backlog, 1)
        entering(backlog, 1)
        done = Deferred.fromCoroutine(backlog.all_let_in())
        assert not done.called
        backlog.leave(1)
        assert done.called

    def test_one_that_gives_up_holds_up_no_other(self) -> None:
        backlog = Backlog(1, 100)
        entering(backlog, 1)
        waiting = entering(backlog, 1)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        assert Deferred.fromCoroutine(backlog.all_let_in()).called
        backlog.leave(1)
        assert backlog.held == 0
