"""The calls of the cache that are under way, and who may join them."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from buffr.exchanges.cached.call import CacheCall, Storage, Surroundings
from buffr.exchanges.exchange import Exchange
from buffr.exchanges.flight import Flight
from buffr.exchanges.route import RouteCache

__all__ = ["Flying", "UnderWay"]

_MOST_ALONE = 4096
_ALONE_S = 60.0
"""How long nobody waits for the answer to what had one that could not be shared."""


@frozen(eq=False)
class UnderWay:
    """A call and the flight that makes it."""

    call: CacheCall
    flight: Flight


class Flying:
    """Finds a flight by what is asked for, and all of a URL."""

    def __init__(self, reactor: IReactorTime, around: Surroundings) -> None:
        self.around = around
        self._reactor = reactor
        self._shared: dict[object, UnderWay] = {}
        self._all: dict[Flight, CacheCall] = {}
        self._of_url: dict[tuple[str, str], set[CacheCall]] = {}
        self._alone: dict[object, float] = {}

    def joinable(self, name: object) -> UnderWay | None:
        """The flight that one more exchange may join."""
        known = self._shared.get(name)
        return known if known is not None and known.flight.joinable else None

    def is_alone(self, name: object) -> bool:
        """Whether the answer is known to be for one client only."""
        until = self._alone.get(name)
        return until is not None and self._reactor.seconds() < until

    def goes_alone(self, name: object) -> None:
        """Note that an answer could not be shared."""
        while len(self._alone) >= _MOST_ALONE:
            del self._alone[next(iter(self._alone))]
        self._alone[name] = self._reactor.seconds() + _ALONE_S

    def depart(
        self,
        exchange: Exchange,
        cache: RouteCache,
        storage: Storage,
        *,
        name: object = None,
    ) -> UnderWay:
        """Start a flight; others may join it by its ``name``, if it has one."""
        call = CacheCall(exchange, cache, storage, self.around)
        place = (cache.name, storage.url)

        def ended(flight: Flight) -> None:
            self._all.pop(flight, None)
            of_url = self._of_url.get(place)
            if of_url is not None:
                of_url.discard(call)
                if not of_url:
                    del self._of_url[place]
            known = self._shared.get(name)
            if known is not None and known.flight is flight:
                del self._shared[name]

        flight = Flight(self._reactor, call, exchange.route.linger_s, ended)
        under_way = UnderWay(call, flight)
        if flight.over:
            return under_way
        self._all[flight] = call
        self._of_url.setdefault(place, set()).add(call)
        if name is not None:
            self._shared[name] = under_way
        return under_way

    def outdate(self, route: str, url: str) -> None:
        """What is on its way for a URL is not stored, and nobody joins it any more."""
        for call in self._of_url.get((route, url), ()):
            call.outdated = True
        for name, under_way in list(self._shared.items()):
            if under_way.call.outdated:
                del self._shared[name]

    async def stop(self) -> None:
        """Give up all; returns when what came is kept."""
        for flight in list(self._all):
            flight.give_up()
            await flight.ended()
