"""The proxy itself: a scope for each test, with a cassette and settings of its own.

It needs all that serves, and is imported when a test asks for something.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

from attrs import evolve

from buffr.config import Config, ForwardHost, load
from buffr.config.forward import ForwardSettings
from buffr.config.schema import settings_of
from buffr.embedded.reactor_thread import ReactorThread, reactor_thread
from buffr.errors import BuffrError
from buffr.exchanges.exchange import Observer
from buffr.origin import Origin
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import EVERY_HOST
from buffr.policy.mode import Mode
from buffr.pytest_plugin import network
from buffr.redaction.redactor import Redactor
from buffr.stores.cassette.writing import write_new
from buffr.wiring.build import Clocks, build
from buffr.wiring.routes import redaction_rules
from buffr.wiring.scoped_routes import ScopedRoutes
from buffr.wiring.service import BuffrService
from buffr.wiring.unused import unused

__all__ = ["Serving"]

_FLAGS = {"proxy": "true", "listen": "127.0.0.1", "port": "0"}


class Told(Observer, Protocol):
    """Is told of exchanges, and of what became none."""

    def refused(self, scope: str, origin: Origin, error: BuffrError) -> None:
        """A scope has no route to this origin."""


class Serving:
    """A service on the reactor's thread. Its methods block, and may be called on any other."""

    def __init__(
        self,
        place: Path,
        settings: str | None,
        environ: Mapping[str, str],
        told: Told,
        wall: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Build it. Raises a ``BuffrError``.

        ``place`` is for its CA and its spools. ``wall`` and ``now`` are this machine's
        time, whatever the process is told of it meanwhile.
        """
        self._place = place
        config = load(Path(settings) if settings else None, environ, _FLAGS)
        self.direct = Bypass(config.no_proxy).of_loopback()
        """What is reached without the proxy, as ``NO_PROXY`` has it."""
        self._config = evolve(_in_directory(config, place), no_proxy=self.direct)
        self.ca = self._config.ca_cert, self._config.ca_key
        self._rows: dict[str, ForwardHost] = {}
        self._thread = reactor_thread()
        self._service, self._scopes = self._built(self._thread, told, Clocks(wall, now))
        if self._thread.ident is not None:
            network.free_threads.add(self._thread.ident)

    def _built(
        self, thread: ReactorThread, told: Told, clocks: Clocks
    ) -> tuple[BuffrService, ScopedRoutes]:
        async def made() -> BuffrService:
            return build(
                self._config,
                thread.reactor,
                on_console=False,
                write=_drop,
                by_scope=True,
                clocks=clocks,
            )

        service = thread.call(made)
        scopes = service.scopes
        assert scopes is not None
        service.engine.observer = told
        scopes.refused = told.refused
        service.open()
        return service, scopes

    def listen(self, opened: socket.socket) -> None:
        """Serve the connections to a socket that listens already."""
        (listener,) = self._service.listeners
        listener.opened = (opened,)

        async def listen() -> None:
            self._service.listen()

        self._thread.call(listen)
        opened.close()  # the listener has its own copy

    def close(self) -> None:
        """Stop; everything is recorded then."""

        async def stop() -> None:
            await self._service.stopService()

        self._thread.call(stop)

    def settle(self) -> None:
        """Wait for the reactor's work so far."""

        async def nothing() -> None:
            pass

        self._thread.call(nothing)

    def begin(self, scope: str, message: Mapping[str, Any]) -> None:
        """Serve a test from now on. Raises a ``BuffrError``, or ``OSError``."""
        cassette = Path(message["cassette"])
        merged = message.get("merged")
        if merged and message["mode"] == Mode.REPLAY.value:  # several files, read as one
            cassette = self._place / f"{scope}.json"
        config = self._settings_of(message, cassette)
        if merged:
            self._written(cassette, merged, config)

        async def begin() -> None:
            self._scopes.begin(scope, config)

        self._thread.call(begin)

    def lead(self, scope: str, url: str) -> str:
        """The first segment of paths that lead to an upstream. Raises ``ConfigError``."""
        origin = Origin.parse(url)

        async def lead() -> str:
            return self._scopes.lead(scope, origin)

        return self._thread.call(lead)

    def end(self, scope: str) -> list[str]:
        """Serve a test no longer; returns the requests of recordings that it did not use."""

        async def end() -> list[str]:
            found = unused(self._scopes.routes_of(scope))
            self._scopes.end(scope)
            return [one.request for one in found]

        return self._thread.call(end)

    def _written(self, cassette: Path, paths: Iterable[str], config: Config) -> None:
        """Make a cassette of files that other tools, or buffr, have recorded."""
        from buffr.interchange.in_place import interactions_of  # noqa: PLC0415  # few need it

        salt = secrets.token_hex(16)
        redactor = Redactor(redaction_rules(config), salt.encode(), _drop)
        found = (Path(path) for path in paths)
        read = (one for path in found if path.exists() for one in interactions_of(path))
        cassette.parent.mkdir(parents=True, exist_ok=True)
        write_new(cassette, salt, map(redactor.interaction, read), _drop)

    def _settings_of(self, message: Mapping[str, Any], cassette: Path) -> Config:
        general = self._config.forward
        assert general is not None
        mode = Mode(message["mode"])
        own = self._row(message.get("settings") or {})
        values = {name: getattr(own, name) for name in _named(message.get("settings") or {})}
        match = values.get("match", general.match)
        if values.get("repeat", general.repeat) is None and match.preset == "buffr":
            values["repeat"] = "once"
        common = {"mode": mode, "cassette": cassette, **values}
        rows = [evolve(row, **common) for row in general.hosts if row.host != EVERY_HOST]
        others = evolve(general.of(EVERY_HOST), host=EVERY_HOST, **common)
        passed = [
            evolve(others, host=host, mode=Mode.PASSTHROUGH) for host in message.get("passed", ())
        ]
        forward = evolve(general, mode=mode, hosts=(*passed, *rows, others))
        redact = self._config.redact
        more = message.get("redact") or {}
        redact = evolve(
            redact,
            headers=tuple(dict.fromkeys((*redact.headers, *more.get("headers", ())))),
            query=tuple(dict.fromkeys((*redact.query, *more.get("query", ())))),
        )
        return evolve(self._config, forward=forward, redact=redact)

    def _row(self, settings: Mapping[str, Any]) -> ForwardHost:
        """What a mark or a fixture says of a test, read as settings. Raises ``ConfigError``."""
        name = json.dumps(settings, sort_keys=True)
        row = self._rows.get(name)
        if row is None:
            mapping = {"forward": {"hosts": [{"host": EVERY_HOST, **settings}]}}
            forward = cast("ForwardSettings", load(None, {}, _FLAGS, mapping=mapping).forward)
            row = self._rows[name] = forward.hosts[0]
        return row


def _named(settings: Mapping[str, Any]) -> list[str]:
    """The fields that some settings are for."""
    return [one.name for one in settings_of(ForwardHost) if one.key.split(".")[0] in settings]


def _in_directory(config: Config, place: Path) -> Config:
    """With a CA for this run alone, and spools beside it, unless the settings name others."""
    cert, key = config.ca_cert, config.ca_key
    if cert == config.data_dir / "buffr-ca.pem":
        cert, key = place / "buffr-ca.pem", place / "buffr-ca.key"
    return evolve(config, data_dir=place, ca_cert=cert, ca_key=key)


def _drop(_: str) -> None:
    """Lines of exchanges are told in the tests' own reports."""
