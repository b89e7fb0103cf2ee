"""Recent exchanges in memory, the newest last, and the figures of all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any
from weakref import ref

from attrs import define, field

from buffr.admin.numbering import Numbering
from buffr.admin.running import RouteIds
from buffr.admin.stories import HERE, SOURCES, Record, Source, Story, Tally, source_of
from buffr.exchanges.exchange import Exchange, Finished
from buffr.exchanges.listening import ListeningSink
from buffr.exchanges.seen import Heard

__all__ = ["BOUNDS_S", "Figures", "OpenExchange", "Recent", "Step"]

BOUNDS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
"""Upper bounds of the buckets of durations, in seconds."""
STEP_S = 10
_STEPS = 361
_SOON_S = 0.05
_RECORD_BYTES = 120
_MOST_OPEN = 1000
_MOST_SCOPES = 1000
_MOST_LABELS = 1000
_OTHER_ROUTES = "other"
_PLAIN = {source: source for source in SOURCES}
"""Words of the log that say all about the source, where nothing else is known."""
_METHODS = {"GET": "read", "HEAD": "read", "OPTIONS": "read", "TRACE": "read", "QUERY": "read"}
_OTHERS = {"CONNECT": "connect", "WS": "session"}


@define(eq=False)
class OpenExchange:
    """An exchange whose answer has begun to come and has not ended."""

    began_at: float
    exchange: Exchange
    heard: Heard

    @property
    def id(self) -> int:
        """Its id, once it was asked for by ``Recent.under_way``."""
        return self.heard.number


@define(eq=False)
class Step:
    """What happened in ten seconds."""

    number: int
    by_source: dict[Source, int] = field(factory=dict)
    total_s: float = 0.0
    longest_s: float = 0.0
    saved_ms: float = 0.0
    saved_usd: float | None = None


@define(eq=False)
class ScopeFigures:
    """What happened in a scope."""

    last_at: float = 0.0
    by_source: dict[Source, int] = field(factory=dict)


@define(eq=False)
class Figures:
    """Counts since the start, by everything that bounds their number.

    ``tallies`` are by route, kind of method, hundreds of the status, and
    source. Scopes beyond a thousand are forgotten, those that were idle longest first.
    """

    total: int = 0
    by_source: dict[Source, int] = field(factory=lambda: dict.fromkeys(SOURCES, 0))
    tallies: dict[tuple[str, str, int, Source], Tally] = field(factory=dict)
    scopes: dict[str, ScopeFigures] = field(factory=dict)
    errors: dict[tuple[str, str], int] = field(factory=dict)
    steps: deque[Step] = field(factory=lambda: deque(maxlen=_STEPS))

    def tally(self, named: tuple[str, str, int, Source]) -> Tally:
        """A new one for exchanges that are alike."""
        made = self.tallies[named] = Tally(slower=[0] * (len(BOUNDS_S) + 1))
        return made

    def by_route(self) -> dict[str, dict[Source, int]]:
        """How often each route's exchanges were answered from where."""
        found: dict[str, dict[Source, int]] = {}
        for (route, _, _, source), tally in self.tallies.items():
            counts = found.setdefault(route, {})
            counts[source] = counts.get(source, 0) + tally.count
        return found

    def step(self, at_s: float) -> Step:
        """The step of a moment; the one under way if it lies before."""
        number = int(at_s) // STEP_S
        if not self.steps or self.steps[-1].number < number:
            self.steps.append(Step(number))
        return self.steps[-1]

    def scope(self, name: str) -> ScopeFigures:
        """That of a scope, which is new if it is not known."""
        found = self.scopes.get(name)
        if found is None:
            found = ScopeFigures()
            if len(self.scopes) >= _MOST_SCOPES:
                del self.scopes[min(self.scopes, key=lambda one: self.scopes[one].last_at)]
            self.scopes[name] = found
        return found


