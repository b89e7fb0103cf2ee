"""The flags of the commands that serve, and of ``twistd buffr``: the one table.

It is separate from the settings that the flags set, so that help does not
import them; a test keeps the two consistent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from buffr.commands.parser import Parser

__all__ = [
    "FLAGS",
    "MATCHING",
    "MODES",
    "Flag",
    "declare_flags",
    "flags_of",
    "mode_of",
    "path_of",
    "words_of",
]

MODES = ("auto", "record", "replay", "cache", "passthrough")


class Flag(NamedTuple):
    """A flag. ``value`` names its value in the help; empty for a flag without one.

    One that takes ``many`` values may be given several times.
    """

    name: str
    value: str
    help: str
    short: str = ""
    many: bool = False


FLAGS = (
    Flag("config", "FILE", "settings file (YAML) [BUFFR_CONFIG]", "c"),
    Flag("mode", "MODE", "auto, record, replay, cache or passthrough [auto]"),
    Flag("target", "URL", "the upstream's URL", "t"),
    Flag("port", "PORT", "port to listen on; 0 takes a free one [8080]", "p"),
    Flag("listen", "ADDRESS", "address to listen on [127.0.0.1]"),
    Flag("cassette", "FILE", "cassette file [HOST.json in the data directory]"),
    Flag("store", "STORE", "memory:, sqlite:FILE, redis://HOST [the cassette; mode cache: a file]"),
    Flag("ttl", "TIME", "mode cache: how long answers are fresh, like 12h [as they say]"),
    Flag("data-dir", "DIR", "directory for files without a configured path [.]"),
    Flag("repeat", "WORD", "what follows a key's last recording: cycle, last or once [cycle]"),
    Flag("keep-host", "BOOL", "whether the upstream gets the client's Host: true or false"),
    Flag("ca-file", "FILE", "certificates (PEM) to trust in addition to the system's"),
    Flag("replay-delays", "BOOL", "whether replays keep the recorded timing: true or false"),
    Flag("replay-clock", "WORD", "what replays say of time: recorded, shifted or now [recorded]"),
    Flag("match", "PRESET", "whose rules match requests: buffr, vcr, har or mcp [buffr]"),
    Flag("match-on", "PARTS", "the parts of a request that count, separated by commas", many=True),
    Flag("match-json", "PATH", "a JSONPath in bodies that does not count", many=True),
    Flag("match-ignore-query", "NAME", "a query field that does not count", many=True),
    Flag("match-ignore-form", "NAME", "a form field that does not count", many=True),
    Flag("match-ignore-header", "NAME", "a header that does not count", many=True),
    Flag("match-header", "NAME", "a header that counts in addition to the usual ones", many=True),
    Flag("grpc-descriptors", "FILE", "compiled .proto files: gRPC by its fields", many=True),
    Flag("log-format", "FORMAT", "text or json [text]"),
    Flag("proxy", "BOOL", "whether to serve as a forward proxy: true or false"),
    Flag("bypass", "HOSTS", "hosts that a forward proxy tunnels untouched, separated by commas"),
    Flag("ca-cert", "FILE", "certificate of buffr's CA (PEM)"),
    Flag("ca-key", "FILE", "key of buffr's CA (PEM)"),
    Flag("admin", "WHERE", "port or ADDRESS:PORT of the admin page; false for none [8089]"),
    Flag("workers", "COUNT", "processes that serve the same ports: a number, or auto [1]"),
    Flag("allow-unrecorded", "", "start even if nothing can be recorded"),
)


MATCHING = tuple(flag.name for flag in FLAGS if flag.name.startswith("match"))
"""The flags that decide which requests are the same."""


def declare_flags(parser: Parser, shown: Iterable[str], *, without: Iterable[str] = ()) -> None:
    """Add the flags to a command's parser.

    ``shown`` are those that its help lists. The others are accepted too, so that
    the settings can explain why one does not apply. ``without`` lists those
    that the command declares itself.
    """
    listed, left_out = frozenset(shown), frozenset(without)
    for flag in FLAGS:
        if flag.name in left_out:
            continue
        names = [f"-{flag.short}"] if flag.short else []
        help_text = flag.help if flag.name in listed else argparse.SUPPRESS
        if flag.value:
            action = "append" if flag.many else "store"
            name = f"--{flag.name}"
            parser.flag(*names, name, action=action, metavar=flag.value, help=help_text)
        else:
            parser.flag(*names, f"--{flag.name}", action="store_true", help=help_text)


def flags_of(given: argparse.Namespace) -> dict[str, str]:
    """The flags that were given, for ``config.load``; without ``config``.

    Several values of one flag are lines.
    """
    known = {flag.name.replace("-", "_"): getattr(given, _dest(flag), None) for flag in FLAGS}
    del known["config"]
    return {
        name: "true" if value is True else "\n".join(value) if isinstance(value, list) else value
        for name, value in known.items()
        if value is not None and value is not False
    }


def path_of(given: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    """The settings file that is named."""
    return given.config or environ.get("BUFFR_CONFIG") or None


def words_of(path: str | None, flags: Mapping[str, str]) -> list[str]:
    """The same flags as arguments of ``twistd buffr``."""
    words = [] if path is None else [f"--config={path}"]
    for flag in FLAGS:
        value = flags.get(flag.name.replace("-", "_"))
        if value is not None and not flag.value:
            words.append(f"--{flag.name}")
        elif value is not None:
            values = value.split("\n") if flag.many else [value]
            words += [f"--{flag.name}={one}" for one in values]
    return words


def mode_of(given: argparse.Namespace, *, own: str | None = None) -> str | None:
    """The mode that the command (``own``) and its flags name, if any.

    Raises ``Misused`` if they name several.
    """
    said = {f"--{mode}": mode for mode in MODES if getattr(given, mode, False)}
    if given.mode is not None:
        said[f"--mode {given.mode}"] = given.mode
    named = set(said.values())
    if own is None and len(named) > 1:
        given.parser.error(f"{' and '.join(said)} contradict each other: give one mode")
    for flag, mode in said.items():
        if own is not None and mode != own:
            instead = f"`buffr {mode}`" if mode in MODES else f"`buffr serve {flag}`"
            given.parser.error(f"{flag} contradicts the command; use {instead}")
    return own or next(iter(named), None)


def _dest(flag: Flag) -> str:
    return flag.name.replace("-", "_")
