"""Asks the live API one recorded request again, and compares the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Literal, Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError

from buffr.drift.carrying import Carried, speller
from buffr.drift.comparison import HEADERS, Comparison
from buffr.drift.finding import Finding
from buffr.drift.noise import Noise, VolatileRule
from buffr.drift.stand_ins import Credentials, StandIn, filled
from buffr.drift.talk import Talk
from buffr.drift.verdict import Asked, Verdict
from buffr.errors import BuffrError, RateLimited
from buffr.exchanges.pace import Pace
from buffr.interaction import (
    LEFT_OPEN,
    Body,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import ResponseHead, has_token, media_type, with_length
from buffr.origin import Origin
from buffr.policy.rate_limits import remaining
from buffr.refreshing.treq_client import Answered

__all__ = ["SAFE", "Asking", "Live", "Rules", "Twice", "is_safe"]

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
"""Methods that change nothing (RFC 9110 9.2.1), which are asked without being told to."""

_BUSY = frozenset((429, 503))
_BAD_WAY = frozenset((502, 504))
_UNKNOWN = frozenset((401, 403, 407))
_MOST_TRIES = 4
_STAY_S = 1.0
_LONGEST_STAY_S = 30.0
_UNSAFE = "--unsafe asks about requests that may change something, too"

Twice = Literal["safe", "never", "always"]
"""When an answer is asked for twice, if it differs: ``safe``, ``never`` or ``always``."""


class Client(Protocol):
    """Sends requests, and records the answers."""

    async def ask(
        self, origin: Origin, request: RecordedRequest, stay_s: float | None = None
    ) -> Answered:
        """Send a request. Raises a ``BuffrError`` if there is no answer.

        ``stay_s`` is how long to stay on a stream that only its client ends.
        """


class SessionClient(Protocol):
    """Speaks WebSocket sessions again, and records them."""

    async def speak(self, origin: Origin, request: RecordedRequest, talk: Talk) -> Answered:
        """Ask for a session, and speak the client's part of a recorded one.

        Raises a ``BuffrError`` if there is no answer.
        """


@frozen(eq=False)
class Live:
    """What came, without its secrets, and the verdict on the recording that it was compared with.

    ``request`` is as it is stored: the recorded one with values of earlier
    live answers. ``sources`` are the interactions that these come from, and
    ``gives`` says that it may be such a source. Bodies in files live until
    ``close``.
    """

    verdict: Verdict
    request: RecordedRequest
    interaction: Interaction
    sources: frozenset[int]
    gives: bool
    close: Callable[[], None]


@frozen(eq=False)
class Rules:
    """What is asked, and what counts.

    ``origin_of`` returns where a recorded request goes; it raises a
    ``BuffrError`` for one that goes nowhere. ``redact`` returns an interaction
    without its secrets, as it is compared and shown; ``stored`` as it is
    stored, if that is another form. ``headers`` and ``volatile`` come from the
    settings.
    """

    origin_of: Callable[[RecordedRequest], Origin]
    redact: Callable[[Interaction], Interaction]
    credentials: Credentials
    stored: Callable[[Interaction], Interaction] | None = None
    unsafe: bool = False
    twice: Twice = "safe"
    headers: frozenset[str] = HEADERS
    volatile: Sequence[VolatileRule] = ()


def is_safe(request: RecordedRequest) -> bool:
    """Whether a request changes nothing. A WebSocket session may change anything."""
    return request.method in SAFE and not has_token(request.headers, b"upgrade", b"websocket")


async def _at_once(work: Callable[[], Any]) -> Any:
    return work()


@define(eq=False)
class Asking:
    """Asks about the interactions of one cassette, one call at a time or several at once.

    ``pace`` says when a request may leave. ``on_live`` gets what came.
    ``room`` is how many more requests the API allows now, if it says so.
    ``aside`` does work that may take long.
    """

    rules: Rules
    client: Client
    sessions: SessionClient
    pace: Pace
    carried: Carried
    on_live: Callable[[Live], None] | None = None
    aside: Callable[[Callable[[], Any]], Awaitable[Any]] = _at_once
    room: int | None = field(init=False, default=None)
    _room_at: float = field(init=False, default=0.0)

    async def verdict(self, number: int, recorded: Interaction, title: str) -> Verdict:
        """Ask one request again. Never fails: the verdict says why it could not be asked."""
        started = monotonic()
        verdict = Verdict(number, title)
        try:
            verdict = self._skipped(verdict, recorded)
            if verdict.asked is Asked.YES:
                verdict = await self._judged(verdict, recorded)
        except CancelledError:
            raise
        except BuffrError as error:
            why = _in_words(error)
            verdict = evolve(verdict, asked=Asked.FAILED, why=why, hint=error.hint)
        except OSError as error:
            verdict = evolve(verdict, asked=Asked.FAILED, why=f"{error.filename}: {error.strerror}")
        if verdict.asked is not Asked.YES or _is_refused(verdict):
            self.carried.lose(number, recorded)
        return evolve(verdict, dur_s=monotonic() - started)

    def _skipped(self, verdict: Verdict, recorded: Interaction) -> Verdict:
        """The verdict, if the interaction is one that is not asked about."""
        why, hint = "", ""
        lost = self.carried.lost_in(recorded)
        if not (recorded.whole or _goes_on(recorded)):
            why = f"it was not recorded whole: {recorded.broke_off}"
        elif not self.rules.unsafe and not is_safe(recorded.request):
            why, hint = "it may change something", _UNSAFE
        elif lost is not None:
            why = f"it needs a value of the answer to {lost}"
        return evolve(verdict, asked=Asked.SKIPPED, why=why, hint=hint) if why else verdict

    async def _judged(self, verdict: Verdict, recorded: Interaction) -> Verdict:
        origin = self.rules.origin_of(recorded.request)
        carried = self.carried.request(recorded.request)
        request = self._with_credentials(carried)
        noise = Noise(rules=self._volatile_for(recorded.request))
        sources = self.carried.sources(recorded)
        number = verdict.number
        answered = await self._answer(origin, recorded, request)
        close = answered.close
        try:
            work = partial(self._compared, number, recorded, answered.interaction)
            live, found = await self.aside(work)
            if self._asks_again(recorded.request, [one for one in found if not noise.hides(one)]):
                noise = await self._learnt(noise, origin, recorded, request, live)
            kept = tuple([one for one in found if not noise.hides(one)])
            note = _note(recorded, live, kept)
            verdict = evolve(
                verdict,
                findings=kept,
                noise=len(found) - len(kept),
                learnt=noise.as_rule(recorded.request.target),
                note=note,
            )
            if self.on_live is not None:
                kept_live = self._stored(answered.interaction, live)
                asked = self.carried.stored(carried)
                self.carried.learn_stand_ins(recorded, kept_live)
                gives = self.carried.gave(number)
                self.on_live(Live(verdict, asked, kept_live, sources, gives, close))
                close = _nothing
        finally:
            close()
        return verdict

    def _compared(
        self, number: int, recorded: Interaction, live: Interaction
    ) -> tuple[Interaction, tuple[Finding, ...]]:
        """A live answer without its secrets, and what differs."""
        self.carried.learn(number, recorded, live)
        redacted = self.rules.redact(live)
        comparison = Comparison(self.rules.headers, self.carried.is_known)
        # The recording may come from another program, or from an older buffr.
        return redacted, comparison.of(self.rules.redact(recorded), redacted)

    def _stored(self, live: Interaction, redacted: Interaction) -> Interaction:
        """A live answer as it is stored."""
        stored = self.rules.stored
        return redacted if stored is None or stored == self.rules.redact else stored(live)

    def _volatile_for(self, request: RecordedRequest) -> tuple[VolatileRule, ...]:
        return tuple([rule for rule in self.rules.volatile if rule.fits(request.target)])

    def _asks_again(self, request: RecordedRequest, found: Sequence[Finding]) -> bool:
        twice = self.rules.twice
        return bool(found) and (twice == "always" or (twice == "safe" and is_safe(request)))

    async def _learnt(
        self,
        noise: Noise,
        origin: Origin,
        recorded: Interaction,
        request: RecordedRequest,
        live: Interaction,
    ) -> Noise:
        """The noise, with what differs between two live answers."""
        answered = await self._answer(origin, recorded, request)
        try:
            learnt: Noise = await self.aside(
                partial(self._between, noise, live, answered.interaction)
            )
            return learnt
        finally:
            answered.close()

    def _between(self, noise: Noise, live: Interaction, other: Interaction) -> Noise:
        again = self.rules.redact(other)
        strict = Comparison(self.rules.headers, habits=False)
        # An optional member may be in either of them.
        return noise.learning((*strict.of(live, again), *strict.of(again, live)))

    async def _answer(
        self, origin: Origin, recorded: Interaction, request: RecordedRequest
    ) -> Answered:
        """An answer that says something about the API; it is asked again while that is busy."""
        tries = 0
        while True:
            await self.pace.turn()
            left_at = monotonic()
            answered = await self._sent(origin, recorded, request)
            tries += 1
            live = answered.interaction
            self._heard(live.response, left_at)
            status, was = live.response.status, recorded.response.status
            if status not in _BUSY | _BAD_WAY or status == was:
                if live.whole or _goes_on(live):
                    return answered
                answered.close()
                raise BuffrError(f"the answer is not whole: {live.broke_off}")
            answered.close()
            if status in _BAD_WAY or tries == _MOST_TRIES:
                phrase = live.response.reason.decode("latin-1")
                raise BuffrError(f"the API answered {status} {phrase}".rstrip())

    async def _sent(
        self, origin: Origin, recorded: Interaction, request: RecordedRequest
    ) -> Answered:
        if isinstance(recorded, WebSocketInteraction):
            talk = Talk(recorded, self.carried, self._fill)
            return await self.sessions.speak(origin, request, talk)
        return await self.client.ask(origin, request, _stay_s(recorded))

    def _heard(self, head: ResponseHead, left_at: float) -> None:
        """Learn the API's limits. Answers may overtake each other: the latest one counts."""
        room = remaining(head)
        is_later = left_at >= self._room_at
        if is_later or (room is not None and self.room is not None and room < self.room):
            self.room, self._room_at = room, monotonic()
        self.pace.heard(head)

    def _with_credentials(self, request: RecordedRequest) -> RecordedRequest:
        """The request as it is sent, with its secrets. Raises ``BuffrError`` if one is missing."""
        missing: list[StandIn] = []
        target = filled(request.target, self._fill, missing, speller(b"target"))
        headers = tuple(
            [(name, filled(value, self._fill, missing)) for name, value in request.headers]
        )
        body = request.body
        if body.file is None and body.size_bytes:
            kind = media_type(request.headers)
            data = filled(body.data, self._fill, missing, speller(kind))
            if data != body.data:
                body = Body.of(data)
                headers = with_length(headers, body.size_bytes)
        if missing:
            raise self.rules.credentials.missing(missing[0])
        return evolve(request, target=target, headers=headers, body=body)

    def _fill(self, one: StandIn) -> bytes | None:
        given = self.carried.secret(one)
        return self.rules.credentials.fill(one) if given is None else given


def _goes_on(interaction: Interaction) -> bool:
    """Whether it is a stream that only its client ended."""
    return isinstance(interaction, HTTPInteraction) and interaction.unended


def _stay_s(recorded: HTTPInteraction) -> float | None:
    """How long the recorded client stayed on such a stream, and a moment more."""
    if not (recorded.unended or recorded.uncertain == LEFT_OPEN):
        return None
    stayed_ms = sum(chunk.delay_ms for chunk in recorded.chunks) + recorded.left_after_ms
    return min(stayed_ms / 1000 + _STAY_S, _LONGEST_STAY_S)


def _nothing() -> None:
    pass


def _is_refused(verdict: Verdict) -> bool:
    """Whether the live answer is of another kind than the recorded one."""
    return any(one.part == "status" for one in verdict.findings)


def _in_words(error: BuffrError) -> str:
    if isinstance(error, RateLimited):
        return f"the API asks for a pause of {error.retry_after_s} s, which is too long"
    return error.message


def _note(recorded: Interaction, live: Interaction, found: Sequence[Finding]) -> str:
    status = live.response.status
    if found and status in _UNKNOWN and recorded.response.status not in _UNKNOWN:
        return f"{status}: are the credentials those of the recording?"
    return ""
