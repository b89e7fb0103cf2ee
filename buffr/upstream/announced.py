"""Which ports of this machine a buffr listens on, so that bytes for others stay as they are.

Each listener holds a name in Linux's abstract socket namespace, which ends
with its process; it is one for each network namespace, as ports are.
"""

from __future__ import annotations

import socket
import sys
from typing import Protocol

__all__ = ["Announced", "announce_port", "is_announced"]

_NAME = "\0buffr-port-%d"


class Announced(Protocol):
    """A port that is announced until it is closed."""

    def close(self) -> None: ...


def announce_port(port: int) -> Announced | None:
    """Announce a port that this process listens on; ``None`` where that is not possible."""
    if sys.platform != "linux":
        return None
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(_NAME % port)
    except OSError:  # another address's port of this number, or a sandbox
        name.close()
        return None
    return name


def is_announced(port: int) -> bool:
    """Whether a buffr may listen on a port of this machine; where that is unknown, it may."""
    if sys.platform != "linux":
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_NAME % port)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
