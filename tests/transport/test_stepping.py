"""Stepping an exchange: a Deferred is made only where it has to wait."""

from __future__ import annotations

import gc
import sys

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial import unittest

from buffr.transport.eager import start

TRIAL = unittest.SynchronousTestCase()


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
        TRIAL.successResultOf(running)
        assert got == [1, 2]

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
