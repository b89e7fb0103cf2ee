"""How many bytes a TCP transport takes in one read.

Each read costs much the same, so a long body takes few large ones. Twisted
reserves the memory of a whole read for each, so everything else takes small
ones.
"""

from __future__ import annotations

from twisted.internet import tcp

__all__ = ["after_read", "usual_reads"]

_USUAL_BYTES = tcp.Connection.bufferSize
_MANY_BYTES = 256 * 1024


def after_read(transport: object, size_bytes: int) -> None:
    """Note that a read had so many bytes of a body: after a full one, more are read at once."""
    if size_bytes >= _USUAL_BYTES and isinstance(transport, tcp.Connection):
        transport.bufferSize = _MANY_BYTES


def usual_reads(transport: object) -> None:
    """Read as before the body."""
    if isinstance(transport, tcp.Connection):
        transport.bufferSize = _USUAL_BYTES
