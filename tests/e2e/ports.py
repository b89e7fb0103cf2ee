"""Ports of which a test needs to know the number before anything listens there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["free_port"]


def free_port() -> int:
    """A port that nobody listens on, and that no other test or program is given meanwhile.

    A port that the system gave, and that is closed again, it gives to the next who asks. So
    each worker has a range of its own, below those that the system gives.
    """
    return next(_PORTS)


def _free() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        for port in range(20_000 + worker % 24 * 500, 20_500 + worker % 24 * 500):
            with suppress(OSError):
                socket.create_server(("127.0.0.1", port)).close()
                yield port


_PORTS = _free()
