"""One run: proxy up, command through it, proxy down."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from buffr.commands.run.child import Child, Ended
from buffr.commands.run.environment import child_environment
from buffr.commands.run.options import fail_on, scope_of
from buffr.commands.run.outcome import Outcome
from buffr.commands.run.signals import SignalWatch
from buffr.commands.run.tally import Tally
from buffr.commands.run.trust_files import TrustFiles
from buffr.commands.run.unused import unused
from buffr.config import Config
from buffr.tls.authority import Authority
from buffr.wiring.access_keys import with_keys
from buffr.wiring.build import build

__all__ = ["Session"]


@define(eq=False)
class Session:
    """Runs the command that ``given`` names behind a proxy of its own.

    The signals that ``watch`` tells of are passed on to it, those too that
    came before it had begun.
    """

    reactor: Any
    given: argparse.Namespace
    config: Config
    authority: Authority
    environ: Mapping[str, str]
    tally: Tally
    watch: SignalWatch
    _child: Child | None = field(init=False, default=None)
    _early: list[signal.Signals] = field(init=False, factory=list)
    _killing: IDelayedCall | None = field(init=False, default=None)

    def signalled(self, number: signal.Signals) -> None:
        """Pass a signal on; SIGTERM asks for an end, and is followed by one."""
        if self._child is None:
            self._early.append(number)
            return
        self._child.send(number)
        if number is signal.SIGTERM and self._killing is None:
            grace_s = self.given.grace
            self._killing = self.reactor.callLater(grace_s, self._child.send, signal.SIGKILL)

    async def run(self) -> Outcome:
        """Run it to its end; everything is recorded then.

        Raises ``CannotStart``, ``BuffrError``, or ``SystemExit`` where the
        service has logged why it cannot start.
        """
        # A key that is required and not set is made here: the command has to know it.
        self.config = with_keys(self.config)
        service = build(self.config, self.reactor, on_console=False)
        service.engine.observer = self.tally
        service.startService()
        started = time.monotonic()
        try:
            ended = await self._through(service.listeners[0].port)
            dur_s = time.monotonic() - started
        finally:
            self.watch.stop()  # from here on, a signal ends buffr at once
            await service.stopService()
        self.tally.connections = service.listeners[0].accepted
        return Outcome(
            command=Path(self.given.command[0]).name,
            ended=ended,
            dur_s=dur_s,
            counters=service.engine.counters,
            tally=self.tally,
            unused=unused(self.tally.routes),
            fail_on=fail_on(self.given),
        )

    async def _through(self, port: int) -> Ended:
        with TemporaryDirectory(prefix="buffr-run-", ignore_cleanup_errors=True) as directory:
            files = TrustFiles.write(Path(directory), self.authority, self.environ)
            access = self.config.access
            key = access.key if access.required else None
            environ = child_environment(self.environ, scope_of(self.given), port, files, key)
            with self._started(environ) as child:
                return await child.ended(self.reactor)

    @contextmanager
    def _started(self, environ: Mapping[str, str]) -> Iterator[Child]:
        with self.watch.as_before():
            child = Child.start(self.given.command, environ)
        self._child = child
        for number in self._early:
            self.signalled(number)
        try:
            yield child
        finally:
            if self._killing is not None and self._killing.active():
                self._killing.cancel()
