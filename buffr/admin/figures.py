"""Figures of all exchanges since the start: plain numbers, counted for many exchanges together."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field, frozen

from buffr.admin.stories import HERE, SOURCES, Kind, Source, Told, sums_of, values_of_kind

__all__ = ["BOUNDS_S", "STEP_S", "Batch", "Figures", "Group", "Step", "Tally", "batch_of"]

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
_MOST_SCOPES = 1000
_MOST_LABELS = 1000
_OTHER_ROUTES = "other"


@frozen(eq=False)
class Group:
    """Exchanges of one kind that are counted together, in the order in which they ended.

    ``durations_s`` are those that count; ``request_bytes`` and
    ``response_bytes`` are sums of bodies, ``took_ms`` is how long upstreams had
    taken for the recordings that answered.
    """

    kind: Kind
    told: Sequence[Told]
    durations_s: Sequence[float]
    request_bytes: int
    response_bytes: int
    took_ms: int


@frozen(eq=False)
class Batch:
    """Exchanges that ended since the last time; ``start`` is the position of the first one."""

    start: int
    told: Sequence[Told]
    groups: Sequence[Group]


def batch_of(told: Sequence[Told], start: int) -> Batch:
    """Exchanges, and their groups."""
    by_kind: defaultdict[tuple[Any, ...], list[Told]] = defaultdict(list)
    for one in told:
        by_kind[values_of_kind(one[2])].append(one)
    groups = [_group(Kind(*values), some) for values, some in by_kind.items()]
    return Batch(start, told, groups)


def _group(kind: Kind, told: Sequence[Told]) -> Group:
    durations_s = [one[1] for one in told if one[1]]
    requests, responses, took = zip(*[sums_of(one[2]) for one in told], strict=True)
    return Group(kind, told, durations_s, sum(requests), sum(responses), sum(took))


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
        self.count += len(group.told)
        self.request_bytes += group.request_bytes
        self.response_bytes += group.response_bytes
        self.total_s += sum(group.durations_s)
        self.slower[0] += len(group.told) - len(group.durations_s)
        for dur_s in group.durations_s:
            self.slower[bisect_left(BOUNDS_S, dur_s)] += 1


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
            count, source = len(group.told), group.kind.source
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
