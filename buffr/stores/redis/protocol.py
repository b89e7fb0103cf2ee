"""One connection to a server, on the reactor or blocking; hiredis reads and writes RESP3."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from buffr.errors import StoreFailed, StoreUnreachable
from buffr.stores.redis.address import RedisAddress

__all__ = ["Argument", "BlockingConnection", "Connection", "ServerError", "greeting", "master"]

Argument = bytes | str | int | float
"""Floats and integers are written as text."""

_MOVED = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED", "NOREPLICAS")
"""Errors of a server that is not, or not yet, the one that takes writes."""


class ServerError(StoreFailed):
    """The server refused a command.

    ``code`` is the error's first word, like ``OOM``; ``moved`` says that
    another server, or the same one later, would take it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]
        self.moved = self.code in _MOVED


def greeting(address: RedisAddress) -> tuple[Argument, ...]:
    """The first command of a connection: RESP3, and the login."""
    if not address.password:
        return ("HELLO", 3, "SETNAME", "buffr")
    user = address.username or "default"
    return ("HELLO", 3, "AUTH", user, address.password, "SETNAME", "buffr")


def _packed(arguments: tuple[Argument, ...]) -> bytes:
    command: Any = arguments  # its type hint allows one argument only
    packed: bytes = hiredis.pack_command(command)
    return packed


