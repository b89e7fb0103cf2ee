"""``buffr reset``, ``purge`` and ``mode``: change what a running buffr does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable

from buffr.commands.flags import MODES
from buffr.commands.live.client import AdminClient, ask, declare_where, print_json, quoted
from buffr.commands.parser import Parser
from buffr.commands.terminal import plain

__all__ = ["declare", "run"]

Use = Callable[[AdminClient], Awaitable[int]]

_TEXTS = {
    "reset": (
        "Starts a scope's recordings from the first again; without a name, that of all others.",
        "[SCOPE ...]",
        (("buffr reset", "play all from the start"), ("buffr reset test-1", "of one scope")),
    ),
    "purge": (
        "Removes stored answers of mode cache from a running buffr: those that fit all flags.",
        "",
        (
            ("buffr purge --of-url https://api.example.com/v1/models", "the answers of one URL"),
            ("buffr purge --route gateway-wiki", "those of a route"),
            ("buffr purge --all", "everything"),
        ),
    ),
    "mode": (
        "Shows the modes of a running buffr's routes, or switches one until buffr ends.",
        "[ROUTE MODE]",
        (
            ("buffr mode", "list the routes"),
            ("buffr mode reverse-8080 replay", "never touch the network from now on"),
        ),
    ),
}


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    command = parser.words[-1]
    text, arguments, examples = _TEXTS[command]
    parser.describe(text, arguments, examples=examples)
    if command == "reset":
        parser.argument("scopes", metavar="SCOPE", nargs="*", help="names of scopes")
    elif command == "purge":
        parser.flag("--route", metavar="ID", help="the answers of a route, see `buffr mode`")
        parser.flag("--of-url", metavar="URL", help="the answers of this URL")
        parser.flag("--tag", metavar="TAG", help="the answers with a tag")
        parser.flag("--all", action="store_true", help="all answers")
    else:
        parser.argument("route", metavar="ROUTE", nargs="?", help="the id of a route")
        parser.argument("to", metavar="MODE", nargs="?", help=f"one of {', '.join(MODES)}")
    declare_where(parser)


def run(given: argparse.Namespace) -> int:
    """Change something; returns the exit code."""
    command = given.parser.words[-1]
    if command == "purge" and not (given.route or given.of_url or given.tag or given.all):
        given.parser.error("name what to remove: --route, --of-url, --tag or --all")
    if command == "mode" and (given.route is None) is not (given.to is None):
        given.parser.error("name a route and a mode, or neither")
    return ask(given, {"reset": _reset, "purge": _purge, "mode": _mode}[command](given))


def _reset(given: argparse.Namespace) -> Use:
    async def use(client: AdminClient) -> int:
        done = [
            await client.call("POST", f"/api/scopes/{quoted(scope or '-')}/reset")
            for scope in given.scopes or ["-"]
        ]
        if given.json:
            print_json(done)
            return 0
        for one in done:
            name = one["scope"] or "of clients that name none"
            sys.stdout.write(plain(f"scope {name}: {one['keys']:,} requests start again") + "\n")
        return 0

    return use


def _purge(given: argparse.Namespace) -> Use:
    async def use(client: AdminClient) -> int:
        body = {"route": given.route, "url": given.of_url, "tag": given.tag}
        asked: dict[str, object] = {name: value for name, value in body.items() if value}
        if given.all:
            asked["everything"] = True
        done = await client.call("POST", "/api/cache/purge", asked)
        if given.json:
            print_json(done)
        else:
            sys.stdout.write(f"{done['purged']:,} stored answers removed\n")
        return 0

    return use


def _mode(given: argparse.Namespace) -> Use:
    async def use(client: AdminClient) -> int:
        if given.route is not None:
            body = {"route": given.route, "mode": given.to}
            routes = [await client.call("POST", "/api/mode", body)]
        else:
            routes = (await client.get("/api/routes"))["items"]
        if given.json:
            print_json(routes)
            return 0
        width = max((len(route["id"]) for route in routes), default=0)
        for route in routes:
            others = [mode for mode in route["modes"] if mode != route["mode"]]
            may = f"  (or {', '.join(others)})" if others else ""
            sys.stdout.write(plain(f"{route['id']:<{width}}  {route['mode']}{may}") + "\n")
        return 0

    return use
