"""Recent exchanges in memory, the newest last, and the figures of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field

from buffr.admin.figures import Batch, Figures, Groups
from buffr.admin.numbering import Numbering
from buffr.admin.ring import Ring
from buffr.admin.running import RouteIds
from buffr.admin.stories import (
    SHARED,
    Alike,
    Kept,
    Record,
    Story,
    Told,
    bytes_of,
    early_number_of,
    kept,
    kept_tunnel,
    source_of,
    values_of_kind,
)
from buffr.errors import BuffrError
from buffr.exchanges.exchange import Exchange, shown, shown_session
from buffr.exchanges.listening import ListeningSink
from buffr.exchanges.route import Route
from buffr.exchanges.seen import Heard
from buffr.message import ResponseHead

__all__ = ["OpenExchange", "Recent"]

_SOON_S = 0.05
_MOST_OPEN = 1000
_MOST_SHARED = 8192
"""Bytes of bodies."""


@define(eq=False)
class OpenExchange:
    """An exchange whose answer has begun to come and has not ended."""

    began_at: float
    exchange: Exchange
    heard: Heard

    @property
    def id(self) -> int:
        """Its id, which stays the same when it has ended."""
        return self.heard.number


@define(eq=False)
class Recent:
    """Keeps finished exchanges up to ``most_bytes``, and tells of those under way.

    It is the engine's ``Watch``: an exchange only goes into a list when it
    ends. What else there is to do for it is done for many together, soon
    after, or as soon as somebody looks. ``body_bytes`` of an
    answer are kept if no store has it. ``told`` is called with those that have
    ended. Ids are given in the order in which exchanges end, but for those that
    are shown before.
    """

    reactor: Any
    wall: Callable[[], float]
    ids: RouteIds
    most_bytes: int
    body_bytes: int
    figures: Figures = field(factory=Figures)
    told: list[Callable[[Batch], None]] = field(factory=list)
    pending: list[tuple[float, float | None, Any, Any]] = field(init=False, factory=list)
    _listening: dict[Heard, Exchange] = field(init=False, factory=dict)
    _routes: dict[Route, tuple[str, int]] = field(init=False, factory=dict)
    """Those of the latest exchanges: their ids and numbers."""
    _relays: dict[Alike, tuple[tuple[ResponseHead, bytes, Sequence[bytes]], Kept]] = field(
        init=False, factory=dict
    )
    """The latest answers that were relayed, and what is kept of them."""
    _failed: list[tuple[Kept, BuffrError]] = field(init=False, factory=list)
    _groups: Groups = field(init=False, factory=Groups)
    _told_until: int = field(init=False, default=0)
    _ring: Ring = field(init=False)
    _numbering: Numbering = field(init=False, factory=Numbering)
    _is_due: bool = field(init=False, default=False)

    @_ring.default
    def _empty(self) -> Ring:
        return Ring(self.most_bytes)

    # As a watch.

    def soon(self) -> None:
        """Take in soon what comes now."""
        if not self._is_due:
            self._is_due = True
            self.reactor.callLater(_SOON_S, self._on_time)

    def _on_time(self) -> None:
        self._is_due = False
        self.catch_up()

    def listen(self, exchange: Exchange) -> None:
        """Hear the answer of an exchange."""
        sink = ListeningSink(exchange.sink, self.body_bytes, self.reactor.seconds)
        exchange.sink = exchange.heard = sink
        self._listening[sink] = exchange

    def kept(self, exchange: Exchange, words: str, status: int) -> Kept:
        """What is kept of an ordinary hit, which may be repeated."""
        ended = exchange, words, status, "INFO", "", None
        return kept(self._where(exchange.route), ended, self.body_bytes)

    def alike(self, exchange: Exchange, words: str, status: int) -> Alike:
        """What is kept of relayed exchanges like this one."""
        return Alike(self.kept(exchange, words, status))

    def _where(self, route: Route) -> tuple[str, int]:
        where = self._routes.get(route)
        if where is None:
            where = self._routes[route] = self.ids.of(route), self.ids.number(route)
        return where

    def kept_tunnel(self, words: str) -> Kept:
        """What is kept of a bypassed tunnel that has begun."""
        return kept_tunnel(words)

    # What is under way.

    def under_way(self) -> dict[int, OpenExchange]:
        """The exchanges whose answers have begun to come in pieces, by their ids."""
        self.catch_up()
        wall, now = self.wall(), self.reactor.seconds()
        found: dict[int, OpenExchange] = {}
        for heard, exchange in self._listening.items():
            if heard.began_s is None:
                continue
            if not heard.number:
                heard.number = self._numbering.early(self.end)
            found[heard.number] = OpenExchange(wall - (now - heard.began_s), exchange, heard)
            if len(found) == _MOST_OPEN:
                break
        return found

    @property
    def open_count(self) -> int:
        """How many exchanges are under way whose answers have begun to come."""
        return sum(heard.began_s is not None for heard in self._listening)

    def story_of(self, opened: OpenExchange) -> Story:
        """An exchange under way as it is now."""
        exchange = opened.exchange
        route = exchange.route
        words = (shown if exchange.frames is None else shown_session)(exchange.request, route)
        where = self.ids.of(route), self.ids.number(route)
        ended = exchange, words, 0, "INFO", "", None
        return Story.of(kept(where, ended, self.body_bytes), None)

    # What is kept.

    @property
    def newest(self) -> int | None:
        """The id of the last record."""
        self.catch_up()
        return self._at(self.end - 1).id if len(self) else None

    @property
    def oldest(self) -> int | None:
        """The id of the first record that is kept."""
        return self._at(self.start).id if len(self) else None

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def end(self) -> int:
        """The position after the last record; positions count from the start of the process."""
        return self._ring.end

    @property
    def start(self) -> int:
        """The position of the oldest record that is kept."""
        return self._ring.start

    def _at(self, position: int) -> Record:
        return self.record(position, self._ring.at(position))

    def record(self, position: int, told: Told) -> Record:
        """The record of an exchange that was told at a position."""
        return Record(early_number_of(told[2]) or self._numbering.of(position), *told)

    def find(self, number: int) -> Record | None:
        """The record with an id."""
        self.catch_up()
        position = self._numbering.position(number)
        if position is None or not self.start <= position < self.end:
            return None
        return self._at(position)

    def position_after(self, number: int) -> int:
        """The position after the record with an id, whether it is still kept or not."""
        self.catch_up()
        position = self._numbering.position(number)
        if position is None:  # it has not ended yet
            return self.end
        return min(max(position + 1, self.start), self.end)

    def forwards(self, position: int, most: int) -> list[Record]:
        """Up to so many records from a position on."""
        position = max(position, self.start)
        some = self._ring.forwards(position, most)
        return [self.record(at, told) for at, told in enumerate(some, position)]

    def backwards(self, position: int) -> Iterator[Record]:
        """The records before a position, the newest first, as long as they are kept."""
        for at, told in self._ring.backwards(position):
            yield self.record(at, told)

    def take_in(self) -> None:
        """Keep what has ended since the last time; nobody is told of it yet."""
        pending, routes = self.pending, self._routes
        self.pending, body_bytes = [], self.body_bytes
        told: list[Told] = []
        for ended in pending:
            at_s, dur_s, what, passed = ended
            if dur_s is None:
                told.append(ended)
                continue
            if type(what) is Alike:
                told.append(self._relayed(at_s, dur_s, what, passed))
                continue
            exchange, level, error = what[0], what[3], what[5]
            one = exchange.kept
            if one is None or level != "INFO":
                where = routes.get(exchange.route) or self._where(exchange.route)
                one = kept(where, what, body_bytes)
            told.append((at_s, dur_s, one, ()))
            heard = exchange.heard
            if heard is not None:
                del self._listening[heard]
                if heard.number:
                    self._numbering.took(heard.number, self.end + len(told) - 1)
            if error is not None:
                self._failed.append((one, error))
        self._groups.add(told)
        self._ring.extend(told)

    def _relayed(
        self,
        at_s: float,
        dur_s: float,
        alike: Alike,
        passed: tuple[ResponseHead, bytes, Sequence[bytes]],
    ) -> Told:
        """One of those that are alike; it shares with the last one if that is the same."""
        last = None if passed[2] else self._relays.get(alike)
        if last is not None and last[0][0] is passed[0] and last[0][1] == passed[1]:
            return at_s, dur_s, last[1], SHARED
        one = alike.of(*passed, self.body_bytes)
        if not passed[2] and alike.may_share and bytes_of(one) <= _MOST_SHARED:
            self._relays[alike] = passed, one
        return at_s, dur_s, one, ()

    def catch_up(self) -> None:
        """Take in what has ended since the last time, and tell of it."""
        self.take_in()
        if self._told_until == self.end:
            return
        self._routes.clear()
        self._relays.clear()
        for one, error in self._failed:
            _without_frames(error)
            if source_of(one) == "error":
                self.figures.count_error(values_of_kind(one)[0], error.code)
        self._failed.clear()
        batch = Batch(self._told_until, self.end, self._groups.taken())
        self._told_until = self.end
        self.figures.count(batch.groups, self._ring.at(self.end - 1)[0])
        self._numbering.forget(self.start)
        for tell in self.told:
            tell(batch)


def _without_frames(error: BaseException | None) -> None:
    """Let go of what raised an error: the frames would keep a connection."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