class Connection(Protocol):
    """Sends commands in order and pairs the replies with them.

    RESP3 confirms a subscription by a push message in the place of its reply.

    If a reply takes longer than ``patience_s``, the connection is dropped:
    what came later could not be told apart. ``pushed`` is called with each
    push message, ``lost`` once, with the reason, when the connection ends.
    ``seconds`` is a monotonic clock.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        patience_s: float,
        pushed: Callable[[list[Any]], None],
        lost: Callable[[Connection, str], None],
    ) -> None:
        self.confirmed_at = 0.0
        """When the last command was sent whose reply has come: pushes until then have come, too."""
        self._reactor = reactor
        self._patience_s = patience_s
        self._pushed = pushed
        self._lost = lost
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[Deferred[Any], float]] = deque()
        self._timer: IDelayedCall | None = None
        self._why = ""
        self._over = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)

    def ask(self, *arguments: Argument) -> Deferred[Any]:
        """Send a command. The result is its reply, or fails with a ``StoreFailed``."""
        reply: Deferred[Any] = Deferred(_ignored)
        if self._over or self.transport is None:
            reply.errback(StoreUnreachable(self._why or "the connection is closed"))
            return reply
        self._waiting.append((reply, time.monotonic()))
        self.transport.write(_packed(arguments))
        if self._timer is None:
            self._timer = self._reactor.callLater(self._patience_s, self._look)
        return reply

    def drop(self, why: str) -> None:
        """End the connection at once."""
        self._why = self._why or why
        transport: Any = self.transport
        if transport is not None and not self._over:
            transport.abortConnection()

    def _look(self) -> None:
        """Whether the oldest command has waited for too long."""
        self._timer = None
        if not self._waiting:
            return
        left = self._waiting[0][1] + self._patience_s - time.monotonic()
        if left <= 0:
            self.drop(f"no reply in {self._patience_s:g} s")
        else:
            self._timer = self._reactor.callLater(left, self._look)

    def dataReceived(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification) and reply[0] != b"subscribe":
                    self._pushed(list(reply))
                else:
                    self._answered(reply)
        except hiredis.ProtocolError as error:
            self.drop(f"it does not speak Redis' protocol: {error}")

    def _answered(self, reply: Any) -> None:
        if not self._waiting:
            self.drop("it sent a reply that nobody asked for")
            return
        waiter, self.confirmed_at = self._waiting.popleft()
        if waiter.called:
            return
        if isinstance(reply, hiredis.ReplyError):
            waiter.errback(ServerError(str(reply)))
        else:
            waiter.callback(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._why = self._why or reason.getErrorMessage().rstrip(".")
        waiting, self._waiting = self._waiting, deque()
        # First: who learns of the failure may ask again at once.
        self._lost(self, self._why)
        for waiter, _ in waiting:
            if not waiter.called:
                waiter.errback(StoreUnreachable(self._why))


def _ignored(_: Deferred[Any]) -> None:
    """A reply that nobody waits for any more still comes, and is dropped."""


@define(eq=False)
class BlockingConnection:
    """A connection for threads and commands, before or beside a reactor.

    Every wait is bounded by ``patience_s``. Raises ``StoreUnreachable`` and
    ``ServerError``.
    """

    address: RedisAddress
    patience_s: float = 5.0
    _socket: socket.socket | None = field(init=False, default=None)
    _reader: hiredis.Reader = field(init=False, factory=hiredis.Reader)

    @classmethod
    @contextmanager
    def to(cls, address: RedisAddress, patience_s: float = 5.0) -> Iterator[BlockingConnection]:
        """A connection that is logged in, for the time of a block."""
        connection = cls(address, patience_s)
        try:
            connection.open()
            yield connection
        finally:
            connection.close()

    def open(self) -> None:
        """Connect to the server that takes writes, and log in."""
        for host, port in master(self.address, self.patience_s):
            self._socket = _dialled(self.address, host, port, self.patience_s)
        if self.address.path is not None:
            self._socket = _dialled(self.address, "", 0, self.patience_s)
        self.ask(*greeting(self.address))
        if self.address.db:
            self.ask("SELECT", self.address.db)

    def ask(self, *arguments: Argument) -> Any:
        """The reply to a command."""
        return self.ask_all([arguments])[0]

    def ask_all(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        """The replies to several commands, sent together."""
        if self._socket is None:
            raise StoreUnreachable("the connection is closed")
        try:
            self._socket.sendall(b"".join([_packed(each) for each in commands]))
            return [self._reply() for _ in commands]
        except TimeoutError as error:
            raise StoreUnreachable(f"no reply in {self.patience_s:g} s") from error
        except OSError as error:
            raise StoreUnreachable(error.strerror or str(error)) from error
        except hiredis.ProtocolError as error:
            raise StoreUnreachable(f"it does not speak Redis' protocol: {error}") from error

    def _reply(self) -> Any:
        assert self._socket is not None
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(1 << 16)
            if not data:
                raise StoreUnreachable("it closed the connection")
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise ServerError(str(reply))
        return reply

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _dialled(address: RedisAddress, host: str, port: int, patience_s: float) -> socket.socket:
    try:
        if address.path is not None:
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(patience_s)
            made.connect(str(address.path))
            return made
        made = socket.create_connection((host, port), patience_s)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.tls:
            trust = ssl.create_default_context(
                cafile=None if address.ca_file is None else str(address.ca_file)
            )
            made = trust.wrap_socket(made, server_hostname=host)
    except TimeoutError as error:
        raise StoreUnreachable(f"no connection in {patience_s:g} s") from error
    except OSError as error:
        raise StoreUnreachable(error.strerror or str(error)) from error
    return made


def master(address: RedisAddress, patience_s: float) -> tuple[tuple[str, int], ...]:
    """The server that takes writes, by its Sentinels if there are any. Blocks.

    None for a UNIX socket. Raises ``StoreUnreachable`` if no Sentinel knows one.
    """
    if not address.service:
        return address.nodes
    why = "no Sentinel is named"
    for host, port in address.nodes:
        sentinel = BlockingConnection(RedisAddress(nodes=((host, port),)), patience_s)
        try:
            sentinel.open()
            found = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
        except StoreFailed as error:
            why = f"Sentinel {host}:{port}: {error.message}"
            continue
        finally:
            sentinel.close()
        if found:
            return ((found[0].decode(), int(found[1])),)
        why = f"Sentinel {host}:{port} knows no service {address.service}"
    raise StoreUnreachable(why)
