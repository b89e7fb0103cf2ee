"""What reference-api-buddy can be told: each setting, its default, and what it must be."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from buffr.config.kinds import ADDRESS, HOST_NAME, KEY
from buffr.config.schema import Kind, Refused
from buffr.config.yaml_text import Scalar
from buffr.policy.hosts import host_pattern

__all__ = ["COUNT", "DOMAIN", "SECTIONS", "Key", "is_whole", "level_of", "logger_name"]

COUNT = "a positive whole number"
_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@frozen
class Key:
    """One setting: its default, what it must be, and whether a value is that."""

    default: Any
    allowed: str
    accepts: Callable[[Any], bool]
    secret: bool = False


def is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _whole(default: int | None, least: int, most: int = 10**12, besides: str = "") -> Key:
    allowed = "a positive whole number" if least == 1 else f"a whole number from {least}"
    if most < 10**12:
        allowed = f"a whole number from {least} to {most}"
    return Key(default, allowed + besides, lambda value: is_whole(value, least, most))


def _seconds(default: float, *, zero: bool) -> Key:
    def accepts(value: object) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (0 if zero else 1e-3) <= value <= 10**8  # type: ignore[operator]  # as looked

    return Key(default, f"a number of seconds, {'0 or more' if zero else 'more than 0'}", accepts)


def _bool(*, default: bool) -> Key:
    return Key(default, "true or false", lambda value: isinstance(value, bool))


def _text(default: str | None, allowed: str = "text") -> Key:
    return Key(default, allowed, _is_text)


# No file has such a name, and no YAML such a character.
_IN_NO_NAME = re.compile("[\0\ud800-\udfff]")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and not _IN_NO_NAME.search(value)


def _is(value: object, *kinds: Kind[Any]) -> bool:
    """Whether it is text of one of these kinds."""
    if not isinstance(value, str):
        return False
    for kind in kinds:
        try:
            kind.parse(Scalar("", value))
        except Refused:
            continue
        return True
    return False


def _is_format(value: object) -> bool:
    if not isinstance(value, str) or not value:
        return False
    try:
        logging.Formatter(value)
    except ValueError:
        return False
    return True


def _are_hosts(value: object) -> bool:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        return False
    try:
        return bool([host_pattern(one) for one in value]) or not value
    except ValueError:
        return False


def _anything(default: object) -> Key:
    return Key(default, "anything", lambda _: True)


SECTIONS: Mapping[str, Mapping[str, Key]] = {
    "server": {
        "host": Key(
            "127.0.0.1",
            "an address to listen on, or the name of a host",
            lambda value: _is(value, ADDRESS, HOST_NAME),
        ),
        "port": _whole(8080, 0, 65535, " (0 takes a free port)"),
        "request_timeout": _seconds(30, zero=False),
    },
    "security": {
        "require_secure_key": _bool(default=False),
        "secure_key": Key(None, KEY.allowed, lambda value: _is(value, KEY), secret=True),
        "log_security_events": _bool(default=True),
    },
    "cache": {
        "database_path": _text(":memory:", "a file's name, or :memory:"),
        "default_ttl_seconds": _whole(86400, 1, 10**8),
        "max_cache_response_size": _whole(10485760, 1, 2**40),
        "max_cache_entries": _whole(1000, 1, 10**8),
    },
    "throttling": {
        "default_requests_per_hour": _whole(1000, 1, 10**6),
        "progressive_max_delay": _seconds(300, zero=True),
        "domain_limits": _anything({}),
    },
    "logging": {
        "level": Key("INFO", "one of " + ", ".join(_LEVELS), lambda value: level_of(value) != ""),
        "parent_logger": Key(None, "a logger's name", lambda value: logger_name(value) != ""),
        "format": Key(_FORMAT, "a format of Python's logging, with %(...)s fields", _is_format),
        "date_format": _text("%Y-%m-%d %H:%M:%S"),
        "enable_console": _bool(default=True),
        "enable_file": _bool(default=False),
        "file_path": _text(None, "a file's name"),
        "max_file_size": _whole(10485760, 0),
        "backup_count": _whole(5, 0),
    },
    "admin": {
        "enabled": _bool(default=True),
        "rate_limit_per_minute": _whole(10, 1, 10**6),
        "include_sensitive_config": _bool(default=False),
        "log_access": _bool(default=True),
        # buffr's own: the original takes every name.
        "allowed_hosts": Key([], "a list of host names", _are_hosts),
    },
    "callbacks": {
        "on_shutdown": Key(None, "a function of a program; a file has none", callable),
    },
}

DOMAIN: Mapping[str, Key] = {
    "upstream": _text(None, "a URL"),
    "ttl_seconds": _whole(None, 1, 10**8),
    "max_requests_per_second": _whole(None, 1, 10**6),
    "max_requests_per_minute": _whole(None, 1, 10**6),
}


def level_of(value: object) -> str:
    """The level's name, empty for none."""
    text = value.upper() if isinstance(value, str) else ""
    return text if text in _LEVELS else ""


def logger_name(value: object) -> str:
    """A logger's name; programs give the logger itself, too."""
    name = value if isinstance(value, str) else getattr(value, "name", "")
    return name if isinstance(name, str) else ""
