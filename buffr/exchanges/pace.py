"""Calls an upstream at the pace that its limits allow: the only place that calls one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from buffr.errors import RateLimited
from buffr.message import Request, ResponseHead
from buffr.policy.rate_limits import (
    LimiterState,
    RateLimiter,
    RateRules,
    Turn,
    Window,
    silence_asked,
)
from buffr.transport.streams import BodyReader
from buffr.upstream.bound import Client
from buffr.upstream.connection import Connection, Response, Switched
from buffr.upstream.known_call import KnownCall
from buffr.upstream.upstream import Upstream
from buffr.wire.websocket_deflate import Deflate

__all__ = ["Pace", "PacedUpstream"]

_SLACK_S = 0.05
"""Added to each window.

A connection may be made faster than the one before, so that two requests would
arrive closer together than they left.
"""
_MOST_DOUBLED = 20


class Pace:
    """Lets the requests of one route leave as its limits allow.

    ``seconds`` is a monotonic clock, ``wall`` is for dates. An upstream's own
    limits are honoured up to ``max_hold_s`` seconds.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        rules: RateRules,
        max_hold_s: float,
        *,
        seconds: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.refused_at: float | None = None
        """When a request was last refused, in wall-clock seconds."""
        self.refusal: RateLimited | None = None
        """The error with which it was refused."""
        self._reactor = reactor
        self._seconds = seconds
        self._wall = wall
        self._max_hold_s = max_hold_s
        self._limiter = RateLimiter(evolve(rules, slack_s=_SLACK_S))
        self._waiting: dict[Turn, Deferred[None]] = {}
        self._timer: IDelayedCall | None = None
        self._unexplained = 0

    async def turn(self) -> None:
        """Return when the request may leave. Raises ``RateLimited``.

        A cancelled wait gives its turn back.
        """
        self._let_leave()
        try:
            turn = self._limiter.reserve(self._seconds())
        except RateLimited as error:
            self._note(error)
            raise
        if turn is None:
            return
        waiter: Deferred[None] = Deferred(lambda _: self._cancel(turn))
        self._waiting[turn] = waiter
        self._set_timer()
        await waiter

    def heard(self, head: ResponseHead) -> None:
        """Learn from the head of an upstream's answer how long it accepts no more requests."""
        asked = silence_asked(head, self._wall())
        if asked is None and head.status == 429:
            self._unexplained = min(self._unexplained + 1, _MOST_DOUBLED)
            asked = 2.0**self._unexplained
        elif head.status != 429:
            self._unexplained = 0
        if asked:
            asked = min(asked, self._max_hold_s)
            self._refuse(self._limiter.hold(self._seconds(), asked))

    def change(self, rules: RateRules, max_hold_s: float) -> None:
        """Apply other limits from now on, also to requests that are already waiting."""
        self._max_hold_s = max_hold_s
        self._refuse(self._limiter.change(evolve(rules, slack_s=_SLACK_S), self._seconds()))

    @property
    def quiet(self) -> bool:
        """Whether a new one would let requests leave exactly as this one does."""
        return self._limiter.is_quiet(self._seconds())

    def state(self) -> LimiterState:
        """The current state of the limits."""
        return self._limiter.state(self._seconds())

    def windows(self) -> list[tuple[Window, int]]:
        """The limits, and how many requests have left within each of them."""
        now, limiter = self._seconds(), self._limiter
        return [
            (window, len(limiter.left_since(now - window.length_s)))
            for window in limiter.rules.windows
        ]

    def note(self) -> None:
        """Count a request that is sent without using this route."""
        self._limiter.note(self._seconds())
        self._set_timer()

    def wait_s(self) -> float:
        """How long a request that arrives now would wait for its turn."""
        return max(0.0, self._limiter.wait_s(self._seconds()))

    def is_exceeded(self) -> bool:
        """Whether more requests were noted than the limits allow; see ``RateLimiter``."""
        violations = self.state().violations
        exceeded = self._limiter.is_exceeded(self._seconds())
        if self.state().violations > violations:
            self.refused_at = self._wall()
        return exceeded

    def left(self, within_s: float) -> list[float]:
        """The times of recent requests, in wall-clock seconds to the millisecond."""
        now, wall = self._seconds(), self._wall()
        left = self._limiter.left_since(now - within_s)
        return [round(wall - (now - moment), 3) for moment in left]

    def restore(
        self, left: Iterable[float] = (), *, departed: int = 0, violations: int = 0
    ) -> None:
        """Restore a state; ``left`` is in wall-clock seconds."""
        now, wall = self._seconds(), self._wall()
        moments = [now - (wall - moment) for moment in left]
        self._limiter.restore(moments, departed=departed, violations=violations)
        self.refused_at = self.refusal = None
        self._set_timer()

    def _cancel(self, turn: Turn) -> None:
        del self._waiting[turn]
        self._limiter.cancel(turn)
        self._set_timer()

    def _refuse(self, refused: list[tuple[Turn, RateLimited]]) -> None:
        for turn, error in refused:
            waiter = self._waiting.pop(turn, None)
            self._note(error)
            if waiter is not None:
                waiter.errback(error)
        self._set_timer()

    def _note(self, error: RateLimited) -> None:
        self.refused_at = self._wall()
        self.refusal = error

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._limiter.next_due()
        if due is not None:
            wait = max(0.0, due - self._seconds())
            self._timer = self._reactor.callLater(wait, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._let_leave()
        self._set_timer()

    def _let_leave(self) -> None:
        while (turn := self._limiter.leave(self._seconds())) is not None:
            self._waiting.pop(turn).callback(None)


@frozen(eq=False)
class PacedUpstream:
    """An upstream, and the pace at which it may be called; without a pace nothing waits.

    Every call waits for its turn, is sent, and learns the upstream's own
    limits from the answer.
    """

    upstream: Upstream
    pace: Pace | None = None

    def send(
        self,
        request: Request,
        body: bytes | BodyReader,
        inform: Callable[[ResponseHead], None],
        *,
        leaving: Callable[[], None] | None = None,
        expect_met: bool = False,
        client: Client | None = None,
        begun: Connection | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Like ``Upstream.send``; ``leaving`` is called when it is the request's turn.

        Raises ``RateLimited``, too.
        """
        send = self.upstream.send
        if begun is not None:
            return send(request, body, inform, client=client, begun=begun)
        if self.pace is not None:
            sent = partial(send, request, body, inform, expect_met=expect_met, client=client)
            return _in_turn(self.pace, leaving, sent)
        if leaving is not None:
            leaving()
        return send(request, body, inform, expect_met=expect_met, client=client)

    def known(self, request: Request, body: bytes, volatile: Sequence[bytes]) -> KnownCall | None:
        """Like ``Upstream.known``; with a pace each request waits for its own turn."""
        return self.upstream.known(request, body, volatile) if self.pace is None else None

    async def upgrade(
        self,
        request: Request,
        key: bytes,
        inform: Callable[[ResponseHead], None],
        client: Client | None = None,
    ) -> Response | tuple[Switched, Deflate | None]:
        """Like ``Upstream.upgrade``. Raises ``RateLimited``, too."""
        if self.pace is not None:
            await self.pace.turn()
        answer = await self.upstream.upgrade(request, key, inform, client)
        if self.pace is not None and isinstance(answer, Response):
            self.pace.heard(answer.head)
        return answer


async def _in_turn(
    pace: Pace,
    leaving: Callable[[], None] | None,
    send: Callable[[], Coroutine[Any, Any, Response]],
) -> Response:
    await pace.turn()
    if leaving is not None:
        leaving()
    response = await send()
    pace.heard(response.head)
    return response
