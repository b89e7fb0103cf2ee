"""``buffr status``: what a running buffr has done so far."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import Any

from buffr.commands.live.client import AdminClient, ask, declare_where, print_json
from buffr.commands.parser import Parser
from buffr.commands.tables import Column, Table, print_facts, print_table
from buffr.commands.terminal import money

__all__ = ["declare", "run", "saved_words", "sources"]

_KIB = 1024


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Says what a running buffr has done: how many exchanges, answered from where, what that "
        "saved, and its routes. It is asked by its admin listener.",
        examples=(
            ("buffr status", "the buffr that was started in this directory"),
            ("buffr status --json", "for programs"),
        ),
    )
    declare_where(parser)


def run(given: argparse.Namespace) -> int:
    """Print the figures; returns the exit code."""

    async def show(client: AdminClient) -> int:
        status = await client.get("/api/status")
        routes = (await client.get("/api/routes"))["items"]
        if given.json:
            print_json({**status, "routes": routes})
        else:
            _print(status, routes)
        return 0

    return ask(given, show)


def _print(status: dict[str, Any], routes: list[dict[str, Any]]) -> None:
    version = status["version"]
    up = timedelta(seconds=int(version["uptime_s"]))
    sys.stdout.write(f"buffr {version['version']}, process {version['pid']}, up {up}\n")
    print_facts(_facts(status))
    if routes:
        sys.stdout.write("\n")
    rows = [
        (
            route["id"],
            route["mode"],
            (route["upstream"] or "no upstream") + sources(route["counts"]),
        )
        for route in routes
    ]
    print_table(Table((Column("route"), Column("mode"), Column("upstream")), rows))


def _facts(status: dict[str, Any]) -> list[tuple[str, str]]:
    counts = status["counts"]
    facts = [("exchanges", f"{counts['total']:,}{sources(counts['by_source'])}")]
    if status["hit_rate"] is not None:
        facts.append(("answered here", f"{status['hit_rate']:.1%}"))
    if saved := saved_words(status["saved"]):
        facts.append(("saved", saved))
    recorded = f"{counts['recorded']:,}"
    if counts["failed_appends"]:
        recorded += f", and {counts['failed_appends']:,} lost"
    facts.append(("recorded", recorded))
    if counts["misses"]:
        facts.append(("misses", f"{counts['misses']:,} causes; see `buffr misses`"))
    return facts


def sources(by_source: dict[str, int]) -> str:
    """``: cassette 12, miss 1``, the most first; empty for nothing."""
    ordered = sorted(by_source.items(), key=lambda one: -one[1])
    words = ", ".join(f"{name} {count:,}" for name, count in ordered if count)
    return f": {words}" if words else ""


def saved_words(saved: dict[str, Any]) -> str:
    """What was saved, in words; empty if nothing was."""
    words = []
    if saved["upstream_ms"]:
        words.append(f"{saved['upstream_ms'] / 1000:,.1f} s of upstreams' time")
    if saved["bytes"]:
        words.append(_size(saved["bytes"]))
    tokens = (saved["input_tokens"] or 0) + (saved["output_tokens"] or 0)
    if tokens:
        words.append(f"{tokens:,} tokens")
    if saved["usd"] is not None:
        words.append(money(saved["usd"]))
    return ", ".join(words)


def _size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < _KIB or unit == "GiB":
            return f"{size_bytes:,.0f} B" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= _KIB
    raise AssertionError
