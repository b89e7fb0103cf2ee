"""The modes: what a route does with a request."""

from __future__ import annotations

import enum

__all__ = ["Mode"]


class Mode(enum.Enum):
    """What a route does with a request; the value is the word in settings and log."""

    AUTO = "auto"
    """Replay what is recorded; fetch and record what is not."""
    RECORD = "record"
    """Always fetch, and record anew."""
    REPLAY = "replay"
    """Never touch the network; what is not recorded is a miss."""
    CACHE = "cache"
    """As an HTTP cache does: answer with what is fresh, fetch and keep the rest."""
    PASSTHROUGH = "passthrough"
    """Relay, and store nothing."""

    @property
    def uses_cassette(self) -> bool:
        """Whether interactions are recorded, or replayed."""
        return self in (Mode.AUTO, Mode.RECORD, Mode.REPLAY)

    @property
    def records(self) -> bool:
        """Whether new interactions are kept in a cassette."""
        return self in (Mode.AUTO, Mode.RECORD)

    @property
    def keeps(self) -> bool:
        """Whether anything is written: to a cassette, or to a cache."""
        return self.records or self is Mode.CACHE
