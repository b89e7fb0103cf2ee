"""``buffr misses``: why requests matched no recording, and the rule that would help."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from buffr.commands.live.client import AdminClient, ask, declare_where, print_json
from buffr.commands.parser import Parser
from buffr.commands.terminal import complain, plain

__all__ = ["declare", "run"]


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Lists the misses of a running buffr, equal causes as one: what differs from the nearest "
        "recording, and the rule that leaves it out. --accept tries the rule on what is recorded, "
        "makes it hold at once, and writes it into the settings file. Exits with 1 if there are "
        "misses.",
        examples=(
            ("buffr misses", "what is missing, and why"),
            ("buffr misses --accept 3f2a91c07d5e8b64", "accept the rule of a cause"),
        ),
    )
    parser.flag("--accept", metavar="ID", help="accept the rule that is proposed for a cause")
    parser.flag(
        "--merge", action="store_true", help="accept it even if recordings would become one"
    )
    parser.flag("--forget", action="store_true", help="forget all misses so far")
    declare_where(parser)


def run(given: argparse.Namespace) -> int:
    """Print the misses, or accept a rule; returns the exit code."""

    async def show(client: AdminClient) -> int:
        if given.forget:
            await client.call("DELETE", "/api/misses")
            return 0
        items = (await client.get("/api/misses"))["items"]
        if given.accept:
            return await _accept(client, items, given)
        if given.json:
            print_json(items)
        elif items:
            sys.stdout.write("".join(f"{plain(line)}\n" for line in _lines(items)))
        elif sys.stdout.isatty():
            sys.stdout.write("no misses\n")
        return 1 if items else 0

    return ask(given, show)


async def _accept(
    client: AdminClient, items: list[dict[str, Any]], given: argparse.Namespace
) -> int:
    miss = next((one for one in items if one["id"] == given.accept), None)
    rule = miss["nearest"][0]["rule"] if miss and miss["nearest"] else None
    if miss is None or rule is None:
        what = "no miss has this id" if miss is None else "no rule is proposed for it"
        complain(f"--accept {given.accept}: {what}")
        return 1
    body = {"route": miss["route"], "match": rule, "accept": True, "merge": given.merge}
    trial = await client.call("POST", "/api/rules", body)
    if given.json:
        print_json(trial)
        return 0
    file = trial["accepted"]["file"]
    where = f"written into {file}" if file else "it holds until buffr ends"
    sys.stdout.write(
        f"{trial['yaml']}{trial['misses_helped']} of {trial['misses']} misses would have been "
        f"hits; {trial['kept']} of {trial['recordings']} recordings keep their match; {where}\n"
    )
    return 0


def _lines(items: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for miss in items:
        times = "once" if miss["count"] == 1 else f"{miss['count']:,} times"
        lines += [f"{miss['id']}  {miss['label']}, {times}", f"  {miss['method']} {miss['url']}"]
        if not miss["nearest"]:
            lines.append("  nothing similar is recorded")
            continue
        nearest = miss["nearest"][0]
        lines.append(f"  interaction {nearest['interaction']['index']} differs in:")
        for one in nearest["differences"]:
            kind = f" ({one['noise']})" if one["noise"] else ""
            where = f"{one['part']} {one['pointer']}".strip()
            lines.append(f"    {where}: recorded {one['recorded']}, sent {one['live']}{kind}")
        if nearest["rule_yaml"]:
            enough = "it matches with" if nearest["rule_is_enough"] else "the noise is left out by"
            lines.append(f"  {enough}:")
            lines += [f"    {line}" for line in nearest["rule_yaml"].splitlines()]
    return lines
