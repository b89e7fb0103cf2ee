"""Limits on requests to an upstream per second, minute and hour, and the wait for a turn.

Sliding windows: a request leaves when no window that ends with it would
contain more than its count. Waiting requests have turns, first come, first
served; turns are computed ahead, so a wait is known before it begins.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from math import ceil, inf

from attrs import define, frozen

from buffr.errors import RateLimited
from buffr.message import Headers, ResponseHead, first_value

__all__ = [
    "LimiterState",
    "RateLimiter",
    "RateRules",
    "Turn",
    "Window",
    "remaining",
    "silence_asked",
]

_LEAST_KEPT = 1000
"""Departures that are remembered regardless of the windows, for later windows."""


@frozen
class Window:
    """No more than ``count`` requests in any ``length_s`` seconds.

    ``name`` is the policy's name in ``RateLimit`` fields.
    """

    count: int
    length_s: int
    name: str


@frozen
class RateRules:
    """The limits of one route. Times are in seconds.

    A request waits no longer than ``max_delay_s``, and no more than
    ``max_waiting`` wait at a time. ``slack_s`` is added to each window's
    length, since the travel time of requests varies.
    """

    windows: tuple[Window, ...] = ()
    max_delay_s: float = 300.0
    max_waiting: int = 1000
    slack_s: float = 0.0


@define(eq=False)
class Turn:
    """One request's place. ``due_s`` is when it leaves, as currently known."""

    came_s: float
    earliest_s: float
    due_s: float


@frozen
class LimiterState:
    """A limiter's figures, for reports.

    ``departed`` counts requests that left, ``violations`` those refused since
    the last one that came after its back-off, ``refused`` all refused ones.
    ``delay_s`` is the back-off, ``held_s`` the remaining time for which the
    upstream asked for no requests.
    """

    departed: int
    waiting: int
    refused: int
    violations: int
    delay_s: float
    held_s: float


