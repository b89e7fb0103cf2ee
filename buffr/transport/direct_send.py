"""TCP transports that send in ``write`` instead of in the reactor's next turn.

Twisted's own transports wait until the reactor reports that the socket is
writable: one more poll for each message, and two changes to what is polled.
If a private name of Twisted's that is used here is missing, transports stay as
they are.
"""

from __future__ import annotations

from functools import partial
from weakref import WeakKeyDictionary

from twisted.internet import tcp
from twisted.protocols.tls import TLSMemoryBIOProtocol

from buffr.transport.streams import IStreamTransport

__all__ = ["delay_nothing", "has_names", "send_at_once", "write_at_once"]

_NAMES = (
    "TLS",
    "_aborting",
    "_tempDataLen",
    "_writeDisconnected",
    "connected",
    "dataBuffer",
    "disconnecting",
    "socket",
)
_CHECKED: WeakKeyDictionary[type[tcp.Connection], bool] = WeakKeyDictionary()


def delay_nothing(transport: IStreamTransport) -> None:
    """As ``send_at_once``, and without waiting for more to send (TCP_NODELAY)."""
    if not getattr(transport, "is_prepared", False):  # TLS asks the transport under it
        transport.setTcpNoDelay(True)
        send_at_once(transport)


def send_at_once(transport: object) -> None:
    """Have a TCP transport, or the one under TLS, send in ``write`` if it has nothing buffered."""
    tcp_one = transport.transport if isinstance(transport, TLSMemoryBIOProtocol) else transport
    if not isinstance(tcp_one, tcp.Connection):
        return
    if type(tcp_one).write is not tcp.Connection.write or "write" in vars(tcp_one):
        return  # it is so already, as a client's is that buffr has accepted
    if has_names(tcp_one):
        tcp_one.write = partial(write_at_once, tcp_one)  # type: ignore[method-assign]


def has_names(transport: tcp.Connection) -> bool:
    """Whether a transport has all that is used here. Those of one class have the same."""
    kind = type(transport)
    known = _CHECKED.get(kind)
    if known is None:
        known = _CHECKED[kind] = all(hasattr(transport, name) for name in _NAMES)
    return known


def write_at_once(transport: tcp.Connection, data: bytes) -> None:
    """Send what the socket takes now, and leave the rest to Twisted's ``write``."""
    if (
        not transport.dataBuffer
        and not transport._tempDataLen  # noqa: SLF001
        and transport.connected
        and not transport._writeDisconnected  # noqa: SLF001
        and not transport.disconnecting
        and not transport._aborting  # noqa: SLF001
        and not transport.TLS
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0  # full or broken: Twisted's ``write`` finds out which
        if sent == len(data):
            return
        data = data[sent:]
    tcp.Connection.write(transport, data)
