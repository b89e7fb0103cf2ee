"""Loops: a request that comes back to a buffr that has already sent it on (RFC 9110 7.6.3).

``Via`` is the standard's field for this, but servers change their answers
because of it: nginx, for one, does not compress then. So buffr has a field of
its own. It is sent only where another buffr may lead back here: to private
addresses, and on this machine to ports that a buffr listens on. Each listener
announces its port by a name in Linux's abstract socket namespace, which ends
with its process; there is one namespace for each network namespace, as for ports.
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
"""If each round changes the target, as a base path does, only the number of hops shows a loop."""
_NAME = "\0buffr-port-%d"


class Mark(Enum):
    """Whether requests on a connection name the buffrs that they have passed."""

    NEVER = auto()
    PASS_ON = auto()
    """Only requests that came with the field."""
    ADD = auto()


class Hops:
    """Recognises the requests that one buffr has sent on.

    A hop is a keyed hash of the method and URL: a request may legitimately
    lead to another one through the same buffr, made by a program behind it.
    ``secret`` is a random value, so that a hop reveals nothing.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _own(self, method: bytes, url: bytes) -> bytes:
        asked = method + b" " + url
        return blake2b(asked, key=self._secret, digest_size=8).hexdigest().encode("ascii")

    def check(self, hops: bytes, method: bytes, url: bytes) -> None:
        """Raise ``LoopDetected`` for a request that was here before. ``hops`` is as received."""
        passed = hops.split(b", ")
        if len(passed) >= _MOST or self._own(method, url) in passed:
            raise LoopDetected(
                "the request has come back to this buffr, which had sent it on",
                hint="its target, or a parent proxy, leads back here",
            )

    def field(self, hops: bytes, method: bytes, url: bytes) -> tuple[bytes, bytes]:
        """The field that records that the request was here."""
        own = self._own(method, url)
        return HOPS, hops + b", " + own if hops else own


class Announced(Protocol):
    """An announced port, until it is closed."""

    def close(self) -> None: ...


def announce_port(port: int) -> Announced | None:
    """Announce a port that this process listens on. Returns ``None`` if that is impossible."""
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
    """Whether a buffr listens on a port of this machine. ``True`` if that is unknown."""
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
