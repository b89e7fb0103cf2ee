"""The proxy behind which a command runs: its service, and its log.

This needs all that serves, and is imported when the command asks for something.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, TextIO

from twisted.internet import reactor as _installed
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.admin.recent import Recent
from buffr.admin.running import RouteIds
from buffr.admin.savings import Savings
from buffr.commands.run.beside import Place
from buffr.commands.run.outcome import Counts, Tally
from buffr.config import Config
from buffr.listeners import handshakes
from buffr.log import FORMATS, LineObserver
from buffr.policy.prices import Prices
from buffr.wiring.build import Clocks, build
from buffr.wiring.unused import Unused, unused

__all__ = ["Proxied", "RunLog"]

_TOLD = (LogLevel.warn, LogLevel.error, LogLevel.critical)
_TOLD_LINE = re.compile(r'(?:time=\S+ level=|\{"time": "[^"]*", "level": ")(?:WARN|ERROR)\b')
_EXCHANGES_BYTES = 1 << 20


class Proxied:
    """The service of one run."""

    def __init__(
        self,
        config: Config,
        place: Place,
        tally: Tally,
        stream: TextIO,
        clients_now: Callable[[], datetime],
    ) -> None:
        """Build it, and accept connections. Blocks.

        ``clients_now`` is the time by the command's clock.
        Raises ``BuffrError``, or ``SystemExit`` where the log says why it cannot start.
        """
        self._reactor: Any = _installed
        self._tally = tally
        log = RunLog(stream, config.log_format, tally, all_of_it=stream is not sys.stderr)
        globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
        self._service = build(
            config, self._reactor, on_console=False, clocks=Clocks(clients=clients_now)
        )
        self._service.engine.observer = tally
        # Nobody looks at the exchanges; what answers from here saved is added up.
        recent = Recent(self._reactor, time.time, RouteIds(), _EXCHANGES_BYTES, 0)
        self._service.engine.watch = recent
        prices = Prices(config.prices_of, dict(config.prices))
        self._savings = Savings(recent, prices, self._reactor)
        place.lead_to(self._service, self._reactor)
        self._service.startService()

    def serve(
        self, until: Callable[[], object], over: Callable[[], None]
    ) -> tuple[Counts, list[Unused]]:
        """Serve until ``until``, which blocks, returns, and everything is recorded.

        ``over`` is called in between, before running exchanges are waited for.
        """
        results: list[Failure | None] = []

        def begin() -> None:
            running = Deferred.fromCoroutine(self._until(until, over))
            running.addBoth(results.append).addBoth(lambda _: self._reactor.stop())

        self._reactor.callWhenRunning(begin)
        self._reactor.run(installSignalHandlers=False)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        self._tally.connections = self._service.listeners[0].accepted
        self._savings.settle()
        self._tally.saved = self._savings.total.data()
        self._tally.prices_of = self._savings.prices.of
        return Counts.of(self._service.engine.counters), unused(self._tally.routes)

    async def _until(self, until: Callable[[], object], over: Callable[[], None]) -> None:
        try:
            await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), until)
        finally:
            over()
            await self._service.stopService()


class Noted(Protocol):
    """Receives events that did not become exchanges."""

    def refused(self, status: str, why: str) -> None:
        """A request was refused before it became an exchange."""

    def without_tls(self, host: str, why: str) -> None:
        """A client failed to set up TLS with a host."""


@implementer(ILogObserver)
class RunLog:
    """Writes log events to a stream; ``all_of_it``, or what is a warning or worse.

    ``noted`` is told of what never became an exchange.
    """

    def __init__(self, stream: TextIO, form: str, noted: Noted, *, all_of_it: bool) -> None:
        self._stream = stream
        self._events = LineObserver(stream, FORMATS[form])
        self._noted = noted
        self._all = all_of_it

    def __call__(self, event: LogEvent) -> None:
        self._note(event.get("buffr_msg"), event.get("buffr_pairs", {}))
        lines = event.get("lines")  # those of exchanges come as they are to be written
        if lines is not None:
            self._write([line for line in lines.split("\n") if self._all or _TOLD_LINE.match(line)])
        elif self._all or event.get("log_level") in _TOLD:
            self._events(event)

    def _note(self, msg: str | None, pairs: Mapping[str, str]) -> None:
        match msg:
            case "request refused":
                self._noted.refused(pairs["status"], pairs["err"])
            case handshakes.REFUSED | handshakes.LEFT | handshakes.TLS_FAILED:
                why = f"{pairs['err']}; " if "err" in pairs else ""
                self._noted.without_tls(
                    pairs["host"], f"{msg}: {why}{pairs.get('hint', '')}".rstrip("; ")
                )

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
