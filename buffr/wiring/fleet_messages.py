"""Switches that are made in one process, and hold in all that share a server."""

from __future__ import annotations

import json
import secrets
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.errors import BuffrError
from buffr.log import say
from buffr.policy.mode import Mode
from buffr.wiring.live import LiveService
from buffr.wiring.servers import Servers

__all__ = ["FleetMessages"]

_CHANNEL = "fleet"


@define(eq=False)
class FleetMessages:
    """Publishes a route's new mode on its servers, and applies what other processes publish.

    A route is the same in all processes if it has the same id: processes with
    the same settings.
    """

    servers: Servers
    live: LiveService
    _me: str = field(init=False, factory=lambda: secrets.token_hex(6))

    def begin(self) -> None:
        """Listen to the others, and tell them what is switched here."""
        self.live.switched = self._tell
        for server in self.servers.all():
            heard = partial(self._heard, str(server.client.address))
            listening = server.client.subscribe(server.client.key(_CHANNEL), heard)
            Deferred.fromCoroutine(listening).addErrback(_not_told)

    def _tell(self, route: str, mode: Mode) -> None:
        text = json.dumps({"from": self._me, "route": route, "mode": mode.value})
        for server in self.servers.all():
            telling = server.client.ask("PUBLISH", server.client.key(_CHANNEL), text)
            Deferred.fromCoroutine(telling).addErrback(_not_told)

    def _heard(self, where: str, text: bytes) -> None:
        try:
            message: dict[str, Any] = json.loads(text)
            sender, route, mode = message["from"], message["route"], Mode(message["mode"])
        except (ValueError, KeyError, TypeError):
            return  # of a newer buffr
        if sender != self._me:
            Deferred.fromCoroutine(self._switch(where, route, mode)).addErrback(_not_switched)

    async def _switch(self, where: str, route: str, mode: Mode) -> None:
        for named in self.live.routes():
            if named.id == route and mode in named.modes:
                await self.live.switch(named, mode)
                say(LogLevel.info, "mode switched", route=route, mode=mode.value, by=where)


def _not_told(failure: Failure) -> None:
    error = failure.trap(BuffrError) and failure.value
    say(LogLevel.warn, "other processes are not told", err=str(error))


def _not_switched(failure: Failure) -> None:
    failure.trap(BuffrError)
    say(LogLevel.warn, "the mode of another process does not fit here", err=str(failure.value))
