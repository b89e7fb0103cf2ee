"""Sends log lines of embedded proxies to Python's ``logging``, according to their settings."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import groupby
from logging.handlers import RotatingFileHandler
from operator import itemgetter
from typing import TextIO

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from buffr.config.api_buddy import InvalidSettings, LogSettings
from buffr.log import NAMESPACE

__all__ = ["configured", "get_logger", "line_writer"]

_ROOT = "api_buddy"
_MARK = "\0"
"""A placeholder for the message, which contains no control characters."""
_BY_NAME = {"WARN": logging.WARNING, "ERROR": logging.ERROR}
_REFUSALS = ("401", "403")
_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}


@define(eq=False)
class _State:
    """The last configuration, which applies to the whole process, like ``logging``."""

    lock: threading.Lock = field(factory=threading.Lock)
    name: str = _ROOT
    handlers: list[tuple[logging.Logger, logging.Handler]] = field(factory=list)
    observed: bool = False
    refusals: bool = True


_state = _State()


def configured(settings: LogSettings, *, refusals: bool = True) -> logging.Logger:
    """Apply these settings from now on; returns the logger of the lines.

    ``refusals``: whether requests without the key are logged. A parent
    logger's own handlers are not changed, and receive the lines too.
    Raises ``InvalidSettings`` if the file cannot be opened.
    """
    with _state.lock:
        handlers = _handlers(settings)
        _state.refusals = refusals
        for owner, handler in _state.handlers:
            owner.removeHandler(handler)
            handler.close()
        parent = settings.parent_logger
        _state.name = f"{parent}.{_ROOT}" if parent else _ROOT
        logger = logging.getLogger(_state.name)
        logger.setLevel(settings.level)
        logger.propagate = parent is not None
        if parent is not None and settings.console and logging.getLogger(parent).hasHandlers():
            handlers = [one for one in handlers if isinstance(one, logging.FileHandler)]
        # Without any, logging would write warnings to standard error.
        handlers = handlers or [logging.NullHandler()]
        for handler in handlers:
            logger.addHandler(handler)
        _state.handlers = [(logger, handler) for handler in handlers]
        if not _state.observed:
            _state.observed = True
            globalLogPublisher.addObserver(_Forward())
        return logger


def _handlers(settings: LogSettings) -> list[logging.Handler]:
    formatter = logging.Formatter(settings.format, settings.date_format)
    handlers: list[logging.Handler] = []
    if settings.console:
        console = _Console(sys.stdout)
        if "%(message)s" in settings.format and settings.format.count("%(message)") == 1:
            console.plain = formatter
        handlers.append(console)
    if settings.file is not None:
        try:
            handlers.append(
                RotatingFileHandler(
                    settings.file,
                    maxBytes=settings.max_file_bytes,
                    backupCount=settings.backup_count,
                    encoding="utf-8",
                )
            )
        except OSError as error:
            raise InvalidSettings(
                f"logging.file_path {settings.file}: cannot be opened: {error.strerror}"
            ) from error
    for handler in handlers:
        handler.setFormatter(formatter)
    return handlers


def get_logger(name: str) -> logging.Logger:
    """A logger whose lines go where the proxies' go."""
    return logging.getLogger(f"{_state.name}.{name}")


def line_writer(logger: logging.Logger) -> Callable[[str], None]:
    """Write the lines of exchanges to a logger, which adds time and level itself."""

    def write(lines: str) -> None:
        found = [line.partition(" level=")[2].partition(" ") for line in lines.splitlines()]
        for level, same in groupby(found, key=itemgetter(0)):
            number = _BY_NAME.get(level, logging.INFO)
            if logger.isEnabledFor(number):
                _write(logger, number, [text for _, _, text in same])

    return write


def _write(logger: logging.Logger, number: int, texts: Sequence[str]) -> None:
    """Write lines of one level: together if only consoles receive them."""
    # As ``logger.log``, which would look for its caller, at a third of the cost.
    make = partial(logger.makeRecord, logger.name, number, __file__, 0, args=(), exc_info=None)
    consoles = _consoles_only(logger)
    if consoles is None:
        for text in texts:
            logger.handle(make(msg=text))
        return
    for console in consoles:
        if number >= console.level:
            console.write_all(make(msg=_MARK), texts)


def _consoles_only(logger: logging.Logger) -> list[_Console] | None:
    """A logger's handlers, if all of them are consoles of ours."""
    consoles: list[_Console] = []
    if logger.filters:
        return None
    at: logging.Logger | None = logger
    while at is not None:
        for handler in at.handlers:
            if not isinstance(handler, _Console) or not handler.is_plain:
                return None
            consoles.append(handler)
        at = at.parent if at.propagate else None
    return consoles or None


class _Console(logging.StreamHandler[TextIO]):
    """Writes lines that came in one turn of the reactor together; a record each is slow."""

    plain: logging.Formatter | None = None
    """One whose lines differ where the messages do, and there alone."""

    @property
    def is_plain(self) -> bool:
        return self.plain is not None and self.formatter is self.plain and not self.filters

    def write_all(self, record: logging.LogRecord, texts: Sequence[str]) -> None:
        """Write a record once for each text, in the place of its mark."""
        try:
            form = self.format(record) + self.terminator
            lines = "".join([form.replace(_MARK, text) for text in texts])
            with self.lock or nullcontext():
                self.stream.write(lines)
                self.flush()
        except Exception:  # noqa: BLE001  # as every handler does
            self.handleError(record)


@implementer(ILogObserver)
class _Forward:
    """Forwards buffr's own events to ``logging``."""

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace") != NAMESPACE:
            return
        pairs = event.get("buffr_pairs", {})
        if pairs.get("status") in _REFUSALS and not _state.refusals:
            return
        level = _LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)
        get_logger("core.proxy").log(level, "%s", event.get("buffr_text", ""))
