"""A bounded backlog for the disk: writers that are faster than the disk are held back."""

from __future__ import annotations

from attrs import define, field

from buffr.transport.streams import Signal

__all__ = ["Backlog"]


@define(eq=False)
class Backlog:
    """Admits as many as fit into ``most`` and ``most_bytes``; a single one whatever its size.

    None is rejected: rejecting a recording would lose it.
    """

    most: int
    most_bytes: int
    held: int = field(init=False, default=0)
    """The number of admitted items."""
    _bytes: int = field(init=False, default=0)
    _outside: int = field(init=False, default=0)
    _news: Signal = field(init=False, factory=Signal)

    async def enter(self, size_bytes: int) -> None:
        """Return once there is space, and take it."""
        self._outside += 1
        try:
            while self.held and (
                self.held >= self.most or self._bytes + size_bytes > self.most_bytes
            ):
                await self._news.wait()
            self.held += 1
            self._bytes += size_bytes
        finally:
            self._outside -= 1
            if not self._outside:
                self._news.notify()

    def leave(self, size_bytes: int) -> None:
        """Release space."""
        self.held -= 1
        self._bytes -= size_bytes
        self._news.notify()

    async def all_let_in(self) -> None:
        """Return once nothing is waiting."""
        while self._outside:
            await self._news.wait()
