"""Counts a gateway's exchanges by the names of its routes."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from buffr.drift.verdict import Verdict
from buffr.exchanges.exchange import Finished, Observer
from buffr.exchanges.metrics import Metrics
from buffr.exchanges.route import Route

__all__ = ["Counting", "LookUps"]

_LOOKED_UP = ("GET ", "HEAD ", "POST ")
_STORES = ("cache", "cassette")


@define
class LookUps:
    """How often a route was requested, and how often its store had the answer or not."""

    requests: int = 0
    hits: int = 0
    misses: int = 0

    @property
    def hit_rate(self) -> float:
        total = self.hits + self.misses
        return self.hits / total if total else 0.0


@define(eq=False)
class Counting:
    """An ``Observer`` that counts, and forwards events to ``then``."""

    figures: Metrics
    names: Mapping[Route, str]
    then: Observer | None = None
    look_ups: dict[str, LookUps] = field(factory=dict)

    def finished(self, exchange: Finished) -> None:
        route = exchange.route
        name = None if route is None else self.names.get(route)
        if name is not None:
            self._count(name, exchange)
        if self.then is not None:
            self.then.finished(exchange)

    def recorded(self, request: str) -> None:
        if self.then is not None:
            self.then.recorded(request)

    def drifted(self, request: str, verdict: Verdict) -> None:
        if self.then is not None:
            self.then.drifted(request, verdict)

    def _count(self, name: str, exchange: Finished) -> None:
        look_ups = self.look_ups.setdefault(name, LookUps())
        look_ups.requests += 1
        details: dict[str, object] = {"domain": name, "request": exchange.request}
        details["status"] = exchange.status
        if exchange.src in _STORES:
            look_ups.hits += 1
            self.figures.record_event("cache_hit", details)
        elif exchange.src == "limit":
            self.figures.record_event("throttle", details | _refusal(exchange.route))
        elif exchange.src == "upstream":
            kind = "other"
            if exchange.level == "ERROR":
                kind = "error"
            elif exchange.request.startswith(_LOOKED_UP):
                kind = "cache_miss"
                look_ups.misses += 1
            self.figures.record_event(kind, details)
        else:
            self.figures.record_event("other", details)


def _refusal(route: Route | None) -> dict[str, object]:
    """The details of a throttle event of reference-api-buddy. Times are whole seconds."""
    refusal = None if route is None or route.pace is None else route.pace.refusal
    if refusal is None:
        return {}
    return {
        "cache_miss": True,  # a hit is never limited
        "delay": refusal.retry_after_s,
        "limit": refusal.limit,
        "remaining": 0,
        "reset": refusal.retry_after_s,
    }
