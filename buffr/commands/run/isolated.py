"""The command in namespaces of its own: what it is planned with, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from buffr.commands.run.beside import HasFileno
from buffr.commands.run.child import Ended, Running, cannot_start, ended_by
from buffr.commands.run.environment import TrustFiles, trusting_environment
from buffr.isolate.files import Files
from buffr.isolate.names import Names
from buffr.isolate.namespace import Namespace
from buffr.isolate.plan import DOORS, Plan, ruleset
from buffr.tls.authority import Authority

if TYPE_CHECKING:
    from buffr.wiring.service import BuffrService

__all__ = ["Isolated"]


@define(eq=False)
class Isolated:
    """A command inside, as ``Child`` is one outside. ``scope`` is that of its requests."""

    scope: str
    _command: Sequence[str]
    _namespace: Namespace
    _trust: TrustFiles
    _files: Files
    _names: Names
    ended_at: float = 0.0
    _status: int = 0
    _waiter: threading.Thread = field(init=False)
    _reading: int = field(init=False)
    _writing: int = field(init=False)

    @classmethod
    def begin(cls, command: Sequence[str], scope: str, trust: TrustFiles) -> Isolated:
        """Make the namespaces, in which it waits for its start.

        On the main thread, and before there are others. Raises ``NoNamespace``.
        """
        environ = trusting_environment(os.environ, trust)
        files = Files.within(trust.bundle.parent, trust.bundle, trust.java, environ)
        files.write()
        plan = Plan(tuple(command), environ, files.mounts, DOORS, ruleset())
        return cls(
            scope, command, Namespace.begin(plan), trust, files, Names(files.hosts.elsewhere)
        )

    def trust(self, authority: Authority) -> None:
        """Have programs trust an authority, those too that read no variables."""
        self._trust.fill(authority, os.environ, in_place=True)
        self._files.trust(authority.trusted)

    def start(self) -> Running:
        """Start it. Raises ``CannotStart``, or ``NoNamespace``."""
        try:
            self._namespace.start()
        except OSError as error:
            raise cannot_start(self._command[0], error) from error
        self._reading, self._writing = os.pipe()
        self._waiter = threading.Thread(target=self._wait, name="command", daemon=True)
        self._waiter.start()
        return self

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        self._namespace.send(number)

    def fileno(self) -> int:
        """A file descriptor that becomes readable when it has ended."""
        return self._reading

    @property
    def has_ended(self) -> bool:
        return not self._waiter.is_alive()

    def wait(self) -> None:
        """Wait for its end, on any thread."""
        self._waiter.join()

    @property
    def ended(self) -> Ended:
        """How it has ended; waits for that."""
        self.wait()
        return ended_by(os.waitstatus_to_exitcode(self._status))

    def _wait(self) -> None:
        self._status = self._namespace.wait()
        self.ended_at = time.monotonic()
        os.close(self._writing)

    @property
    def asking(self) -> Sequence[HasFileno]:
        """What can be read as soon as the command asks for something."""
        return [made for _, made in self._namespace.out.doors]

    def lead_to(self, service: BuffrService, reactor: Any) -> None:
        """Have its connections served."""
        from buffr.isolate.gate import Gate  # noqa: PLC0415  # needs what serves

        assert service.forward is not None
        (listener,) = service.listeners
        gate = Gate(self._namespace.out, self._names, self.scope)
        gate.lead_to(service.forward, listener, reactor)

    def close(self) -> None:
        """End everything inside."""
        self._namespace.close()
