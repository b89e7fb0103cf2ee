"""Figures of all exchanges since the start: plain numbers, counted for many exchanges together."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen

from buffr.admin.stories import HERE, SOURCES, Kept, Kind, Source, Told, sums_of, values_of_kind

__all__ = ["BOUNDS_S", "STEP_S", "Batch", "Figures", "Group", "Groups", "Step", "Tally"]

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
_bucket_of = partial(bisect_left, BOUNDS_S)
STEP_S = 10
_STEPS = 361
_MOST_SCOPES = 1000
_MOST_LABELS = 1000
_OTHER_ROUTES = "other"


@define(eq=False)
class Group:
    """Exchanges of one kind that are counted together.

    ``durations_s`` are those that count; ``request_bytes`` and
    ``response_bytes`` are sums of bodies, ``took_ms`` is how long upstreams had
    taken for the recordings that answered. ``costly`` are those that may have
    cost something: what is kept of them, how long they took, how many they are.
    """

    kind: Kind
    count: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    took_ms: int = 0
    durations_s: list[float] = field(factory=list)
    costly: list[tuple[Kept, float, int]] = field(factory=list)


@frozen(eq=False)
class Batch:
    """The exchanges between two positions, by their kinds."""

    start: int
    end: int
    groups: Sequence[Group]


@define(eq=False)
class Groups:
    """Groups exchanges as they come, until the groups are taken."""

    _by_kind: dict[tuple[Any, ...], Group] = field(init=False, factory=dict)
    _repeated: dict[int, tuple[list[None], Kept]] = field(init=False, factory=dict)
    """What repeated hits share, with as many ``None`` as there are, by its id."""

    def add(self, told: Iterable[Told]) -> None:
        """Group some more. This is on the way of each exchange."""
        by_kind, repeated = self._by_kind, self._repeated
        last: Kept | None = None
        for _, dur_s, kept, _ in told:
            if dur_s is None:
                known = repeated.get(id(kept))
                if known is None:
                    known = repeated[id(kept)] = [], kept
                known[0].append(None)
                continue
            if kept is not last:
                last, values = kept, values_of_kind(kept)
                group = by_kind.get(values) or self._group(values)
                request_bytes, response_bytes, took_ms = sums_of(kept)
            group.count += 1
            group.request_bytes += request_bytes
            group.took_ms += took_ms
            if response_bytes > 0:
                group.response_bytes += response_bytes
            group.durations_s.append(dur_s)
            if group.kind.may_cost:
                group.costly.append((kept, dur_s, 1))

    def _group(self, values: tuple[Any, ...]) -> Group:
        made = self._by_kind[values] = Group(Kind(*values))
        return made

    def taken(self) -> list[Group]:
        """The groups, which are new ones from now on."""
        for each, kept in self._repeated.values():
            values, count = values_of_kind(kept), len(each)
            group = self._by_kind.get(values) or self._group(values)
            request_bytes, response_bytes, took_ms = sums_of(kept)
            group.count += count
            group.request_bytes += request_bytes * count
            group.response_bytes += max(0, response_bytes) * count
            group.took_ms += took_ms * count
            if group.kind.may_cost:
                group.costly.append((kept, 0.0, count))
        groups = [*self._by_kind.values()]
        self._by_kind.clear()
        self._repeated.clear()
        return groups


@define(eq=False)
class Tally:
    """Exchanges that are alike: plain integers. ``slower`` are their durations' buckets."""

    count: int = 0
    total_s: float = 0.0
    request_bytes: int = 0
    response_bytes: int = 0
    slower: list[int] = field(factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def add(self, group: Group) -> None:
        """Count more of them."""
        self.count += group.count
        self.request_bytes += group.request_bytes
        self.response_bytes += group.response_bytes
        self.total_s += sum(group.durations_s)
        self.slower[0] += group.count - len(group.durations_s)
        for at, count in Counter(map(_bucket_of, group.durations_s)).items():
            self.slower[at] += count


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
    source; routes beyond a thousand count together. Scopes beyond a thousand
    are forgotten, those that were idle longest first.
    """

    total: int = 0
    by_source: dict[Source, int] = field(factory=lambda: dict.fromkeys(SOURCES, 0))
    tallies: dict[tuple[str, str, int, Source], Tally] = field(factory=dict)
    scopes: dict[str, ScopeFigures] = field(factory=dict)
    errors: dict[tuple[str, str], int] = field(factory=dict)
    steps: deque[Step] = field(factory=lambda: deque(maxlen=_STEPS))
    _labels: set[str] = field(init=False, factory=set)

    def count(self, groups: Iterable[Group], at_s: float) -> None:
        """Count what was told until a moment, in seconds since 1970."""
        step = self.step(at_s)
        for group in groups:
            count, source = group.count, group.kind.source
            self.total += count
            self.by_source[source] += count
            self._tally(group.kind).add(group)
            scope = self.scope(group.kind.scope)
            scope.last_at = at_s
            scope.by_source[source] = scope.by_source.get(source, 0) + count
            step.by_source[source] = step.by_source.get(source, 0) + count
            step.total_s += sum(group.durations_s)
            step.longest_s = max(step.longest_s, *group.durations_s, 0.0)

    def count_error(self, route_id: str | None, code: str) -> None:
        """Count what went wrong."""
        failed = self._label(route_id), code
        self.errors[failed] = self.errors.get(failed, 0) + 1

    def _tally(self, kind: Kind) -> Tally:
        """That of exchanges that are alike."""
        named = self._label(kind.route_id), kind.method, kind.hundreds, kind.source
        found = self.tallies.get(named)
        if found is None:
            found = self.tallies[named] = Tally()
        return found

    def _label(self, route_id: str | None) -> str:
        name = route_id or "none"
        if name not in self._labels:
            if len(self._labels) >= _MOST_LABELS:
                return _OTHER_ROUTES
            self._labels.add(name)
        return name

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

    @property
    def here_rate(self) -> float | None:
        """The share of exchanges that were answered from here."""
        counts = self.by_source
        looked_up = sum(counts.values()) - counts["bypass"] - counts["client"]
        here = sum(counts[source] for source in SOURCES if source in HERE)
        return here / looked_up if looked_up else None
