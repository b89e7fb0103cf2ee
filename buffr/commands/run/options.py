"""The options of ``buffr run``, and the settings that they make."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve
from twisted.python import usage

from buffr import __version__
from buffr.commands.tap import Options
from buffr.config import Config, ForwardHost, ForwardSettings, load
from buffr.errors import ConfigError
from buffr.policy.hosts import EVERY_HOST
from buffr.policy.mode import Mode

__all__ = ["FAIL_ON", "USAGE", "RunOptions", "settings"]

USAGE = "Usage: buffr run [options] -- COMMAND [ARGUMENT ...]"
FAIL_ON = ("miss", "record", "unused")

_MODES = ("auto", "record", "replay", "cache", "passthrough")
_REPORTS = (".json", ".xml")
_SCOPE = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_LONGEST_S = 1e6
_OTHERWISE = ("target", "port", "listen", "cassette", "keep-host", "proxy")
"""What ``buffr run`` has not, or has in its own way."""
_OWN = ("log", "report", "scope", "grace", "cassette")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < _LONGEST_S:
        raise ValueError(f"--grace: {text!r} is no number of seconds")
    return seconds


class RunOptions(usage.Options):
    """What ``buffr run`` takes: what ``buffr proxy`` does, and what is for a run alone."""

    synopsis = USAGE
    longdesc = (
        "Runs a command whose HTTP and HTTPS go through a forward proxy of its own. "
        "Settings and BUFFR_... variables hold as for `buffr proxy`. The exit code is the "
        "command's; 2 when buffr could not start it, 127 when it is not there."
    )
    optParameters = [  # noqa: RUF012  # Twisted's name and kind
        ["port", "p", "0", "The port on 127.0.0.1; 0 takes a free one."],
        ["cassette", None, None, "One cassette for all hosts that the settings do not list."],
        [
            "scope",
            None,
            None,
            "The proxy's user name, which names a scope. [one of its own]",
        ],
        ["report", None, None, "Write a report at the end: FILE.json, or FILE.xml for JUnit."],
        ["log", None, None, "Send buffr's log to this file, and nothing of it to the terminal."],
        ["grace", None, 10.0, "Seconds that the command may take to end after SIGTERM.", _seconds],
        *[row for row in Options.optParameters if row[0] not in _OTHERWISE],
    ]
    optFlags = [  # noqa: RUF012
        ["auto", None, "Replay what is recorded, fetch and record the rest (the default)."],
        ["record", None, "Fetch and record everything anew."],
        ["replay", None, "Answer from cassettes alone."],
        ["cache", None, "Answer from an HTTP cache, and fetch what is not fresh in it."],
        ["passthrough", None, "Relay, and keep nothing."],
        *Options.optFlags,
        ["fail-on-miss", None, "Exit with 1 when a request found no recording."],
        ["fail-on-record", None, "Exit with 1 when something was recorded."],
        ["fail-on-unused", None, "Exit with 1 when a recording was never replayed."],
    ]

    command: tuple[str, ...] = ()

    def opt_version(self) -> None:
        """Print buffr's version and exit."""
        sys.stdout.write(f"buffr {__version__}\n")
        sys.exit(0)

    def parseArgs(self, *command: str) -> None:
        """Take the command and its arguments."""
        self.command = command

    def postOptions(self) -> None:
        """Say what is wrong before anything starts."""
        report, scope = self["report"], self["scope"]
        if report is not None and Path(report).suffix not in _REPORTS:
            raise usage.UsageError(f"--report: {report!r} must end in .json or .xml")
        if report is not None and not Path(report).parent.is_dir():
            raise usage.UsageError(f"--report: {report!r} is in no directory that is there")
        if scope is not None and not _SCOPE.fullmatch(scope):
            text = "must have 1 to 64 letters, digits and . _ ~ -"
            raise usage.UsageError(f"--scope: {scope!r} {text}")
        if len(self._modes()) > 1:
            raise usage.UsageError(f"{' and '.join(self._modes())}: only one mode can be")

    def _modes(self) -> list[str]:
        named = [f"--{mode}" for mode in _MODES if self[mode]]
        return named if self["mode"] is None else [*named, f"--mode {self['mode']}"]

    @property
    def fail_on(self) -> tuple[str, ...]:
        """Which of ``FAIL_ON`` were asked for."""
        return tuple(what for what in FAIL_ON if self[f"fail-on-{what}"])

    @property
    def scope(self) -> str:
        """The scope that was asked for, or a new one that nobody else has."""
        return str(self["scope"] or f"run-{secrets.token_hex(4)}")

    def flags(self) -> dict[str, str]:
        """The flags that settings are made of."""
        skipped = {*_OWN, *_MODES, *(f"fail-on-{what}" for what in FAIL_ON), "config"}
        skipped.add("allow-unrecorded")
        given = {
            name.replace("-", "_"): str(value)
            for name, value in self.items()
            if value is not None and name not in skipped
        }
        mode = next((mode for mode in _MODES if self[mode]), None)
        return {
            **given,
            **({} if mode is None else {"mode": mode}),
            **({"allow_unrecorded": "true"} if self["allow-unrecorded"] else {}),
            "proxy": "true",
            "listen": "127.0.0.1",
        }


def settings(options: RunOptions, environ: Mapping[str, str]) -> Config:
    """The settings of a run. Raises ``ConfigError``."""
    path = options["config"] or environ.get("BUFFR_CONFIG")
    config = load(Path(path) if path else None, environ, options.flags())
    forward = config.forward
    assert forward is not None
    if forward.scope_cassettes and options["scope"] is None:
        raise ConfigError(
            "forward.scope_cassettes: each run would have cassettes that no other run replays",
            hint="name the scope with --scope",
        )
    if options["cassette"]:
        if forward.mode is Mode.REPLAY and not Path(options["cassette"]).exists():
            raise ConfigError(
                f"--cassette {options['cassette']}: there is no such file",
                hint="record it in mode auto first",
            )
        forward = _with_one_cassette(forward, Path(options["cassette"]))
    return evolve(config, forward=forward)


def _with_one_cassette(forward: ForwardSettings, path: Path) -> ForwardSettings:
    """One cassette for all hosts without a row of their own."""
    every = next((row for row in forward.hosts if row.host == EVERY_HOST), None) or ForwardHost(
        host=EVERY_HOST,
        mode=forward.mode,
        cassette=path,
        match=forward.match,
        upstream=forward.upstream,
    )
    others = [row for row in forward.hosts if row.host != EVERY_HOST]
    return evolve(forward, hosts=(*others, evolve(every, cassette=path)))
