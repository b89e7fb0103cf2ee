"""Where buffr's log lines go in a run: to a file, or the warnings among them to the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from buffr.log import FORMATTERS, LineObserver

__all__ = ["RunLog"]

_TOLD = (LogLevel.warn, LogLevel.error, LogLevel.critical)
_TOLD_LINE = re.compile(r'(?:time=\S+ level=|\{"time": "[^"]*", "level": ")(?:WARN|ERROR)\b')


@implementer(ILogObserver)
class RunLog:
    """Writes log events to a stream; ``all_of_it``, or what is a warning or worse.

    ``refused`` is told status and reason of each request that was refused
    before it became an exchange.
    """

    def __init__(
        self, stream: TextIO, form: str, refused: Callable[[str, str], None], *, all_of_it: bool
    ) -> None:
        self._stream = stream
        self._events = LineObserver(stream, FORMATTERS[form])
        self._refused = refused
        self._all = all_of_it

    def __call__(self, event: LogEvent) -> None:
        if event.get("buffr_msg") == "request refused":
            pairs = event["buffr_pairs"]
            self._refused(pairs["status"], pairs["err"])
        lines = event.get("lines")  # those of exchanges come as they are to be written
        if lines is not None:
            self._write([line for line in lines.split("\n") if self._all or _TOLD_LINE.match(line)])
        elif self._all or event.get("log_level") in _TOLD:
            self._events(event)

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
