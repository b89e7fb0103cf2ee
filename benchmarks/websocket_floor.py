"""What a relay of frames costs at least: a bare pair of Twisted's protocols that reads them.

``python -m benchmarks.websocket_floor PORT UPSTREAM_PORT``. It reads the length
of each frame, unmasks its payload, and passes its bytes on. It judges nothing
and keeps nothing.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor as _installed
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory

from buffr.transport.direct_send import send_at_once
from buffr.transport.streams import IStreamTransport
from buffr.wire.websocket_frames import unmask

_END_OF_HEAD = b"\r\n\r\n"


class _End(Protocol):
    """One end: bytes up to the end of the handshake's head pass as they are, frames after it."""

    transport: IStreamTransport
    peer: _End

    def __init__(self) -> None:
        self._buffer = b""
        self._switched = False
        self.payloads = 0

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        send_at_once(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if not self._switched:
            self._buffer += data
            if self._buffer.endswith(_END_OF_HEAD):
                self._switched = True
                data, self._buffer = self._buffer, b""
                self.peer.transport.write(data)
            return
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while (end := self._frame(buffer, at)) is not None:
            at = end
        self._buffer = buffer[at:]
        self.peer.transport.write(buffer[:at])

    def _frame(self, buffer: bytes, at: int) -> int | None:
        """Where the frame ends that begins here; ``None`` if it is not there yet."""
        size = len(buffer)
        if size - at < 2:
            return None
        second = buffer[at + 1]
        start, length = at + 2, second & 0x7F
        if length > 125:
            extra = 2 if length == 126 else 8
            length = int.from_bytes(buffer[start : start + extra])
            start += extra
        if second & 0x80:
            start += 4
        end = start + length
        if end > size:
            return None
        payload = buffer[start:end]
        if second & 0x80:
            payload = unmask(payload, buffer[start - 4 : start])
        self.payloads += len(payload)
        return end

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002
        if hasattr(self, "peer"):
            self.peer.transport.loseConnection()


class _Client(_End):
    """A client's end, whose upstream's is made with it."""

    def __init__(self, reactor: IReactorTCP, upstream_port: int) -> None:
        super().__init__()
        self._reactor = reactor
        self._upstream_port = upstream_port

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.pauseProducing()
        self._reactor.connectTCP("127.0.0.1", self._upstream_port, _Upstreams(self))


class _Upstreams(ClientFactory):
    noisy = False

    def __init__(self, client: _End) -> None:
        self._client = client

    def buildProtocol(self, addr: object) -> Protocol:  # noqa: ARG002
        return _Upstream(self._client)


class _Upstream(_End):
    """The upstream's end; the client's is read from now on."""

    def __init__(self, client: _End) -> None:
        super().__init__()
        self.peer = client

    def connectionMade(self) -> None:
        super().connectionMade()
        self.peer.peer = self
        self.peer.transport.resumeProducing()


class _Clients(ServerFactory):
    noisy = False

    def __init__(self, reactor: IReactorTCP, upstream_port: int) -> None:
        self._reactor = reactor
        self._upstream_port = upstream_port

    def buildProtocol(self, addr: object) -> Protocol:  # noqa: ARG002
        return _Client(self._reactor, self._upstream_port)


def main(port: int, upstream_port: int) -> None:
    reactor: IReactorTCP = _installed  # type: ignore[assignment]
    reactor.listenTCP(port, _Clients(reactor, upstream_port), interface="127.0.0.1")
    _installed.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
