"""What happened in a run, as it happens: a tally of exchanges by what they asked for."""

from __future__ import annotations

from attrs import define, field

from buffr.exchanges.exchange import Finished
from buffr.exchanges.route import Route

__all__ = ["Row", "Tally"]

_MOST_ROWS = 20_000


@define
class Row:
    """Exchanges alike: one method and target, with one status from one source."""

    request: str
    status: int
    src: str
    level: str
    detail: str
    count: int = 0
    dur_s: float = 0.0


@define(eq=False)
class Tally:
    """The engine's ``Observer``.

    Rows are bounded; ``left_out`` counts exchanges beyond them. ``refusals``
    are requests that got an error before they were an exchange. ``no_tls``
    has hosts with which a client made no TLS, and why. ``connections`` came.
    """

    rows: dict[tuple[str, int, str], Row] = field(factory=dict)
    left_out: int = 0
    recordings: dict[str, int] = field(factory=dict)
    refusals: dict[tuple[str, str], int] = field(factory=dict)
    routes: set[Route] = field(factory=set)
    no_tls: dict[str, str] = field(factory=dict)
    connections: int = 0

    def finished(self, exchange: Finished) -> None:
        """Take note of an exchange."""
        if exchange.route is not None:
            self.routes.add(exchange.route)
        name = (exchange.request, exchange.status, exchange.src)
        row = self.rows.get(name)
        if row is None:
            if len(self.rows) >= _MOST_ROWS:
                self.left_out += 1
                return
            row = self.rows[name] = Row(*name, exchange.level, exchange.detail)
        row.count += 1
        row.dur_s += exchange.dur_s

    def recorded(self, request: str) -> None:
        """Take note of a recording."""
        if request in self.recordings or len(self.recordings) < _MOST_ROWS:
            self.recordings[request] = self.recordings.get(request, 0) + 1

    def refused(self, status: str, why: str) -> None:
        """Take note of a request that never became an exchange."""
        name = (status, why)
        if name in self.refusals or len(self.refusals) < _MOST_ROWS:
            self.refusals[name] = self.refusals.get(name, 0) + 1

    def without_tls(self, host: str, why: str) -> None:
        """Take note of a host of which a client did not take the certificate."""
        if len(self.no_tls) < _MOST_ROWS:
            self.no_tls.setdefault(host, why)

    def from_source(self, src: str) -> list[Row]:
        """The rows of one source: ``cassette``, ``upstream``, ``miss``, ``bypass``."""
        return [row for row in self.rows.values() if row.src == src]
