"""What answers from here have spared: time of upstreams, bytes, tokens and money."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from buffr.admin.answers import Asked, Reply
from buffr.admin.figures import Batch, Group
from buffr.admin.recent import Recent
from buffr.admin.server import Endpoint
from buffr.admin.stories import HERE, Beside, Kept, Kind, Saved, Story, beside_of
from buffr.errors import BuffrError
from buffr.formats.llm_usage import Usage
from buffr.interaction import HTTPInteraction, Interaction
from buffr.policy.prices import Prices
from buffr.recording.usage import usage_in, usage_of_answer

__all__ = ["Savings"]

_MOST_MODELS = 200
_MOST_SCOPES = 1000
_MOST_WAITING = 1000
_AT_A_TIME = 8
_SOON_S = 0.05


@define(eq=False)
class ModelSaved:
    """The tokens of one model that were not bought."""

    provider: str | None
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    usd: float | None = None


@define(eq=False)
class Savings:
    """Adds up what each answer from here has spared.

    What an answer says about tokens is read later, a few answers at a time; of
    more than a thousand that wait, some are not read.
    """

    recent: Recent
    prices: Prices
    reactor: Any
    total: Saved = field(init=False, factory=Saved)
    spent: Saved = field(init=False, factory=Saved)
    by_route: dict[str | None, Saved] = field(init=False, factory=dict)
    by_scope: dict[str, Saved] = field(init=False, factory=dict)
    models: dict[str, ModelSaved] = field(init=False, factory=dict)
    _waiting: deque[tuple[Kind, Kept, float, int]] = field(init=False, factory=deque)
    _is_due: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.recent.told.append(self._told)

    def endpoints(self) -> Sequence[Endpoint]:
        return (Endpoint("GET", "/api/savings", self._savings),)

    def _told(self, batch: Batch) -> None:
        for group in batch.groups:
            kind = group.kind
            if kind.source not in HERE and kind.source != "upstream":
                continue
            if kind.may_cost:
                self._costly(group)
            elif kind.source in HERE:
                saved = Saved(float(group.took_ms), group.response_bytes)
                self._add_here(kind, saved, 1)
            else:
                self.spent.upstream_ms += sum(group.durations_s) * 1000
                self.spent.bytes += group.response_bytes
        if self._waiting and not self._is_due:
            self._is_due = True
            self.reactor.callLater(_SOON_S, self._read_some)

    def _costly(self, group: Group) -> None:
        """Count answers that may say what they cost: those that were read, and the others later."""
        for one, dur_s, count in group.costly:
            beside = beside_of(one)
            assert beside is not None
            if beside.saved is not None:
                self._add(group.kind, beside, beside.saved, count)
            elif len(self._waiting) < _MOST_WAITING:
                self._waiting.append((group.kind, one, dur_s, count))
            else:
                self._add(group.kind, beside, _spared(Story.of(one, dur_s)), count)

    def _of_route(self, kind: Kind) -> Saved:
        """What is added up for a route; beyond a bound it is not kept."""
        if kind.route_id is None or len(self.by_route) >= _MOST_SCOPES:
            return Saved()
        return self.by_route.setdefault(kind.route_id, Saved())

    def _of_scope(self, kind: Kind) -> Saved:
        if len(self.by_scope) >= _MOST_SCOPES:
            return Saved()
        return self.by_scope.setdefault(kind.scope, Saved())

    def _read_some(self) -> None:
        self._is_due = False
        for _ in range(min(_AT_A_TIME, len(self._waiting))):
            kind, one, dur_s, count = self._waiting.popleft()
            beside = beside_of(one)
            assert beside is not None
            if beside.saved is None:
                beside.saved = self._read(Story.of(one, dur_s))
            self._add(kind, beside, beside.saved, count)
        if self._waiting:
            self._is_due = True
            self.reactor.callLater(_SOON_S / 10, self._read_some)

    def _read(self, story: Story) -> Saved:
        saved = _spared(story)
        usage = story.beside.usage = _usage(story)
        if usage is not None:
            saved.input_tokens, saved.output_tokens = usage.input_tokens, usage.output_tokens
            saved.usd = self.prices.usd(usage)
        return saved

    def _add(self, kind: Kind, beside: Beside, saved: Saved, count: int) -> None:
        if kind.source not in HERE:
            self.spent.add(saved, count)
            return
        self._add_here(kind, saved, count)
        if beside.usage is not None:
            self._add_model(beside.usage, saved, count)

    def _add_here(self, kind: Kind, saved: Saved, count: int) -> None:
        """Count what answers from here have spared."""
        self.total.add(saved, count)
        (self.by_route.get(kind.route_id) or self._of_route(kind)).add(saved, count)
        (self.by_scope.get(kind.scope) or self._of_scope(kind)).add(saved, count)
        steps = self.recent.figures.steps
        if steps:
            steps[-1].saved_ms += saved.upstream_ms * count
            if saved.usd is not None:
                steps[-1].saved_usd = (steps[-1].saved_usd or 0.0) + saved.usd * count

    def _add_model(self, usage: Usage, saved: Saved, count: int) -> None:
        if usage.model not in self.models and len(self.models) >= _MOST_MODELS:
            return
        model = self.models.setdefault(usage.model, ModelSaved(usage.provider))
        model.requests += count
        model.input_tokens += usage.input_tokens * count
        model.output_tokens += usage.output_tokens * count
        model.cached_tokens += usage.cached_tokens * count
        if saved.usd is not None:
            model.usd = (model.usd or 0.0) + saved.usd * count

    def in_scope(self, name: str) -> dict[str, Any]:
        """As ``Saved`` of the API's document, for a scope."""
        return self.by_scope.get(name, Saved()).data()

    def of_interaction(self, interaction: Interaction) -> dict[str, Any] | None:
        """What a recorded answer cost; ``None`` for what is no answer."""
        if not isinstance(interaction, HTTPInteraction):
            return None
        saved = Saved(float(interaction.took_ms or 0), interaction.body.size_bytes)
        usage = usage_in(interaction)
        if usage is not None:
            saved.input_tokens, saved.output_tokens = usage.input_tokens, usage.output_tokens
            saved.usd = self.prices.usd(usage)
        return saved.data()

    def settle(self) -> None:
        """Read all answers that wait."""
        self.recent.catch_up()
        while self._waiting:
            self._read_some()

    async def _savings(self, _: Asked) -> Reply:
        self.settle()
        models = [
            {
                "model": name,
                "provider": one.provider,
                "requests": one.requests,
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
                "cached_tokens": one.cached_tokens,
                "usd": None if one.usd is None else round(one.usd, 9),
            }
            for name, one in self.models.items()
        ]
        return Reply.json(
            {
                "total": self.total.data(),
                "spent": self.spent.data(),
                "by_route": {name: one.data() for name, one in self.by_route.items()},
                "by_scope": {name: one.data() for name, one in self.by_scope.items()},
                "models": models,
                "prices_of": self.prices.of,
            }
        )


def _spared(story: Story) -> Saved:
    """Time and bytes that an answer has spared, or cost."""
    saved = story.spared()
    if story.source not in HERE:
        saved.upstream_ms = story.dur_s * 1000
    return saved


def _usage(story: Story) -> Usage | None:
    """The tokens in the answer of an exchange, as far as it is in memory."""
    request, answer, found = story.request, story.answer, story.beside.recording
    recording = None if found is None else found()
    if recording is not None:
        try:
            return usage_in(recording)
        except BuffrError:  # its body's file is gone
            return None
    if request is None or answer is None or story.head is None:
        return None
    if len(answer.body) < answer.size_bytes:
        return None
    return usage_of_answer(request.target, answer.body, story.head.headers)
