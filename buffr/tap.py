"""Everything is put together here: settings become a tree of services."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from twisted.logger import LogLevel
from twisted.python import usage

from buffr import __version__
from buffr.config import Config, ReverseRoute, load
from buffr.engine import Engine
from buffr.errors import ConfigError
from buffr.listeners.connection import ConnectionLimits
from buffr.listeners.listener import HTTPListener, IReactorTCPTime
from buffr.listeners.reverse import reverse_handler
from buffr.log import FORMATTERS, ExchangeLog, LineObserver, logger_writer, say, stream_writer
from buffr.matching.matcher import Matcher, MatchRules
from buffr.playhead import Playhead, Repeat
from buffr.policy.mode import Mode
from buffr.policy.statuses import recorded_by_default
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.route import Route
from buffr.service import BuffrService, stop_on_signals
from buffr.stores.cassette import Access, Cassette
from buffr.tls.trust import client_tls
from buffr.upstream.connection import Patience
from buffr.upstream.origin import Origin
from buffr.upstream.pool import Pool, PoolLimits
from buffr.upstream.upstream import Upstream
from buffr.wire.head import HeadLimits

__all__ = ["Options", "build", "makeService"]


class Options(usage.Options):
    """What ``twistd buffr`` and the ``buffr`` commands take."""

    synopsis = "[options]"
    longdesc = "Flags win over BUFFR_... variables, and those over the file."

    optParameters = [  # noqa: RUF012  # Twisted's name and kind
        ["config", "c", None, "The settings' file (YAML)."],
        ["mode", None, None, "auto, record, replay or passthrough."],
        ["target", "t", None, "The upstream's URL."],
        ["port", "p", None, "The port to listen on; 0 takes a free one. [8080]"],
        ["listen", None, None, "The address to listen on. [127.0.0.1]"],
        ["cassette", None, None, "The cassette's file. [HOST.json in the data directory]"],
        ["data-dir", None, None, "Where files without a path of their own are. [.]"],
        ["repeat", None, None, "What follows a key's last recording: cycle, last or once."],
        ["keep-host", None, None, "Whether the upstream gets the client's Host: true or false."],
        ["ca-file", None, None, "Certificates (PEM) to trust beside the system's."],
        ["replay-delays", None, None, "Whether replays keep the recorded cadence."],
        ["log-format", None, None, "text or json."],
    ]

    def opt_version(self) -> None:
        """Print buffr's version and exit."""
        sys.stdout.write(f"buffr {__version__}\n")
        sys.exit(0)

    def postOptions(self) -> None:
        """Read the settings, so that a wrong one is said before anything starts."""
        flags = {
            name.replace("-", "_"): value
            for name, value in self.items()
            if value is not None and name != "config"
        }
        path = self["config"] or os.environ.get("BUFFR_CONFIG")
        try:
            self.settings = load(Path(path) if path else None, os.environ, flags)
        except ConfigError as error:
            raise usage.UsageError(error.message) from error

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
    return build(options.settings, reactor, on_console=options.on_console)


def build(config: Config, reactor: Any, *, on_console: bool) -> BuffrService:
    """The tree of services for these settings; nothing is opened before it starts.

    ``on_console`` writes log lines to standard error in buffr's own form;
    else they go where Twisted's logging goes.
    """
    formatter = FORMATTERS[config.log_format]
    write = stream_writer(sys.stderr) if on_console else logger_writer
    engine = Engine(reactor, ExchangeLog(reactor, write, config.log_format), time.time)
    rules = RedactionRules.with_extra(
        headers=config.redact.headers,
        fields=config.redact.query,
        enabled=config.redact.enabled,
    )
    cassettes = _Cassettes(config, reactor, rules)
    listeners = []
    upstreams = []
    for row in config.reverse:
        upstream = None if row.target is None else _upstream(row.target, row, config, reactor)
        if upstream is not None:
            upstreams.append(upstream)
        route = _route(row, config, rules, upstream, cassettes)
        listeners.append(_reverse_listener(row, route, config, engine, reactor))
    return BuffrService(
        listeners,
        engine,
        cassettes=tuple(cassettes.opened.values()),
        upstreams=upstreams,
        grace_s=config.limits.shutdown_s,
        data_dir=config.data_dir,
        warnings=config.warnings,
        observer=LineObserver(sys.stderr, formatter) if on_console else None,
    )


