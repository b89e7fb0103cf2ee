"""buffr inside a Python program: a caching proxy with the interface of reference-api-buddy.

    from buffr import CachingProxy

    with CachingProxy({"domain_mappings": {"api": {"upstream": "https://api.example"}}}) as proxy:
        requests.get(f"http://127.0.0.1:{proxy.server.server_port}/api/things")

All methods may be called from any thread but Twisted's own. Proxies share one
reactor, on a daemon thread.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from attrs import frozen

from buffr.config.api_buddy import ApiBuddySettings, InvalidSettings, read_api_buddy
from buffr.embedded import logs
from buffr.embedded.cache_engine import CacheDatabase, CacheEngine
from buffr.embedded.monitoring import MonitoringManager
from buffr.embedded.running import Running, StoppedStore
from buffr.embedded.security import SecurityError, SecurityManager
from buffr.embedded.throttling import ThrottleManager, pace_of
from buffr.exchanges.metrics import Metrics
from buffr.exchanges.pace import Pace
from buffr.policy.rate_limits import LimiterState
from buffr.stores.cache import CacheCounters, CacheStats
from buffr.wiring.access_keys import new_key

__all__ = ["CachingProxy", "InvalidSettings", "SecurityError", "Server"]


T = TypeVar("T")


@frozen
class Server:
    """Where a proxy listens."""

    server_address: tuple[str, int]

    @property
    def server_name(self) -> str:
        return self.server_address[0]

    @property
    def server_port(self) -> int:
        return self.server_address[1]


class CachingProxy:
    """A caching proxy. ``config`` is a mapping in the format of reference-api-buddy.

    Raises ``ValueError`` if a setting is invalid. The attribute ``config`` has
    every setting, and ``server`` the address once the proxy was started.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.server: Server | None = None
        self.start_time: float | None = None
        self._lock = threading.RLock()
        self._running: Running | None = None
        self._pid = os.getpid()
        self._stopped = threading.Event()
        self._made_key = new_key()
        self.metrics_collector = Metrics(time.time)
        self.cache_engine = CacheEngine(self, self._clear)
        self.throttle_manager = ThrottleManager(paces=self)
        self.db_manager = CacheDatabase(self)
        self._take({} if config is None else config)

    def _take(self, config: Mapping[str, Any]) -> None:
        """Apply these settings from now on; nothing changes if they are invalid."""
        settings = read_api_buddy(config)
        logger = logs.configured(settings.log, refusals=settings.log_security_events)
        self.logger = logger.getChild("core.proxy")
        for warning in settings.warnings:
            self.logger.warning("%s", warning)
        self._settings = settings
        self.config: dict[str, Any] = dict(settings.given)
        self.security_manager = SecurityManager(
            {"require_secure_key": settings.require_key, "secure_key": self.key}
        )

    @staticmethod
    def get_logger(name: str) -> logging.Logger:
        """A logger whose lines go where the proxies' go."""
        return logs.get_logger(name)

    @property
    def settings(self) -> ApiBuddySettings:
        return self._settings

    @property
    def key(self) -> str:
        """The key in the settings, or the one generated for this proxy."""
        return self._settings.key or self._made_key

    def start(self, blocking: bool = False) -> None:  # noqa: FBT001, FBT002  # as programs call it
        """Listen. With ``blocking``, return when another thread, or a signal, stops the proxy.

        Raises ``RuntimeError`` if it is already running, ``OSError`` if the
        address is taken or not this machine's.
        """
        with self._lock:
            if self.is_running():
                raise RuntimeError("the proxy is running already")
            self._pid = os.getpid()
            self._stopped.clear()
            running = Running.begin(
                self._settings, self.key, self.metrics_collector, logs.line_writer(self.logger)
            )
            self._running = running
            self.server = Server(running.address)
            self.start_time = time.time()
        if blocking:
            self.wait()

    def wait(self) -> None:
        """Return when the proxy is stopped."""
        self._stopped.wait()

    def stop(self) -> None:
        """Let exchanges in progress finish, and stop listening. Safe to call again."""
        with self._lock:
            running, self._running = self._running, None
            if running is None or self._pid != os.getpid():
                return
            running.end()
            self._stopped.set()
        self._call_on_shutdown()

    @property
    def callbacks(self) -> dict[str, Any]:
        """``on_shutdown``, which may be set here too."""
        callbacks: dict[str, Any] = self.config["callbacks"]
        return callbacks

    def _call_on_shutdown(self) -> None:
        callback = self.callbacks.get("on_shutdown")
        if callback is not None:
            try:
                callback(self)
            except Exception:
                self.logger.exception("callbacks.on_shutdown failed")

    def is_running(self) -> bool:
        """Whether it listens, in this process."""
        return self._running is not None and self._pid == os.getpid()

    @property
    def running(self) -> bool:
        return self.is_running()

    def get_secure_key(self) -> str | None:
        """The key that clients need; ``None`` where they need none."""
        return self.key if self._settings.require_key else None

    def get_metrics(self) -> dict[str, Any]:
        """Requests since the proxy was made, by how they went, and the last events."""
        return self.figures.get_metrics()

    def get_monitoring_manager(self) -> MonitoringManager:
        """Figures of the cache, the upstreams, the database, the process and the limits."""
        return MonitoringManager(self)

    @property
    def figures(self) -> Metrics:
        """Up to date: an answer that a client has received is counted."""
        with self._lock:
            if self.is_running():
                assert self._running is not None
                self._running.settle()
        return self.metrics_collector

    def store_stats(self) -> tuple[CacheStats, Mapping[str, CacheStats]] | None:
        """Of the whole cache and of each name; ``None`` when it cannot be read."""
        names = tuple(domain.name for domain in self._settings.domains)
        with self._lock:
            if self.is_running():
                assert self._running is not None
                return self._running.store_stats(names)
            return StoppedStore(self._settings).stats(names)

    def store_counters(self) -> CacheCounters:
        with self._lock:
            running = self._running
            return CacheCounters() if running is None else running.store_counters()

    def limits(self) -> Mapping[str, tuple[LimiterState, float | None]]:
        with self._lock:
            return {} if self._running is None else self._running.limits()

    def on_pace(self, name: str, action: Callable[[Pace], T]) -> T:
        """Run a function on a name's pace, or on an idle one if it has none."""
        with self._lock:
            at_rest = pace_of(self._settings, name)
            if not self.is_running():
                return action(at_rest)
            assert self._running is not None
            return self._running.on_pace(name, action, at_rest)

    def clear_cache(self, domain: str | None = None) -> int:
        """Remove all entries, or those of one name; returns their number."""
        return self.cache_engine.clear_cache(domain)

    def _clear(self, domain: str | None) -> int:
        with self._lock:
            if self.is_running():
                assert self._running is not None
                return self._running.clear(domain)
            return StoppedStore(self._settings).clear(domain)

    def update_config(self, key_path: str, value: Any) -> None:
        """Change one setting by its dotted path, at once.

        Raises ``ValueError`` for an invalid value; then nothing changes. The
        listen address and the cache's path change at the next start.
        """
        changed = copy.copy(self.config)
        at = changed
        *sections, last = key_path.split(".")
        for name in sections:
            below = at.get(name)
            at[name] = at = dict(below) if isinstance(below, Mapping) else {}
        at[last] = value
        self.reload_config(changed)

    def reload_config(self, new_config: Mapping[str, Any] | None) -> None:
        """Apply other settings at once, like ``update_config``."""
        with self._lock:
            self._take({} if new_config is None else new_config)
            if self.is_running():
                assert self._running is not None
                self._running.change(self._settings, self.key)

    def validate_request(
        self, path: str, headers: Mapping[str, str], query_params: Mapping[str, str]
    ) -> tuple[str | None, str]:
        """The key of a request and its path without it; no key where none is needed.

        Raises ``SecurityError`` when a key is needed and missing or wrong.
        """
        if not self._settings.require_key:
            return None, path
        key, rest = self.security_manager.extract_secure_key(path, headers, query_params)
        if key is None:
            if self._settings.log_security_events:
                self.logger.warning("a request has no key, or a wrong one")
            raise SecurityError("the proxy's key is missing or wrong")
        return key, rest

    def __enter__(self) -> Self:
        self.start(blocking=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
