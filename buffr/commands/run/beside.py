"""The command beside buffr, in an environment that sends it to the proxy's port."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from buffr.commands.run.child import Running, started
from buffr.commands.run.environment import TrustFiles, child_environment
from buffr.config import Config
from buffr.errors import ConfigError
from buffr.isolate.ledger import Ledger
from buffr.tls.authority import Authority

if TYPE_CHECKING:
    from buffr.wiring.service import BuffrService

__all__ = ["Beside", "HasFileno", "Place", "open_port"]

_BACKLOG = 1024


class HasFileno(Protocol):
    """An object that can be waited for."""

    def fileno(self) -> int:
        """Its file descriptor."""


class Place(Protocol):
    """Where a command runs, and how its connections reach the proxy."""

    @property
    def ledger(self) -> Ledger | None:
        """What the command asked for, where that is seen."""

    @property
    def asking(self) -> Sequence[HasFileno]:
        """What can be read as soon as the command asks for something."""

    def trust(self, authority: Authority) -> None:
        """Have the command's programs trust an authority. Raises ``OSError``."""

    def start(self) -> Running:
        """Start the command. Raises ``CannotStart``, or a ``BuffrError``."""

    def lead_to(self, service: BuffrService, reactor: Any) -> None:
        """Have its connections served. The service has not started yet."""

    def close(self) -> None:
        """Close what was open for it."""


@frozen(eq=False)
class Beside:
    """An open port. Connections to it wait until there is a proxy."""

    command: Sequence[str]
    scope: str
    files: TrustFiles
    key: bytes | None
    opened: socket.socket
    environ: Mapping[str, str]

    @classmethod
    def begin(
        cls,
        command: Sequence[str],
        scope: str,
        files: TrustFiles,
        config: Config,
        environ: Mapping[str, str],
    ) -> Beside:
        """Open the port. Raises ``ConfigError``."""
        assert config.forward is not None
        key = config.access.key if config.access.required else None
        return cls(command, scope, files, key, open_port(config.forward.port), environ)

    @property
    def ledger(self) -> Ledger | None:
        return None

    @property
    def asking(self) -> Sequence[HasFileno]:
        return (self.opened,)

    def trust(self, authority: Authority) -> None:
        self.files.fill(authority, os.environ)

    def start(self) -> Running:
        port: int = self.opened.getsockname()[1]
        environ = child_environment(self.environ, self.scope, port, self.files, self.key)
        return started(self.command, environ)

    def lead_to(self, service: BuffrService, reactor: Any) -> None:  # noqa: ARG002
        (listener,) = service.listeners
        listener.opened = (self.opened,)

    def close(self) -> None:
        self.opened.close()


def open_port(number: int) -> socket.socket:
    """Listen on a port of 127.0.0.1. Raises ``ConfigError``."""
    where = ("127.0.0.1", number)
    try:
        opened = socket.create_server(where, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {where[0]}:{where[1]}: {error}",
            hint="choose another port, or stop what listens there",
        ) from error
    opened.setblocking(False)
    return opened
