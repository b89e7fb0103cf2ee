"""The admin listener: a port beside the others, and the file that leads buffr's commands to it."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.logger import LogLevel

from buffr.admin.events import EventPages
from buffr.admin.exchange_pages import ExchangePages
from buffr.admin.interaction_pages import InteractionPages
from buffr.admin.metrics import Lag, MetricPages
from buffr.admin.miss_pages import MissPages
from buffr.admin.misses import Misses
from buffr.admin.page import StaticFiles
from buffr.admin.process import ProcessPages
from buffr.admin.recent import Recent
from buffr.admin.running_pages import RunningPages
from buffr.admin.savings import Savings
from buffr.admin.server import AdminServer, Pages
from buffr.admin.status import StatusPages
from buffr.admin.summaries import Summaries
from buffr.config.admin import ADMIN_FILE, AdminSettings
from buffr.errors import ConfigError
from buffr.listeners.client import ConnectionLimits
from buffr.listeners.listener import HTTPListener
from buffr.log import say
from buffr.origin import host_and_port
from buffr.policy.own_names import OwnNames
from buffr.policy.prices import Prices
from buffr.tls.contexts import own_names
from buffr.wiring.access_keys import new_key
from buffr.wiring.live import LiveService

__all__ = ["AdminListener"]

_CONNECTIONS = 100


@define(eq=False)
class AdminListener:
    """Serves the admin pages of a running service from ``start`` to ``stop``."""

    settings: AdminSettings
    live: LiveService
    reactor: Any
    of_worker: bool = False
    """Whether only the parent of this process has to know of it."""
    token: str = field(init=False)
    _listener: HTTPListener | None = field(init=False, default=None)
    _events: EventPages = field(init=False)
    _pages: Pages = field(init=False)
    _lag: Lag = field(init=False)

    @token.default
    def _token(self) -> str:
        chosen = self.settings.token
        return new_key() if chosen is None else chosen.decode("ascii")

    @property
    def url(self) -> str:
        """Where it listens, as browsers on this machine reach it."""
        assert self._listener is not None
        host, port = self._listener.address
        return f"http://{host_and_port('127.0.0.1' if host == '0.0.0.0' else host, port)}"  # noqa: S104

    def start(self) -> None:
        """Listen, and say where. Raises ``ConfigError`` if the port that was chosen is taken."""
        self._lag.start()
        self.live.routes()  # which gives them their ids
        address = self.settings.address
        try:
            self._listen(address.port)
        except ConfigError:
            if address.chosen:
                raise
            self._listen(0)
        if self.of_worker:
            return
        try:
            _write(self._file, {"url": self.url, "token": self.token, "pid": os.getpid()})
        except OSError as error:
            # Mode replay needs no directory that can be written.
            what = f"{self._file}: {error.strerror}; buffr's own commands need --url and --token"
            say(LogLevel.debug, what)
        say(LogLevel.info, "admin", url=f"{self.url}/#token={self.token}")

    def __attrs_post_init__(self) -> None:
        live, settings = self.live, self.settings
        self._lag = Lag(self.reactor)
        recent = Recent(
            self.reactor,
            time.time,
            live.ids,
            settings.exchanges_bytes,
            settings.body_bytes,
        )
        live.engine.watch = recent
        summaries = Summaries(live.ids, live.rules, self.reactor)
        process = ProcessPages(live, time.time, recent.figures.by_route)
        prices = Prices(live.config.prices_of, dict(live.config.prices))
        savings = Savings(recent, prices, self.reactor)
        misses = Misses(recent, lambda: self._events.changed("misses"))
        status = StatusPages(
            live,
            recent,
            process,
            misses.__len__,
            lambda: len(self._events.watchers),
            savings.total.data,
        )
        self._events = EventPages(recent, summaries, self.reactor, status.hello, status.counts)
        exchanges = ExchangePages(live, recent, summaries, self.reactor)
        changed = self._events.changed
        missed = MissPages(live, recent, misses, summaries, self.reactor, changed)
        running = RunningPages(live, recent, process, changed, savings.in_scope)
        recordings = InteractionPages(
            live, self.reactor, time.monotonic, changed, savings.of_interaction
        )
        metrics = MetricPages(live, recent, savings, self._lag, self.reactor, misses.__len__)
        pages = (
            *(process, status, exchanges, self._events, missed),
            *(running, recordings, savings, metrics),
        )
        self._pages = Pages([one for each in pages for one in each.endpoints()])

    def _listen(self, port: int) -> None:
        host = (
            "127.0.0.1"
            if self.settings.address.host == "localhost"
            else (self.settings.address.host)
        )
        server = AdminServer(
            self._pages,
            StaticFiles(),
            self.token.encode("ascii"),
            OwnNames(host, (*self.settings.hosts, *own_names())),
            reads_need_token=not self.settings.on_loopback,
        )
        listener = HTTPListener(
            self.reactor,
            host,
            port,
            server.handle,
            limits=ConnectionLimits(),
            connections=_CONNECTIONS,
            announce=None,
        )
        listener.startService()
        self._listener = listener

    @property
    def _file(self) -> Path:
        return self.live.config.data_dir / ADMIN_FILE

    async def stop(self) -> None:
        """Stop listening; requests under way are cut."""
        with suppress(OSError, ValueError):
            if json.loads(self._file.read_bytes()).get("token") == self.token:
                self._file.unlink()
        self._events.stop()
        self._lag.stop()
        if self._listener is not None:
            await self._listener.stop(0)


def _write(path: Path, data: dict[str, object]) -> None:
    """Write a file that only its owner can read, at once."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(data, file)
            file.write("\n")
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
