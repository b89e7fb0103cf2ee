"""Stepping an exchange: what it costs depends on whether it has to wait."""

from __future__ import annotations

import gc
import sys

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail

from buffr.transport.eager import start


class TestStart:
    def test_what_waits_for_nothing_makes_no_deferred(self) -> None:
        """A replay from memory is done when ``start`` returns."""
        done: list[int] = []

        async def exchange() -> None:
            done.append(1)

        assert start(exchange()) is None
        assert done == [1]

    def test_what_waits_goes_on_with_the_result(self) -> None:
        """Each awaited Deferred gives its result, several in a row."""
        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()
        got: list[int] = []

        async def exchange() -> None:
            got.append(await first)
            got.append(await second)

        running = start(exchange())
        assert running is not None
        first.callback(1)
        second.callback(2)
        assert got == [1, 2]

    def test_what_waits_hears_of_a_failure(self) -> None:
        got: list[str] = []

        async def exchange() -> None:
            for awaited in (failing, at_once, later):
                try:
                    await awaited
                except ValueError as error:
                    got.append(str(error))

        failing: Deferred[None] = Deferred()
        at_once: Deferred[None] = fail(ValueError("two"))
        later: Deferred[None] = Deferred()
        assert start(exchange()) is not None
        failing.errback(ValueError("one"))
        later.errback(ValueError("three"))
        assert got == ["one", "two", "three"]

    def test_it_waits_for_a_deferred_that_waits_for_another(self) -> None:
        got: list[int] = []
        outer: Deferred[int] = Deferred()
        inner: Deferred[int] = Deferred()
        outer.addCallback(lambda _: inner)

        async def exchange() -> None:
            got.append(await outer)

        assert start(exchange()) is not None
        outer.callback(1)
        assert got == []
        inner.callback(2)
        assert got == [2]

    def test_one_that_is_over_is_not_cancelled(self) -> None:
        awaited: Deferred[None] = Deferred()
        got: list[str] = []

        async def exchange() -> None:
            await awaited
            got.append("over")

        running = start(exchange())
        assert running is not None
        awaited.callback(None)
        running.cancel()
        assert got == ["over"]

    def test_cancelling_reaches_what_is_awaited(self) -> None:
        """A client that leaves ends the exchange where it waits."""
        seen: list[str] = []

        async def exchange() -> None:
            try:
                await Deferred()
            except CancelledError:
                seen.append("cancelled")

        running = start(exchange())
        assert running is not None
        running.cancel()
        assert seen == ["cancelled"]

    def test_a_dropped_exchange_ends_quietly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that nobody waits for any more is collected without an unraisable error."""
        errors: list[object] = []
        monkeypatch.setattr(sys, "unraisablehook", errors.append)

        async def exchange() -> None:
            await Deferred()

        running = start(exchange())
        del running
        gc.collect()
        assert errors == []
