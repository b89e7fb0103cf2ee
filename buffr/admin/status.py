"""Figures in short: what has happened since the start, and where it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define

from buffr.admin.answers import Asked, Reply
from buffr.admin.process import ProcessPages
from buffr.admin.recent import Recent
from buffr.admin.running import Running
from buffr.admin.server import Endpoint

__all__ = ["NOTHING_SAVED", "StatusPages"]

NOTHING_SAVED: dict[str, Any] = {
    "upstream_ms": None,
    "bytes": None,
    "input_tokens": None,
    "output_tokens": None,
    "usd": None,
}


@define(eq=False)
class StatusPages:
    """Answers ``/api/status``, and gives the figures to the events.

    ``misses`` counts the causes of misses, ``watchers`` the clients of the
    events; ``saved`` is as ``Saved`` of the API's document.
    """

    running: Running
    recent: Recent
    process: ProcessPages
    misses: Callable[[], int]
    watchers: Callable[[], int]
    saved: Callable[[], dict[str, Any]] = NOTHING_SAVED.copy

    def endpoints(self) -> Sequence[Endpoint]:
        return (Endpoint("GET", "/api/status", self._status),)

    def counts(self) -> dict[str, Any]:
        """As ``Counts`` of the API's document."""
        figures, counters = self.recent.figures, self.running.counters
        return {
            "total": figures.total,
            "by_source": {name: count for name, count in figures.by_source.items() if count},
            "recorded": counters.recorded,
            "failed_appends": counters.failed_appends,
            "open": self.recent.open_count,
            "misses": self.misses(),
        }

    def hello(self) -> dict[str, Any]:
        """As ``Hello`` of the API's document."""
        return {
            "version": self.process.version(),
            "newest": self.recent.newest,
            "counts": self.counts(),
        }

    async def _status(self, _: Asked) -> Reply:
        self.recent.catch_up()
        rate = self.recent.figures.here_rate
        return Reply.json(
            {
                "version": self.process.version(),
                "counts": self.counts(),
                "listeners": [
                    {
                        "address": one.address,
                        "port": one.port,
                        "connections": one.connections,
                        "accepted": one.accepted,
                    }
                    for one in self.running.open_ports()
                ],
                "routes": len(self.running.routes()),
                "stores": len(self.running.stores()),
                "hit_rate": None if rate is None else round(rate, 6),
                "saved": self.saved(),
                "exchanges_kept": len(self.recent),
                "watchers": self.watchers(),
            }
        )
