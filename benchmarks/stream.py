"""A body of 200 MB passes through while it is recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import median

from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.message import Answer, Request, ask
from benchmarks.process import Failed, Process
from benchmarks.servers import buffr, go_buffr, mitmproxy, nginx
from benchmarks.table import Row

__all__ = ["run"]

_SIZE_BYTES = 200_000_000


@define
class _Way:
    """A way to the body, and the answers that came by it."""

    server: Process
    answers: list[Answer] = field(factory=list)

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def whole_s(self) -> float:
        return median(answer.last_s for answer in self.answers)


def run(bench: Bench) -> list[Row]:
    body = bench.file("body")
    body.touch()
    os.truncate(body, _SIZE_BYTES)
    upstream = nginx(bench, "small", core=bench.cores.load, root=body.parent)
    proxies = [
        _Way(buffr(bench, "auto", upstream, bench.file("cassette.json"), build))
        for build in bench.peers.builds
    ]
    if bench.peers.go_buffr is not None:
        recorder = go_buffr(bench, "record", upstream, bench.file("cassette.json"))
        proxies.append(_Way(recorder))
    if bench.peers.mitmdump is not None:
        flows = bench.file("flows")
        proxies.append(_Way(mitmproxy(bench, upstream, "-w", str(flows))))
    direct = _Way(upstream)
    ways = (direct, *proxies)
    for way in ways:
        way.server.wait()
        ask(way.server, Request("/answer"))
    at_rest = {way.name: way.server.resident_bytes() for way in proxies}
    for way in proxies:
        way.server.forget_peak()
    for number in range(min(bench.rounds, 3)):
        for way in ways:
            answer = ask(way.server, Request(f"/body?{number}"))
            if answer.body_bytes != _SIZE_BYTES:
                raise Failed(f"{way.name} gave {answer.body_bytes:,} bytes of {_SIZE_BYTES:,}")
            way.answers.append(answer)
    growth = {way.name: (way.server.peak_bytes() - at_rest[way.name]) / 1e6 for way in proxies}
    first = {way.name: _later_ms(way.answers, direct.answers) for way in proxies}
    whole = {way.name: way.whole_s for way in (*proxies, direct)}
    return [
        *bench.rows("MB more resident", growth, most=30),
        *bench.rows("ms to the first byte, beyond direct", first, most=10),
        *bench.rows("s to the last byte", whole),
    ]


def _later_ms(answers: Sequence[Answer], direct: Sequence[Answer]) -> float:
    pairs = zip(answers, direct, strict=True)
    return median((answer.first_s - other.first_s) * 1e3 for answer, other in pairs)
