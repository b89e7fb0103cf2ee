"""Faults that a user asks for, as settings describe them."""

from __future__ import annotations

from attrs import frozen

from buffr.config import kinds
from buffr.config.schema import Kind, Refused, setting
from buffr.config.shapes import ListOf
from buffr.config.written import Scalar
from buffr.wire.websocket_frames import CLOSE_CODES

__all__ = ["FaultSettings"]

_BROKEN_OFF = 1006
"""RFC 6455 7.1.5: never sent; what a client is told whose connection broke off."""


def _parse_close_code(scalar: Scalar) -> int:
    code = int(scalar.text) if scalar.text.isascii() and scalar.text.isdecimal() else 0
    if code != _BROKEN_OFF and code not in CLOSE_CODES:
        raise Refused
    return code


_CLOSE_CODE = Kind(
    "a code of RFC 6455 7.4 from 1000 to 1014, or one from 3000 to 4999",
    _parse_close_code,
    json={
        "type": ["integer", "string"],
        "minimum": 1000,
        "maximum": 4999,
        "pattern": "^(100[0-36-9]|101[0-4]|[34][0-9]{3})$",
    },
)


@frozen(kw_only=True)
class FaultSettings:
    """One fault, and the requests that meet it. Times are in seconds, sizes in bytes."""

    delay_s: float = setting(
        kinds.duration(zero="none"), 0.0, "How long the answer waits.", key="delay"
    )
    jitter_s: float = setting(
        kinds.duration(zero="none"),
        0.0,
        "The most that is added to `delay`, by chance.",
        key="jitter",
    )
    delay_p99_s: float | None = setting(
        kinds.duration(),
        None,
        "How long one answer in a hundred waits, or longer, if half of them wait `delay` or less.",
        key="delay_p99",
    )
    body_delay_s: float = setting(
        kinds.duration(zero="none"),
        0.0,
        "How long the first byte of the body waits after the head.",
        key="body_delay",
    )
    status: int | None = setting(
        kinds.whole(400, 599), None, "The status of an error in the place of the answer."
    )
    retry_after_s: float | None = setting(
        kinds.duration(zero="at once"), None, "`Retry-After` beside `status`.", key="retry_after"
    )
    body: str | None = setting(
        kinds.LITERAL,
        None,
        "The body beside `status`.",
        default_text="an error in the form of the client's API",
    )
    reset: bool = setting(
        kinds.BOOL, default=False, doc="Whether the connection is closed without an answer."
    )
    malformed: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether the body's last character, such as a closing brace, is missing.",
    )
    cut_after: int | None = setting(
        kinds.size(), None, "After how many bytes of the body the connection is closed."
    )
    cut_after_events: int | None = setting(
        kinds.whole(0, 10**6), None, "After how many events of a stream the connection is closed."
    )
    event_delay_s: float = setting(
        kinds.duration(zero="none"),
        0.0,
        "How long a stream pauses after each event.",
        key="event_delay",
    )
    close_code: int | None = setting(
        _CLOSE_CODE,
        None,
        "With which code a WebSocket session is closed; 1006 breaks its connection off.",
    )
    close_after: int = setting(
        kinds.whole(0, 10**6), 0, "After how many messages of the server a session is closed."
    )
    bytes_per_second: int | None = setting(
        kinds.size(1), None, "How fast the body goes out at most."
    )
    quota: int | None = setting(
        kinds.whole(0, 10**9),
        None,
        "After how many answers the client's quota is used up: until `quota_period` is over, it "
        "gets 429. Answers say what is left, in `X-RateLimit-Remaining`.",
    )
    quota_period_s: float = setting(
        kinds.duration(), 60.0, "How long a quota is valid.", key="quota_period"
    )
    chance: float = setting(
        kinds.SHARE, 1.0, "The share of requests that meet the fault, by chance."
    )
    calls: tuple[int, ...] = setting(
        ListOf(kinds.whole(1, 10**9), tuple), (), "The requests that meet it, by number, from 1."
    )
    first: int | None = setting(
        kinds.whole(1, 10**9), None, "How many requests meet it, from the first on."
    )
    every: int | None = setting(
        kinds.whole(1, 10**9),
        None,
        "Every so-manyth request meets it: with 3, the third and the sixth.",
    )
    methods: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple), (), "The methods of requests that meet it.", key="method"
    )
    path: str | None = setting(
        kinds.PATTERN, None, "A pattern (RE2) in the path and query of requests that meet it."
    )
    header: str | None = setting(
        kinds.HEADER_NAME, None, "A field that requests have that meet it."
    )
