"""The command in namespaces of its own: what it is planned with, and how it ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from buffr.commands.run.beside import HasFileno, open_port
from buffr.commands.run.child import (
    Running,
    cannot_start,
    in_foreground,
    take_foreground,
)
from buffr.commands.run.environment import TrustFiles, trusting_environment
from buffr.isolate.files import Files
from buffr.isolate.ledger import Ledger
from buffr.isolate.loopback import Allowed, Published, host_services
from buffr.isolate.names import Names
from buffr.isolate.namespace import Namespace
from buffr.isolate.plan import Door, Plan, ruleset
from buffr.tls.authority import Authority

if TYPE_CHECKING:
    from buffr.wiring.service import BuffrService

__all__ = ["Isolated", "Passing"]


@frozen
class Passing:
    """What passes between inside and outside as it is."""

    allowed: tuple[Allowed, ...] = ()
    published: tuple[Published, ...] = ()

    def doors(self) -> tuple[Door, ...]:
        """Sockets inside for services of the machine's loopback."""
        return tuple(
            Door("allowed", family, socket.SOCK_STREAM, (host, one.port))
            for one in self.allowed
            if one.is_loopback
            for family, host in _ends_of(one)
        )

    def addresses(self, names: Names) -> list[tuple[str, int]]:
        """The addresses that other hosts have inside."""
        found = []
        for one in self.allowed:
            if not one.is_loopback:
                address = one.address
                ends = names.addresses(one.host) if address is None else (address,)
                found += [(str(end), one.port) for end in ends]
        return found

    @property
    def names(self) -> list[str]:
        """The names of other hosts, which exist in any case."""
        return [one.host for one in self.allowed if not one.is_loopback and one.address is None]


def _ends_of(one: Allowed) -> list[tuple[int, str]]:
    v4, v6 = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")
    if one.address is None:
        return [v4, v6]
    return [(v4[0], one.host) if one.address.version == 4 else v6]


@define(eq=False)
class Isolated:
    """A command inside. ``scope`` is that of its requests."""

    scope: str
    _command: Sequence[str]
    _namespace: Namespace
    _trust: TrustFiles
    _files: Files
    _names: Names
    _passing: Passing
    _published: list[tuple[Published, socket.socket]]
    ledger: Ledger = field(factory=Ledger)

    @classmethod
    def begin(
        cls,
        command: Sequence[str],
        scope: str,
        trust: TrustFiles,
        passing: Passing,
        environ: Mapping[str, str],
    ) -> Isolated:
        """Make the namespaces, in which it waits for its start.

        On the main thread, and before there are others. Raises
        ``NoNamespace``, or ``ConfigError`` for a published port that is in use.
        """
        environ = trusting_environment(environ, trust)
        files = Files.within(trust.bundle.parent, trust.bundle, trust.java, environ)
        files.write()
        names = Names((*files.hosts.elsewhere, *passing.names))
        rules = ruleset(passing.addresses(names), host_services())
        plan = Plan.of(command, environ, mounts=files.mounts, doors=passing.doors(), rules=rules)
        # Before the ports are open, so that nobody inside has them.
        namespace = Namespace.begin(plan)
        published = []
        try:
            for one in passing.published:
                published.append((one, open_port(one.outside)))  # noqa: PERF401  # to be closed
        except BaseException:
            _close(published)
            namespace.close()
            raise
        return cls(scope, command, namespace, trust, files, names, passing, published)

    def trust(self, authority: Authority) -> None:
        """Have programs trust an authority, those too that read no variables."""
        self._trust.fill(authority, os.environ, in_place=True)
        self._files.trust(authority.trusted)

    def start(self) -> Running:
        """Start it. Raises ``CannotStart``, or ``NoNamespace``."""
        had_terminal = in_foreground()
        try:
            self._namespace.start()
        except OSError as error:
            raise cannot_start(self._command[0], error) from error

        def wait() -> int:
            code = os.waitstatus_to_exitcode(self._namespace.wait())
            if had_terminal:
                # A shell gives it back to the group that had it; inside, that has no name.
                take_foreground()
            return code

        return Running(wait, self._namespace.send)

    @property
    def asking(self) -> Sequence[HasFileno]:
        """What can be read as soon as the command asks for something."""
        out = self._namespace.out
        doors = (made for door, made in out.doors if door.name != "sink")
        return [*doors, out.log, out.attempts, *(made for _, made in self._published)]

    def lead_to(self, service: BuffrService, reactor: Any) -> None:
        """Have its connections served."""
        from buffr.isolate.gate import Gate  # noqa: PLC0415  # needs what serves

        assert service.forward is not None
        (listener,) = service.listeners
        gate = Gate(
            self._namespace,
            self._names,
            self.scope,
            self.ledger,
            self._passing.allowed,
            self._published,
        )
        gate.lead_to(service.forward, listener, reactor)

    def close(self) -> None:
        """End everything inside."""
        _close(self._published)
        self._namespace.close()


def _close(published: Sequence[tuple[Published, socket.socket]]) -> None:
    for _, made in published:
        made.close()
