"""Recent exchanges in memory, the newest last, and the figures of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from attrs import define, field

from buffr.admin.figures import Batch, Figures, Group, batch_of
from buffr.admin.numbering import Numbering
from buffr.admin.ring import Ring
from buffr.admin.running import RouteIds
from buffr.admin.stories import (
    Record,
    Story,
    Told,
    beside_of,
    early_number_of,
    kept,
    kept_tunnel,
)
from buffr.errors import BuffrError
from buffr.exchanges.exchange import Exchange, shown, shown_session
from buffr.exchanges.listening import ListeningSink
from buffr.exchanges.route import Route
from buffr.exchanges.seen import Heard

__all__ = ["OpenExchange", "Recent"]

_SOON_S = 0.05
_MOST_OPEN = 1000


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

    It is the engine's ``Watch``: what is kept of an exchange only goes into a
    list when it ends. What else there is to do for it is done for many
    together, soon after, or as soon as somebody looks. ``body_bytes`` of an
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
    pending: list[tuple[float, float | None, object, Sequence[bytes]]] = field(
        init=False, factory=list
    )
    _listening: dict[Heard, Exchange] = field(init=False, factory=dict)
    _routes: dict[Route, tuple[str, int]] = field(init=False, factory=dict)
    """Those of the exchanges that are pending."""
    _failed: list[BuffrError] = field(init=False, factory=list)
    """What the pending ones have ended with."""
    _ring: Ring = field(init=False)
    _numbering: Numbering = field(init=False, factory=Numbering)
    _has_early: bool = field(init=False, default=False)
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

    def kept(
        self,
        exchange: Exchange,
        words: str,
        status: int,
        level: str,
        detail: str,
        error: BuffrError | None,
    ) -> object:
        """What is kept of an exchange that is over."""
        route, heard = exchange.route, exchange.heard
        where = self._routes.get(route)
        if where is None:
            where = self._routes[route] = self.ids.of(route), self.ids.number(route)
        if heard is not None:
            del self._listening[heard]
            if heard.number:
                self._has_early = True
        if error is not None:
            self._failed.append(error)
        return kept(exchange, where, words, status, level, detail, error)

    def kept_tunnel(self, words: str) -> object:
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
        return Story.of(kept(exchange, where, words, 0, "INFO", "", None), None)

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

    def catch_up(self) -> None:
        """Take in what has ended since the last time. A repeated hit makes no call here."""
        if not self.pending:
            return
        told = cast("list[Told]", self.pending)
        self.pending = []
        self._routes.clear()
        for error in self._failed:
            _without_frames(error)
        self._failed.clear()
        start = self.end
        if self._has_early:
            self._note_early(told, start)
        batch = batch_of(told, start)
        self.figures.count(batch.groups, told[-1][0])
        for group in batch.groups:
            if group.kind.source == "error":
                self._count_errors(group)
        self._ring.extend(told)
        self._numbering.forget(self.start)
        for tell in self.told:
            tell(batch)

    def _note_early(self, told: Sequence[Told], start: int) -> None:
        """Note where exchanges have ended that were shown before."""
        self._has_early = False
        for position, (_, _, one, _) in enumerate(told, start):
            number = early_number_of(one)
            if number:
                self._numbering.took(number, position)

    def _count_errors(self, group: Group) -> None:
        for _, _, one, _ in group.told:
            beside = beside_of(one)
            if beside is not None and beside.error is not None:
                self.figures.count_error(group.kind.route_id, beside.error.code)


def _without_frames(error: BaseException | None) -> None:
    """Let go of what raised an error: the frames would keep a connection."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
