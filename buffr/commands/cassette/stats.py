"""``buffr cassette stats``: what a cassette holds, in numbers."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from attrs import asdict, define, field

from buffr.commands.cassette.arguments import snapshot_of
from buffr.commands.cassette.bodies import sized
from buffr.commands.cassette.ls import Summary, rows
from buffr.commands.parser import Parser
from buffr.commands.progress import followed
from buffr.commands.tables import print_facts
from buffr.commands.terminal import money
from buffr.errors import CassetteError
from buffr.formats.llm_usage import MAY_HAVE_USAGE, Usage
from buffr.policy.prices import PRICES_OF, Prices
from buffr.recording.usage import usage_in
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["Stats", "declare", "run"]

_MOST_SHOWN = 10
_NO_HOST = "(no host)"


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Counts the interactions of a cassette by host, method, status and size.",
        "FILE",
        examples=(("buffr cassette stats api.json", "counts, sizes and the largest answers"),),
    )
    parser.argument("file", metavar="FILE", help="the cassette")
    parser.flag("--json", action="store_true", help="print a JSON object")


@define
class Tokens:
    """What the answers of a model cost. ``usd`` is ``None`` without a price."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None

    def add(self, usage: Usage, usd: float | None) -> None:
        """Count one answer."""
        self.answers += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        if usd is not None:
            self.usd = (self.usd or 0.0) + usd


@define
class Stats:
    """The numbers of a cassette. Sizes are those of bodies as stored; times are RFC 3339."""

    interactions: int = 0
    sessions: int = 0
    frames: int = 0
    truncated: int = 0
    faulty: int = 0
    file_bytes: int = 0
    body_files: int = 0
    body_files_bytes: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    first_recorded_at: str | None = None
    last_recorded_at: str | None = None
    hosts: Counter[str] = field(factory=Counter)
    methods: Counter[str] = field(factory=Counter)
    statuses: Counter[str] = field(factory=Counter)
    took_ms: int = 0
    """What the upstreams took, as far as it was recorded."""
    tokens: dict[str, Tokens] = field(factory=dict)
    """By model."""
    largest: list[tuple[int, int, str]] = field(factory=list)
    """Index, bytes of the answer's body, and URL."""

    def add(self, row: Summary) -> None:
        """Count one interaction."""
        self.interactions += 1
        self.faulty += row.fault is not None
        self.truncated += row.truncated is not None
        self.sessions += row.type == "websocket"
        self.frames += row.frames or 0
        self.request_bytes += row.request_bytes or 0
        self.response_bytes += row.response_bytes or 0
        if row.url is not None:
            self.hosts[_host(row.url)] += 1
            self.methods[row.method or ""] += 1
            self.statuses[str(row.status)] += 1
            self._rank((row.index, row.response_bytes or 0, row.url))
        if row.recorded_at is not None:
            times = row.recorded_at, self.first_recorded_at or row.recorded_at
            self.first_recorded_at = min(times)
            self.last_recorded_at = max(row.recorded_at, self.last_recorded_at or "")

    def _rank(self, item: tuple[int, int, str]) -> None:
        if len(self.largest) == _MOST_SHOWN and item[1] <= self.largest[-1][1]:
            return
        self.largest.append(item)
        self.largest.sort(key=lambda each: (-each[1], each[0]))
        del self.largest[_MOST_SHOWN:]


def _host(url: str) -> str:
    if url.startswith("/"):
        return _NO_HOST
    try:
        return urlsplit(url).netloc or _NO_HOST
    except ValueError:
        return _NO_HOST


def run(given: argparse.Namespace) -> int:
    """Print the numbers of a cassette; returns the exit code."""
    snapshot = snapshot_of(given.file)
    found = Stats(file_bytes=snapshot.stamp.status.size_bytes)
    for size_bytes in _sizes(snapshot.bodies):
        found.body_files += 1
        found.body_files_bytes += size_bytes
    for row in followed(rows(snapshot), "interactions", len(snapshot)):
        found.add(row)
        if row.fault is None:
            _add_cost(found, snapshot, row)
    if given.json:
        known = asdict(found)
        known["largest"] = [
            {"index": index, "response_bytes": size_bytes, "url": url}
            for index, size_bytes, url in found.largest
        ]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(known), indent=2).decode() + "\n")
    else:
        print_facts(list(_facts(found)))
    return 0


def _add_cost(found: Stats, snapshot: Snapshot, row: Summary) -> None:
    """Add what a recorded answer took, and says it cost."""
    if row.url is None or row.type != "http":
        return
    found.took_ms += row.took_ms or 0
    if not MAY_HAVE_USAGE(row.url.encode()):
        return
    try:
        usage = usage_in(snapshot.interaction(row.index))
    except CassetteError:
        return
    if usage is not None:
        found.tokens.setdefault(usage.model, Tokens()).add(usage, Prices().usd(usage))


def _sizes(directory: Path) -> Iterable[int]:
    if directory.is_dir():
        yield from (file.stat().st_size for file in directory.iterdir() if file.is_file())


def _facts(found: Stats) -> Iterable[tuple[str, str]]:
    yield ("interactions", str(found.interactions))
    if found.sessions:
        yield ("sessions", f"{found.sessions}, with {found.frames} frames")
    if found.truncated:
        yield ("truncated", str(found.truncated))
    if found.faulty:
        yield ("faulty", f"{found.faulty}; `buffr cassette verify` says why")
    yield ("file", sized(found.file_bytes))
    if found.body_files:
        yield ("body files", f"{found.body_files}, {sized(found.body_files_bytes)}")
    asked, answered = sized(found.request_bytes), sized(found.response_bytes)
    yield ("bodies", f"{asked} asked, {answered} answered")
    if found.first_recorded_at is not None:
        yield ("recorded", f"{found.first_recorded_at} to {found.last_recorded_at}")
    if found.took_ms:
        yield ("upstreams", f"took {found.took_ms / 1000:,.1f} s")
    for at, (model, cost) in enumerate(found.tokens.items()):
        usd = "price unknown" if cost.usd is None else f"{money(cost.usd)} (prices of {PRICES_OF})"
        tokens = f"{cost.input_tokens:,} in, {cost.output_tokens:,} out"
        yield ("tokens" if at == 0 else "", f"{cost.answers:>7}  {model}: {tokens}; {usd}")
    for name, counts in (
        ("hosts", found.hosts),
        ("methods", found.methods),
        ("statuses", found.statuses),
    ):
        for at, (value, count) in enumerate(counts.most_common(_MOST_SHOWN)):
            yield (name if at == 0 else "", f"{count:>7}  {value}")
        if len(counts) > _MOST_SHOWN:
            yield ("", f"... and {len(counts) - _MOST_SHOWN} more")
    for at, (index, size_bytes, url) in enumerate(found.largest):
        yield ("largest" if at == 0 else "", f"{sized(size_bytes):>10}  {index}  {url}")
