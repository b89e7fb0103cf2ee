"""Files that are opened while the service runs, each once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from attrs import define, field

from buffr.streams import News

__all__ = ["Openings"]


@define(eq=False)
class Openings:
    """Which files are open, and which are being opened, by their real paths."""

    done: set[Path] = field(factory=set)
    _under_way: dict[Path, News] = field(factory=dict)

    async def once(self, real: Path, opened: Callable[[], Awaitable[None]]) -> None:
        """Have a file opened, or wait for who does; one that failed is tried again.

        Raises what ``opened`` raises.
        """
        while real in self._under_way:
            await self._under_way[real].wait()
        if real in self.done:
            return
        news = self._under_way[real] = News()
        try:
            await opened()
            self.done.add(real)
        finally:
            del self._under_way[real]
            news.tell()
