"""Builds what asks a live API about a cassette, from settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from secrets import token_bytes
from typing import Any

from attrs import define, evolve, field, frozen

from buffr.config import Config
from buffr.config.gateway import GatewayRow
from buffr.config.reverse import ReverseRoute
from buffr.config.route import RouteSettings
from buffr.config.upstream import UpstreamOptions
from buffr.drift.carrying import Carried
from buffr.drift.comparison import HEADERS
from buffr.drift.noise import VolatileRule
from buffr.drift.stand_ins import Credentials
from buffr.errors import BuffrError
from buffr.exchanges.pace import Pace, PacedUpstream
from buffr.interaction import Interaction, RecordedRequest
from buffr.origin import Origin
from buffr.policy.rate_limits import RateRules, Window
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.refreshing.asking import Asking, Live, Rules, Twice
from buffr.refreshing.autobahn_client import AutobahnClient
from buffr.refreshing.live_checks import LiveChecks
from buffr.refreshing.treq_client import Patience, TreqClient
from buffr.refreshing.walk import Step, Walk
from buffr.upstream.upstream import Upstream
from buffr.wiring.routes import rate_rules, redaction_rules
from buffr.wiring.upstreams import Upstreams

__all__ = ["LiveAPI", "Wanted", "checks_of"]

_MOST_HOLD_S = 86400.0
_MOST_DELAY_S = 60.0
_MOST_WAITING = 1_000_000


@frozen(kw_only=True)
class Wanted:
    """What the caller of a check wants, beside the settings.

    ``against`` replaces the recorded hosts. ``windows`` limit the requests.
    ``credentials`` are names of variables, by names of stand-ins. Times are
    seconds: ``max_wait_s`` for a pause that the API asks for, ``timeout_s``
    for one answer. If it ``records``, answers that cannot be searched for
    secrets are treated as the settings say.
    """

    against: Origin | None = None
    windows: tuple[Window, ...] = ()
    parallel: int = 4
    unsafe: bool = False
    twice: Twice = "safe"
    credentials: Mapping[str, str] = field(factory=dict)
    max_wait_s: float = 300
    timeout_s: float = 60
    records: bool = False


@define(eq=False)
class LiveAPI:
    """The APIs of some cassettes. ``environ`` has the credentials."""

    config: Config
    reactor: Any
    wanted: Wanted
    environ: Mapping[str, str]
    _client: TreqClient = field(init=False)
    _sessions: AutobahnClient = field(init=False)
    _upstreams: Upstreams = field(init=False)
    _known: dict[Origin, Upstream] = field(init=False, factory=dict)
    _rows: dict[Origin, RouteSettings] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        # buffr is an ordinary client here: the API sees no field of a proxy.
        config = evolve(self.config, detect_loops=False)
        self._upstreams = Upstreams(config, self.reactor, set)
        patience = Patience(self.wanted.timeout_s, memory_bytes=config.limits.body_memory_bytes)
        self._client = TreqClient(
            self._upstream, self.reactor, time.monotonic, _timestamp, patience
        )
        self._sessions = AutobahnClient(self._upstream, self.reactor, _timestamp, patience)

    def walk(
        self,
        cassette: Path,
        salt: bytes,
        steps: Sequence[Step],
        words: frozenset[bytes],
        on_live: Callable[[Live], None] | None = None,
    ) -> Walk:
        """The walk through some interactions of a cassette.

        ``salt`` is that of its stand-ins, ``words`` are those of all its
        requests. Raises ``ConfigError`` for invalid redaction rules.
        """
        row = self._row_of(cassette)
        redaction = redaction_rules(self.config)
        if not self.wanted.records:
            redaction = evolve(redaction, unsafe="warn")
        stored = Redactor(redaction, salt).interaction
        rules = Rules(
            origin_of=lambda request: self._origin(request, row),
            redact=stored if redaction.enabled else _shown(redaction, salt),
            stored=stored,
            credentials=Credentials(
                dict(self.config.credentials) | dict(self.wanted.credentials), self.environ
            ),
            unsafe=self.wanted.unsafe,
            twice=self.wanted.twice,
            headers=_headers(self.config),
            volatile=_volatile(self.config),
        )
        asking = Asking(
            rules, self._client, self._sessions, self._pace(row), Carried(words), on_live
        )
        return Walk(asking, steps, self.wanted.parallel)

    def _row_of(self, cassette: Path) -> RouteSettings | None:
        """The row of the settings whose cassette this is, or whose scopes' cassettes."""
        rows: list[ReverseRoute | GatewayRow] = [*self.config.reverse]
        if self.config.gateway is not None:
            rows += self.config.gateway.routes
        whole = cassette.with_name(f"{cassette.stem.partition('@')[0]}{cassette.suffix}")
        places = {cassette.resolve(), whole.resolve()}
        return next((row for row in rows if row.cassette.resolve() in places), None)

    def _origin(self, request: RecordedRequest, row: RouteSettings | None) -> Origin:
        """Where a recorded request goes: to the recorded host, and to no other."""
        if self.wanted.against is not None:
            origin = self.wanted.against
        elif request.host is not None:
            scheme = request.scheme or "https"
            port = request.port or (443 if scheme == "https" else 80)
            origin = Origin(scheme, request.host, port)
        elif isinstance(row, ReverseRoute) and row.target is not None:
            origin = row.target
        else:
            raise BuffrError(
                "its recording names no host",
                hint="give it with --against URL, or name the settings file with --config",
            )
        if row is not None:
            self._rows.setdefault(origin, row)
        return origin

    def _upstream(self, origin: Origin) -> Upstream:
        if origin not in self._known:
            self._known[origin] = self._upstreams.of(origin, self._options(origin))
        return self._known[origin]

    def _options(self, origin: Origin) -> UpstreamOptions:
        row = self._rows.get(origin)
        if row is not None:
            return row.upstream
        forward = self.config.forward
        return UpstreamOptions() if forward is None else forward.of(origin.host).upstream

    def _pace(self, row: RouteSettings | None) -> Pace:
        """The pace that was asked for, else that of the settings; the API's own in any case."""
        windows = self.wanted.windows
        if not windows and row is not None and row.limits is not None:
            windows = rate_rules(row.limits).windows
        rules = RateRules(windows, max_delay_s=self.wanted.max_wait_s, max_waiting=_MOST_WAITING)
        return _pace_of(self.reactor, rules)

    def close(self) -> None:
        """Close every connection."""
        self._upstreams.close()