def _access(modes: set[Mode]) -> Access:
    if modes == {Mode.REPLAY}:
        return "replay"
    return "anew" if modes == {Mode.RECORD} else "append"


def _warn(line: str) -> None:
    say(LogLevel.warn, line)


class _Cassettes:
    """One ``Cassette`` for each file, however many routes share it."""

    def __init__(self, config: Config, reactor: Any, rules: RedactionRules) -> None:
        self.opened: dict[Path, Cassette] = {}
        self._config = config
        self._reactor = reactor
        self._rules = rules
        self._modes: dict[Path, set[Mode]] = {}
        for row in config.reverse:
            self._modes.setdefault(row.cassette.resolve(), set()).add(row.mode)

    def of(self, row: ReverseRoute) -> Cassette:
        """The cassette of a route. Raises ``ConfigError`` where modes do not go together."""
        path = row.cassette.resolve()
        modes = self._modes[path] - {Mode.PASSTHROUGH}
        if Mode.RECORD in modes and len(modes) > 1:
            raise ConfigError(
                f"cassette {row.cassette}: mode record sets it aside and starts it anew",
                hint="give the routes in other modes a cassette of their own",
            )
        if path not in self.opened:
            self.opened[path] = Cassette(
                row.cassette,
                redact=lambda salt: Redactor(self._rules, salt).interaction,
                call_from_thread=self._reactor.callFromThread,
                now=self._reactor.seconds,
                warn=_warn,
                durability=self._config.durability,
                file_mode=self._config.file_mode,
                access=_access(modes),
            )
        return self.opened[path]


def _upstream(origin: Origin, row: ReverseRoute, config: Config, reactor: Any) -> Upstream:
    limits = config.limits
    tls = None
    if origin.tls:
        tls = client_tls(origin.host, ca_file=row.ca_file, verify=row.verify)
    pool = Pool(
        reactor,
        origin,
        tls,
        _head_limits(config),
        Patience(limits.connect_s, limits.upstream_idle_s, limits.upstream_total_s),
        PoolLimits(limits.pool_per_host, limits.pool_idle_s),
    )
    return Upstream(origin, pool, keep_host=row.keep_host)


def _head_limits(config: Config) -> HeadLimits:
    return HeadLimits(config.limits.head_bytes, config.limits.header_count)


def _route(
    row: ReverseRoute,
    config: Config,
    rules: RedactionRules,
    upstream: Upstream | None,
    cassettes: _Cassettes,
) -> Route:
    matcher = Matcher(MatchRules(redaction=rules), with_origin=False)
    store = None
    if row.mode is not Mode.PASSTHROUGH:
        store = cassettes.of(row).view(lambda request: matcher.recorded(request).digest)
    delays = config.replay_delays if row.replay_delays is None else row.replay_delays
    return Route(
        mode=row.mode,
        upstream=upstream,
        store=store,
        matcher=matcher,
        playhead=Playhead(Repeat(row.repeat)),
        redaction=rules,
        share=row.mode is Mode.AUTO if row.share is None else row.share,
        record_statuses=row.record_statuses or recorded_by_default(row.mode),
        replay_delays=delays,
        spool_dir=config.data_dir,
        body_memory_bytes=config.limits.body_memory_bytes,
        linger_s=config.limits.linger_s,
    )


def _reverse_listener(
    row: ReverseRoute, route: Route, config: Config, engine: Engine, reactor: IReactorTCPTime
) -> HTTPListener:
    limits = config.limits
    announce = {"mode": row.mode.value}
    if row.target is not None:
        announce["target"] = row.target.url
    if route.store is not None:
        announce["cassette"] = str(row.cassette)
    return HTTPListener(
        reactor,
        "127.0.0.1" if config.listen == "localhost" else config.listen,
        row.port,
        reverse_handler(engine, route),
        limits=ConnectionLimits(
            head=_head_limits(config),
            buffer_bytes=limits.pipeline_bytes,
            idle_s=limits.client_idle_s,
            head_s=limits.head_s,
            body_idle_s=limits.body_idle_s,
            half_close_s=limits.half_close_s,
        ),
        connections=limits.connections,
        announce=announce,
    )
