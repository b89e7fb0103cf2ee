"""Calls under way that many processes share: one leads, the others read what it passes on.

``PREFIX:{flight NAME}:holder`` has the token of the process that leads, and
expires unless that process renews it. Its answer is a stream of the server,
one for each token: a head, pieces, an end. What a process adds after another
has taken over is dropped by the server. All of it is encrypted under the key
of the flight, which never reaches the server: it may write what it holds to
its disk, and an answer may contain secrets.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import msgspec
from attrs import define, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from buffr.errors import StoreFailed, UpstreamFailed
from buffr.message import Headers, Piece, ResponseHead
from buffr.stores.fleet import FleetHead, FlightName, Joined
from buffr.stores.redis.client import RedisClient, Script
from buffr.transport.streams import Signal

__all__ = ["FlightTimes", "RedisFlights"]

_MOST_BYTES = 32 << 20
"""A larger answer is not passed on to other processes."""
_READ = 64
"""The number of pieces that are read in one round trip."""
_NONCE_BYTES = 12
_HEAD, _PIECE, _END, _GONE = "h", "p", "e", "x"


@frozen
class FlightTimes:
    """``lease_s`` after a process has died, another leads in its place.

    An answer that was kept is at hand for ``linger_s`` more, for requests that
    looked for a recording before it was there.
    """

    lease_s: float = 3.0
    linger_s: float = 2.0


class _HeadRecord(msgspec.Struct, array_like=True, gc=False):
    status: int
    reason: bytes
    headers: Headers
    minor: int
    length: int


class _EndRecord(msgspec.Struct, array_like=True, gc=False):
    trailers: Headers
    cut: str | None


_encode = msgspec.msgpack.Encoder().encode
_head_of = msgspec.msgpack.Decoder(_HeadRecord).decode
_end_of = msgspec.msgpack.Decoder(_EndRecord).decode

_JOIN = Script("""
local holder = redis.call('GET', KEYS[1])
if holder then return {0, holder} end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
redis.call('PEXPIRE', KEYS[2], 86400000)
return {1, tostring(token)}
""")

_RENEW = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""")

_ADD = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for at = 3, #ARGV, 3 do
  redis.call('XADD', KEYS[2], '*', 'k', ARGV[at], 'd', ARGV[at + 1], 'c', ARGV[at + 2])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""")

_END_IT = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], '*', 'k', ARGV[3], 'd', ARGV[4], 'c', '')
if tonumber(ARGV[5]) > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
else
  redis.call('DEL', KEYS[1])
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
""")


