"""Bodies of 200 MB pass through while they are recorded: zeros, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.message import Answer, Request, ask, json_of
from benchmarks.process import Failed, Process
from benchmarks.servers import buffr, go_buffr, mitmproxy, nginx
from benchmarks.table import Row

__all__ = ["run"]

_SIZE_BYTES = 200_000_000
_PART_BYTES = 1_000_000


@define
class _Way:
    """A way to the bodies, and the answers that came by it."""

    server: Process
    zeros: list[Answer] = field(factory=list)
    json: list[Answer] = field(factory=list)

    @property
    def name(self) -> str:
        return self.server.name

    def ask(self, target: str) -> Answer:
        """Raises ``Failed`` unless all of a body comes."""
        answer = ask(self.server, Request(target))
        if answer.body_bytes != _SIZE_BYTES:
            raise Failed(f"{self.name} gave {answer.body_bytes:,} bytes of {_SIZE_BYTES:,}")
        return answer


def run(bench: Bench) -> list[Row]:
    root = bench.file("zeros").parent
    _make(root)
    upstream = nginx(bench, "small", core=bench.cores.load, root=root)
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
            way.zeros.append(way.ask(f"/zeros?{number}"))
            way.json.append(way.ask(f"/json?{number}"))
    growth = {way.name: (way.server.peak_bytes() - at_rest[way.name]) / 1e6 for way in proxies}
    first = {way.name: _later_ms(way.zeros, direct.zeros) for way in proxies}
    last = (*proxies, direct)
    return [
        *bench.rows("MB more resident", growth, most=30),
        *bench.rows("ms to the first byte, beyond direct", first, most=10),
        *bench.rows("s to the last byte", _whole_s({way.name: way.zeros for way in last})),
        *bench.rows("s to the last byte of JSON", _whole_s({way.name: way.json for way in last})),
    ]


def _make(root: Path) -> None:
    """The bodies: what is nothing but zeros is hardly searched, and JSON is."""
    with (root / "zeros").open("wb") as zeros:
        zeros.truncate(_SIZE_BYTES)
    part = json_of(_PART_BYTES).encode().ljust(_PART_BYTES, b"\n")[:_PART_BYTES]
    with (root / "json").open("wb") as file:
        for _ in range(_SIZE_BYTES // _PART_BYTES):
            file.write(part)


def _whole_s(answers: Mapping[str, Sequence[Answer]]) -> dict[str, float]:
    return {name: median(each.last_s for each in some) for name, some in answers.items()}


def _later_ms(answers: Sequence[Answer], direct: Sequence[Answer]) -> float:
    pairs = zip(answers, direct, strict=True)
    return median((answer.first_s - other.first_s) * 1e3 for answer, other in pairs)
