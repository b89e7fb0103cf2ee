"""Bounds on WebSocket sessions."""

from __future__ import annotations

from attrs import frozen

__all__ = ["SessionLimits"]


@frozen
class SessionLimits:
    """Bounds on a session: sizes in bytes, times in seconds; zero is without a bound.

    ``message_bytes`` for a message, inflated; ``idle_s`` for the silence of
    both sides; ``close_s`` for the answer to a close frame, and for the end
    of a connection that was closed.
    """

    message_bytes: int = 0
    idle_s: float = 0
    close_s: float = 10
