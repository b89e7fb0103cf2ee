"""The log: one line a request, in ``key=value`` pairs or as JSON.

Lines of exchanges are formatted here and written once per turn of the
reactor; ``twisted.logger`` would cost more than the rest of a hit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from attrs import frozen
from constantly import NamedConstant
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

from buffr.transport.turn import Turn

__all__ = [
    "FORMATS",
    "NAMESPACE",
    "ExchangeLog",
    "LineObserver",
    "LogFormat",
    "logfmt",
    "logger_writer",
    "say",
    "stream_writer",
]

_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NOTHING_TO_ESCAPE = re.compile(r"[^\"\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NUMBERS = ("status", "frames")
_ANY_TRACE = f"00-{'0' * 32}-{'0' * 16}-00"
_LEVELS = {
    LogLevel.debug: "DEBUG",
    LogLevel.info: "INFO",
    LogLevel.warn: "WARN",
    LogLevel.error: "ERROR",
    LogLevel.critical: "ERROR",
}


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    plain = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{_CONTROL.sub(_escape, plain)}"'


def logfmt(level: str, msg: str, pairs: dict[str, str], time: str) -> str:
    """One line of the text format, control characters escaped, with its line end."""
    rest = "".join(f" {key}={_quoted(value)}" for key, value in pairs.items())
    return f"time={time} level={level} msg={_quoted(msg)}{rest}\n"


def _json_line(level: str, msg: str, pairs: dict[str, str], time: str) -> str:
    values = {name: int(value) if name in _NUMBERS else value for name, value in pairs.items()}
    return json.dumps({"time": time, "level": level, "msg": msg, **values}) + "\n"


def _clock_text(seconds: float) -> str:
    """For people: local time, with milliseconds."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _date_text(seconds: float) -> str:
    """For programs: date, local time and its offset (RFC 3339)."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


@frozen
class LogFormat:
    """How a line is written, and the time in it, whose milliseconds follow its only dot.

    Every line begins with ``before_time`` and the time.
    """

    line: Callable[[str, str, dict[str, str], str], str]
    time: Callable[[float], str]
    before_time: str


FORMATS = {
    "text": LogFormat(logfmt, _clock_text, "time="),
    "json": LogFormat(_json_line, _date_text, '{"time": "'),
}


def duration(seconds: float) -> str:
    """``823ms`` below a second, ``1.2s`` above."""
    return f"{int(seconds * 1000)}ms" if seconds < 1 else f"{seconds:.1f}s"


@implementer(ILogObserver)
class LineObserver:
    """Writes Twisted's log events as lines of ours: buffr's own, and others' warnings."""

    def __init__(self, stream: TextIO, form: LogFormat) -> None:
        self._stream = stream
        self._form = form

    def __call__(self, event: LogEvent) -> None:
        level = _LEVELS.get(event.get("log_level", LogLevel.info), "INFO")
        ours = event.get("log_namespace") == NAMESPACE
        if level == "DEBUG" or (level == "INFO" and not ours):
            return
        msg = event.get("buffr_msg") or formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            msg = f"{msg}: {failure.type.__name__}: {failure.getErrorMessage()}"
        pairs = event.get("buffr_pairs", {})
        line = self._form.line(level, msg, pairs, self._form.time(event["log_time"]))
        stream_writer(self._stream)(line)


