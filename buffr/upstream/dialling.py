"""New connections to one origin, each within its time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol

from buffr.errors import BuffrError, UpstreamFailed
from buffr.upstream.failures import reason_of
from buffr.upstream.hops import Mark

__all__ = ["Dialled", "Dialler"]

_FOREVER_S = 86400.0
_CLOSED = "the way to the upstream is closed"


class Dialled(Protocol):
    """A connection that is being made; ``ready`` fires after its TLS handshake."""

    ready: Deferred[None]

    @abstractmethod
    def abort(self) -> None:
        """Close now, whatever is under way."""


class Dialler:
    """Connects by ``endpoint``.

    ``connect_s`` bounds a connection with its TLS; zero means no bound.
    ``judge`` raises a ``BuffrError`` if a connection must not be used because
    of the address it led to, and returns its mark. ``endpoint_by`` returns the
    endpoint for the hops of a request, if a proxy on the way has to know them.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        connect_s: float,
        judge: Callable[[ITransport], Mark] = lambda _: Mark.NEVER,
        endpoint_by: Callable[[bytes], IStreamClientEndpoint] | None = None,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._connect_s = connect_s
        self._judge = judge
        self._endpoint_by = endpoint_by
        self._connecting: set[Deferred[IProtocol]] = set()
        self.closed = False

    async def connect(self, connection: Dialled, hops: bytes) -> tuple[Mark, float]:
        """Look up the name and connect.

        Returns the connection's mark, and until when its handshake may take.
        ``hops`` names the buffrs that its request has passed. Raises
        ``UpstreamFailed``, and what ``judge`` raises.
        """
        until = self._reactor.seconds() + (self._connect_s or _FOREVER_S)
        await self._connect(connection, until, hops)
        assert connection.transport is not None
        try:
            return self._judge(connection.transport), until
        except BuffrError:
            connection.abort()
            raise

    async def _connect(self, connection: Dialled, until: float, hops: bytes) -> None:
        if self.closed:
            raise UpstreamFailed(_CLOSED)
        endpoint = self._endpoint
        if hops and self._endpoint_by is not None:
            endpoint = self._endpoint_by(hops)
        connecting = endpoint.connect(Factory.forProtocol(lambda: connection))
        self._connecting.add(connecting)
        timer = self._reactor.callLater(until - self._reactor.seconds(), connecting.cancel)
        try:
            await connecting
        except Exception as error:  # endpoints fail with all kinds of exceptions
            if self.closed:
                raise UpstreamFailed(_CLOSED) from error
            if not timer.active():
                raise UpstreamFailed("time-out while connecting to the upstream") from error
            if isinstance(error, CancelledError | ConnectingCancelledError):
                raise CancelledError from error
            if isinstance(error, BuffrError):
                raise
            raise UpstreamFailed(_words(error)) from error
        finally:
            self._connecting.discard(connecting)
            if timer.active():
                timer.cancel()

    async def handshake(self, connection: Dialled, until: float) -> None:
        """Wait until it is ready. Raises ``UpstreamFailed``."""
        if connection.ready.called:
            await connection.ready
            return
        timer = self._reactor.callLater(until - self._reactor.seconds(), connection.abort)
        try:
            await connection.ready
        except BuffrError:
            if not timer.active():
                raise UpstreamFailed("time-out in the upstream's TLS handshake") from None
            raise
        except CancelledError:
            connection.abort()
            raise
        finally:
            if timer.active():
                timer.cancel()

    def close(self) -> None:
        """Give up what is being made, and make nothing more."""
        self.closed = True
        for connecting in list(self._connecting):
            connecting.cancel()


def _words(error: Exception) -> str:
    return reason_of(error) or "the upstream closed the connection"
