"""One server as all routes of a process share it: its connection, its sets, what is spooled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from buffr.errors import StoreFailed, StoreUnreachable
from buffr.stores.fleet import Fleet
from buffr.stores.interactions import Redact, StoreAccess
from buffr.stores.redis.client import RedisClient, Script
from buffr.stores.redis.elements import Kept
from buffr.stores.redis.flights import RedisFlights
from buffr.stores.redis.interactions import RedisInteractions
from buffr.stores.redis.limits import RedisLimits
from buffr.stores.redis.playheads import RedisPlayheads
from buffr.stores.redis.protocol import BlockingConnection
from buffr.stores.redis.sets import APPEND, SetKeys
from buffr.stores.redis.spool import AppendSpool

__all__ = ["RedisServer"]

_AGAIN_S = 5.0


@define(eq=False)
class RedisServer:
    """Makes the sets of one server, and stores what was spooled when it is back.

    ``say`` writes a line to the log; ``trouble`` is its level. Without
    ``spool_dir``, what the server cannot take is lost, and the log says so.
    """

    client: RedisClient
    say: Callable[..., None]
    spool_dir: Path | None = None
    spool_bytes: int = 0
    _spool: AppendSpool | None = field(init=False, default=None)
    _sets: dict[str, RedisInteractions] = field(init=False, factory=dict)
    _fleets: dict[str, Fleet] = field(init=False, factory=dict)
    _draining: Deferred[None] | None = field(init=False, default=None)
    _again: IDelayedCall | None = field(init=False, default=None)
    _closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        if self.spool_dir is not None and self.spool_bytes:
            self._spool = AppendSpool(self.spool_dir, self.spool_bytes)
            self.client.at_each_connection(self._drain)

    def check(self) -> None:
        """Whether the server can be used now. Blocks. Raises ``StoreFailed``."""
        try:
            with BlockingConnection.to(self.client.address) as connection:
                connection.ask("PING")
        except StoreFailed as error:
            raise StoreFailed(
                f"{self.client.address} cannot be used: {error.message}",
                hint="start the server, or start with --allow-unrecorded",
            ) from error

    @property
    def spooled(self) -> int:
        """How many recordings wait for the server."""
        return 0 if self._spool is None else self._spool.held

    def interactions(
        self, name: str, redact: Redact, access: StoreAccess, *, may_start_down: bool
    ) -> RedisInteractions:
        """The set of a name; not yet opened."""
        made = RedisInteractions(
            name,
            self.client,
            redact=redact,
            warn=partial(self.say, trouble=True),
            reactor=self.client.reactor,
            access=access,
            spool=self._spool,
            may_start_down=may_start_down,
        )
        self._sets[name] = made
        return made

    def fleet(self, name: str) -> Fleet:
        """What routes with the set of this name share with other processes."""
        known = self._fleets.get(name)
        if known is None:
            playheads = RedisPlayheads(self.client, name)
            known = self._fleets[name] = Fleet(playheads, RedisFlights(self.client, name))
        return known

    def limits(self, name: str) -> RedisLimits:
        """The limits of an upstream, by its name."""
        return RedisLimits(self.client, name)

    def _drain(self) -> None:
        """Store what is spooled, in the background."""
        if self._draining is None and not self._closed:
            self._again = None
            self._draining = Deferred.fromCoroutine(self._drained())
            self._draining.addErrback(self._not_drained).addCallback(self._over)

    async def _drained(self) -> None:
        spool, stored = self._spool, 0
        assert spool is not None
        for path in await self._aside(spool.waiting):
            try:
                found = await self._aside(spool.read, path)
            except ValueError as error:
                await self._aside(spool.set_aside, path)
                self.say(f"{path} is damaged, and set aside: {error}", trouble=True)
                continue
            if found is not None:
                await self._stored(*found)
                await self._aside(spool.done, path)
                stored += 1
        if stored:
            self.say(
                f"{self.client.address} has the {stored} recordings of the outage", trouble=False
            )

    async def _aside(self, run: Callable[..., Any], *arguments: Any) -> Any:
        reactor = self.client.reactor
        return await deferToThreadPool(reactor, reactor.getThreadPool(), run, *arguments)

    async def _stored(self, name: str, kept: Kept, salt: bytes) -> None:
        known = self._sets.get(name)
        if known is not None:
            await known.store_spooled(kept, salt)
            return
        keys = SetKeys(self.client.address.prefix, name)
        for command in keys.put_parts(kept):
            await self.client.ask(*command)
        names, arguments = keys.append(kept, salt, whatever=True)
        await self.client.run(Script(APPEND), names, *arguments)

    def _not_drained(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, StoreUnreachable):  # which is tried again when it is back
            why = error.message if isinstance(error, StoreFailed) else failure.getErrorMessage()
            self.say(f"{self.client.address} cannot take what is spooled: {why}", trouble=True)

    def _over(self, _: None) -> None:
        self._draining = None
        if self.spooled and self._again is None and self.client.is_up and not self._closed:
            self._again = self.client.reactor.callLater(_AGAIN_S, self._drain)

    async def close(self) -> None:
        """Close the connection; what is spooled stays for the next process."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        await self.client.close()
