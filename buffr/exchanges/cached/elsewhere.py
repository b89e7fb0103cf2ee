"""Which of several processes fetches an answer for a common cache."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from buffr.errors import FlightTimeout, StoreFailed
from buffr.exchanges.cached.call import CacheCall
from buffr.exchanges.fleet_call import flight_name
from buffr.exchanges.flight import Flight
from buffr.stores.fleet import FleetFlights, Following, Leading
from buffr.transport.streams import Signal

__all__ = ["Elsewhere", "Part"]


@frozen(eq=False)
class Part:
    """The part of this process in a fetch.

    It is the one that ``leads``; or another one has ``answered`` meanwhile, so
    that the store has the answer if that could be stored.
    """

    leads: Leading | None = None
    answered: bool = False


@define(eq=False)
class Elsewhere:
    """Of equal requests of one process, one asks the others; the rest wait for it."""

    reactor: IReactorTime
    _asking: dict[Hashable, Signal] = field(init=False, factory=dict)

    async def settled(self, name: Hashable) -> None:
        """Return once no request of this process asks the others about a name."""
        while name in self._asking:
            await self._asking[name].wait()

    async def part(self, flights: FleetFlights, name: tuple[Any, ...], most_s: float) -> Part:
        """Join the fetch of a name; if another process leads, return when it has its answer.

        Raises ``FlightTimeout`` after ``most_s`` seconds. While the others
        cannot be asked, each process is on its own.
        """
        news = self._asking[name] = Signal()
        try:
            joined = await flights.join(flight_name(*name))
            if joined.following is None:
                return Part(joined.leading)
            return Part(answered=await self._over(joined.following, most_s))
        except StoreFailed:
            return Part()
        finally:
            del self._asking[name]
            news.notify()

    async def _over(self, following: Following, most_s: float) -> bool:
        waiting = Deferred.fromCoroutine(following.over())
        timer = self.reactor.callLater(most_s, waiting.cancel) if most_s else None
        try:
            return await waiting
        except CancelledError:
            if timer is not None and timer.active():
                raise
            raise FlightTimeout(f"no answer in {most_s:g} s") from None
        finally:
            following.close()
            if timer is not None and timer.active():
                timer.cancel()

    def release(self, flight: Flight[CacheCall], leads: Leading) -> None:
        """Tell the others when a flight is over."""
        Deferred.fromCoroutine(_ended(flight, leads)).addErrback(_not_told)


async def _ended(flight: Flight[CacheCall], leads: Leading) -> None:
    await flight.ended()
    if flight.call.is_shared:
        await leads.end((), None, kept=True)
    else:
        await leads.fail()


def _not_told(failure: Failure) -> None:
    """The server is away: the lease ends by itself."""
    failure.trap(StoreFailed, CancelledError)