class ExchangeLog:
    """Logs each finished exchange; writes the lines of one turn together."""

    def __init__(self, reactor: IReactorTime, write: Callable[[str], None], form: str) -> None:
        self.turn = Turn(reactor)
        self._write = write
        self._form = FORMATS[form]
        self._format = self._form.line
        self._before_time = self._form.before_time
        self._plain = form == "text"
        self._lines: list[str] = []
        self._flush = self.flush  # each access to a bound method makes a new object
        self._second = -1
        self._second_text = self._zone = ""

    def exchange(
        self,
        now: float,
        level: str,
        request: str,
        status: int,
        dur_s: float,
        src: str,
        detail: str = "",
        trace: str = "",
    ) -> None:
        """Log a finished exchange. ``now`` is wall-clock time in seconds."""
        time = self._time(now)
        dur = duration(dur_s)
        if self._plain and not detail and _NOTHING_TO_ESCAPE.fullmatch(request):
            traced = f" trace={trace}" if trace else ""
            line = (
                f'time={time} level={level} msg="{request}" status={status} dur={dur} src={src}'
                f"{traced}\n"
            )
        else:
            pairs = {"status": str(status), "dur": dur, "src": src}
            if trace:
                pairs["trace"] = trace
            if detail:
                pairs["err"] = detail
            line = self._format(level, request, pairs, time)
        self._add(line)
        if detail:
            # The line must be in the log when the client gets the error.
            self.flush()

    def rest_of(self, request: str, status: int, src: str, trace: str = "") -> str:
        """The part after the time in the line of a successful exchange of duration 0."""
        pairs = {"status": str(status), "dur": duration(0), "src": src}
        if trace:
            pairs["trace"] = trace
        return self._format("INFO", request, pairs, "").removeprefix(self._before_time)

    def traced_rest_of(self, request: str, status: int, src: str) -> tuple[str, str]:
        """What is before and after the trace id in the ``rest_of`` such exchanges."""
        before, _, after = self.rest_of(request, status, src, _ANY_TRACE).rpartition(_ANY_TRACE)
        return before, after

    def around_duration(
        self, request: str, status: int, src: str, trace: str = ""
    ) -> tuple[str, str]:
        """What is before and after the duration in the ``rest_of`` an exchange."""
        before, _, after = self.rest_of(request, status, src, trace).rpartition(duration(0))
        return before, after

    def again(self, now: float, rest: str) -> None:
        """Log an exchange like ``exchange``, with the result of ``rest_of``."""
        self._add(f"{self._before_time}{self._time(now)}{rest}")

    def lasted(self, now: float, dur_s: float, around: tuple[str, str]) -> None:
        """Log an exchange like ``exchange``, with the result of ``around_duration``."""
        before, after = around
        self._add(f"{self._before_time}{self._time(now)}{before}{duration(dur_s)}{after}")

    def session(
        self,
        now: float,
        level: str,
        request: str,
        frames: int,
        dur_s: float,
        src: str,
        detail: str = "",
    ) -> None:
        """Log a finished WebSocket session. ``now`` is wall-clock time in seconds."""
        pairs = {"frames": str(frames), "dur": duration(dur_s), "src": src}
        if detail:
            pairs["err"] = detail
        self._add(self._format(level, request, pairs, self._time(now)))

    def _time(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text, _, rest = self._form.time(second).partition(".")
            self._zone = rest[3:]
        return f"{self._second_text}.{int((now - second) * 1000):03d}{self._zone}"

    def _add(self, line: str) -> None:
        if not self._lines:
            self.turn.at_end(self._flush)
        self._lines.append(line)

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("".join(lines))


def stream_writer(stream: TextIO) -> Callable[[str], None]:
    """Write lines and flush. Lines that cannot be written are lost; requests are still served."""

    def write(lines: str) -> None:
        try:  # called once a turn, and suppress makes eight allocations
            stream.write(lines)
            stream.flush()
        except OSError:
            pass

    return write


NAMESPACE = "buffr"
_logger = Logger(namespace=NAMESPACE)


def logger_writer(lines: str) -> None:
    """Hand lines to Twisted's logging, for a daemon's log file."""
    _logger.info("{lines}", lines=lines.rstrip("\n"))


def say(level: NamedConstant, msg: str, **pairs: str) -> None:
    """Log something other than an exchange."""
    text = logfmt("", msg, pairs, "").partition(" msg=")[2].rstrip("\n")
    _logger.emit(level, "{buffr_text}", buffr_msg=msg, buffr_pairs=pairs, buffr_text=text)
