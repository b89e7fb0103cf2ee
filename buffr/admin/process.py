"""Pages about the process: whether it lives and is ready, its versions, settings and routes."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from attrs import define, field

import twisted
from buffr import __version__
from buffr.admin.answers import Asked, Reply
from buffr.admin.running import NamedRoute, Running, mode_of
from buffr.admin.server import Endpoint
from buffr.config.shown import as_data
from buffr.origin import host_and_port

__all__ = ["API_FILE", "ProcessPages"]

API_FILE = Path(__file__).with_name("openapi.yaml")
"""The API's document."""


@define(eq=False)
class ProcessPages:
    """Answers what does not depend on any exchange. ``wall`` is seconds since 1970."""

    running: Running
    wall: Callable[[], float]
    by_route: Callable[[], Mapping[str, Mapping[str, int]]] = dict
    started_at: float = field(init=False)
    _document: bytes | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.started_at = self.wall()

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("GET", "/api/health", self._health),
            Endpoint("GET", "/api/ready", self._ready),
            Endpoint("GET", "/api/version", self._version),
            Endpoint("GET", "/api/config", self._config),
            Endpoint("GET", "/api/routes", self._routes),
            Endpoint("GET", "/openapi.json", self._api),
        )

    async def _health(self, _: Asked) -> Reply:
        return Reply.json({"status": "ok"})

    async def _ready(self, _: Asked) -> Reply:
        checks = self.running.checks()
        ready = all(check.ok for check in checks)
        shown = [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in checks]
        return Reply.json({"ready": ready, "checks": shown}, 200 if ready else 503)

    async def _version(self, _: Asked) -> Reply:
        return Reply.json(self.version())

    def version(self) -> dict[str, Any]:
        """As ``Version`` in the API's document."""
        config, now = self.running.config, self.wall()
        return {
            "version": __version__,
            "api": "1",
            "python": platform.python_version(),
            "twisted": twisted.__version__,
            "pid": os.getpid(),
            "started_at_ms": int(self.started_at * 1000),
            "uptime_s": round(max(0.0, now - self.started_at), 3),
            "data_dir": str(config.data_dir.absolute()),
            "settings_file": self._file(),
        }

    def _file(self) -> str | None:
        file = self.running.config.file
        return None if file is None else str(file.absolute())

    async def _config(self, _: Asked) -> Reply:
        configuration, masked = as_data(self.running.config)
        return Reply.json({"file": self._file(), "configuration": configuration, "masked": masked})

    async def _routes(self, _: Asked) -> Reply:
        return Reply.json({"items": [self.shown(one) for one in self.running.routes()]})

    def shown(self, named: NamedRoute) -> dict[str, Any]:
        """As ``RouteInfo`` in the API's document."""
        route = named.route
        upstream = None if route.upstream is None else route.upstream.upstream
        return {
            "id": named.id,
            "name": named.name,
            "kind": named.kind,
            "mode": mode_of(route).value,
            "modes": [mode.value for mode in named.modes],
            "listens": named.listens,
            "upstream": None if upstream is None else upstream.origin.url,
            "store": self._store_of(named),
            "rules_file": self._file(),
            "under_way": route.uses.under_way,
            "counts": self.by_route().get(named.id, {}),
            "limited": route.pace is not None,
        }

    def _store_of(self, named: NamedRoute) -> str | None:
        return next((one.id for one in self.running.stores() if named.id in one.routes), None)

    async def _api(self, _: Asked) -> Reply:
        if self._document is None:
            self._document = msgspec.json.encode(yaml.safe_load(API_FILE.read_bytes()))
        return Reply(self._document)


def listens_at(host: str, port: int) -> str:
    """An address as it is shown."""
    return host_and_port(host, port)