@define(eq=False)
class Recent:
    """Keeps finished exchanges up to ``most_bytes``, and tells of those under way.

    It is the engine's ``Watch``: an exchange only goes into a list when it
    ends. What else there is to do for it is done for many together, soon
    after, or as soon as somebody looks. ``body_bytes`` of an answer are kept
    if no store has it. ``told`` is called with the stories that were told, and
    how often each was. Ids are given in the order in which exchanges end, but
    for those that are shown before.
    """

    reactor: Any
    wall: Callable[[], float]
    ids: RouteIds
    most_bytes: int
    body_bytes: int
    figures: Figures = field(factory=Figures)
    told: list[Callable[[Mapping[Story, int]], None]] = field(factory=list)
    _open: dict[Heard, OpenExchange] = field(init=False, factory=dict)
    pending: list[tuple[float, Finished]] = field(init=False, factory=list)
    _kept: deque[tuple[float, Story]] = field(init=False, factory=deque)
    _first: int = field(init=False, default=0)
    _numbering: Numbering = field(init=False, factory=Numbering)
    _size_bytes: int = field(init=False, default=0)
    _is_due: bool = field(init=False, default=False)
    _labels: set[str] = field(init=False, factory=set)

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
        seconds = self.reactor.seconds
        heard = exchange.heard = Heard(self.body_bytes, seconds())
        began = partial(self._begun, exchange, heard)
        exchange.sink = ListeningSink(exchange.sink, heard, seconds, began)

    def _begun(self, exchange: Exchange, heard: Heard) -> None:
        if len(self._open) < _MOST_OPEN:
            self._open[heard] = OpenExchange(self.wall(), exchange, heard)

    def under_way(self) -> dict[int, OpenExchange]:
        """The exchanges whose answers have begun to come, by their ids."""
        self.catch_up()
        for heard in self._open:
            if not heard.number:
                heard.number = self._numbering.early(self.end)
        return {one.id: one for one in self._open.values()}

    @property
    def open_count(self) -> int:
        """How many exchanges are under way whose answers have begun to come."""
        return len(self._open)

    # What is kept.

    @property
    def newest(self) -> int | None:
        """The id of the last record."""
        self.catch_up()
        return self._at(self.end - 1).id if self._kept else None

    @property
    def oldest(self) -> int | None:
        """The id of the first record that is kept."""
        return self._at(self._first).id if self._kept else None

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def end(self) -> int:
        """The position after the last record; positions count from the start of the process."""
        return self._first + len(self._kept)

    @property
    def start(self) -> int:
        """The position of the oldest record that is kept."""
        return self._first

    def _at(self, position: int) -> Record:
        return self._record(position, *self._kept[position - self._first])

    def _record(self, position: int, at_s: float, story: Story) -> Record:
        seen = story.seen
        number = 0 if seen is None or seen.answer is None else seen.answer.number
        return Record(number or self._numbering.of(position), at_s, story)

    def find(self, number: int) -> Record | None:
        """The record with an id."""
        self.catch_up()
        position = self._numbering.position(number)
        if position is None or not self._first <= position < self.end:
            return None
        return self._at(position)

    def first_of(self, story: Story) -> Record | None:
        """The first record of a story, if it is kept."""
        position = story.counted_with
        return self._at(position) if self._first <= position < self.end else None

    def position_after(self, number: int) -> int:
        """The position after the record with an id, whether it is still kept or not."""
        self.catch_up()
        position = self._numbering.position(number)
        if position is None:  # it has not ended yet
            return self.end
        return min(max(position + 1, self._first), self.end)

    def forwards(self, position: int, most: int) -> list[Record]:
        """Up to so many records from a position on."""
        position = max(position, self._first)
        start = position - self._first
        some = islice(self._kept, start, start + most)
        return [self._record(at, *kept) for at, kept in enumerate(some, position)]

    def backwards(self, position: int) -> Iterator[Record]:
        """The records before a position, the newest first, as long as they are kept."""
        at = min(position, self.end) - 1
        while at >= self._first:
            yield self._at(at)
            at -= 1

    def catch_up(self) -> None:
        """Take in what has ended since the last time. A repeated hit makes no call here."""
        pending = self.pending
        if not pending:
            return
        counts = Counter([finished for _, finished in pending])
        new = [self._new(finished) for finished in counts if finished.story is None]
        start = self.end
        self._kept.extend([(at_s, finished.story) for at_s, finished in pending])
        self._size_bytes += _RECORD_BYTES * len(pending)
        if new:
            self._place(new, start)
        stories = {finished.story: count for finished, count in counts.items()}
        self._count(stories, pending[-1][0])
        pending.clear()
        self._drop_oldest()
        for tell in self.told:
            tell(stories)

    def _place(self, new: list[Story], start: int) -> None:
        """Note where new stories are told for the first time."""
        missing = set(new)
        for position, (_, story) in enumerate(islice(self._kept, start - self._first, None), start):
            if story in missing:
                missing.remove(story)
                story.counted_with = position
                seen = story.seen
                if seen is not None and seen.answer is not None and seen.answer.number:
                    self._numbering.took(seen.answer.number, position)

    def _new(self, finished: Finished) -> Story:
        """The story of an exchange that was not told before."""
        route, seen = finished.route, finished.seen
        source = _PLAIN.get(finished.src) if seen is None or seen.is_plain else None
        if source is None:
            source = source_of(finished)
        route_id = None if route is None else self.ids.known.get(route) or self.ids.of(route)
        heard = None if seen is None else seen.answer
        if heard is not None:
            self._open.pop(heard, None)
        method = finished.request.partition(" ")[0]
        kind = _METHODS.get(method) or _OTHERS.get(method, "write")
        label = route_id or "none"
        if label not in self._labels:
            label = self._new_label(label)
        named = label, kind, finished.status // 100, source
        story = finished.story = Story(
            finished.request,
            finished.status,
            finished.level,
            source,
            finished.detail,
            finished.dur_s,
            finished.scope,
            route_id,
            None if route is None else ref(route),
            seen,
            finished.proposed,
            self.figures.tallies.get(named) or self.figures.tally(named),
        )
        if seen is not None:
            story.request_bytes = len(seen.body or b"")
            story.response_bytes = seen.answer_bytes
            size = story.counted_bytes + story.request_bytes + 150 * len(seen.request.headers)
            if heard is not None and heard.head is not None:
                story.response_bytes = heard.size_bytes
                size += heard.kept_bytes + 120 * heard.pieces
            elif seen.entry is not None:
                story.response_bytes = seen.entry.body.size_bytes
                size += len(seen.entry.body.data)
            story.counted_bytes = size
            if seen.error is not None and finished.level == "ERROR":
                failed = label, seen.error.code
                self.figures.errors[failed] = self.figures.errors.get(failed, 0) + 1
        self._size_bytes += story.counted_bytes
        return story

    def _new_label(self, name: str) -> str:
        """A route that is counted for the first time; beyond a thousand they count together."""
        if len(self._labels) >= _MOST_LABELS:
            return _OTHER_ROUTES
        self._labels.add(name)
        return name

    def _count(self, stories: Mapping[Story, int], at_s: float) -> None:
        """Count what was told of some stories until a moment."""
        figures = self.figures
        by_source, scopes, step = figures.by_source, figures.scopes, figures.step(at_s)
        for story, count in stories.items():
            source, dur_s, tally = story.source, story.dur_s, story.tally
            figures.total += count
            by_source[source] += count
            tally.count += count
            tally.total_s += dur_s * count
            tally.slower[bisect_left(BOUNDS_S, dur_s)] += count
            tally.request_bytes += story.request_bytes * count
            tally.response_bytes += (story.response_bytes or 0) * count
            scope = scopes.get(story.scope) or figures.scope(story.scope)
            scope.last_at = at_s
            scope.by_source[source] = scope.by_source.get(source, 0) + count
            step.by_source[source] = step.by_source.get(source, 0) + count
            step.total_s += dur_s * count
            step.longest_s = max(step.longest_s, dur_s)

    def _drop_oldest(self) -> None:
        while self._size_bytes > self.most_bytes and len(self._kept) > 1:
            _, story = self._kept.popleft()
            self._size_bytes -= _RECORD_BYTES
            if story.counted_with == self._first:
                self._size_bytes -= story.counted_bytes
            self._first += 1
        self._numbering.forget(self._first)

    @property
    def here_rate(self) -> float | None:
        """The share of exchanges that were answered from here."""
        counts = self.figures.by_source
        looked_up = sum(counts.values()) - counts["bypass"] - counts["client"]
        here = sum(counts[source] for source in SOURCES if source in HERE)
        return here / looked_up if looked_up else None
