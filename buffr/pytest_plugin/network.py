"""Connections that a test must not make: all but those to the proxy and to allowed hosts."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["NetworkBlocked", "allowed", "blocked", "free_threads"]

allowed: set[tuple[str, int]] = set()
"""Addresses of buffr's own that are always reached."""

free_threads: set[int] = set()
"""Threads that are the proxy's, in a process that has it."""


class NetworkBlocked(RuntimeError):
    """A connection that the test is not allowed to make."""


@contextmanager
def blocked(hosts: Sequence[str] = ()) -> Iterator[None]:
    """Refuse connections meanwhile; ``hosts`` are regular expressions of hosts to be reached."""
    patterns = [re.compile(host) for host in hosts]
    replaced = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
    for name, method in replaced.items():
        setattr(socket.socket, name, _guarded(method, patterns))
    try:
        yield
    finally:
        for name, method in replaced.items():
            setattr(socket.socket, name, method)


def _guarded(method: Callable[..., Any], patterns: list[re.Pattern[str]]) -> Callable[..., Any]:
    def guarded(self: socket.socket, *arguments: Any) -> Any:
        # The address is the last argument of each of them.
        address = arguments[-1] if arguments else None
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            _check(str(address[0]), int(address[1]), patterns)
        return method(self, *arguments)

    return guarded


def _check(host: str, port: int, patterns: list[re.Pattern[str]]) -> None:
    if (host, port) in allowed or threading.get_ident() in free_threads:
        return
    if any(pattern.match(host) for pattern in patterns):
        return
    raise NetworkBlocked(f"buffr blocks the network: no connection to {host}:{port}")
