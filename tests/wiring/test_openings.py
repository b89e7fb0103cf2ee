from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred

from buffr.errors import StoreFailed
from buffr.wiring.open_once import Openings

FILE = Path("/kept/file")


class TestOnce:
    def test_those_who_come_meanwhile_wait_for_the_first(self) -> None:
        openings: Openings[Path] = Openings()
        calls = list[Deferred[None]]()

        def opened() -> Deferred[None]:
            calls.append(Deferred())
            return calls[-1]

        both = [Deferred.fromCoroutine(openings.once(FILE, opened)) for _ in range(2)]
        assert [one.called for one in both] == [False, False]
        calls[0].callback(None)
        assert [one.called for one in both] == [True, True]
        assert (len(calls), openings.done) == (1, {FILE})

    def test_what_failed_is_tried_again_by_who_waited(self) -> None:
        """Only the first caller gets the error."""
        openings: Openings[Path] = Openings()
        calls = list[Deferred[None]]()

        def opened() -> Deferred[None]:
            calls.append(Deferred())
            return calls[-1]

        first, second = (Deferred.fromCoroutine(openings.once(FILE, opened)) for _ in range(2))
        failures: list[object] = []
        first.addErrback(lambda failure: failures.append(failure.value))
        calls[0].errback(StoreFailed("no room"))
        assert [type(one) for one in failures] == [StoreFailed]
        assert (len(calls), second.called, openings.done) == (2, False, set())
        calls[1].callback(None)
        assert second.called

    def test_it_goes_on_when_the_first_leaves(self) -> None:
        """What a thread has begun cannot be taken back; nobody begins it again beside it."""
        openings: Openings[Path] = Openings()
        calls = list[Deferred[None]]()

        def opened() -> Deferred[None]:
            calls.append(Deferred())
            return calls[-1]

        first, second = (Deferred.fromCoroutine(openings.once(FILE, opened)) for _ in range(2))
        failures: list[object] = []
        first.addErrback(lambda failure: failures.append(failure.type))
        first.cancel()
        assert failures == [CancelledError]
        assert (len(calls), second.called) == (1, False)
        calls[0].callback(None)
        assert (second.called, openings.done) == (True, {FILE})
