"""Limits: of the process, and of the requests to one upstream."""

from __future__ import annotations

from attrs import frozen

from buffr.config import kinds
from buffr.config.schema import setting

__all__ = ["Limits", "RateLimits"]

_COUNT = kinds.whole(1, 1_000_000)


@frozen(kw_only=True)
class RateLimits:
    """How often a route asks its upstream; ``None`` is no limit. Times are seconds."""

    per_second: int | None = setting(_COUNT, None, "Requests to the upstream in any second.")
    per_minute: int | None = setting(_COUNT, None, "Requests to the upstream in any minute.")
    per_hour: int | None = setting(_COUNT, None, "Requests to the upstream in any hour.")
    max_delay_s: float = setting(
        kinds.duration(zero="none waits"),
        300.0,
        "The longest that a request waits for its turn; beyond it is 429.",
        key="max_delay",
    )
    max_waiting: int = setting(
        kinds.whole(0, 100_000), 1000, "Requests that wait at a time; beyond it is 429."
    )
    max_hold_s: float = setting(
        kinds.duration(zero="do not listen to it"),
        3600.0,
        "How long an upstream's own `Retry-After` and rate limits are believed at most.",
        key="max_hold",
    )


@frozen(kw_only=True)
class Limits:
    """What buffr holds at most, and how long it waits. Times are seconds, sizes bytes."""

    head_bytes: int = setting(
        kinds.size(128, 2**24), 65536, "The head of a request or of an answer."
    )
    header_count: int = setting(kinds.whole(1, 100_000), 256, "Fields in one head.")
    interim_answers: int = setting(
        kinds.whole(0, 1_000_000),
        32,
        "Interim answers (1xx) of an upstream before one answer.",
    )
    body_memory_bytes: int = setting(
        kinds.size(), 2**20, "A body is kept in memory up to this size, beyond it in a file."
    )
    pipeline_bytes: int = setting(
        kinds.size(128), 65536, "Bytes that are read ahead while a request is being answered."
    )
    connections: int = setting(
        kinds.whole(1, 1_000_000), 10_000, "Client connections of one listener."
    )
    client_idle_s: float = setting(
        kinds.duration(),
        75.0,
        "A client's connection may wait this long for its next request.",
    )
    head_s: float = setting(
        kinds.duration(), 20.0, "The head of a request must be complete in this time."
    )
    body_idle_s: float = setting(
        kinds.duration(), 60.0, "The longest silence within the body of a request."
    )
    half_close_s: float = setting(
        kinds.duration(zero="at once"),
        10.0,
        "How long a client that has closed its own half can still be answered, and how long "
        "the answer to a WebSocket close frame is waited for.",
    )
    linger_s: float = setting(
        kinds.duration(zero="stop at once"),
        1.0,
        "How long a recording goes on after its last client has left.",
    )
    connect_s: float = setting(
        kinds.duration(),
        10.0,
        "A connection to an upstream must stand in this time, TLS included.",
    )
    upstream_idle_s: float = setting(
        kinds.duration(), 300.0, "The longest silence between bytes of an upstream's answer."
    )
    upstream_total_s: float = setting(
        kinds.duration(zero="no limit"),
        0.0,
        "An upstream's answer must be complete in this time.",
    )
    pool_idle_s: float = setting(
        kinds.duration(zero="close at once"),
        60.0,
        "An unused connection to an upstream is kept this long, or for less "
        "if its `Keep-Alive: timeout=` says so.",
    )
    pool_per_host: int = setting(
        kinds.whole(0, 100_000), 100, "Unused connections that are kept for one upstream."
    )
    bound_per_host: int = setting(
        kinds.whole(1, 100_000),
        1000,
        "Connections to one upstream that are each bound to one client's, by NTLM or Negotiate.",
    )
    bound_idle_s: float = setting(
        kinds.duration(),
        75.0,
        "An unused bound connection is kept this long; then it is closed, and the client's too.",
    )
    hosts: int = setting(
        kinds.whole(1, 1_000_000),
        1000,
        "Origins behind the forward proxy that are kept ready at a time: hosts with their ports, "
        "and for each scope where scopes have cassettes of their own. Beyond that, each new one "
        "takes the place of one that is not in use.",
    )
    host_idle_s: float = setting(
        kinds.duration(zero="no limit"),
        300.0,
        "An origin behind the forward proxy that is not asked for this long is let go: its "
        "connections and its cassette are closed until its next request.",
    )
    shutdown_s: float = setting(
        kinds.duration(zero="at once"),
        10.0,
        "How long running exchanges may go on after the signal to stop.",
    )
    websocket_message_bytes: int = setting(
        kinds.size(125),
        2**27,
        "A WebSocket message, inflated; a larger one ends its session with close code 1009.",
    )
    websocket_session_bytes: int = setting(
        kinds.size(),
        2**30,
        "A WebSocket session is recorded up to this size, and goes on unrecorded beyond it.",
    )
    websocket_idle_s: float = setting(
        kinds.duration(zero="no limit"),
        0.0,
        "The longest silence of both sides of a WebSocket session.",
    )
