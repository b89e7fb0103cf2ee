"""Replays recorded calls whose two sides talk in turns, in place of the upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.errors import BuffrError, SessionDrift
from buffr.exchanges.exchange import Exchange
from buffr.exchanges.route import Recorded
from buffr.exchanges.sessions.opening import CallBody
from buffr.formats.envelopes import Splitter
from buffr.interaction import HTTPInteraction
from buffr.log import say
from buffr.matching.calls import CallRules
from buffr.matching.near_miss import Difference
from buffr.message import Piece
from buffr.recording.transcript import Deviation
from buffr.recording.turns import CallScript, CallTurns
from buffr.transport.eager import aside
from buffr.transport.sink import Sink
from buffr.transport.streams import Signal

__all__ = ["CallReplays"]

_MOST_ALIKE = 100
_BLOCK_BYTES = 65536
_LONGEST_BYTES = 64 << 20
"""A client's longer message is not held in memory to be compared."""


class CallReplays:
    """Replays recorded calls to clients that take their turns."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def play(
        self, exchange: Exchange, route: Recorded, interaction: HTTPInteraction, body: CallBody
    ) -> int:
        """Replay a call whose beginning has come. Returns the status.

        Raises ``SessionDrift`` if the client leaves the recording, ``ClientGone``.
        """
        size_bytes = interaction.request.body.size_bytes + interaction.body.size_bytes
        script = await aside(self._reactor, size_bytes, CallScript.of, interaction)
        rules = CallRules(route.matcher, exchange.request, route.origin)
        call = _ReplayedCall(self._reactor, exchange, route, rules, script, body)
        await call.play(exchange.sink)
        return interaction.response.status


class _ReplayedCall:
    """One call: its messages are read and compared while the recorded ones are sent."""

    def __init__(
        self,
        reactor: Any,
        exchange: Exchange,
        route: Recorded,
        rules: CallRules,
        script: CallScript,
        body: CallBody,
    ) -> None:
        self._reactor = reactor
        self._exchange = exchange
        self._route = route
        self._rules = rules
        self._body = body
        self._turns = CallTurns(script, rules.same)
        self._news = Signal()
        self._error: BuffrError | None = None
        self._sent_at = reactor.seconds()

    # What the client says.

    async def _listen(self) -> None:
        try:
            await self._compare()
        except BuffrError as error:
            self._error = error
        except CancelledError:
            return  # the call is over
        except Exception as error:  # noqa: BLE001  # a defect of ours: no client may wait for ever
            say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")
            self._error = BuffrError("internal error; the log says more")
        self._news.notify()

    async def _compare(self) -> None:
        turns, splitter = self._turns, Splitter()
        while (piece := await self._body.read()) is not None:
            for message in splitter.feed(piece.data):
                if not await aside(self._reactor, len(message), turns.receive, message):
                    await self._go_on_elsewhere(message)
                self._news.notify()
            if splitter.pending_bytes > _LONGEST_BYTES:
                raise SessionDrift(f"a message of over {_LONGEST_BYTES} bytes cannot be compared")
        if not turns.end():
            await self._go_on_elsewhere(None)

    async def _go_on_elsewhere(self, message: bytes | None) -> None:
        """Continue with another recording that has all that was said, or raise the deviation."""
        for other in await self._alike():
            if await aside(self._reactor, len(message or b""), self._turns.fits, other):
                self._turns.switch(other)
                return
        raise self._deviation(message)

    async def _alike(self) -> list[CallScript]:
        """The recordings that begin as this call does."""
        rules, route = self._rules, self._route
        store, explainer = route.store, route.explainer
        places = {
            place
            for messages in ((), self._turns.said[:1])
            for place in await explainer.calls(rules.keys(messages))
        }
        found = []
        for place in sorted(places)[:_MOST_ALIKE]:
            other = await store.load(place)
            if isinstance(other, HTTPInteraction) and other.turns:
                size_bytes = other.request.body.size_bytes + other.body.size_bytes
                found.append(await aside(self._reactor, size_bytes, CallScript.of, other))
        return found

    def _deviation(self, message: bytes | None) -> SessionDrift:
        turns, rules = self._turns, self._rules
        script, number = turns.script, turns.drift
        assert number is not None
        old = script.client[number] if number < len(script.client) else None
        differences: tuple[Difference, ...] = ()
        if old is not None and message is not None:
            recorded, redaction = script.interaction.request, self._route.redaction
            differences = rules.differences(recorded, old, message, redaction)
        deviation = Deviation(number, _named(old), _named(message), differences, "message")
        error = SessionDrift(str(deviation))
        error.explanation = "\n".join(deviation.lines())
        return error

    # What the server says.

    async def play(self, sink: Sink) -> None:
        """Send what is due until all of the recording is, or raise why that cannot be."""
        listening = Deferred.fromCoroutine(self._listen())
        try:
            await self._until(lambda script: script.head_after)
            sink.begin(self._turns.script.interaction.response)
            while await self._next(sink):
                pass
            sink.end(self._turns.script.interaction.trailers)
        finally:
            listening.cancel()

    async def _until(self, after: Callable[[CallScript], int]) -> None:
        """Return once what came after so many messages is due."""
        while True:
            if self._error is not None:
                raise self._error
            if self._turns.is_due(after(self._turns.script)):
                return
            await self._news.wait()

    async def _next(self, sink: Sink) -> bool:
        """Send the server's next message when it is due. Returns whether there was one."""
        turns = self._turns
        sink.flush()
        await self._until(lambda script: (*script.after, script.end_after)[turns.sent])
        script, number = turns.script, turns.sent
        if number == len(script.server):
            return False
        if self._route.replay_delays:
            await self._wait(script.delays_ms[number] / 1000)
        turns.sent += 1
        at, end = ((0, *script.server)[number], script.server[number])
        while at < end:
            data = script.read(at, min(_BLOCK_BYTES, end - at))
            sink.write(Piece(data, len(data)))
            at += len(data)
            await sink.drain()
        return True

    async def _wait(self, delay_s: float) -> None:
        """Keep the recorded cadence: the time since the message before is part of it."""
        left_s = self._sent_at + delay_s - self._reactor.seconds()
        if left_s > 0:
            await deferLater(self._reactor, left_s)
        self._sent_at = self._reactor.seconds()


def _named(message: bytes | None) -> str:
    return "the end of the request" if message is None else f"a message of {len(message)} bytes"