def checks_of(
    share: float,
    config: Config,
    redaction: RedactionRules,
    upstream: PacedUpstream,
    reactor: Any,
) -> LiveChecks:
    """What asks an upstream about a share of what is replayed."""

    def upstream_for(_: Origin) -> Upstream:
        return upstream.upstream

    patience = Patience(memory_bytes=config.limits.body_memory_bytes)
    rules = Rules(
        origin_of=lambda _: upstream.upstream.origin,
        redact=_shown(redaction, token_bytes(16)),
        credentials=Credentials(dict(config.credentials), os.environ),
        headers=_headers(config),
        volatile=_volatile(config),
    )
    return LiveChecks(
        share,
        SystemRandom().random,
        rules,
        TreqClient(upstream_for, reactor, time.monotonic, _timestamp, patience),
        AutobahnClient(upstream_for, reactor, _timestamp, patience),
        upstream.pace or _pace_of(reactor, RateRules(max_delay_s=_MOST_DELAY_S)),
        reactor,
    )


def _shown(redaction: RedactionRules, salt: bytes) -> Callable[[Interaction], Interaction]:
    """How interactions are redacted for reports, even if recordings are not."""
    return Redactor(evolve(redaction, enabled=True, unsafe="warn"), salt).interaction


def _headers(config: Config) -> frozenset[str]:
    """The names of headers that count."""
    return HEADERS | frozenset(config.drift.headers)


def _volatile(config: Config) -> tuple[VolatileRule, ...]:
    """What the settings say is new in every answer."""
    return tuple([VolatileRule(one.path, one.json, one.headers) for one in config.drift.volatile])


def _pace_of(reactor: Any, rules: RateRules) -> Pace:
    return Pace(reactor, rules, _MOST_HOLD_S, seconds=time.monotonic, wall=time.time)


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
