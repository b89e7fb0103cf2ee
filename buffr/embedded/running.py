"""A proxy between its start and its stop: a service on the reactor's thread."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, frozen

from buffr.config import Config
from buffr.config.api_buddy import ApiBuddySettings
from buffr.config.api_buddy_yaml import as_config
from buffr.embedded.reactor_thread import ReactorThread, reactor_thread
from buffr.errors import BuffrError, Unwritable
from buffr.exchanges.metrics import Metrics
from buffr.exchanges.pace import Pace
from buffr.policy.rate_limits import LimiterState
from buffr.stores.cache import CacheCounters, CacheStats
from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.store import SQLiteStore
from buffr.wiring.build import build
from buffr.wiring.live_gateway import LiveGateway
from buffr.wiring.service import BuffrService

__all__ = ["Running", "StoppedStore", "listening_address"]


def listening_address(host: str) -> str:
    """The IP address itself, or the first one of a name; IPv4 before IPv6. Blocks.

    Raises ``OSError`` for a name that has none.
    """
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(f"server.host {host}: has no address: {error.strerror}") from error
    addresses = sorted(found, key=lambda one: one[0] != socket.AF_INET)
    return str(addresses[0][4][0])


T = TypeVar("T")

StoreFigures = tuple[CacheStats, Mapping[str, CacheStats]]


@frozen(eq=False)
class Running:
    """A service that listens. All methods wait for the reactor's thread."""

    thread: ReactorThread
    service: BuffrService
    gateway: LiveGateway
    database: str | None

    @classmethod
    def begin(
        cls,
        settings: ApiBuddySettings,
        key: str,
        figures: Metrics,
        write: Callable[[str], None],
    ) -> Running:
        """Open the cache and listen. Raises ``OSError`` if either fails."""
        config = _config(settings, key)
        thread = reactor_thread()

        async def make() -> BuffrService:
            return build(config, thread.reactor, on_console=False, write=write, figures=figures)

        async def listen() -> None:
            try:
                service.listen()
            except BaseException:
                await service.stopService()
                raise

        try:
            service = thread.call(make)
            service.open()
            assert service.gateway is not None
            thread.call(listen)
        except Unwritable as error:
            where = "cache.database_path names another file, or :memory:"
            raise OSError(f"{error.message}; {where}") from None
        except BuffrError as error:
            raise OSError(str(error)) from None
        return cls(thread, service, service.gateway, settings.database)

    @property
    def address(self) -> tuple[str, int]:
        return self.service.listeners[0].address

    def end(self) -> None:
        """Let exchanges in progress finish, and write pending data."""
        self.thread.call(self._end)

    async def _end(self) -> None:
        await self.service.stopService()

    def change(self, settings: ApiBuddySettings, key: str) -> None:
        """Apply other settings; the address and the cache's file stay the same."""
        config = _config(evolve(settings, host=self.address[0], database=self.database), key)

        async def change() -> None:
            self.gateway.change(config)

        self.thread.call(change)

    def clear(self, name: str | None) -> int:
        """Remove the entries of one name, or all."""

        async def clear() -> int:
            store = self.gateway.store
            return 0 if store is None else await store.clear(route=name)

        return self.thread.call(clear)

    def store_stats(self, names: tuple[str, ...]) -> StoreFigures | None:
        """Of the whole cache and of each name."""

        async def stats() -> StoreFigures | None:
            store, now = self.gateway.store, time.time()
            if store is None:
                return None
            return await store.stats(now), {name: await store.stats(now, name) for name in names}

        try:
            return self.thread.call(stats)
        except BuffrError:
            return None

    def settle(self) -> None:
        """Wait until every answer that clients have in full is counted."""

        async def nothing() -> None:
            pass

        self.thread.call(nothing)

    def store_counters(self) -> CacheCounters:
        store = self.gateway.store
        return CacheCounters() if store is None else store.counters

    def on_pace(self, name: str, action: Callable[[Pace], T], otherwise: Pace) -> T:
        """Run a function on a name's pace, or on ``otherwise`` if it has none."""

        async def act() -> T:
            return action(self.gateway.paces().get(name, otherwise))

        return self.thread.call(act)

    def limits(self) -> dict[str, tuple[LimiterState, float | None]]:
        """Of each name: how near it is to its limits, and when it was last refused."""

        async def limits() -> dict[str, tuple[LimiterState, float | None]]:
            return {
                name: (pace.state(), pace.refused_at) for name, pace in self.gateway.paces().items()
            }

        return self.thread.call(limits)


def _config(settings: ApiBuddySettings, key: str) -> Config:
    """The settings as buffr's own.

    Raises ``OSError`` for a host that has no address, and for a directory that cannot be.
    """
    host = listening_address(settings.host)
    keyed = evolve(settings, host=host, key=key if settings.require_key else None)
    return evolve(as_config(keyed, os.environ), data_dir=_spool_dir(settings))


def _spool_dir(settings: ApiBuddySettings) -> Path:
    """Where large bodies are on their way: beside the cache's file, if there is one.

    Raises ``OSError``.
    """
    if settings.database is None:
        return Path(tempfile.gettempdir())
    directory = Path(settings.database).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cache.database_path {settings.database}: its directory cannot be created"
        raise OSError(f"{what}: {error.strerror}") from error
    return directory


@frozen
class StoppedStore:
    """The cache file of a proxy that is not running."""

    settings: ApiBuddySettings

    def clear(self, name: str | None) -> int:
        """Remove the entries of one name, or all."""
        return self._with(lambda store: store.clear(route=name)) or 0

    def stats(self, names: tuple[str, ...]) -> StoreFigures | None:
        """Of the whole cache and of each name."""

        async def stats(store: SQLiteStore) -> StoreFigures:
            now = time.time()
            return await store.stats(now), {name: await store.stats(now, name) for name in names}

        return self._with(stats)

    def _with(self, action: Callable[[SQLiteStore], Coroutine[Any, Any, T]]) -> T | None:
        """Open the file and act on it; ``None`` if there is no file."""
        settings = self.settings
        if settings.database is None or not Path(settings.database).exists():
            return None
        thread = reactor_thread()
        store = SQLiteStore(
            Path(settings.database),
            Bounds(2**40, settings.max_entries, settings.max_response_bytes),
            call_from_thread=thread.reactor.callFromThread,
            wall=time.time,
            warn=lambda _: None,
        )

        async def act() -> T:
            try:
                return await action(store)
            finally:
                await store.close()

        try:
            store.open()
            return thread.call(act)
        except BuffrError as error:
            raise OSError(str(error)) from None
