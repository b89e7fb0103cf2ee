"""A TCP server transport that sends at once what it is given.

Twisted's own keeps bytes until the reactor next asks whether the socket takes
them: a poll more for each answer. This is the one place that uses Twisted's
private names; where they are missing, ``listening_port`` gives the stock port.
"""

from __future__ import annotations

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IListeningPort, IReactorTCP
from twisted.internet.protocol import ServerFactory

__all__ = ["listening_port"]


_NAMES = (
    "_aborting",
    "_tempDataLen",
    "_writeDisconnected",
    "connected",
    "dataBuffer",
    "disconnecting",
    "writeSomeData",
)


class _DirectServer(tcp.Server):
    """Sends in ``write`` while nothing waits before it; the rest goes the stock way."""

    def write(self, data: bytes) -> None:
        if (
            not self.dataBuffer
            and not self._tempDataLen
            and self.connected
            and not self._writeDisconnected
            and not self.disconnecting
            and not self._aborting
            and data
        ):
            sent = self.writeSomeData(data)
            if isinstance(sent, int):
                if sent == len(data):
                    return
                data = data[sent:]
        super().write(data)


class _DirectPort(tcp.Port):
    transport = _DirectServer


def _private_names_exist() -> bool:
    known = {*dir(tcp.Server), *FileDescriptor.__init__.__code__.co_names}
    return known.issuperset(_NAMES) and hasattr(tcp.Port, "transport")


def listening_port(
    reactor: IReactorTCP, port: int, factory: ServerFactory, interface: str, *, backlog: int = 1024
) -> IListeningPort:
    """Listen on an address. Raises ``CannotListenError``."""
    if _private_names_exist():
        direct = _DirectPort(port, factory, backlog, interface, reactor)
        direct.startListening()
        return direct
    return reactor.listenTCP(port, factory, backlog, interface)
