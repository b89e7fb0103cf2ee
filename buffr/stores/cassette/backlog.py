"""What waits for the disk, within bounds: who comes faster than it writes is held back."""

from __future__ import annotations

from attrs import define, field

from buffr.transport.streams import Signal

__all__ = ["Backlog"]


@define(eq=False)
class Backlog:
    """Lets in as many as fit into ``most`` and ``most_bytes``; one is let in whatever its size.

    Nobody is turned away: to refuse a recording would be to lose it.
    """

    most: int
    most_bytes: int
    held: int = field(init=False, default=0)
    """How many are in it."""
    _bytes: int = field(init=False, default=0)
    _outside: int = field(init=False, default=0)
    _news: Signal = field(init=False, factory=Signal)

    async def enter(self, size_bytes: int) -> None:
        """Return when there is room, and take it."""
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
        """Give room back."""
        self.held -= 1
        self._bytes -= size_bytes
        self._news.notify()

    async def all_let_in(self) -> None:
        """Return when nobody is held back."""
        while self._outside:
            await self._news.wait()
