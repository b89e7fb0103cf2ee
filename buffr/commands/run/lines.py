"""Where buffr's log lines go in a run: to a file, or the warnings among them to the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from buffr.listeners import handshakes
from buffr.log import FORMATS, LineObserver

__all__ = ["RunLog"]

_TOLD = (LogLevel.warn, LogLevel.error, LogLevel.critical)
_TOLD_LINE = re.compile(r'(?:time=\S+ level=|\{"time": "[^"]*", "level": ")(?:WARN|ERROR)\b')


class Noted(Protocol):
    """Is told of what came, and became no exchange."""

    def refused(self, status: str, why: str) -> None:
        """A request was refused before it was one."""

    def without_tls(self, host: str, why: str) -> None:
        """A client made no TLS with a host."""


@implementer(ILogObserver)
class RunLog:
    """Writes log events to a stream; ``all_of_it``, or what is a warning or worse.

    ``noted`` is told of what never became an exchange.
    """

    def __init__(self, stream: TextIO, form: str, noted: Noted, *, all_of_it: bool) -> None:
        self._stream = stream
        self._events = LineObserver(stream, FORMATS[form])
        self._noted = noted
        self._all = all_of_it

    def __call__(self, event: LogEvent) -> None:
        self._note(event.get("buffr_msg"), event.get("buffr_pairs", {}))
        lines = event.get("lines")  # those of exchanges come as they are to be written
        if lines is not None:
            self._write([line for line in lines.split("\n") if self._all or _TOLD_LINE.match(line)])
        elif self._all or event.get("log_level") in _TOLD:
            self._events(event)

    def _note(self, msg: str | None, pairs: Mapping[str, str]) -> None:
        match msg:
            case "request refused":
                self._noted.refused(pairs["status"], pairs["err"])
            case handshakes.REFUSED | handshakes.LEFT | handshakes.TLS_FAILED:
                why = f"{pairs['err']}; " if "err" in pairs else ""
                self._noted.without_tls(
                    pairs["host"], f"{msg}: {why}{pairs.get('hint', '')}".rstrip("; ")
                )

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
