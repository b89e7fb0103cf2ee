"""The entry point of ``twistd buffr``: turns options into a service."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import ServiceMaker
from twisted.python import usage
from twisted.scripts.twistd import (  # type: ignore[attr-defined]  # it chooses by platform
    ServerOptions,
    runApp,
)

from buffr import __version__
from buffr.commands.flags import FLAGS, Flag, words_of
from buffr.commands.terminal import complain
from buffr.config import Config, load
from buffr.errors import BuffrError, ConfigError
from buffr.transport.reactor import install
from buffr.wiring.build import build
from buffr.wiring.service import BuffrService, stop_on_signals
from buffr.wiring.workers import Worker, Workers, check_workers

__all__ = ["Options", "makeService", "serve"]


class Options(usage.Options):
    """The options of ``twistd buffr``."""

    synopsis = "[options]"
    longdesc = "Flags override BUFFR_... variables, which override the settings file."
    optParameters = [  # noqa: RUF012  # Twisted's name and kind
        [flag.name, flag.short or None, None, flag.help]
        for flag in FLAGS
        if flag.value and not flag.many
    ]
    optFlags = [  # noqa: RUF012
        [flag.name, flag.short or None, flag.help] for flag in FLAGS if not flag.value
    ]
    again: Sequence[str] = ()
    """The command of another process that does the same; empty if twistd runs this one."""
    workers: Workers | None = None
    missing: str | None = None
    """The settings file that was looked for but does not exist."""

    def parseArgs(self, *arguments: str) -> None:
        """Accept no arguments other than options."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def opt_version(self) -> None:
        """Print buffr's version and exit."""
        sys.stdout.write(f"buffr {__version__}\n")
        sys.exit(0)

    def postOptions(self) -> None:
        """Read the settings, so that errors are reported before anything starts."""
        try:
            self.settings = self.read(os.environ)
        except ConfigError as error:  # for a usage error twistd would list all options first
            complain(error.message)
            if self.missing is not None and error.message.startswith("no route"):
                complain(f"there is no {self.missing} in this directory; --config names a file")
            raise SystemExit(1) from None

    def read(self, environ: Mapping[str, str], file: Path | None = None) -> Config:
        """The settings by these options and an environment; ``file`` takes their file's place.

        Raises ``ConfigError``.
        """
        flags = {
            flag.name.replace("-", "_"): self[flag.name] if flag.value else "true"
            for flag in FLAGS
            if flag.name != "config" and self.get(flag.name) not in (None, 0)
        }
        path = self["config"] or environ.get("BUFFR_CONFIG")
        return load(file or (Path(path) if path else None), environ, flags)

    @property
    def on_console(self) -> bool:
        """Whether log lines go to a console, in buffr's own form."""
        twistd = self.parent
        return twistd is None or bool(
            twistd["nodaemon"] and not twistd["logger"] and twistd["logfile"] in (None, "-")
        )


def _collects(flag: Flag) -> Callable[[Options, str], None]:
    """The method by which Twisted handles a flag that may be given several times."""

    def collect(options: Options, value: str) -> None:
        options[flag.name] = "\n".join(filter(None, (options.get(flag.name), value)))

    collect.__doc__ = flag.help
    return collect


for _flag in FLAGS:
    if _flag.many:
        setattr(Options, f"opt_{_flag.name.replace('-', '_')}", _collects(_flag))


_AGAIN = "import sys; from buffr.commands.tap import serve_words as s; sys.exit(s(sys.argv[1:]))"
_SERVICE = ServiceMaker("buffr", __name__, "A proxy that remembers.", "buffr")


def serve(path: str | None, flags: Mapping[str, str], *, missing: str | None = None) -> int:
    """Run the service in this process until a signal ends it; the exit code.

    ``path`` is the settings file, ``missing`` one that was looked for.
    """
    return serve_words(words_of(path, flags), missing=missing)


def serve_words(words: Sequence[str], *, missing: str | None = None) -> int:
    """Like ``serve``, with the arguments of ``twistd buffr``."""
    install()
    options = _one_service(missing)()
    options.parseOptions(["--nodaemon", "--pidfile=", "buffr", *words])
    ours = options.subOptions
    assert isinstance(ours, Options)
    ours.again = (sys.executable, "-c", _AGAIN, *words)
    runApp(options)
    return 0 if ours.workers is None else ours.workers.exit_code


def _one_service(missing_file: str | None) -> type[ServerOptions]:
    """Twistd's options with buffr as the only service, so that no plugins are looked for."""

    class Ours(Options):
        missing = missing_file

    class OneService(ServerOptions):
        synopsis = "Usage:"
        subCommands = ((_SERVICE.tapname, None, Ours, _SERVICE.description),)
        loadedPlugins = {_SERVICE.tapname: _SERVICE}  # noqa: RUF012  # Twisted's kind

    return OneService


def makeService(options: Options) -> BuffrService | Workers:  # Twisted's name
    """The service that ``twistd buffr`` runs."""
    from twisted.internet import reactor  # noqa: PLC0415  # its import chooses the reactor

    config, worker = options.settings, Worker.from_(os.environ)
    admin = partial(options.read, os.environ)
    try:
        if worker is None and config.workers != 1:
            return _parent(options, reactor)
        if worker is not None:
            config = worker.settings(config)
        service = build(config, reactor, on_console=options.on_console, admin=admin)
    except BuffrError as error:  # twistd would show a traceback
        complain(str(error))
        raise SystemExit(1) from None
    if worker is not None:
        worker.mind(service, reactor)
    stop_on_signals(reactor)
    return service


def _parent(options: Options, reactor: Any) -> Workers:
    """The parent of several workers. Raises ``ConfigError``."""
    if not options.again:
        raise ConfigError(
            "workers: twistd runs buffr in one process",
            hint="start `buffr serve` to have several, or set workers: 1",
        )
    check_workers(options.settings)
    workers = Workers(options.settings, options.again, reactor, on_console=options.on_console)
    options.workers = workers
    stop_on_signals(reactor)
    return workers
