"""The commands there are: name, a line of help, and the module of each.

A command's module is imported when the command is run, or its own help is
asked for. It has ``declare(parser)``, which describes its arguments, and
``run(given)``, which gets them and returns the exit code. One with
``HANDLES_SIGNALS`` set takes care of Ctrl-C once it has imported what it needs.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ROOT", "Command"]


class Command(NamedTuple):
    """A command, or a group of ``commands`` without a module.

    ``misused`` is the exit code for wrong arguments. ``text`` stands below a
    group's list of commands.
    """

    name: str
    help: str
    module: str = ""
    commands: tuple[Command, ...] = ()
    misused: int = 1
    text: str = ""


_CASSETTE = (
    Command("ls", "list the interactions", "buffr.commands.cassette.ls"),
    Command("show", "show one interaction: heads, body, frames", "buffr.commands.cassette.show"),
    Command(
        "stats", "count them by host, method, status and size", "buffr.commands.cassette.stats"
    ),
    Command(
        "scan",
        "look for secrets, also in HAR files, VCR.py files and caches",
        "buffr.commands.cassette.scan",
        misused=2,
    ),
    Command(
        "redact",
        "replace secrets with stand-ins",
        "buffr.commands.cassette.redact",
        misused=2,
    ),
    Command(
        "verify",
        "look for damage: torn, missing or changed data",
        "buffr.commands.cassette.verify",
    ),
    Command(
        "check",
        "ask the live API again: would it still answer so?",
        "buffr.commands.cassette.check",
        misused=3,
    ),
    Command(
        "refresh",
        "record anew what the live API answers differently",
        "buffr.commands.cassette.refresh",
        misused=3,
    ),
    Command("diff", "compare two cassettes", "buffr.commands.cassette.diff"),
    Command(
        "import",
        "make cassettes of recordings of other tools",
        "buffr.commands.cassette.import_",
    ),
    Command(
        "export", "write a cassette in another tool's format", "buffr.commands.cassette.export"
    ),
    Command("merge", "make one cassette of two", "buffr.commands.cassette.merge"),
    Command("push", "add a cassette to a set on a server", "buffr.commands.cassette.shared"),
    Command("pull", "add what a server has to a cassette", "buffr.commands.cassette.shared"),
    Command("sync", "pull, then push", "buffr.commands.cassette.shared"),
    Command("rm", "remove interactions", "buffr.commands.cassette.rm"),
    Command("expire", "remove old interactions", "buffr.commands.cassette.expire"),
)

ROOT = Command(
    "buffr",
    "a proxy that remembers",
    commands=(
        Command(
            "auto", "replay what is recorded, fetch and record the rest", "buffr.commands.mode"
        ),
        Command(
            "record",
            "fetch and record everything; an existing cassette is set aside",
            "buffr.commands.mode",
        ),
        Command(
            "replay", "answer from the cassette alone, without the network", "buffr.commands.mode"
        ),
        Command(
            "cache", "answer from an HTTP cache, and fetch what is not fresh", "buffr.commands.mode"
        ),
        Command("passthrough", "relay, and keep nothing", "buffr.commands.mode"),
        Command("proxy", "serve as a forward proxy for HTTP and HTTPS", "buffr.commands.proxy"),
        Command(
            "run",
            "run a command behind a proxy of its own, and report",
            "buffr.commands.run.command",
            misused=2,
        ),
        Command(
            "mcp",
            "record an MCP server that speaks by lines, or replay it",
            "buffr.commands.mcp.command",
            misused=2,
        ),
        Command("serve", "serve what a settings file describes", "buffr.commands.serve"),
        Command(
            "cassette",
            "look into a cassette, check it, remove interactions",
            commands=_CASSETTE,
            text="Interactions are numbered from 0, as in the message of a miss. A running buffr "
            "may have the\nfile open: it sees what was removed, and no recording is lost.",
        ),
        Command(
            "ca",
            "print the CA certificate, or how a client trusts it",
            "buffr.commands.ca.command",
        ),
        Command(
            "config",
            "convert the settings of other programs",
            commands=(
                Command(
                    "convert",
                    "print the settings of reference-api-buddy as buffr's",
                    "buffr.commands.convert",
                    misused=2,
                ),
            ),
            misused=2,
        ),
        Command("status", "say what a running buffr has done", "buffr.commands.live.status"),
        Command(
            "tail", "print the exchanges of a running buffr", "buffr.commands.live.tail", misused=2
        ),
        Command(
            "misses",
            "say why requests matched no recording, and accept rules",
            "buffr.commands.live.misses",
            misused=2,
        ),
        Command(
            "mode", "switch a route of a running buffr", "buffr.commands.live.changes", misused=2
        ),
        Command(
            "reset",
            "start the recordings of a scope from the first again",
            "buffr.commands.live.changes",
            misused=2,
        ),
        Command(
            "purge",
            "remove stored answers from a running buffr",
            "buffr.commands.live.changes",
            misused=2,
        ),
        Command(
            "completion",
            "print the completion of commands and flags for a shell",
            "buffr.commands.completion",
        ),
        Command("key", "print a new random access key", "buffr.commands.key"),
        Command(
            "demo",
            "see it work, without the network: record, stop the upstream, replay",
            "buffr.commands.demo",
        ),
        Command(
            "doctor",
            "check the installation: settings, CA, ports, cassettes, a live request",
            "buffr.commands.doctor.command",
            misused=2,
        ),
        Command("version", "print the version", "buffr.commands.version"),
    ),
    text="""\
Without a command, buffr serves what the environment describes: BUFFR_MODE,
BUFFR_TARGET, BUFFR_TARGETS ...

Try: buffr auto --target https://api.openai.com
     and replace https://api.openai.com in your client's base URL with
     http://127.0.0.1:8080; keep its path: http://127.0.0.1:8080/v1""",
)
