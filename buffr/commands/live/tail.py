"""``buffr tail``: exchanges of a running buffr, as they happen."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from buffr.commands.live.client import AdminClient, ask, declare_where
from buffr.commands.parser import Parser
from buffr.commands.terminal import Paint, paint_for, plain

__all__ = ["declare", "run"]

_COLOURS = {
    "cassette": "32",
    "cache": "34",
    "stale": "33",
    "shared": "35",
    "miss": "31",
    "limit": "33",
    "error": "31",
}
_LONGEST_COUNT = 1000


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Prints the exchanges of a running buffr as they end, until Ctrl-C: where the answer came "
        "from, status, time, and what the request means. A filter has words and FIELD:VALUE, all "
        "of which must hold.",
        "[FILTER ...]",
        examples=(
            ("buffr tail", "all exchanges from now on, and the last ten"),
            ("buffr tail src:miss", "misses alone"),
            ("buffr tail model:gpt-5-mini dur:'>1s' --json", "slow calls, for programs"),
            ("buffr tail -n 100 --no-follow", "the last hundred, then end"),
        ),
    )
    parser.argument("filter", metavar="FILTER", nargs="*", help="words, and FIELD:VALUE")
    parser.flag(
        "-n", "--last", metavar="N", type=int, default=10, help="how many earlier ones [10]"
    )
    parser.flag("--no-follow", action="store_true", help="end after the earlier ones")
    declare_where(parser)


def run(given: argparse.Namespace) -> int:
    """Print exchanges; returns the exit code."""
    if not 0 <= given.last <= _LONGEST_COUNT:
        given.parser.error(f"--last: must be from 0 to {_LONGEST_COUNT}")
    wanted = " ".join(given.filter)
    paint = paint_for(sys.stdout, os.environ)

    def show(one: dict[str, Any]) -> None:
        line = json.dumps(one, ensure_ascii=False) if given.json else _line(one, paint)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    async def tail(client: AdminClient) -> int:
        newest = 0
        if given.last:
            page = await client.get("/api/exchanges", limit=given.last, q=wanted)
            newest = page["newest"] or 0
            for one in reversed(page["items"]):
                show(one)
        if given.no_follow:
            return 0
        query = {"after": newest} if given.last else {}
        await _follow(client, {**query, **({"q": wanted} if wanted else {})}, show)
        return 0

    return ask(given, tail)


async def _follow(client: AdminClient, query: dict[str, Any], show: Any) -> None:
    """Show what the events tell, until the connection ends."""
    from treq import collect  # noqa: PLC0415  # help does without Twisted

    path = f"/api/events?{urlencode(query)}" if query else "/api/events"
    response = await client.open("GET", path)
    rest, name = b"", b""

    def take(data: bytes) -> None:
        nonlocal rest, name
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            key, _, value = line.partition(b": ")
            if key == b"event":
                name = value
            elif key == b"data" and name == b"exchanges":
                told = json.loads(value)
                if told["skipped"]:
                    sys.stderr.write(f"buffr: {told['skipped']:,} more were not shown\n")
                for one in told["items"]:
                    show(one)

    await collect(response, take)


def _line(one: dict[str, Any], paint: Paint) -> str:
    at = datetime.fromtimestamp(one["at_ms"] / 1000).astimezone().strftime("%H:%M:%S")
    source = one["source"]
    took = "" if one["duration_ms"] is None else f"{one['duration_ms']:,.1f} ms"
    shown = paint(_COLOURS.get(source, "0"), f"{source:<8}")
    words = plain(f"{one['label']}  {one['method']} {one['url']}")
    detail = f"  {plain(one['detail'])}" if one["detail"] and source != "miss" else ""
    return f"{at}  {shown}  {one['status']:>3}  {took:>11}  {words}{detail}"
