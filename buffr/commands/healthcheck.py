"""``python -m buffr.commands.healthcheck``: checks that every port of buffr is open.

For containers. It reads the environment of the service, and its command line:
that of process 1, or its own arguments, as in
``python -m buffr.commands.healthcheck replay --cassette api.json``.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from buffr.commands.cli import parsed
from buffr.commands.parser import Misused
from buffr.config import Config, load
from buffr.container import Places, become, owner_of
from buffr.errors import ConfigError

__all__ = ["healthy", "service_of"]

_TIMEOUT_S = 2.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not listened on here
_FIRST_PROCESS = Path("/proc/1/cmdline")

Address = tuple[str, int]


def healthy(environ: Mapping[str, str], arguments: Sequence[str] = ()) -> str | None:
    """``None`` if all ports answer, otherwise the problem.

    ``arguments`` are those of the ``buffr`` command that serves.
    """
    try:
        addresses = _addresses(environ, arguments)
    except (ConfigError, Misused) as error:
        return str(error)
    if not addresses:
        return "there is no port to listen on"
    for host, port in addresses:
        if port == 0:
            return "port 0 is any free port; a health check needs a fixed one"
        try:
            socket.create_connection((host, port), _TIMEOUT_S).close()
        except OSError as error:
            return f"{host}:{port}: {error.strerror or error}"
    return None


def _addresses(environ: Mapping[str, str], arguments: Sequence[str]) -> list[Address]:
    """Where the service listens. Raises ``ConfigError``, ``Misused``."""
    if arguments:
        return _addressed_by(environ, arguments)
    path = environ.get("BUFFR_CONFIG")
    return list(_listeners(load(Path(path) if path else None, environ, {})))


def _addressed_by(environ: Mapping[str, str], arguments: Sequence[str]) -> list[Address]:
    module, given = parsed(arguments)
    if module.__name__ == "buffr.commands.serve":
        theirs = module.buddy_arguments(given)
        if theirs is not None:
            # All of a server's modules: nobody else pays for them.
            from buffr.commands.api_buddy import address  # noqa: PLC0415

            return [_reached(*address(theirs))]
    if not hasattr(module, "settings"):
        raise ConfigError(f"`{given.parser.prog}` serves no port that could be checked")
    return list(_listeners(module.settings(given, environ)))


def _listeners(config: Config) -> Iterator[Address]:
    for row in config.reverse:
        yield _reached(config.listen, row.port)
    for listener in (config.gateway, config.forward):
        if listener is not None:
            yield _reached(config.listen, listener.port)


def _reached(host: str, port: int) -> Address:
    return _EVERY_ADDRESS.get(host, host), port


def service_of(command_line: bytes) -> list[str]:
    """The arguments of buffr in a process's command line as ``/proc`` has it; none if it is not.

    Before it may stand an interpreter, and an init process before that.
    """
    words = [os.fsdecode(word) for word in command_line.split(b"\0")[:-1]]
    names = [Path(word).name for word in words]
    return words[names.index("buffr") + 1 :] if "buffr" in names else []


def _first_process() -> bytes:
    try:
        return _FIRST_PROCESS.read_bytes()
    except OSError:
        return b""


def _as_the_service() -> None:
    """Become the service's user: in its container, it dropped root privileges."""
    if os.geteuid() == 0:
        with suppress(OSError):
            owner = owner_of(Places())
            if not owner.is_root:
                become(owner)


if __name__ == "__main__":
    _as_the_service()
    wrong = healthy(os.environ, sys.argv[1:] or service_of(_first_process()))
    if wrong is not None:
        sys.stderr.write(f"buffr: {wrong}\n")
        sys.exit(1)
