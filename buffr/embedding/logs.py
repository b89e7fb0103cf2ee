"""Log lines of proxies inside a program go to Python's ``logging``, as their settings say."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from logging.handlers import RotatingFileHandler

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from buffr.config.api_buddy import LogSettings
from buffr.errors import ConfigError
from buffr.log import NAMESPACE

__all__ = ["configured", "get_logger", "line_writer"]

_ROOT = "api_buddy"
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
    """What was configured last; it holds for the whole process, as ``logging`` does."""

    lock: threading.Lock = field(factory=threading.Lock)
    name: str = _ROOT
    handlers: list[tuple[logging.Logger, logging.Handler]] = field(factory=list)
    observed: bool = False
    refusals: bool = True


_state = _State()


def configured(settings: LogSettings, *, refusals: bool = True) -> logging.Logger:
    """Have lines go where these settings say, from now on; the logger they come from.

    ``refusals`` says whether requests without the key have lines. A parent
    logger's own handlers stay as they are, and get the lines too.
    Raises ``ConfigError`` when the file cannot be opened.
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
        handlers.append(logging.StreamHandler(sys.stdout))
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
            raise ConfigError(
                f"logging.file_path {settings.file}: cannot be opened: {error.strerror}"
            ) from error
    for handler in handlers:
        handler.setFormatter(formatter)
    return handlers


def get_logger(name: str) -> logging.Logger:
    """A logger whose lines go where the proxies' go."""
    return logging.getLogger(f"{_state.name}.{name}")


def line_writer(logger: logging.Logger) -> Callable[[str], None]:
    """Write the lines of exchanges to a logger, which tells time and level itself."""

    def write(lines: str) -> None:
        for line in lines.splitlines():
            level, _, rest = line.partition(" level=")[2].partition(" ")
            number = _BY_NAME.get(level, logging.INFO)
            if logger.isEnabledFor(number):
                # As ``logger.log``, which would look for its caller, at a third of the cost.
                logger.handle(logger.makeRecord(logger.name, number, __file__, 0, rest, (), None))

    return write


@implementer(ILogObserver)
class _Forward:
    """Passes buffr's own events on, and failures that nobody else took."""

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace") != NAMESPACE:
            return
        pairs = event.get("buffr_pairs", {})
        if pairs.get("status") in _REFUSALS and not _state.refusals:
            return
        level = _LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)
        get_logger("core.proxy").log(level, "%s", event.get("buffr_text", ""))
