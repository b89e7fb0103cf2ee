"""An hour of 1,000 exchanges a second, as fast as it goes, with the live page open: memory."""

from __future__ import annotations

from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.browser import LivePage, browser, opened
from benchmarks.load import put_load
from benchmarks.message import ask
from benchmarks.page import replaying
from benchmarks.process import Process
from benchmarks.servers import check_hits
from benchmarks.table import Row

__all__ = ["run"]

_EXCHANGES = 3_600_000
_PARTS = 10
_ALIKE = 9
"""So many rounds of requests that are answered alike, and one of requests that all differ."""
_HEAP_MB = 30
_RESIDENT_MB = 300
"""10,000 recordings, 64 MiB of hits by their bytes, 32 MiB of exchanges, and the process."""


@define
class _Memory:
    """What was held after each tenth."""

    server_mb: list[float] = field(factory=list)
    page_mb: list[float] = field(factory=list)

    def look(self, bench: Bench, server: Process, page: LivePage) -> None:
        self.server_mb.append(server.resident_bytes() / 1e6)
        self.page_mb.append(page.heap_bytes() / 1e6)
        bench.say(
            f"{server.answered:,} exchanges: {self.server_mb[-1]:.1f} MB in buffr, "
            f"{self.page_mb[-1]:.1f} MB of script in the page, which has {page.exchanges():,}"
        )


def run(bench: Bench) -> list[Row]:
    """Requests whose answers are alike, and requests that all differ, in turns."""
    count, parts = (_EXCHANGES // 100, 2) if bench.quick else (_EXCHANGES, _PARTS)
    memory = _Memory()
    server, requests = replaying(bench)
    same, new = requests.values()
    expected = {each: ask(server, each.numbered(0)) for each in (same, new)}
    with browser() as chromium, opened(chromium, server.log.parent) as page:
        for part in range(1, parts + 1):
            while server.answered < count * part // parts:
                for request in (*[same] * _ALIKE, new):
                    put_load(bench, server, request, expected[request])
            memory.look(bench, server, page)
    check_hits(server)
    return [
        *bench.rows("MB resident at most", {"buffr": max(memory.server_mb)}, most=_RESIDENT_MB),
        *bench.rows(
            "MB of script in the page at most", {"buffr": max(memory.page_mb)}, most=_HEAP_MB
        ),
    ]