@frozen(eq=False)
class _Keys:
    holder: str
    count: str
    stream: str
    token: str
    cipher: ChaCha20Poly1305

    def sealed(self, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self.cipher.encrypt(nonce, data, self.token.encode())

    def opened(self, data: bytes) -> bytes:
        """Raises ``UpstreamFailed`` if it was not sealed for this flight."""
        nonce, rest = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            return self.cipher.decrypt(nonce, rest, self.token.encode())
        except InvalidTag:
            raise UpstreamFailed("what another process passed on is damaged") from None


@define(eq=False)
class RedisFlights:
    """``FleetFlights`` of the routes with one set of interactions, whose name is ``set_name``."""

    client: RedisClient
    set_name: str
    times: FlightTimes = FlightTimes()
    _news: dict[str, Signal] = field(init=False, factory=dict)

    async def join(self, name: FlightName) -> Joined:
        stem = self.client.key(f"{{flight {self.set_name} {name.digest.hex()}}}")
        holder, count = f"{stem}:holder", f"{stem}:count"
        leads, token = await self.client.run(_JOIN, [holder, count], _ms(self.times.lease_s))
        stream, cipher = f"{stem}:{token.decode()}", ChaCha20Poly1305(name.key)
        keys = _Keys(holder, count, stream, token.decode(), cipher)
        if leads:
            leading = RedisLeading(self.client, keys, self.times)
            leading.keep_lease()
            return Joined(leading, None)
        return Joined(None, RedisFollowing(self, keys))

    def news(self, stream: str) -> Signal:
        """Notified when something was added to a stream: one for all that read it here."""
        return self._news.setdefault(stream, Signal())

    def forget(self, stream: str) -> None:
        self._news.pop(stream, None)
        self.client.unwatch(stream.encode())


@define(eq=False)
class RedisLeading:
    """The side of the process that calls the upstream: ``Leading``."""

    client: RedisClient
    keys: _Keys
    times: FlightTimes
    _waiting: list[Any] = field(init=False, factory=list)
    _sending: bool = field(init=False, default=False)
    _sent: Signal = field(init=False, factory=Signal)
    _size_bytes: int = field(init=False, default=0)
    _lost: bool = field(init=False, default=False)
    _mute: bool = field(init=False, default=False)
    _over: bool = field(init=False, default=False)
    _timer: IDelayedCall | None = field(init=False, default=None)

    def keep_lease(self) -> None:
        """Renew the lease again and again, until the call is over."""
        if not self._over and not self._lost:
            self._timer = self.client.reactor.callLater(self.times.lease_s / 3, self._renew)

    def _renew(self) -> None:
        self._timer = None
        renewing = Deferred.fromCoroutine(self.holds())
        renewing.addErrback(_expected).addCallback(lambda _: self.keep_lease())

    async def holds(self) -> bool:
        keys = [self.keys.holder, self.keys.stream]
        try:
            held = await self.client.run(_RENEW, keys, self.keys.token, _ms(self.times.lease_s))
        except StoreFailed:
            return not self._lost
        self._lost = self._lost or not held
        return not self._lost

    def begin(self, head: FleetHead) -> None:
        if head.length > _MOST_BYTES:
            self._too_large()
            return
        one = head.head
        record = _HeadRecord(one.status, one.reason, one.headers, one.minor, head.length)
        self._add(_HEAD, _encode(record), "")

    def piece(self, piece: Piece) -> None:
        self._size_bytes += len(piece.data)
        if self._size_bytes > _MOST_BYTES:
            self._too_large()
            return
        self._add(_PIECE, piece.data, "" if piece.chunk is None else piece.chunk)

    def _too_large(self) -> None:
        self._add(_GONE, b"", "")
        self._mute = True

    def _add(self, kind: str, data: bytes, chunk: int | str) -> None:
        if not self._lost and not self._mute:
            self._waiting += (kind, self.keys.sealed(data), chunk)
            if not self._sending:
                self._sending = True
                Deferred.fromCoroutine(self._send()).addErrback(_expected)

    async def _send(self) -> None:
        """Everything that came while the server was busy goes out together, in order."""
        try:
            while self._waiting:
                added, self._waiting = self._waiting, []
                keys, token = [self.keys.holder, self.keys.stream], self.keys.token
                if not await self.client.run(_ADD, keys, token, _ms(self.times.lease_s), *added):
                    self._lost = True
        except StoreFailed:
            self._mute = True
            raise
        finally:
            self._sending = False
            self._sent.notify()

    async def end(self, trailers: Headers, cut: str | None, *, kept: bool) -> None:
        await self._finish(_END, _encode(_EndRecord(trailers, cut)), kept=kept)

    async def fail(self) -> None:
        await self._finish(_GONE, b"", kept=False)

    async def _finish(self, kind: str, data: bytes, *, kept: bool) -> None:
        while self._sending:
            await self._sent.wait()
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost or self._mute:
            return
        linger = _ms(self.times.linger_s) if kept else 0
        keys, lasting = [self.keys.holder, self.keys.stream], _ms(2 * self.times.lease_s)
        try:
            sealed = self.keys.sealed(data)
            await self.client.run(_END_IT, keys, self.keys.token, lasting, kind, sealed, linger)
        except StoreFailed:
            return  # the lease ends by itself


@define(eq=False)
class RedisFollowing:
    """The side of a process that reads what another one passes on: ``Following``."""

    flights: RedisFlights
    keys: _Keys
    trailers: Headers = field(init=False, default=())
    _last: str = field(init=False, default="-")
    _read: deque[tuple[str, bytes, int | None]] = field(init=False, factory=deque)
    _news: Signal = field(init=False)
    _closed: bool = field(init=False, default=False)

    @_news.default
    def _of_the_stream(self) -> Signal:
        return self.flights.news(self.keys.stream)

    async def over(self) -> bool:
        while (found := await self._next()) is not None:
            if found[0] in (_END, _GONE):
                return True
        return False

    async def head(self) -> FleetHead | None:
        found = await self._next()
        if found is None or found[0] != _HEAD:
            return None
        one = _head_of(found[1])
        return FleetHead(ResponseHead(one.status, one.reason, one.headers, one.minor), one.length)

    async def piece(self) -> Piece | None:
        found = await self._next()
        if found is None or found[0] == _GONE:
            raise UpstreamFailed("the process that called the upstream is gone")
        kind, data, chunk = found
        if kind == _PIECE:
            return Piece(data, chunk)
        end = _end_of(data)
        if end.cut is not None:
            raise UpstreamFailed(end.cut)
        self.trailers = end.trailers
        return None

    async def _next(self) -> tuple[str, bytes, int | None] | None:
        """The next of what was passed on; ``None`` if there will be no more."""
        while not self._read and not self._closed:
            # Watched first: what is added while the reply is under way is read next.
            self.flights.client.watch(self.keys.stream.encode(), self._news.notify)
            holder, found = await self._ask()
            self._take(found)
            if not self._read:
                if holder is None or holder.decode() != self.keys.token:
                    return None
                await self._moment()
        return self._read.popleft() if self._read else None

    async def _ask(self) -> tuple[bytes | None, list[Any]]:
        """The token of the process that leads, and what it has added since; in this order.

        When the token is gone, nothing is added any more.
        """
        first = self._last if self._last == "-" else f"({self._last}"
        client = self.flights.client
        holder = await client.ask("GET", self.keys.holder)
        found = await client.ask("XRANGE", self.keys.stream, first, "+", "COUNT", _READ)
        return holder, found

    def _take(self, found: list[Any]) -> None:
        for number, pairs in found:
            self._last = number.decode()
            values = dict(zip(pairs[::2], pairs[1::2], strict=True))
            chunk = values[b"c"]
            data = self.keys.opened(values[b"d"])
            self._read.append((values[b"k"].decode(), data, int(chunk) if chunk else None))

    async def _moment(self) -> None:
        """Wait until something is added, but no longer than a lease may be without renewal."""
        wait_s = self.flights.times.lease_s / 2
        timer = self.flights.client.reactor.callLater(wait_s, self._news.notify)
        try:
            await self._news.wait()
        finally:
            if timer.active():
                timer.cancel()

    def close(self) -> None:
        self._closed = True
        self._news.notify()
        self.flights.forget(self.keys.stream)


def _expected(failure: Failure) -> None:
    """The server is away: the lease ends, and another process may lead."""
    failure.trap(StoreFailed, CancelledError)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
