"""Connections that clients made, with less work for each than Twisted's own transports make."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.internet.address import IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection, Server
from twisted.python.failure import Failure

from buffr.transport.direct_send import has_names, write_at_once

__all__ = ["INHERITS_NO_DELAY", "Accepted", "transport_for"]

INHERITS_NO_DELAY = sys.platform == "linux"
"""Whether an accepted socket has TCP_NODELAY from the one that listens."""
_NAMES = ("_addressType", "_writeDisconnecting", "producer", "streamingProducer")
_DONE = Failure(CONNECTION_DONE)


class Accepted(Server):
    """Like Twisted's, but it sends in ``write``, and is closed without one more turn.

    Twisted's waits for the reactor to report that the socket is writable, to
    close it as to send: one more poll, and two changes to what is polled. Here
    a connection that is closed while what came on it is dealt with, and that
    has nothing left to send, is gone as soon as that was dealt with.
    """

    is_prepared = INHERITS_NO_DELAY
    """Whether it delays nothing as it is."""
    logstr = "client"
    repstr = "<a client's connection>"

    def __init__(
        self,
        sock: socket.socket,
        protocol: Any,
        client: tuple[Any, ...],
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        Connection.__init__(self, sock, protocol, reactor)
        if len(client) != 2:
            self._addressType = IPv6Address
        self.server = server
        self.client = client
        self.sessionno = sessionno
        self.hostname = client[0]
        self._dealing = False
        """Whether what came on this connection is being dealt with."""
        self._writing = False
        """Whether the reactor may still be waiting for room to write."""
        self.startReading()
        self.connected = 1

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001  # as Twisted has it
        if not (enabled and INHERITS_NO_DELAY):
            super().setTcpNoDelay(enabled)

    def doRead(  # type: ignore[override]  # Twisted annotates what it puts in its place
        self,
    ) -> ConnectionDone | ConnectionLost | None:
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            # As the reactor does, which finds out first what kind of connection this is.
            self.stopReading()
            self.readConnectionLost(_DONE)
            return None
        self._dealing = True
        self.protocol.dataReceived(data)
        self._dealing = False
        if self.disconnecting:
            self._end()
        return None

    def readConnectionLost(self, reason: Failure) -> None:
        self._dealing = True
        super().readConnectionLost(reason)
        self._dealing = False
        if self.disconnecting:
            self._end()

    write = write_at_once

    def loseConnection(self) -> None:
        if self._dealing and self.connected and self._has_all_sent():
            self.disconnecting = 1
        else:
            super().loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: FBT001  # as above
        if self.producer is None and streaming and self.connected and not self.TLS:
            self.producer, self.streamingProducer = producer, True
        else:
            super().registerProducer(producer, streaming)

    def startReading(self) -> None:
        self._reading = True
        self.reactor.addReader(self)

    def stopReading(self) -> None:
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)

    def startWriting(self) -> None:
        self._writing = True
        self.reactor.addWriter(self)

    def stopWriting(self) -> None:
        if self._writing:
            self._writing = False
            self.reactor.removeWriter(self)

    def _has_all_sent(self) -> bool:
        return not (
            self.dataBuffer
            or self._tempDataLen
            or self._writeDisconnecting
            or self.TLS
            or (self.producer is not None and not self.streamingProducer)
        )

    def _end(self) -> None:
        """Close, unless that is under way, or there is something to send meanwhile."""
        if not self.connected or self._aborting:
            return
        if self._has_all_sent():
            self._end_at_once()
        else:
            self.stopReading()

    def _end_at_once(self) -> None:
        """As ``connectionLost`` does where all is sent and the reason is no abort."""
        self.disconnected = 1
        self.connected = 0
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.stopReading()
        self.stopWriting()
        self._closeSocket(True)  # as Twisted has it
        protocol = self.protocol
        del self.protocol, self.socket, self.fileno
        protocol.connectionLost(_DONE)


def transport_for(reactor: Any) -> type[Server]:
    """What stands for a connection; Twisted's own if that has lost the names that are used here."""
    with socket.socket() as none:
        probe = Connection(none, Protocol(), reactor)
    return (
        Accepted if has_names(probe) and all(hasattr(Server, name) for name in _NAMES) else Server
    )
