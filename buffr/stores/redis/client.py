"""A server as one process sees it: up or down, asked in order, and what it pushes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from hashlib import sha1
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from buffr.errors import BuffrError, StoreUnreachable
from buffr.stores.redis.address import RedisAddress
from buffr.stores.redis.protocol import Argument, Connection, ServerError, greeting, master
from buffr.transport.streams import Signal

__all__ = ["Patience", "RedisClient", "Script"]

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
_PEM_END = b"-----END CERTIFICATE-----"


@frozen
class Patience:
    """How long a server may take, in seconds.

    ``reply_s`` bounds each connection attempt and each reply. ``stale_s`` is
    for how long what was read may be used after the server last confirmed that
    it has not changed; zero asks each time.
    """

    reply_s: float = 1.0
    stale_s: float = 1.0


@frozen(eq=False)
class Script:
    """A Lua script: it runs as a whole, or not at all."""

    text: str
    digest: str = field(init=False)

    @digest.default
    def _digest_of_text(self) -> str:
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Log(Protocol):
    """Takes a line for the log when the server's state has changed."""

    def __call__(self, line: str, *, trouble: bool) -> None: ...


def _no_log(line: str, *, trouble: bool) -> None:
    """Nobody reads it."""


@define(eq=False)
class RedisClient:
    """One connection to a server, made when it is first needed, and again when it was lost.

    While the last attempt to connect has failed, everything that is asked
    fails at once, and attempts go on in the background; otherwise it waits for
    the attempt. So nothing waits for much longer than ``Patience.reply_s``.
    The log has one line when the server is lost, and one when it is back.
    """

    address: RedisAddress
    reactor: Any
    patience: Patience = Patience()
    log: Log = _no_log
    trouble: str = field(init=False, default="")
    """Why the server cannot be used now; empty if it can."""
    outages: int = field(init=False, default=0)
    _connection: Connection | None = field(init=False, default=None)
    _opening: Signal | None = field(init=False, default=None)
    _retry: IDelayedCall | None = field(init=False, default=None)
    _beat: IDelayedCall | None = field(init=False, default=None)
    _failed: int = field(init=False, default=0)
    _down_since: float = field(init=False, default=0.0)
    _closed: bool = field(init=False, default=False)
    _watched: dict[bytes, Callable[[], None]] = field(init=False, factory=dict)
    _subscribed: dict[bytes, Callable[[bytes], None]] = field(init=False, factory=dict)
    _on_up: list[Callable[[], None]] = field(init=False, factory=list)

    @property
    def is_up(self) -> bool:
        return self._connection is not None

    @property
    def is_fresh(self) -> bool:
        """Whether what was read and not invalidated may be used without asking.

        Pushes come on the same connection as replies: when the reply to a
        command is there, so is every invalidation from before the command.
        """
        connection = self._connection
        return (
            connection is not None
            and time.monotonic() - connection.confirmed_at < self.patience.stale_s
        )

    def key(self, *parts: str) -> str:
        """The name of a key."""
        return ":".join((self.address.prefix, *parts))

    def at_each_connection(self, call: Callable[[], None]) -> None:
        """Call a function when a connection is made: what was read before may have changed."""
        self._on_up.append(call)

    def watch(self, key: bytes, changed: Callable[[], None]) -> None:
        """Call a function, once, when a key that was read since this call has changed."""
        self._watched[key] = changed

    def unwatch(self, key: bytes) -> None:
        self._watched.pop(key, None)

    async def subscribe(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Call a function with each message of a channel, also after a new connection."""
        self._subscribed[channel.encode()] = heard
        if self._connection is not None:
            await self._connection.ask("SUBSCRIBE", channel)

    async def ask(self, *arguments: Argument) -> Any:
        """The reply to a command. Raises ``StoreUnreachable`` and ``ServerError``."""
        connection = self._connection
        if connection is None:
            connection = await self._connected()
        try:
            return await connection.ask(*arguments)
        except StoreUnreachable as error:
            error.noted = True
            raise
        except ServerError as error:
            if not error.moved:
                raise
            connection.drop(error.message)
            raise StoreUnreachable(error.message) from error

    async def run(self, script: Script, keys: list[str], *arguments: Argument) -> Any:
        """The result of a script. Raises as ``ask``."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.ask("EVALSHA", script.digest, *rest)
        except ServerError as error:
            if error.code != "NOSCRIPT":
                raise
            return await self.ask("EVAL", script.text, *rest)

    def start(self) -> None:
        """Connect now, and keep the connection."""
        if self._connection is None and self._opening is None and not self._closed:
            self._open()

    async def _connected(self) -> Connection:
        if self._closed:
            raise StoreUnreachable(f"{self.address} is closed")
        if self._opening is None and self._retry is None:
            self._open()
        if not self._failed and self._opening is not None:
            await self._opening.wait()
        if self._connection is None:
            raise self._unreachable()
        return self._connection

    def _unreachable(self) -> StoreUnreachable:
        error = StoreUnreachable(f"{self.address}: {self.trouble}")
        error.noted = True  # by the line that the server was lost
        return error

    def _open(self) -> None:
        self._retry = None
        self._opening = Signal()
        Deferred.fromCoroutine(self._made()).addCallbacks(self._is_up, self._is_not_up)

    async def _made(self) -> Connection:
        address, patience_s = self.address, self.patience.reply_s
        nodes = address.nodes
        if address.service:
            pool = self.reactor.getThreadPool()
            nodes = await deferToThreadPool(self.reactor, pool, master, address, patience_s)
        fresh = Connection(self.reactor, patience_s, self._pushed, self._lost)
        connection: Connection = await connectProtocol(self._endpoint(nodes), fresh)
        try:
            await connection.ask(*greeting(address))
            if address.db:
                await connection.ask("SELECT", address.db)
            await connection.ask("CLIENT", "TRACKING", "ON", "NOLOOP")
            for channel in self._subscribed:
                await connection.ask("SUBSCRIBE", channel)
        except BuffrError as error:
            connection.drop(error.message)
            raise
        return connection

    def _endpoint(self, nodes: tuple[tuple[str, int], ...]) -> IStreamClientEndpoint:
        address, timeout_s = self.address, self.patience.reply_s
        if address.path is not None:
            return UNIXClientEndpoint(self.reactor, str(address.path), timeout_s)
        ((host, port),) = nodes
        endpoint = HostnameEndpoint(self.reactor, host, port, timeout_s)
        if not address.tls:
            return endpoint
        trust = None if address.ca_file is None else _roots(address.ca_file.read_bytes())
        options = optionsForClientTLS(host, **({} if trust is None else {"trustRoot": trust}))
        wrapped: IStreamClientEndpoint = wrapClientTLS(options, endpoint)
        return wrapped

    def _is_up(self, connection: Connection) -> None:
        if self._closed:
            connection.drop("the store is closed")
            return
        self._connection = connection
        for call in self._on_up:
            call()
        if self._failed:
            down_s = time.monotonic() - self._down_since
            self.log(f"{self.address} is back after {down_s:.1f} s", trouble=False)
        self._failed, self.trouble = 0, ""
        self._set_beat()
        self._settled()

    def _is_not_up(self, failure: Failure) -> None:
        error = failure.value
        why = error.message if isinstance(error, BuffrError) else failure.getErrorMessage()
        if not self._failed and not self._closed:
            self.outages += 1
            self._down_since = time.monotonic()
            self.log(f"{self.address} cannot be used: {why}", trouble=True)
        self.trouble = why
        self._failed += 1
        self._settled()
        if not self._closed:
            wait_s = min(_FIRST_RETRY_S * 2 ** min(self._failed - 1, 8), _LAST_RETRY_S)
            spread = 0.5 + random.random()  # noqa: S311  # so that a fleet does not return at once
            self._retry = self.reactor.callLater(wait_s * spread, self._open)

    def _settled(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.notify()

    def _lost(self, connection: Connection, why: str) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self.trouble = why
        self._watched.clear()
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        if not self._closed:
            self._open()

    def _pushed(self, push: list[Any]) -> None:
        kind, *rest = push
        if kind == b"invalidate":
            keys = rest[0]
            for key in list(self._watched) if keys is None else keys:
                changed = self._watched.pop(key, None)
                if changed is not None:
                    changed()
        elif kind == b"message":
            heard = self._subscribed.get(rest[0])
            if heard is not None:
                heard(rest[1])

    def _set_beat(self) -> None:
        if self.patience.stale_s:
            self._beat = self.reactor.callLater(self.patience.stale_s / 3, self._confirm)

    def _confirm(self) -> None:
        """Have the server confirm that nothing has changed, unless a reply just did."""
        self._beat = None
        connection = self._connection
        if connection is not None:
            if time.monotonic() - connection.confirmed_at > self.patience.stale_s / 4:
                connection.ask("PING").addErrback(_expected)
            self._set_beat()

    async def close(self) -> None:
        """Close the connection; what is asked later fails."""
        self._closed = True
        for timer in (self._retry, self._beat):
            if timer is not None:
                timer.cancel()
        self._retry = self._beat = None
        while self._opening is not None:
            await self._opening.wait()
        if self._connection is not None:
            self._connection.drop("the store is closed")


def _expected(failure: Failure) -> None:
    """The connection is lost, which is handled where it is noticed."""
    failure.trap(BuffrError)


def _roots(pem: bytes) -> Any:
    parts = pem.split(_PEM_END)[:-1]
    return trustRootFromCertificates([Certificate.loadPEM(part + _PEM_END) for part in parts])
