"""The Redis and Valkey servers of one service: each is one connection that all routes share."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from twisted.logger import LogLevel

from buffr.config import Config
from buffr.config.caching import CacheSettings
from buffr.log import say
from buffr.policy.mode import Mode
from buffr.stores.base import Store
from buffr.stores.fleet import Fleet, FleetFlights, FleetLimits
from buffr.stores.redis.address import OnStoreError, RedisAddress

if TYPE_CHECKING:
    from buffr.admin.running import ServerFigures
    from buffr.stores.redis.server import RedisServer

__all__ = ["Servers", "on_error_of"]

_SPOOL = "buffr-spool"
_CACHE = "cache:"
"""No set of interactions has this name."""


class Servers:
    """Creates what a process has of each server, when a route first needs it."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._servers: dict[RedisAddress, RedisServer] = {}

    def of(self, address: RedisAddress) -> RedisServer:
        """What this process has of the server at an address."""
        from buffr.stores.redis.client import Patience, RedisClient  # noqa: PLC0415  # few need it
        from buffr.stores.redis.server import RedisServer  # noqa: PLC0415

        known = self._servers.get(address)
        if known is None:
            settings = self._config.redis
            patience = Patience(settings.timeout_s, settings.staleness_s)
            client = RedisClient(address, self._reactor, patience, _log)
            directory = (
                self._config.data_dir / _SPOOL / sha256(address.url.encode()).hexdigest()[:16]
            )
            known = RedisServer(client, _log, directory, settings.spool_bytes)
            self._servers[address] = known
        return known

    def all(self) -> Sequence[RedisServer]:
        """The servers that are in use."""
        return tuple(self._servers.values())

    def figures(self) -> Sequence[ServerFigures]:
        """For health and metrics."""
        from buffr.admin.running import ServerFigures  # noqa: PLC0415  # which alone needs them

        return [
            ServerFigures(
                str(server.client.address),
                server.client.is_up,
                server.client.outages,
                server.spooled,
            )
            for server in self.all()
        ]

    def fleet_of(self, store: Store) -> Fleet | None:
        """What a route with this store shares with other processes, if the store is on a server."""
        if not self._servers:
            return None
        from buffr.stores.redis.interactions import RedisView  # noqa: PLC0415

        if not isinstance(store, RedisView):
            return None
        interactions = store.interactions
        return self.of(interactions.client.address).fleet(interactions.name)

    def flights(self, settings: CacheSettings) -> FleetFlights | None:
        """The calls of a route that caches, if its store is on a server."""
        if settings.store is None or settings.store.server is None:
            return None
        return self.of(settings.store.server).fleet(_CACHE).flights

    def limits(self, settings: CacheSettings, name: str) -> FleetLimits | None:
        """The limits of an upstream, if the route's store is on a server."""
        if settings.store is None or settings.store.server is None:
            return None
        return self.of(settings.store.server).limits(name)

    def open_all(self) -> None:
        """Connect to all that are known so far. Blocks.

        Raises ``StoreFailed`` if one cannot be reached, unless the settings
        allow that.
        """
        for server in self._servers.values():
            if not self._config.allow_unrecorded:
                server.check()
            server.client.start()

    async def close(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            await server.close()


def on_error_of(settings: CacheSettings, mode: Mode) -> OnStoreError:
    """What a route does while its store cannot be asked; mode replay has no upstream to ask."""
    chosen = settings.on_store_error
    return "refuse" if mode is Mode.REPLAY and chosen == "upstream" else chosen


def _log(line: str, *, trouble: bool) -> None:
    say(LogLevel.warn if trouble else LogLevel.info, line)
