"""How far a long command is, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["Progress", "followed"]

_FIRST_S = 0.5
"""What is done by then shows nothing, and does not pay for rich's import."""
_EVERY_S = 0.1

_T = TypeVar("_T")


class Progress:
    """A bar on standard error while that is a terminal, and nothing at the end.

    ``total`` is how many there are, if that is known. Otherwise a count is shown.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what = what
        self._total = total
        self._shown = sys.stderr.isatty()
        self._next_s = time.monotonic() + _FIRST_S
        self._count = 0
        self._bar: Bar | None = None
        self._task: Any = None

    def step(self, _number: int = 0) -> None:
        """Count one more."""
        self._count += 1
        if self._shown and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _EVERY_S
            self._show()

    def _show(self) -> None:
        if self._bar is None:
            self._bar = _bar(counts_alone=self._total is None)
            self._task = self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        self._bar.update(self._task, completed=self._count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def followed(items: Iterable[_T], what: str, total: int | None = None) -> Iterator[_T]:
    """The items, and a bar that says how many of them are done."""
    with Progress(what, total) as progress:
        for item in items:
            yield item
            progress.step()


def _bar(*, counts_alone: bool) -> Bar:
    import rich.progress as shown  # noqa: PLC0415  # rarely used
    from rich.console import Console  # noqa: PLC0415

    columns: tuple[shown.ProgressColumn, ...]
    if counts_alone:
        counted = shown.TextColumn("{task.completed:,.0f} {task.description}")
        columns = (shown.SpinnerColumn(), counted, shown.TimeElapsedColumn())
    else:
        what = shown.TextColumn("{task.description}")
        columns = (what, shown.BarColumn(), shown.MofNCompleteColumn(), shown.TimeRemainingColumn())
    return shown.Progress(*columns, console=Console(stderr=True), transient=True)
