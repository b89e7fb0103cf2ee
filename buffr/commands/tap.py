"""Everything is put together here: settings become a tree of services."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.python import usage

from buffr import __version__
from buffr.commands.terminal import complain
from buffr.config import Config, load
from buffr.errors import BuffrError, ConfigError
from buffr.wiring.build import build
from buffr.wiring.service import BuffrService, stop_on_signals

__all__ = ["Options", "makeService"]


class Options(usage.Options):
    """What ``twistd buffr`` and the ``buffr`` commands take."""

    synopsis = "[options]"
    longdesc = "Flags win over BUFFR_... variables, and those over the file."

    optParameters = [  # noqa: RUF012  # Twisted's name and kind
        ["config", "c", None, "The settings' file (YAML)."],
        ["mode", None, None, "auto, record, replay, cache or passthrough."],
        ["target", "t", None, "The upstream's URL."],
        ["port", "p", None, "The port to listen on; 0 takes a free one. [8080]"],
        ["listen", None, None, "The address to listen on. [127.0.0.1]"],
        ["cassette", None, None, "The cassette's file. [HOST.json in the data directory]"],
        ["store", None, None, "Mode cache's store: memory: or sqlite:FILE. [buffr-cache.db]"],
        ["ttl", None, None, "Mode cache: how long answers are fresh, like 12h. [as they say]"],
        ["data-dir", None, None, "Where files without a path of their own are. [.]"],
        ["repeat", None, None, "What follows a key's last recording: cycle, last or once."],
        ["keep-host", None, None, "Whether the upstream gets the client's Host: true or false."],
        ["ca-file", None, None, "Certificates (PEM) to trust beside the system's."],
        ["replay-delays", None, None, "Whether replays keep the recorded cadence."],
        ["log-format", None, None, "text or json."],
        ["proxy", None, None, "Whether a forward proxy is wanted: true."],
        ["bypass", None, None, "Hosts that a forward proxy does not look into, by commas."],
        ["ca-cert", None, None, "The certificate of buffr's CA (PEM)."],
        ["ca-key", None, None, "The key of buffr's CA (PEM)."],
    ]

    optFlags = [  # noqa: RUF012
        ["allow-unrecorded", None, "Start also where recordings could not be written."],
    ]

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments but options."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def opt_version(self) -> None:
        """Print buffr's version and exit."""
        sys.stdout.write(f"buffr {__version__}\n")
        sys.exit(0)

    def postOptions(self) -> None:
        """Read the settings, so that a wrong one is said before anything starts."""
        try:
            self.settings = self.read(os.environ)
        except ConfigError as error:  # for a usage error twistd would list all options first
            complain(error.message)
            raise SystemExit(1) from None

    def read(self, environ: Mapping[str, str]) -> Config:
        """The settings by these options and an environment. Raises ``ConfigError``."""
        flags = {
            name.replace("-", "_"): value
            for name, value in self.items()
            if value is not None and name not in ("config", "allow-unrecorded")
        }
        if self["allow-unrecorded"]:
            flags["allow_unrecorded"] = "true"
        path = self["config"] or environ.get("BUFFR_CONFIG")
        return load(Path(path) if path else None, environ, flags)

    @property
    def on_console(self) -> bool:
        """Whether log lines go to a console, in buffr's own form."""
        twistd = self.parent
        return twistd is None or bool(
            twistd["nodaemon"] and not twistd["logger"] and twistd["logfile"] in (None, "-")
        )


def makeService(options: Options) -> BuffrService:  # Twisted's name
    """The service that ``twistd buffr`` runs."""
    from twisted.internet import reactor  # noqa: PLC0415  # its import chooses the reactor

    stop_on_signals(reactor)
    try:
        return build(options.settings, reactor, on_console=options.on_console)
    except BuffrError as error:  # twistd would show a traceback
        complain(str(error))
        raise SystemExit(1) from None