class RateLimiter:
    """The turns of one route. Times are seconds of one clock that never goes back."""

    def __init__(self, rules: RateRules) -> None:
        self._rules = rules
        self._left: array[float] = array("d")
        self._departed = 0
        self._waiting: list[Turn] = []
        self._moved = False
        self._held_until = -inf
        self._refused = 0
        self._violations = 0
        self._back_off_until = -inf

    @property
    def rules(self) -> RateRules:
        """The rules that apply now."""
        return self._rules

    def reserve(self, now: float) -> Turn | None:
        """A turn for a request that arrives now; ``None`` if it can leave at once.

        Raises ``RateLimited`` if its wait would be too long, which counts as a
        violation: each doubles the time for which new requests have to wait,
        2, 4, 8 seconds and so on up to ``max_delay_s``.
        """
        self._reschedule()
        earliest = max(now, self._back_off_until)
        due = self._due(len(self._waiting), earliest)
        wait = due - now
        if wait > self._rules.max_delay_s:
            raise self._violation(now, wait, f"max_delay is {self._rules.max_delay_s:g} s")
        if wait > 0 and self._is_full:
            raise self._violation(now, wait, f"{len(self._waiting)} requests are already waiting")
        if now >= self._back_off_until:
            self._violations = 0
        if wait <= 0 and not self._waiting:
            self._leave(now)
            return None
        turn = Turn(now, earliest, due)
        self._waiting.append(turn)
        return turn

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= self._rules.max_waiting

    def note(self, now: float) -> None:
        """Count a request that leaves now without a turn."""
        self._leave(now)
        self._moved = True

    def wait_s(self, now: float) -> float:
        """How long a request that comes now would wait for its turn."""
        self._reschedule()
        return self._due(len(self._waiting), max(now, self._back_off_until)) - now

    def is_exceeded(self, now: float) -> bool:
        """Whether more requests have left than a window allows, or a back-off is in progress.

        The former is only possible for noted requests, and counts as a violation.
        """
        if any(self._has_left(window.count + 1, window, now) for window in self._rules.windows):
            self._violation(now, self.wait_s(now), "more than the limit has left")
            return True
        return now < self._back_off_until

    def _has_left(self, count: int, window: Window, now: float) -> bool:
        return len(self._left) >= count and self._left[-count] + window.length_s > now

    def left_since(self, moment: float) -> Sequence[float]:
        """When each remembered request left, from a moment on."""
        return self._left[bisect_left(self._left, moment) :]

    def restore(
        self, left: Iterable[float] = (), *, departed: int = 0, violations: int = 0
    ) -> None:
        """Replace the history; a pause that an upstream asked for still applies."""
        self._left = array("d", sorted(left))
        self._departed = departed
        self._violations = violations
        self._back_off_until = -inf
        self._moved = True

    def cancel(self, turn: Turn) -> None:
        """Give a turn back; those behind it move up. Does nothing if it has already left."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._moved = True

    def next_due(self) -> float | None:
        """When the first waiting request may leave."""
        if not self._waiting:
            return None
        return self._due(0, self._waiting[0].earliest_s)

    def leave(self, now: float) -> Turn | None:
        """Let the next turn leave if it may leave now, and return it; ``None`` if there is none."""
        due = self.next_due()
        if due is None or due > now:
            return None
        self._leave(now)
        # If it leaves late, those after it do, too.
        self._moved = self._moved or now > due
        return self._waiting.pop(0)

    def hold(self, now: float, seconds: float) -> list[tuple[Turn, RateLimited]]:
        """Let nothing leave for some seconds; returns the turns that this refuses, with errors."""
        until = now + seconds
        if until <= self._held_until:
            return []
        self._held_until = until
        return self._refuse_late(now)

    def change(self, rules: RateRules, now: float) -> list[tuple[Turn, RateLimited]]:
        """Apply other rules from now on; returns the turns that they refuse, with their error."""
        self._rules = rules
        return self._refuse_late(now)

    def is_quiet(self, now: float) -> bool:
        """Whether nothing waits, and no past request affects the limits any more."""
        longest = max([window.length_s for window in self._rules.windows], default=0)
        since = now - longest - self._rules.slack_s
        return (
            not self._waiting
            and now >= self._held_until
            and now >= self._back_off_until
            and (not self._left or self._left[-1] <= since)
        )

    def state(self, now: float) -> LimiterState:
        """Figures as of now, in constant time."""
        return LimiterState(
            departed=self._departed,
            waiting=len(self._waiting),
            refused=self._refused,
            violations=self._violations,
            delay_s=self._back_off_s(),
            held_s=max(0.0, self._held_until - now),
        )

    def _back_off_s(self) -> float:
        if not self._violations:
            return 0.0
        return min(2.0 ** min(self._violations, 32), self._rules.max_delay_s)

    def _leave(self, now: float) -> None:
        self._departed += 1
        self._left.append(now)
        kept = max(_LEAST_KEPT, *(window.count for window in self._rules.windows), 0)
        if len(self._left) >= 2 * kept:
            del self._left[:-kept]

    def _starts(self, position: int) -> Iterator[tuple[float, Window]]:
        """When each window allows a turn to leave that has ``position`` turns before it."""
        for window in self._rules.windows:
            before = position - window.count
            if before >= 0:
                left = self._waiting[before].due_s
            elif -before <= len(self._left):
                left = self._left[before]
            else:
                continue
            yield left + window.length_s + self._rules.slack_s, window

    def _due(self, position: int, earliest: float) -> float:
        due = max(earliest, self._held_until)
        for start, _ in self._starts(position):
            due = max(due, start)
        return max(due, self._waiting[position - 1].due_s) if position else due

    def _reschedule(self) -> None:
        if self._moved:
            self._moved = False
            for position, turn in enumerate(self._waiting):
                turn.due_s = self._due(position, turn.earliest_s)

    def _refuse_late(self, now: float) -> list[tuple[Turn, RateLimited]]:
        turns, self._waiting = self._waiting, []
        refused = []
        for turn in turns:
            turn.due_s = self._due(len(self._waiting), turn.earliest_s)
            if turn.due_s - turn.came_s > self._rules.max_delay_s or self._is_full:
                wait = max(0.0, turn.due_s - now)
                refused.append((turn, self.refusal(wait, "it would now wait too long")))
            else:
                self._waiting.append(turn)
        self._moved = False
        return refused

    def _violation(self, now: float, wait: float, why: str) -> RateLimited:
        self._violations += 1
        # A request that comes when it was told to is never delayed by this.
        back_off_s = min(self._back_off_s(), wait)
        self._back_off_until = max(self._back_off_until, now + back_off_s)
        return self.refusal(wait, why)

    def refusal(self, wait: float, why: str) -> RateLimited:
        """The error for a request that could leave in ``wait`` seconds."""
        self._refused += 1
        seconds = max(1, ceil(wait))
        binding = max(self._starts(len(self._waiting)), default=None, key=lambda one: one[0])
        window = None if binding is None else binding[1]
        longest = self._rules.windows[-1] if self._rules.windows else None
        keeps = window or longest  # no window is binding if the upstream asked for a pause
        return RateLimited(
            f"the route's limits allow this request in {wait:.1f} s: {why}",
            seconds,
            _headers(self._rules.windows, window, seconds),
            limit=None if keeps is None else keeps.count,
        )


def _headers(
    windows: tuple[Window, ...], binding: Window | None, seconds: int
) -> tuple[tuple[bytes, bytes], ...]:
    """Fields of draft-ietf-httpapi-ratelimit-headers-10, and their older names."""
    fields = [(b"Retry-After", b"%d" % seconds)]
    if binding is not None:
        policies = ", ".join(f'"{one.name}";q={one.count};w={one.length_s}' for one in windows)
        fields += [
            (b"RateLimit-Policy", policies.encode("ascii")),
            (b"RateLimit", f'"{binding.name}";r=0;t={seconds}'.encode("ascii")),
            (b"X-RateLimit-Limit", b"%d" % binding.count),
        ]
    fields += [(b"X-RateLimit-Remaining", b"0"), (b"X-RateLimit-Reset", b"%d" % seconds)]
    return tuple(fields)


_NUMBER = re.compile(rb"[0-9]{1,13}(?:\.[0-9]{1,6})?")
_EPOCH_FROM = 1e9
"""Smaller numbers are seconds from now; as a date, this one is in 2001."""
_EPOCH_MS_FROM = 1e11
_BUSY = frozenset((429, 503))
_PREFIXES = (b"ratelimit-", b"x-ratelimit-", b"x-rate-limit-")
# draft-ietf-httpapi-ratelimit-headers: "name";r=0;t=30 since version 8, remaining=0, reset=30
# in versions 3 to 7.
_ITEM = re.compile(rb'"[^"]*"(?P<parameters>(?:\s*;\s*[a-z*][a-z0-9_.*-]*(?:=[^;,\s]*)?)*)')
_PARAMETER = re.compile(rb"(?:^|[;,\s])(?P<name>r|t|remaining|reset)=(?P<value>[0-9]{1,13})")


def silence_asked(head: ResponseHead, now: float) -> float | None:
    """For how many seconds an upstream wants no further request; ``None`` if it does not say.

    ``now`` is wall-clock time in seconds. ``Retry-After`` (RFC 9110 10.2.3)
    applies to 429 and 503; then the ``RateLimit`` field, ``RateLimit-Reset``
    and ``X-RateLimit-Reset``, if nothing remains or the status is 429.
    """
    if head.status in _BUSY:
        asked = _retry_after(head.headers, now)
        if asked is not None:
            return asked
    spent = head.status == 429
    asked = _rate_limit(head.headers, spent=spent)
    if asked is not None:
        return asked
    for prefix in _PREFIXES:
        remaining = _number(head.headers, prefix + b"remaining")
        reset = _number(head.headers, prefix + b"reset")
        if reset is not None and (spent or remaining == 0):
            return _from_now(reset, now)
    return None


def remaining(head: ResponseHead) -> int | None:
    """How many more requests an upstream accepts in the present window, if it says so."""
    said = [_number(head.headers, prefix + b"remaining") for prefix in _PREFIXES]
    value = first_value(head.headers, b"ratelimit")
    if value is not None:
        found = [(one["name"], float(one["value"])) for one in _PARAMETER.finditer(value)]
        said += [count for name, count in found if name in (b"r", b"remaining")]
    return min([int(count) for count in said if count is not None], default=None)


def _retry_after(headers: Headers, now: float) -> float | None:
    value = first_value(headers, b"retry-after")
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return float(value)
    moment = _date(value)
    if moment is None:
        return None
    # By the upstream's own clock, if it sends a date.
    date = first_value(headers, b"date")
    since = None if date is None else _date(date)
    return max(0.0, moment - (now if since is None else since))


def _date(value: bytes) -> float | None:
    try:
        return parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, OverflowError):
        return None


def _rate_limit(headers: Headers, *, spent: bool) -> float | None:
    """The longest pause that a limit in ``RateLimit`` asks for."""
    value = first_value(headers, b"ratelimit")
    if value is None:
        return None
    asked = None
    items = [found["parameters"] for found in _ITEM.finditer(value)] or [value]
    for item in items:
        said = {found["name"]: float(found["value"]) for found in _PARAMETER.finditer(item)}
        remaining = said.get(b"r", said.get(b"remaining"))
        reset = said.get(b"t", said.get(b"reset"))
        used_up = remaining == 0 or (spent and len(items) == 1)
        if reset is not None and used_up:
            asked = reset if asked is None else max(asked, reset)
    return asked


def _number(headers: Headers, name: bytes) -> float | None:
    value = first_value(headers, name)
    return float(value) if value is not None and _NUMBER.fullmatch(value) else None


def _from_now(reset: float, now: float) -> float:
    """A reset as seconds from now: it may be a timestamp, in seconds or in milliseconds."""
    if reset >= _EPOCH_MS_FROM:
        reset /= 1000
    return max(0.0, reset - now) if reset >= _EPOCH_FROM else reset
