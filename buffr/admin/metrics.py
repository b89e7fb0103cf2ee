"""Metrics in Prometheus' text format, made of plain integers when somebody asks.

Counting costs an addition; prometheus-client's own counters would cost a
quarter of a hit. Rendering takes milliseconds of processor time, so it is done
on a thread, family by family, and the reactor gets its turn in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool

from buffr import __version__
from buffr.admin.answers import Asked, Reply
from buffr.admin.figures import BOUNDS_S
from buffr.admin.recent import Recent
from buffr.admin.running import Running
from buffr.admin.savings import Savings
from buffr.admin.server import Endpoint
from buffr.errors import StoreFailed
from buffr.exchanges.route import Cached
from buffr.transport.eager import at_once

__all__ = ["Family", "Lag", "MetricPages", "rendered"]

_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_REST_S = 0.0005
_LAG_EVERY_S = 0.25
_LAG_KEPT = 40


Samples = list[tuple[tuple[str, ...], Any]]


@frozen
class Family:
    """A metric: its kind, and a value for each set of labels.

    Histograms have (bounds with cumulated counts, sum) as values.
    """

    name: str
    kind: str
    doc: str
    labels: tuple[str, ...] = ()
    samples: tuple[tuple[tuple[str, ...], Any], ...] = ()


@define(eq=False)
class Lag:
    """How late the reactor comes to what is due: the longest of the last ten seconds."""

    reactor: Any
    _due_s: float = field(init=False, default=0.0)
    _late: list[float] = field(init=False, factory=list)
    _call: LoopingCall = field(init=False)

    @_call.default
    def _looping(self) -> LoopingCall:
        call = LoopingCall(self._tick)
        call.clock = self.reactor
        return call

    def start(self) -> None:
        """Begin to measure."""
        self._due_s = self.reactor.seconds() + _LAG_EVERY_S
        self._call.start(_LAG_EVERY_S, now=False).addErrback(lambda _: None)

    def stop(self) -> None:
        """Measure no more."""
        if self._call.running:
            self._call.stop()

    def _tick(self) -> None:
        now = self.reactor.seconds()
        self._late.append(max(0.0, now - self._due_s))
        del self._late[:-_LAG_KEPT]
        self._due_s = now + _LAG_EVERY_S

    @property
    def longest_s(self) -> float:
        """The longest delay, in seconds."""
        return max(self._late, default=0.0)


@define(eq=False)
class MetricPages:
    """Answers ``/metrics``."""

    running: Running
    recent: Recent
    savings: Savings
    lag: Lag
    reactor: Any
    misses: Callable[[], int]

    def endpoints(self) -> Sequence[Endpoint]:
        return (Endpoint("GET", "/metrics", self._metrics),)

    async def _metrics(self, _: Asked) -> Reply:
        self.recent.catch_up()
        families = [*self._exchanges(), *self._service(), *self._routes(), *self._saved()]
        families += [*await self._stores(), *self._servers()]
        pool = self.reactor.getThreadPool()
        text: bytes = await deferToThreadPool(self.reactor, pool, rendered, families)
        return Reply(text, media_type=_TEXT)

    def _exchanges(self) -> Iterator[Family]:
        counts: Samples = []
        sizes_in: dict[tuple[str, ...], int] = {}
        sizes_out: dict[tuple[str, ...], int] = {}
        durations: dict[tuple[str, ...], tuple[list[int], float]] = {}
        for (route, kind, hundreds, source), tally in self.recent.figures.tallies.items():
            status = f"{hundreds}xx" if hundreds else "none"
            counts.append(((route, kind, status, source), tally.count))
            sizes_in[(route,)] = sizes_in.get((route,), 0) + tally.request_bytes
            named = (route, source)
            sizes_out[named] = sizes_out.get(named, 0) + tally.response_bytes
            buckets, total_s = durations.get(named, ([0] * (len(BOUNDS_S) + 1), 0.0))
            buckets = [one + more for one, more in zip(buckets, tally.slower, strict=True)]
            durations[named] = buckets, total_s + tally.total_s
        labels: tuple[str, ...] = ("route", "method", "status", "source")
        yield Family(
            "buffr_exchanges", "counter", "Exchanges that have ended.", labels, _all(counts)
        )
        yield Family(
            "buffr_exchange_duration_seconds",
            "histogram",
            "How long exchanges took.",
            ("route", "source"),
            tuple((named, (_cumulated(one[0]), one[1])) for named, one in durations.items()),
        )
        doc = "Bytes of requests' bodies."
        yield Family("buffr_request_body_bytes", "counter", doc, ("route",), _all(sizes_in.items()))
        doc, labels = "Bytes of answers' bodies.", ("route", "source")
        yield Family("buffr_response_body_bytes", "counter", doc, labels, _all(sizes_out.items()))
        errors = self.recent.figures.errors.items()
        doc = "Exchanges that failed, by what went wrong."
        yield Family("buffr_errors", "counter", doc, ("route", "kind"), _all(errors))

    def _service(self) -> Iterator[Family]:
        counters = self.running.counters
        yield _one("buffr_recordings", "counter", "Recordings made.", counters.recorded)
        doc = "Recordings that could not be written."
        yield _one("buffr_failed_appends", "counter", doc, counters.failed_appends)
        doc = "Exchanges whose answers are under way."
        yield _one("buffr_open_exchanges", "gauge", doc, self.recent.open_count)
        doc = "Calls to upstreams under way; several exchanges may wait for one."
        yield _one("buffr_flights", "gauge", doc, self.running.flights())
        doc = "Causes of misses that were not forgotten."
        yield _one("buffr_miss_causes", "gauge", doc, self.misses())
        doc = "How late the reactor was, at most, in the last ten seconds."
        yield _one("buffr_reactor_lag_seconds", "gauge", doc, self.lag.longest_s)
        doc = "Certificates of the forward proxy that are ready, and handshakes that used one."
        leaves = self.running.leaves()
        if leaves is not None:
            yield _one("buffr_leaf_cache_entries", "gauge", doc, leaves.entries)
            doc = "Certificates made for hosts."
            yield _one("buffr_leaf_cache_minted", "counter", doc, leaves.minted)
            doc = "TLS handshakes with clients that asked for a certificate."
            yield _one("buffr_tls_handshakes", "counter", doc, leaves.handshakes)
        doc = "Exchanges that are kept in memory."
        yield _one("buffr_exchanges_kept", "gauge", doc, len(self.recent))
        version = (((__version__,), 1),)
        yield Family("buffr_build_info", "gauge", "The version.", ("version",), version)
        ports = self.running.open_ports()
        doc = "Connections of clients that are open."
        connections = tuple(((str(one.port),), one.connections) for one in ports)
        yield Family("buffr_connections", "gauge", doc, ("port",), connections)
        doc = "Connections of clients that were accepted."
        accepted = tuple(((str(one.port),), one.accepted) for one in ports)
        yield Family("buffr_connections_accepted", "counter", doc, ("port",), accepted)

    def _routes(self) -> Iterator[Family]:
        waiting, refused, held = [], [], []
        for named in self.running.routes():
            pace = named.route.pace
            if pace is not None:
                state = pace.state()
                waiting.append(((named.id,), state.waiting))
                refused.append(((named.id,), state.refused))
                held.append(((named.id,), state.held_s))
        doc = "Requests that wait for their turn under a route's limits."
        yield Family("buffr_limit_waiting", "gauge", doc, ("route",), tuple(waiting))
        doc = "Requests that a route's limits have refused."
        yield Family("buffr_limit_refused", "counter", doc, ("route",), tuple(refused))
        doc = "For how long an upstream has asked for silence."
        yield Family("buffr_limit_held_seconds", "gauge", doc, ("route",), tuple(held))

    def _servers(self) -> Iterator[Family]:
        servers = self.running.servers()
        if not servers:
            return
        up = [((one.name,), int(one.is_up)) for one in servers]
        doc = "Whether a server that is used as a store can be asked."
        yield Family("buffr_server_up", "gauge", doc, ("server",), tuple(up))
        outages = [((one.name,), one.outages) for one in servers]
        doc = "How often such a server was lost."
        yield Family("buffr_server_outages", "counter", doc, ("server",), tuple(outages))
        spooled = [((one.name,), one.spooled) for one in servers]
        doc = "Recordings that wait for such a server."
        yield Family("buffr_server_spooled", "gauge", doc, ("server",), tuple(spooled))

    async def _stores(self) -> list[Family]:
        recordings, sizes, entries, bytes_, evicted = [], [], [], [], []
        for store in self.running.stores():
            name = (store.name,)
            recordings.append((name, len(at_once(store.store.places()) or store.places)))
            if store.path is not None and store.path.exists():
                sizes.append((name, store.path.stat().st_size))
        seen = set()
        for named in self.running.routes():
            route = named.route
            if isinstance(route, Cached) and route.store not in seen:
                seen.add(route.store)
                try:
                    stats = await route.store.stats(self.recent.wall())
                except StoreFailed:
                    continue  # a server that is away
                name = (self.running.cache_place(route.store).name,)
                entries.append((name, stats.entries))
                bytes_.append((name, stats.bytes))
                evicted.append((name, stats.evicted))
        kinds = (
            ("buffr_store_recordings", "gauge", "Recordings in a store.", recordings),
            ("buffr_store_bytes", "gauge", "Size of a store's file.", sizes),
            ("buffr_cache_entries", "gauge", "Answers in a cache.", entries),
            ("buffr_cache_bytes", "gauge", "Size of the answers in a cache.", bytes_),
            ("buffr_cache_evicted", "counter", "Answers that made room for others.", evicted),
        )
        return [
            Family(name, kind, doc, ("store",), tuple(dict(samples).items()))
            for name, kind, doc, samples in kinds
        ]

    def _saved(self) -> Iterator[Family]:
        total, doc = self.savings.total, "Time of upstreams that was not spent."
        yield _one("buffr_saved_upstream_seconds", "counter", doc, total.upstream_ms / 1000)
        doc = "Bytes of answers' bodies that upstreams did not send."
        yield _one("buffr_saved_bytes", "counter", doc, total.bytes)
        tokens = []
        for name, model in self.savings.models.items():
            tokens.append(((name, "input"), model.input_tokens))
            tokens.append(((name, "output"), model.output_tokens))
        doc = "Tokens that were not bought, by model."
        labels = ("model", "direction")
        yield Family("buffr_saved_tokens", "counter", doc, labels, tuple(tokens))
        doc = "Money that was not spent on tokens, in US dollars."
        yield _one("buffr_saved_usd", "counter", doc, total.usd or 0.0)


def _all(samples: Iterable[tuple[tuple[str, ...], Any]]) -> tuple[tuple[tuple[str, ...], Any], ...]:
    return tuple(samples)


def _one(name: str, kind: str, doc: str, value: float) -> Family:
    return Family(name, kind, doc, (), (((), value),))


def _cumulated(counts: Sequence[int]) -> list[tuple[str, int]]:
    bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
    total, cumulated = 0, []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        cumulated.append((bound, total))
    return cumulated


def rendered(families: Iterable[Family], rest_s: float = _REST_S) -> bytes:
    """The text of some metrics. For any thread, which others get their turn beside."""
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415  # rarely used
    from prometheus_client.exposition import generate_latest  # noqa: PLC0415

    texts = []
    for family in families:
        for part in _parts(family):
            registry = CollectorRegistry(auto_describe=False)
            registry.register(part)
            texts.append(generate_latest(registry))
            time.sleep(rest_s)
    process = CollectorRegistry()
    ProcessCollector(registry=process)
    texts.append(generate_latest(process))
    return b"".join(texts)


class _Part:
    """A collector of one metric."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Any]:
        yield self._metric


def _parts(family: Family) -> Iterator[_Part]:
    from prometheus_client.core import (  # noqa: PLC0415  # rarely used
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    made: Any
    if family.kind == "histogram":
        made = HistogramMetricFamily(family.name, family.doc, labels=family.labels)
        for labels, (buckets, total) in family.samples:
            made.add_metric(labels, buckets, total)
    else:
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        made = kind(family.name, family.doc, labels=family.labels)
        for labels, value in family.samples:
            made.add_metric(labels, value)
    yield _Part(made)
