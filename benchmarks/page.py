"""What the open live page costs replay: at 1,000 requests a second, and at as many as it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from attrs import define, field
from playwright.sync_api import Browser

from benchmarks.bench import Bench
from benchmarks.browser import browser, opened, traced
from benchmarks.hits import ANSWER
from benchmarks.load import Load, put_load
from benchmarks.message import Request, ask, json_of
from benchmarks.pace import put_paced_load
from benchmarks.process import Process
from benchmarks.recordings import multiply_cassette
from benchmarks.servers import buffr, check_hits, nginx, recorded_by_buffr
from benchmarks.table import Row

__all__ = ["replaying", "run"]

_BODIES = 10_000
_SAME = Request("/answer")
_NEW = Request("/answer", json_of(2048, marked=True), numbers=_BODIES)
_A_SECOND = 1000
_LEAST = 0.9
_LONGEST_MS = 50
_HEAP_MB = 30


@define
class _Turns:
    """Loads with the page closed and open, in turns, and what the page said of itself."""

    closed: list[Load] = field(factory=list)
    open: list[Load] = field(factory=list)
    longest_ms: list[float] = field(factory=list)
    heaps: list[int] = field(factory=list)

    @property
    def pairs(self) -> list[tuple[Load, Load]]:
        return list(zip(self.closed, self.open, strict=True))


def replaying(bench: Bench) -> tuple[Process, Mapping[str, Request]]:
    """A server, and what can be asked of it: by GET the same each time, by POST always another."""
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    cassette = recorded_by_buffr(bench, upstream, _NEW)
    multiply_cassette(cassette, _BODIES)
    server = buffr(bench, "replay", None, recorded_by_buffr(bench, upstream, _SAME, cassette))
    server.wait()
    return server, {"the same GET": _SAME, "each body new": _NEW}


def run(bench: Bench) -> list[Row]:
    server, requests = replaying(bench)
    rows = []
    with browser() as chromium:
        for what, request in requests.items():
            rows += _rows(bench, what, *_measured(bench, chromium, server, request))
    check_hits(server)
    return rows


def _measured(
    bench: Bench, chromium: Browser, server: Process, request: Request
) -> tuple[_Turns, _Turns]:
    """In turns at 1,000 a second, and in turns at as many as the server can."""
    expected = ask(server, request.numbered(0))
    seconds = 2 * bench.seconds

    def paced() -> Load:
        return put_paced_load(server, request, expected, a_second=_A_SECOND, seconds=seconds)

    def most() -> Load:
        return put_load(bench, server, request, expected)

    return _in_turns(bench, chromium, server, paced), _in_turns(bench, chromium, server, most)


def _in_turns(bench: Bench, chromium: Browser, server: Process, load: Callable[[], Load]) -> _Turns:
    turns = _Turns()
    for _ in range(bench.rounds):
        turns.closed.append(load())
        with opened(chromium, server.log.parent) as page:
            page.settle()
            with traced(page.page) as tasks:
                turns.open.append(load())
            turns.longest_ms.append(max(tasks))
            turns.heaps.append(page.heap_bytes())
    for name, loads in (("closed", turns.closed), ("open", turns.open)):
        shown = ", ".join(
            f"{each.rate:,.0f}/s, {each.cost_us:.1f} us, {each.late_ms:.1f} ms" for each in loads
        )
        bench.say(f"{name}: {shown}")
    return turns


def _rows(bench: Bench, what: str, paced: _Turns, most: _Turns) -> list[Row]:
    """At most, the browser takes from the load: so the cost of an answer tells the rate."""
    rates = [after.rate / before.rate for before, after in paced.pairs]
    costs = [before.cost_us / after.cost_us for before, after in most.pairs]
    at_pace, at_most = f"{what} at {_A_SECOND:,}/s", f"{what} at most"
    rows = [
        *_row(bench, f"{at_pace}: rate with the page, to without", rates, least=_LEAST),
        *_row(bench, f"{at_most}: answers per processor second, to without", costs, least=_LEAST),
    ]
    for page, loads in (("page closed", paced.closed), ("page open", paced.open)):
        rows += _row(bench, f"{at_pace}: us per answer, {page}", [each.cost_us for each in loads])
        rows += _row(bench, f"{at_pace}: ms, 99 of 100, {page}", [each.late_ms for each in loads])
    for page, loads in (("page closed", most.closed), ("page open", most.open)):
        rows += _row(bench, f"{at_most}: us per answer, {page}", [each.cost_us for each in loads])
    tasks_ms = paced.longest_ms + most.longest_ms
    heaps_mb = [each / 1e6 for each in paced.heaps + most.heaps]
    return [
        *rows,
        *_row(bench, f"{what}: ms of processor, longest task", tasks_ms, most=_LONGEST_MS),
        *_row(bench, f"{what}: MB of script heap", heaps_mb, most=_HEAP_MB),
    ]


def _row(
    bench: Bench,
    measure: str,
    figures: list[float],
    *,
    most: float | None = None,
    least: float | None = None,
) -> list[Row]:
    return bench.rows(measure, {"buffr": median(figures)}, most=most, least=least)
