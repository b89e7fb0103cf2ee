"""Pages about what is running: modes, scopes, caches, limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import msgspec
from attrs import define

from buffr.admin.answers import Asked, Failed, Reply, bad_request, conflict, not_found
from buffr.admin.process import ProcessPages
from buffr.admin.recent import Recent
from buffr.admin.running import NamedRoute, Running
from buffr.admin.server import Endpoint
from buffr.admin.status import NOTHING_SAVED
from buffr.errors import BuffrError
from buffr.exchanges.playhead import Playhead
from buffr.exchanges.route import Cached, Recorded
from buffr.policy.mode import Mode
from buffr.stores.cache import CacheStore

__all__ = ["RunningPages", "route_named"]

_MOST_SCOPES = 1000
_NO_SCOPE = "-"
_Name = Annotated[str, msgspec.Meta(max_length=500)]


class ModeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /api/mode``."""

    route: _Name
    mode: Mode


class PurgeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /api/cache/purge``."""

    route: _Name | msgspec.UnsetType = msgspec.UNSET
    url: Annotated[str, msgspec.Meta(max_length=8000)] | msgspec.UnsetType = msgspec.UNSET
    tag: _Name | msgspec.UnsetType = msgspec.UNSET
    everything: bool | msgspec.UnsetType = msgspec.UNSET


def route_named(running: Running, name: str) -> NamedRoute:
    """The route with an id. Raises ``Failed``."""
    for named in running.routes():
        if named.id == name:
            return named
    raise not_found(f"route {name!r}", "/api/routes lists those that are there")


@define(eq=False)
class RunningPages:
    """Answers and changes what is running. ``changed`` tells others of a change."""

    running: Running
    recent: Recent
    process: ProcessPages
    changed: Callable[[str, str | None], None]
    saved_in: Callable[[str], dict[str, Any]] = lambda _: NOTHING_SAVED

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("POST", "/api/mode", self._set_mode, changes=True),
            Endpoint("GET", "/api/scopes", self._scopes),
            Endpoint("POST", "/api/scopes/{scope}/reset", self._reset, changes=True),
            Endpoint("GET", "/api/cache", self._cache),
            Endpoint("POST", "/api/cache/purge", self._purge, changes=True),
            Endpoint("GET", "/api/limits", self._limits),
        )

    async def _set_mode(self, asked: Asked) -> Reply:
        wanted = asked.read(ModeRequest)
        named = route_named(self.running, wanted.route)
        if wanted.mode not in named.modes:
            listed = ", ".join(mode.value for mode in named.modes) or "no mode"
            raise conflict(
                f"{named.id} cannot be switched to {wanted.mode.value} while buffr runs",
                f"it can to: {listed}",
            )
        try:
            await self.running.set_mode(named, wanted.mode)
        except BuffrError as error:
            raise conflict(error.message, error.hint or None) from None
        self.changed("mode", named.id)
        try:
            now = route_named(self.running, wanted.route)
        except Failed:  # a host of the forward proxy, whose route comes with its next request
            return Reply.json({**self.process.shown(named), "mode": wanted.mode.value})
        return Reply.json(self.process.shown(now))

    # Scopes.

    def _playheads(self) -> Iterator[Playhead]:
        seen: set[int] = set()
        for named in self.running.routes():
            if isinstance(named.route, Recorded) and id(named.route.playhead) not in seen:
                seen.add(id(named.route.playhead))
                yield named.route.playhead

    async def _scopes(self, _: Asked) -> Reply:
        self.recent.catch_up()
        scopes = self.recent.figures.scopes
        keys: dict[str, int] = {}
        for playhead in self._playheads():
            for scope in playhead.scopes:
                keys[scope] = keys.get(scope, 0) + playhead.keys(scope)
        names = sorted(
            {*scopes, *keys},
            key=lambda name: scopes[name].last_at if name in scopes else 0,
            reverse=True,
        )
        items = []
        for name in names[:_MOST_SCOPES]:
            figures = scopes.get(name)
            items.append(
                {
                    "scope": name,
                    "last_at_ms": None if figures is None else int(figures.last_at * 1000),
                    "counts": {} if figures is None else figures.by_source,
                    "keys": keys.get(name, 0),
                    "saved": self.saved_in(name),
                }
            )
        return Reply.json({"items": items})

    async def _reset(self, asked: Asked) -> Reply:
        scope = asked.path["scope"]
        name = "" if scope == _NO_SCOPE else scope
        keys = 0
        for playhead in self._playheads():
            keys += playhead.keys(name)
            playhead.reset(name)
        for named in self.running.routes():
            if isinstance(named.route, Recorded) and named.route.fleet is not None:
                await named.route.fleet.playheads.reset(name)
        if not keys and name not in self.recent.figures.scopes:
            raise not_found(f"scope {scope!r}", "/api/scopes lists those that were used")
        self.changed("scope", name)
        return Reply.json({"scope": name, "keys": keys})

    # Caches.

    def _stores(self) -> dict[CacheStore, list[NamedRoute]]:
        stores: dict[CacheStore, list[NamedRoute]] = {}
        for named in self.running.routes():
            if isinstance(named.route, Cached):
                stores.setdefault(named.route.store, []).append(named)
        return stores

    async def _cache(self, _: Asked) -> Reply:
        now = self.recent.wall()
        shown = []
        for store, routes in self._stores().items():
            stats = await store.stats(now)
            place = self.running.cache_place(store)
            shown.append(
                {
                    "name": place.name,
                    "kind": place.kind,
                    "path": None if place.path is None else str(place.path),
                    "routes": [one.id for one in routes],
                    "entries": stats.entries,
                    "size_bytes": stats.bytes,
                    "max_bytes": self.running.config.cache.most_bytes or None,
                    "max_entries": self.running.config.cache.most_entries or None,
                    "fresh": stats.entries - stats.expired,
                    "stale": stats.expired,
                    "evicted": stats.evicted,
                    "stored": store.counters.puts,
                    "oldest_at_ms": _ms(stats.oldest_at),
                    "newest_at_ms": _ms(stats.newest_at),
                }
            )
        return Reply.json({"stores": shown})

    async def _purge(self, asked: Asked) -> Reply:
        wanted = asked.read(PurgeRequest)
        given = [one for one in (wanted.route, wanted.url, wanted.tag) if one is not msgspec.UNSET]
        if not given and wanted.everything is not True:
            raise bad_request("name a route, a url or a tag, or everything: true")
        stores = self._stores()
        name = None
        if wanted.route is not msgspec.UNSET:
            named = route_named(self.running, wanted.route)
            if not isinstance(named.route, Cached):
                raise conflict(f"{named.id} is not in mode cache")
            name, stores = named.route.name, {named.route.store: [named]}
        url = None if wanted.url is msgspec.UNSET else wanted.url
        tag = None if wanted.tag is msgspec.UNSET else wanted.tag
        purged = 0
        for store in stores:
            purged += await store.clear(route=name, url=url, tag=tag)
        self.changed("cache", None)
        return Reply.json({"purged": purged})

    # Limits.

    async def _limits(self, _: Asked) -> Reply:
        items = []
        for named in self.running.routes():
            pace = named.route.pace
            if pace is None:
                continue
            state = pace.state()
            items.append(
                {
                    "route": named.id,
                    "windows": [
                        {"per": window.name, "limit": window.count, "used": used}
                        for window, used in pace.windows()
                    ],
                    "waiting": state.waiting,
                    "wait_s": round(pace.wait_s(), 3),
                    "held_s": round(state.held_s, 3),
                    "refused": state.refused,
                    "last_refused_at_ms": _ms(pace.refused_at),
                }
            )
        return Reply.json({"items": items})


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
