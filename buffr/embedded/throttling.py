"""The limits of upstreams, with reference-api-buddy's interface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.task import Clock

from buffr.config.api_buddy import ApiBuddySettings, read_api_buddy
from buffr.config.limits import RateLimits
from buffr.exchanges.metrics import whole
from buffr.exchanges.pace import Pace
from buffr.wiring.routes import rate_rules

__all__ = ["OwnPaces", "Paces", "ThrottleManager", "ThrottleState", "pace_of"]

T = TypeVar("T")

_HOUR_S = 3600
_RESTING_S = 1
"""The delay of a name that is not throttled, as the original shows it."""


@frozen
class ThrottleState:
    """The state of a name's limits. Times are in seconds.

    ``violations`` counts refusals since the last back-off was over.
    ``request_timestamps`` are those of the last hour's requests.
    """

    violations: int
    delay_seconds: float
    last_violation: float
    total_requests: int
    request_timestamps: Sequence[float]


class Paces(Protocol):
    """The pace of each name's requests. Methods may be called on any thread."""

    @property
    def settings(self) -> ApiBuddySettings: ...

    def limits(self) -> Mapping[str, object]:
        """By the names that have a pace."""

    def on_pace(self, name: str, action: Callable[[Pace], T]) -> T:
        """Run a function on a name's pace, or on an idle one if it has none."""


class ThrottleManager:
    """Counts requests to upstreams, and computes how long the next one has to wait.

    ``proxy.throttle_manager`` has the proxy's own limits: what is recorded
    counts beside its requests. One that a program makes itself, by the same
    settings, has those of its own. Raises ``ValueError`` for a wrong setting.
    """

    time_window = _HOUR_S

    def __init__(
        self,
        throttling_config: Mapping[str, Any] | None = None,
        domain_mappings: Mapping[str, Any] | None = None,
        *,
        paces: Paces | None = None,
    ) -> None:
        given = {"throttling": throttling_config, "domain_mappings": domain_mappings}
        self._paces = paces or OwnPaces(read_api_buddy(given))

    @property
    def default_limit(self) -> int:
        return self._paces.settings.default_per_hour

    @property
    def max_delay(self) -> float:
        return whole(self._paces.settings.max_delay_s)

    @property
    def domain_limits(self) -> dict[str, int]:
        return dict(self._paces.settings.domain_limits)

    @property
    def domain_rpm_limits(self) -> dict[str, int]:
        domains = self._paces.settings.domains
        return {one.name: one.per_minute for one in domains if one.per_minute is not None}

    @property
    def domain_rps_limits(self) -> dict[str, int]:
        domains = self._paces.settings.domains
        return {one.name: one.per_second for one in domains if one.per_second is not None}

    @property
    def states(self) -> dict[str, ThrottleState]:
        """Of each name that has a limit."""
        return {name: self.get_state(name) for name in self._paces.limits()}

    def record_request(self, domain: str) -> None:
        """Count a request that the caller sends by itself."""
        self._paces.on_pace(domain, Pace.note)

    def should_throttle(self, domain: str) -> bool:
        """Whether the request that was just recorded is over the limit, or a back-off goes on."""
        return self._paces.on_pace(domain, Pace.is_exceeded)

    def get_required_delay(self, domain: str) -> float:
        """How many seconds the next request has to wait; -1.0 if longer than ``max_delay``."""
        wait_s = self._paces.on_pace(domain, Pace.wait_s)
        return -1.0 if wait_s > self.max_delay else wait_s

    def get_throttle_delay(self, domain: str) -> float:
        """The back-off in seconds, which each violation doubles; 1 at rest."""
        return self.get_state(domain).delay_seconds

    def get_state(self, domain: str) -> ThrottleState:
        """As of now; nothing changes it later."""
        return self._paces.on_pace(domain, _state)

    def reset_throttle(self, domain: str) -> None:
        """Forget a name's requests and violations."""
        self._paces.on_pace(domain, Pace.restore)

    def persist_state(self) -> dict[str, dict[str, Any]]:
        """All states as JSON has them."""
        return {
            name: {
                "violations": state.violations,
                "delay_seconds": state.delay_seconds,
                "last_violation": state.last_violation,
                "total_requests": state.total_requests,
                "request_timestamps": list(state.request_timestamps),
            }
            for name, state in self.states.items()
        }

    def load_state(self, snapshot: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore the result of ``persist_state``."""
        for name, data in snapshot.items():
            self._paces.on_pace(name, partial(_restore, data=data))


def _state(pace: Pace) -> ThrottleState:
    state = pace.state()
    return ThrottleState(
        violations=state.violations,
        delay_seconds=max(_RESTING_S, whole(state.delay_s)),
        last_violation=pace.refused_at or 0.0,
        total_requests=state.departed,
        request_timestamps=pace.left(_HOUR_S),
    )


def _restore(pace: Pace, data: Mapping[str, Any]) -> None:
    pace.restore(
        data.get("request_timestamps", ()),
        departed=data.get("total_requests", 0),
        violations=data.get("violations", 0),
    )
    pace.refused_at = data.get("last_violation") or None


@define(eq=False)
class OwnPaces:
    """Paces of a program, which no proxy has; a name gets its own when it is first used."""

    settings: ApiBuddySettings
    _lock: threading.Lock = field(init=False, factory=threading.Lock)
    _paces: dict[str, Pace] = field(init=False, factory=dict)

    def limits(self) -> Mapping[str, object]:
        with self._lock:
            return dict(self._paces)

    def on_pace(self, name: str, action: Callable[[Pace], T]) -> T:
        with self._lock:
            if name not in self._paces:
                self._paces[name] = pace_of(self.settings, name)
            return action(self._paces[name])


def pace_of(settings: ApiBuddySettings, name: str) -> Pace:
    """A pace by the limits that settings have for a name."""
    own = next((one for one in settings.domains if one.name == name), None)
    limits = RateLimits(
        per_second=None if own is None else own.per_second,
        per_minute=None if own is None else own.per_minute,
        per_hour=settings.domain_limits.get(name, settings.default_per_hour),
        max_delay_s=settings.max_delay_s,
    )
    # Nothing waits here, so nothing is ever scheduled.
    return Pace(Clock(), rate_rules(limits), 0.0, seconds=time.monotonic, wall=time.time)
