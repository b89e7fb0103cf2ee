"""Bounds on WebSocket sessions."""

from __future__ import annotations

from attrs import frozen

__all__ = ["SessionLimits"]


@frozen
class SessionLimits:
    """Bounds on a session: sizes in bytes, times in seconds; zero is without a bound.

    ``message_bytes`` for a message, inflated; ``recorded_bytes`` for what is
    kept of a session; ``idle_s`` for the silence of both sides. ``close_s``
    is for the answer to a close frame, and for the end of a connection that
    was closed; there zero is at once.
    """

    message_bytes: int = 0
    recorded_bytes: int = 1 << 30
    idle_s: float = 0
    close_s: float = 10
