"""Calls to an upstream: how they are made, and what is recorded of the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from buffr.errors import BuffrError, HookFailed
from buffr.exchanges.arriving import ArrivingBodies, ArrivingBody, Search
from buffr.exchanges.exchange import Exchange
from buffr.exchanges.flight import STOPPED
from buffr.exchanges.pace import PacedUpstream
from buffr.exchanges.request_body import RequestBody
from buffr.exchanges.route import Recorded
from buffr.interaction import CLIENT_LEFT, LEFT_OPEN, HTTPInteraction, Interaction, RecordedRequest
from buffr.matching.body import LongBody
from buffr.message import Request, ResponseHead
from buffr.recording.batches import split
from buffr.recording.http import recording
from buffr.recording.tape import Tape
from buffr.redaction.redactor import Redactor
from buffr.transport.spool import Spool
from buffr.upstream.connection import Response

__all__ = ["RecordedCall", "UpstreamCall"]


@define(eq=False)
class UpstreamCall:
    """Asks an upstream when its turn comes; keeps nothing of the answer.

    ``answer`` is given if the upstream was already asked. ``seconds`` is a
    monotonic clock. ``departed`` says whether the upstream has been asked.
    """

    exchange: Exchange
    upstream: PacedUpstream
    seconds: Callable[[], float]
    answer: Deferred[Response] | None = None
    departed: bool = field(default=False, init=False)
    departed_s: float | None = field(default=None, init=False)
    """When it was, by the same clock."""
    body: RequestBody = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.body = self.exchange.body

    async def open(self, inform: Callable[[ResponseHead], None]) -> Response:
        if self.answer is not None:
            return await self.answer
        return await self.send(self.exchange.request, inform)

    def send(
        self, request: Request, inform: Callable[[ResponseHead], None]
    ) -> Coroutine[Any, Any, Response]:
        """Send a request with the exchange's body."""
        return self.upstream.send(
            request,
            self.body.outgoing,
            inform,
            leaving=self.depart,
            expect_met=self.body.expect_met,
            client=self.exchange.client,
        )

    def depart(self) -> None:
        """The request leaves now."""
        self.departed = True
        self.departed_s = self.seconds()

    def tape(self, head: ResponseHead) -> Tape:  # noqa: ARG002  # others keep by what it says
        return Tape(None, self.seconds())

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        self.body.close()


@define(eq=False, kw_only=True)
class RecordedCall(UpstreamCall):
    """A call whose answer is recorded if its status is in the route's ``record_statuses``.

    ``share`` keeps the body for all clients that join. ``timestamp`` returns
    the time as written in recordings; ``kept`` is called after a recording,
    ``failed`` if it could not be written. ``identified`` is called before
    ``kept`` for a call that was not identified by its whole request.
    """

    route: Recorded
    share: bool
    timestamp: Callable[[], str]
    identified: Callable[[HTTPInteraction], Awaitable[None]]
    kept: Callable[[RecordedRequest, ResponseHead], None]
    failed: Callable[[BuffrError], None]
    bodies: ArrivingBodies
    _arriving: ArrivingBody | None = field(default=None, init=False)

    def tape(self, head: ResponseHead) -> Tape:
        route = self.route
        needed = self.share or head.status in route.record_statuses
        spool = Spool(route.body_memory_bytes, route.spool_dir) if needed else None
        remark = self.exchange.remark
        count = None if remark is None else remark.count
        follow = None
        if head.status in route.record_statuses:
            follow = partial(self._follow, head)
        return Tape(spool, self.seconds(), count=count, turns=self.body.turns, follow=follow)

    def _follow(self, head: ResponseHead, spool: Spool) -> None:
        """The answer's body has outgrown its tape's window, which few do, or grows on."""
        if self._arriving is None:
            self._arriving = self.bodies.arriving(partial(self._search, head))
        self._arriving.grown(spool)

    def _search(self, head: ResponseHead) -> Search:
        """How the answer's body is searched for credentials. For any thread."""
        redactor = Redactor(self.route.redaction, b"", spool_dir=self.route.spool_dir)
        request = self.exchange.recorded_request(self.body.recorded())
        return redactor.answer_search(request, head).over

    def close(self) -> None:
        # It refers back: left here, only the garbage collector would release the exchange.
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.drop()
        self.body.close()

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        if head.status not in self.route.record_statuses:
            return
        remark = self.exchange.remark
        truncated = self._cut(head, tape, truncated)
        try:
            if truncated is None and self._arriving is not None:
                tape.searched = await self._arriving.searched(tape.size_bytes)
            interaction = self._interaction(head, tape, truncated)
            if self.route.hooks is not None:
                changed = await self.route.hooks.recorded(interaction)
                if changed is None:
                    return
                interaction = changed
            parts: Sequence[Interaction] = (interaction,)
            if remark is not None and isinstance(interaction, HTTPInteraction):
                parts = split(interaction)
            for part in parts:
                await self.route.store.append(part)
        except HookFailed:
            raise
        except BuffrError as error:
            self.failed(error)
        else:
            if truncated is None:
                if self.body.turns is not None and isinstance(interaction, HTTPInteraction):
                    await self.identified(interaction)
                self.kept(interaction.request, head)

    def _cut(self, head: ResponseHead, tape: Tape, truncated: str | None) -> str | None:
        """Why the answer is incomplete as a recording."""
        remark = self.exchange.remark
        left = truncated in (CLIENT_LEFT, STOPPED)
        if left and remark is not None and remark.is_standing(head):
            truncated, tape.uncertain = None, LEFT_OPEN
        if truncated is None and not (self.body.whole or tape.turns):
            return "the upstream answered before it had the whole request"
        return truncated

    def _interaction(self, head: ResponseHead, tape: Tape, truncated: str | None) -> Interaction:
        for each in (tape, self.body.tape):
            if each is not None and each.failure is not None:
                raise BuffrError(f"a body could not be stored: {each.failure.strerror}")
        route = self.route
        request = self.exchange.recorded_request(self.body.recorded())
        if isinstance(self.body.identity, LongBody):
            key = route.matcher.key_of(request, self.body.identity)
            request = evolve(request, body=evolve(request.body, key=key))
        sync = route.matcher.sync
        return recording(
            request,
            head,
            tape,
            recorded_at=self.timestamp(),
            recorded_by=route.recorded_by,
            truncated=truncated,
            captures=sync.to_store(request) if sync else (),
            took_ms=self._took_ms(),
        )

    def _took_ms(self) -> int | None:
        """How long the upstream took until now."""
        left_s = self.departed_s
        return None if left_s is None else max(0, round((self.seconds() - left_s) * 1000))
