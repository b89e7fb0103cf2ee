"""Rings: a request that comes back to a buffr that has sent it on already (RFC 9110 7.6.3).

``Via`` is the standard's field for it, but servers change their answers for
it: nginx leaves out compression, for one. So buffr has a field of its own. It
goes only where another buffr may be that leads back here: to private
addresses, and on this machine to ports that a buffr listens on.
"""

from __future__ import annotations

import socket
import sys
from enum import Enum, auto
from hashlib import blake2b
from typing import Protocol

from buffr.errors import LoopDetected
from buffr.message import HOPS

__all__ = ["Announced", "Hops", "Mark", "announce_port", "is_announced"]

_MOST = 20
"""Where each round changes the target, as a base path does, only their number tells."""
_NAME = "\0buffr-port-%d"


class Mark(Enum):
    """Whether requests on a connection say by which buffrs they came."""

    NEVER = auto()
    PASS_ON = auto()
    """Those that came with the field."""
    ADD = auto()


class Hops:
    """Knows the requests that one buffr has sent on.

    A hop is a hash of what is asked for: a buffr may well be passed twice, by
    way of a program that uses it for its own calls. ``secret`` is a random
    value, so that nobody learns anything from it.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _own(self, method: bytes, url: bytes) -> bytes:
        asked = method + b" " + url
        return blake2b(asked, key=self._secret, digest_size=8).hexdigest().encode("ascii")

    def check(self, hops: bytes, method: bytes, url: bytes) -> None:
        """Raise ``LoopDetected`` for a request that has been here. ``hops`` is as it came."""
        passed = hops.split(b", ")
        if len(passed) >= _MOST or self._own(method, url) in passed:
            raise LoopDetected(
                "the request has come back to this buffr, which had sent it on",
                hint="its target, or a parent proxy, leads back here",
            )

    def field(self, hops: bytes, method: bytes, url: bytes) -> tuple[bytes, bytes]:
        """The field that says that it was here."""
        own = self._own(method, url)
        return HOPS, hops + b", " + own if hops else own


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
