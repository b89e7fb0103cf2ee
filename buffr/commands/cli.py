"""The ``buffr`` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from twisted.application.service import ServiceMaker
from twisted.python import usage
from twisted.scripts.twistd import (  # type: ignore[attr-defined]  # it chooses by platform
    ServerOptions,
    runApp,
)

from buffr import __version__
from buffr.commands.terminal import complain, ends_with_its_reader
from buffr.config.api_buddy import looks_like_api_buddy

__all__ = ["api_buddy_arguments", "main", "service_arguments"]

_USAGE = """\
buffr: a proxy that remembers

Usage: buffr COMMAND [options]

  auto         replay what is recorded, fetch and record the rest
  record       fetch and record everything; an existing cassette is set aside
  replay       answer from the cassette alone, with no network
  cache        answer from an HTTP cache, and fetch what is not fresh in it
  passthrough  relay, and keep nothing
  proxy        a forward proxy: CONNECT with TLS looked into, and plain HTTP;
               --auto (the default), --record, --replay, --cache or --passthrough
  run          run a command behind a proxy of its own, and report:
               buffr run [--replay ...] -- COMMAND ARGUMENT ...
  serve        run what buffr.yaml, or the file that --config names, says;
               it may be the JSON file of reference-api-buddy
  config       print the settings of reference-api-buddy as those of buffr:
               buffr config convert FILE
  ca           print the certificate that clients are to trust, or how they do
  cassette     look into a cassette, check it, take interactions out:
               buffr cassette ls FILE
  key          print a new random access key
  demo         see it work, with no network: record, stop the upstream, replay
  version      print the version

`buffr COMMAND --help` lists a command's options. Without a command the
environment says what to do: BUFFR_MODE, BUFFR_TARGET, BUFFR_TARGETS ...

Try: buffr auto --target https://api.openai.com
     and put http://127.0.0.1:8080 in the place of https://api.openai.com in
     your client's base URL; keep its path: http://127.0.0.1:8080/v1
"""

_MODES = ("auto", "record", "replay", "cache", "passthrough")
_DEFAULT_FILE = "buffr.yaml"


_SERVICE = ServiceMaker("buffr", "buffr.commands.tap", "A proxy that remembers.", "buffr")


class _OneService(ServerOptions):
    """twistd's options with buffr as the only service, so that no plugins are looked for."""

    synopsis = "Usage:"
    subCommands = ((_SERVICE.tapname, None, _SERVICE.options, _SERVICE.description),)
    loadedPlugins = {_SERVICE.tapname: _SERVICE}  # noqa: RUF012  # Twisted's kind


_TOOLS = {
    "run": "buffr.commands.run.command",
    "ca": "buffr.commands.ca.command",
    "cassette": "buffr.commands.cassette.command",
    "config": "buffr.commands.config",
    "demo": "buffr.commands.demo",
}
"""Commands that end by themselves: the module of each, and there a function of its name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 0, or with 1 and a line on standard error."""
    with ends_with_its_reader():
        _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(given: list[str]) -> None:
    command, rest = _taken_apart(given)
    service = service_arguments(given)
    if service is not None:
        _serve(service)
    elif command == "serve":
        from buffr.commands.api_buddy import main as api_buddy  # noqa: PLC0415  # rarely used

        sys.exit(api_buddy(api_buddy_arguments(given)))
    elif command in _TOOLS:
        # A server has no use for their modules.
        tool = getattr(import_module(_TOOLS[command]), command)
        sys.exit(tool(rest))
    elif command == "key":
        _key(rest)
    elif command is not None and command not in ("help", "version"):
        _fail(f"there is no command {command!r}; `buffr --help` lists them")
    elif command == "version" or "--version" in rest:
        sys.stdout.write(f"buffr {__version__}\n")
    else:
        sys.stdout.write(_USAGE)
        sys.exit(0 if {"-h", "--help"} & set(rest) or command == "help" else 1)


def service_arguments(given: Sequence[str]) -> list[str] | None:
    """The options of the service that a command line starts; ``None`` where it starts none."""
    command, rest = _taken_apart(given)
    if command in _MODES:
        return ["--mode", command, *rest]
    if command == "proxy":
        return ["--proxy", "true", *(_as_mode(argument) for argument in rest)]
    if command == "serve" and api_buddy_arguments(given) is None:
        return rest if _names_file(rest) else [*_default_file(), *rest]
    if command is None and not rest and _environment_speaks():
        return []
    return None


def _taken_apart(given: Sequence[str]) -> tuple[str | None, list[str]]:
    """The command of a command line, and what follows it."""
    if given and not given[0].startswith("-"):
        return given[0], list(given[1:])
    return None, list(given)


def _key(rest: Sequence[str]) -> None:
    from buffr.wiring.access_keys import new_key  # noqa: PLC0415  # a server asks for it by itself

    if set(rest) & {"-h", "--help"}:
        sys.stdout.write("Usage: buffr key (it takes no options)\n")
        sys.exit(0)
    if rest:
        _fail(f"key: unexpected argument {rest[0]!r}")
    sys.stdout.write(f"{new_key()}\n")


def _as_mode(argument: str) -> str:
    mode = argument.removeprefix("--")
    return f"--mode={mode}" if argument.startswith("--") and mode in _MODES else argument


def _names_file(arguments: Sequence[str]) -> bool:
    return any(
        argument.split("=")[0] in ("--config", "-c") or argument.startswith("-c")
        for argument in arguments
    )


def api_buddy_arguments(given: Sequence[str]) -> list[str] | None:
    """The arguments for ``api-buddy`` where ``buffr serve`` is given that program's file."""
    command, arguments = _taken_apart(given)
    if command != "serve":
        return None
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-c")
    path = parser.parse_known_args(arguments)[0].config
    if path is None or not str(path).endswith(".json"):
        return None
    try:
        if not looks_like_api_buddy(json.loads(Path(path).read_bytes())):
            return None
    except (OSError, ValueError):
        return None
    return [argument.replace("--listen", "--host", 1) for argument in arguments]


def _default_file() -> list[str]:
    return ["--config", _DEFAULT_FILE] if os.path.exists(_DEFAULT_FILE) else []  # noqa: PTH110


def _environment_speaks() -> bool:
    return any(name.startswith("BUFFR_") for name in os.environ)


def _serve(arguments: Sequence[str]) -> None:
    options = _OneService()
    try:
        options.parseOptions(["--nodaemon", "--pidfile=", "buffr", *arguments])
    except usage.UsageError as error:
        _fail(str(error))
    runApp(options)


def _fail(message: str) -> NoReturn:
    complain(message)
    sys.exit(1)
