"""Limits of the process, and limits on the requests to one upstream."""

from __future__ import annotations

from attrs import frozen

from buffr.config import kinds
from buffr.config.schema import setting

__all__ = ["Limits", "RateLimits"]

_COUNT = kinds.whole(1, 1_000_000)


@frozen(kw_only=True)
class RateLimits:
    """How often a route may call its upstream; ``None`` means no limit. Times are seconds."""

    per_second: int | None = setting(_COUNT, None, "Requests to the upstream in any second.")
    per_minute: int | None = setting(_COUNT, None, "Requests to the upstream in any minute.")
    per_hour: int | None = setting(_COUNT, None, "Requests to the upstream in any hour.")
    max_delay_s: float = setting(
        kinds.duration(zero="never wait"),
        300.0,
        "The longest wait for a turn. A request that would wait longer is answered with 429.",
        key="max_delay",
    )
    max_waiting: int = setting(
        kinds.whole(0, 100_000), 1000, "How many requests may wait. More are answered with 429."
    )
    max_hold_s: float = setting(
        kinds.duration(zero="ignore them"),
        3600.0,
        "The longest `Retry-After` or rate-limit delay of an upstream that is honoured.",
        key="max_hold",
    )


@frozen(kw_only=True)
class Limits:
    """Sizes and counts that buffr accepts, and how long it waits. Times are seconds."""

    head_bytes: int = setting(
        kinds.size(128, 2**24), 65536, "The largest head of a request or an answer."
    )
    header_count: int = setting(
        kinds.whole(1, 100_000), 256, "The largest number of fields in one head."
    )
    interim_answers: int = setting(
        kinds.whole(0, 1_000_000),
        32,
        "How many interim answers (1xx) an upstream may send before an answer.",
    )
    body_memory_bytes: int = setting(
        kinds.size(),
        2**20,
        "Bodies up to this size are kept in memory, larger ones in a temporary file.",
    )
    pipeline_bytes: int = setting(
        kinds.size(128), 65536, "How many bytes are read ahead while a request is being answered."
    )
    memo_bytes: int = setting(
        kinds.size(0),
        64 * 2**20,
        "How much memory a listener uses to know requests that were replayed before, with their "
        "answers, and those that were only relayed, by their bytes; 0 for none.",
    )
    connections: int = setting(
        kinds.whole(1, 1_000_000),
        10_000,
        "How many client connections a listener accepts at a time.",
    )
    http2_streams: int = setting(
        kinds.whole(1, 10_000),
        128,
        "How many requests a client may have under way at a time on one HTTP/2 connection.",
    )
    http2_window_bytes: int = setting(
        kinds.size(65_535, 2**24),
        2**18,
        "How much of one request's body may be on its way over HTTP/2 and not dealt with; for all "
        "requests of a connection, 16 times as much.",
    )
    http2_resets: int = setting(
        kinds.whole(1, 1_000_000),
        1000,
        "How many requests of one HTTP/2 connection may be cancelled in half a minute. One more "
        "ends the connection.",
    )
    http2_frames: int = setting(
        kinds.whole(10, 1_000_000),
        1000,
        "How many PING, SETTINGS, PRIORITY and empty DATA frames an HTTP/2 client may send in "
        "half a minute. One more ends the connection.",
    )
    client_idle_s: float = setting(
        kinds.duration(),
        75.0,
        "How long an idle client connection is kept open for its next request.",
    )
    head_s: float = setting(
        kinds.duration(), 20.0, "The time in which the head of a request must be complete."
    )
    body_idle_s: float = setting(
        kinds.duration(), 60.0, "The longest pause within the body of a request."
    )
    body_bytes_per_second: int = setting(
        kinds.whole(0, 1_000_000_000, besides="; 0 means no limit"),
        240,
        "The slowest body of a request. It has `body_idle_s` in all, and a second more for each "
        "of these bytes that came; time in which buffr does not read does not count.",
    )
    half_close_s: float = setting(
        kinds.duration(zero="at once"),
        10.0,
        "How long a client that has closed its sending side can still be answered, and how long "
        "buffr waits for the reply to a WebSocket close frame.",
    )
    linger_s: float = setting(
        kinds.duration(zero="stop at once"),
        10.0,
        "How long a recording continues after its last client has left: no longer than a quarter "
        "of a second until the first byte of the body has arrived.",
    )
    connect_s: float = setting(
        kinds.duration(),
        10.0,
        "The time in which a connection to an upstream must be established, TLS included.",
    )
    upstream_idle_s: float = setting(
        kinds.duration(), 300.0, "The longest pause between bytes of an upstream's answer."
    )
    upstream_total_s: float = setting(
        kinds.duration(zero="no limit"),
        0.0,
        "The time in which an upstream's answer must be complete.",
    )
    pool_idle_s: float = setting(
        kinds.duration(zero="close at once"),
        60.0,
        "How long an unused connection to an upstream is kept open, unless the upstream's "
        "`Keep-Alive: timeout=` is shorter.",
    )
    pool_per_host: int = setting(
        kinds.whole(0, 100_000), 100, "How many unused connections to one upstream are kept open."
    )
    bound_per_host: int = setting(
        kinds.whole(1, 100_000),
        1000,
        "How many connections to one upstream may be bound to client connections, by NTLM or "
        "Negotiate.",
    )
    bound_idle_s: float = setting(
        kinds.duration(),
        75.0,
        "How long an unused bound connection is kept open. Then it and the client's are closed.",
    )
    hosts: int = setting(
        kinds.whole(1, 1_000_000),
        1000,
        "How many origins behind the forward proxy are kept ready at a time: hosts with their "
        "ports, per scope if scopes have their own cassettes. Beyond that, each new one replaces "
        "one that is not in use.",
    )
    host_idle_s: float = setting(
        kinds.duration(zero="no limit"),
        300.0,
        "How long an idle origin behind the forward proxy is kept ready. Then its connections and "
        "its cassette are closed until its next request.",
    )
    shutdown_s: float = setting(
        kinds.duration(zero="at once"),
        10.0,
        "How long exchanges in progress may continue after the signal to stop.",
    )
    hook_s: float = setting(
        kinds.duration(),
        5.0,
        "How long a [hook](how-to/hooks.md) may take. An exchange fails if it takes longer.",
        key="hook",
    )
    websocket_message_bytes: int = setting(
        kinds.size(125),
        2**27,
        "The largest WebSocket message, decompressed. A larger one ends its session with close "
        "code 1009.",
    )
    websocket_session_bytes: int = setting(
        kinds.size(),
        2**30,
        "WebSocket sessions are recorded up to this size, and continue unrecorded beyond it.",
    )
    websocket_idle_s: float = setting(
        kinds.duration(zero="no limit"),
        0.0,
        "The longest time in which neither side of a WebSocket session sends anything.",
    )
