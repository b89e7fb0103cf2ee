"""The admin port of several workers: what it tells is of all of them, what it changes is in all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from attrs import define, field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogLevel
from twisted.web.client import Agent

from buffr.admin.answers import Asked, Failed, Reply
from buffr.admin.page import StaticFiles
from buffr.admin.server import AdminServer, Endpoint, Pages
from buffr.config.admin import AdminSettings
from buffr.listeners.client import ConnectionLimits
from buffr.listeners.listener import HTTPListener
from buffr.log import say
from buffr.policy.own_names import OwnNames
from buffr.tls.contexts import own_names

__all__ = ["WorkerPlace", "WorkersAdmin"]

_CONNECTIONS = 100
_PATIENCE_S = 5.0
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?( .*)")
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_CHANGES = ("/api/mode", "/api/cache/purge", "/api/scopes/{scope}/reset")


@frozen
class WorkerPlace:
    """A worker that is ready: its number, process, and the URL of its own admin listener."""

    number: int
    pid: int
    url: str


class _NoFiles(StaticFiles):
    """The live page is of one process."""

    def find(self, path: str, known: bytes | None, codings: bytes | None) -> Reply | None:  # noqa: ARG002
        return None


@define(eq=False)
class WorkersAdmin:
    """Serves the admin pages of a parent from ``start`` to ``stop``.

    ``workers`` are those that are ready, of ``count``. Each has an admin
    listener of its own with the same ``token``, which this one asks.
    """

    settings: AdminSettings
    count: int
    token: str
    workers: Callable[[], Sequence[WorkerPlace]]
    reactor: Any
    _listener: HTTPListener | None = field(init=False, default=None)
    _client: HTTPClient = field(init=False)

    @_client.default
    def _default_client(self) -> HTTPClient:
        return HTTPClient(Agent(self.reactor, connectTimeout=_PATIENCE_S))

    def start(self) -> None:
        """Listen. Raises ``ConfigError`` if the port is taken."""
        host, port = self.settings.address.host, self.settings.address.port
        host = "127.0.0.1" if host == "localhost" else host
        pages = [
            Endpoint("GET", "/api/health", self._health),
            Endpoint("GET", "/api/ready", self._ready),
            Endpoint("GET", "/api/workers", self._workers),
            Endpoint("GET", "/metrics", self._metrics),
            *[Endpoint("POST", path, partial(self._all, path), changes=True) for path in _CHANGES],
        ]
        server = AdminServer(
            Pages(pages),
            _NoFiles(),
            self.token.encode("ascii"),
            OwnNames(host, (*self.settings.hosts, *own_names())),
            reads_need_token=not self.settings.on_loopback,
        )
        self._listener = HTTPListener(
            self.reactor,
            host,
            port,
            server.handle,
            limits=ConnectionLimits(),
            connections=_CONNECTIONS,
            announce=None,
        )
        self._listener.startService()
        at = f"http://{host}:{self._listener.port}"
        say(LogLevel.info, "admin", url=f"{at}/#token={self.token}")

    async def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            await self._listener.stop(0)

    async def _health(self, _: Asked) -> Reply:
        return Reply.json({"status": "ok"})

    async def _ready(self, _: Asked) -> Reply:
        ready = len(self.workers())
        detail = f"{ready} of {self.count} are ready"
        # With one that serves, clients notice nothing.
        check = {"name": "workers", "ok": ready > 0, "detail": detail}
        return Reply.json({"ready": ready > 0, "checks": [check]}, 200 if ready else 503)

    async def _workers(self, _: Asked) -> Reply:
        items = [{"number": one.number, "pid": one.pid} for one in self.workers()]
        return Reply.json({"items": items})

    async def _metrics(self, _: Asked) -> Reply:
        """The metrics of all, each with its worker's number as a label."""
        places = self.workers()
        answers = await self._ask_all("GET", "/metrics", b"")
        families: dict[str, list[str]] = {}
        for place, (_status, body) in zip(places, answers, strict=False):
            for name, line in _labelled(body.decode(), place.number):
                lines = families.setdefault(name, [])
                if not (line.startswith("#") and line in lines):
                    lines.append(line)
        text = "".join(f"{line}\n" for lines in families.values() for line in lines)
        return Reply(text.encode(), media_type=_TEXT)

    async def _all(self, path: str, asked: Asked) -> Reply:
        """Make a change in every worker; if one refuses it, its answer is given."""
        for name, value in asked.path.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        answers = await self._ask_all("POST", path, asked.body)
        if not answers:
            raise Failed(status=503, code="NO_WORKER", message="no worker is ready")
        refused = [answer for answer in answers if answer[0] >= 300]
        status, body = (refused or answers)[0]
        return Reply(body, status)

    async def _ask_all(self, method: str, path: str, body: bytes) -> list[tuple[int, bytes]]:
        asked = [
            Deferred.fromCoroutine(self._ask(f"{place.url}{path}", method, body))
            for place in self.workers()
        ]
        found: list[tuple[int, bytes]] = await gatherResults(asked)
        return found

    async def _ask(self, url: str, method: str, body: bytes) -> tuple[int, bytes]:
        headers: dict[bytes | str, bytes | str] = {"X-Buffr-Token": self.token}
        if method == "POST":
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._client.request(
                method, url, headers=headers, data=body or None, timeout=_PATIENCE_S
            )
            return answer.code, await answer.content()
        except Exception as error:  # noqa: BLE001  # whatever treq makes of it
            error_text = json.dumps({"error": {"message": f"a worker does not answer: {error}"}})
            return 503, error_text.encode()


def _labelled(text: str, number: int) -> list[tuple[str, str]]:
    """The lines of a worker's metrics, each with the name of its family."""
    found, family = [], ""
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            family = line.split(" ", 3)[2]
            found.append((family, line))
            continue
        sample = _SAMPLE.fullmatch(line)
        if sample is not None:
            labels = f'worker="{number}"' + (f",{sample[2]}" if sample[2] else "")
            found.append((family, f"{sample[1]}{{{labels}}}{sample[3]}"))
    return found
