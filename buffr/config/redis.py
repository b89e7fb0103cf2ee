"""Settings of stores on a Redis or Valkey server."""

from __future__ import annotations

from attrs import frozen

from buffr.config import kinds
from buffr.config.schema import setting

__all__ = ["RedisSettings"]


@frozen(kw_only=True)
class RedisSettings:
    """How this process uses the servers that ``store`` names. Times are seconds."""

    timeout_s: float = setting(
        kinds.duration(),
        1.0,
        "How long a connection attempt, and each reply of the server, may take.",
        key="timeout",
    )
    staleness_s: float = setting(
        kinds.duration(zero="ask for each request"),
        1.0,
        "How long a local copy may be used after the server last confirmed that it has not "
        "changed. The server reports a change at once; this is the limit if it cannot.",
        key="staleness",
    )
    spool_bytes: int = setting(
        kinds.size(0),
        256 * 2**20,
        "The size of the recordings that are kept in `buffr-spool` in the data directory while "
        "the server cannot take them; 0 for none.",
        key="spool",
    )
