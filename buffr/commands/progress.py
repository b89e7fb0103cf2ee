"""How far a long command is, on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["Progress"]

_EVERY_S = 0.2


class Progress:
    """Writes a count to standard error while it is a terminal, and wipes it at the end.

    ``total`` is how many there are, if that is known.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what = what if total is None else f"of {total:,} {what}"
        self._shown = sys.stderr.isatty()
        self._next_s = time.monotonic() + _EVERY_S
        self._count = 0
        self._wrote = False

    def step(self, _number: int) -> None:
        """Count one more."""
        self._count += 1
        if self._shown and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _EVERY_S
            sys.stderr.write(f"\r{self._count:,} {self._what}")
            sys.stderr.flush()
            self._wrote = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._wrote:
            sys.stderr.write("\r\x1b[K")
