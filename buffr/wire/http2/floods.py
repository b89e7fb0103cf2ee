"""Bounds on what a peer in HTTP/2 may have done for nothing, as numbers and a clock's time."""

from __future__ import annotations

from attrs import define, field, frozen

from buffr.wire.http2.interface import Nuisance

__all__ = ["Calm", "Patience"]

_REFILL_S = 30.0
_UPDATES = 1000
_BYTES_AN_UPDATE = 512
"""Windows are opened again by what was sent. The smallest steps that clients take are larger."""
_BYTES_A_FRAME = 1024
"""gRPC sends a PING with what it receives, to measure the way (BDP); rarely with so little."""


@frozen
class Patience:
    """How often a peer may reset streams, and send frames that do nothing for an exchange.

    Each is a number that is had at once, and again within half a minute.
    """

    resets: int = 1000
    frames: int = 1000


@define(eq=False)
class _Allowance:
    """So many at once, and as many again within ``_REFILL_S``."""

    most: int
    left: float
    since: float

    def earn(self, number: int) -> None:
        """Get so many back."""
        self.left = min(self.most, self.left + number)

    def spend(self, now: float) -> bool:
        """Take one. Returns whether there was one left."""
        if self.left < 1:
            self.left = min(self.most, self.left + (now - self.since) * self.most / _REFILL_S)
            self.since = now
            if self.left < 1:
                return False
        self.left -= 1
        return True


@define(eq=False)
class Calm:
    """Counts one peer's nuisances. ``now`` is in seconds; ``broken`` says what was too much."""

    patience: Patience
    started: float
    broken: str = ""
    _resets: _Allowance = field(init=False)
    _frames: _Allowance = field(init=False)
    _updates: int = field(init=False, default=_UPDATES)

    @_resets.default
    def _all_resets(self) -> _Allowance:
        return _Allowance(self.patience.resets, self.patience.resets, self.started)

    @_frames.default
    def _all_frames(self) -> _Allowance:
        return _Allowance(self.patience.frames, self.patience.frames, self.started)

    def reset(self, now: float) -> None:
        """A stream was reset, by the peer or for its fault (CVE-2023-44487, CVE-2025-8671)."""
        if not self._resets.spend(now):
            self.broken = f"over {self.patience.resets} streams reset"

    def nuisance(self, kind: Nuisance, now: float) -> None:
        """A frame came that does nothing for an exchange (CVE-2019-9512 to 9518)."""
        if kind is Nuisance.WINDOW_UPDATE:
            self._updates -= 1
            if self._updates < 0:
                self.broken = f"over {_UPDATES} WINDOW_UPDATE frames more than bytes were sent for"
        elif not self._frames.spend(now):
            self.broken = f"over {self.patience.frames} frames such as {kind.value}"

    def sent(self, size_bytes: int) -> None:
        """So many bytes went out, for which the peer may open its windows again, and ask."""
        self._frames.earn(size_bytes // _BYTES_A_FRAME)
        self._updates = min(_UPDATES, self._updates + 2 + size_bytes // _BYTES_AN_UPDATE)
