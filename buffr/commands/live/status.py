"""``buffr status``: what a running buffr has done so far."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import Any

from buffr.commands.live.client import AdminClient, ask, declare_where, print_json
from buffr.commands.parser import Parser
from buffr.commands.terminal import plain

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
            sys.stdout.write("".join(f"{line}\n" for line in _lines(status, routes)))
        return 0

    return ask(given, show)


def _lines(status: dict[str, Any], routes: list[dict[str, Any]]) -> list[str]:
    version, counts = status["version"], status["counts"]
    up = timedelta(seconds=int(version["uptime_s"]))
    lines = [
        f"buffr {version['version']}, process {version['pid']}, up {up}",
        f"exchanges      {counts['total']:,}{sources(counts['by_source'])}",
    ]
    if status["hit_rate"] is not None:
        lines.append(f"answered here  {status['hit_rate']:.1%}")
    if saved := saved_words(status["saved"]):
        lines.append(f"saved          {saved}")
    recorded = f"recorded       {counts['recorded']:,}"
    if counts["failed_appends"]:
        recorded += f", and {counts['failed_appends']:,} lost"
    lines.append(recorded)
    if counts["misses"]:
        lines.append(f"misses         {counts['misses']:,} causes; see `buffr misses`")
    width = max((len(route["id"]) for route in routes), default=0)
    lines += [""] if routes else []
    for route in routes:
        upstream = route["upstream"] or "no upstream"
        line = f"{route['id']:<{width}}  {route['mode']:<11}  {upstream}{sources(route['counts'])}"
        lines.append(plain(line))
    return lines


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
        words.append(f"${saved['usd']:,.4f}")
    return ", ".join(words)


def _size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < _KIB or unit == "GiB":
            return f"{size_bytes:,.0f} B" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= _KIB
    raise AssertionError
