"""Reads the settings of reference-api-buddy unchanged.

They come as a mapping, from a JSON file or a program. Values that are present
are checked; missing ones have that program's defaults.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import Factory, field, frozen

from buffr.config.kinds import ADDRESS, HOST_NAME, KEY, ROUTE_NAME, TARGET
from buffr.config.problems import Problems, did_you_mean, shown, shown_key
from buffr.config.schema import Kind, Refused
from buffr.config.written import Scalar
from buffr.errors import ConfigError
from buffr.policy.access import address_of, is_loopback
from buffr.policy.hosts import host_name, host_pattern

__all__ = [
    "COUNT",
    "DOMAIN",
    "SECTIONS",
    "ApiBuddySettings",
    "Domain",
    "InvalidSettings",
    "Key",
    "LogSettings",
    "defaults_used",
    "is_whole",
    "level_of",
    "logger_name",
    "looks_like_api_buddy",
    "read_api_buddy",
    "with_defaults",
]

COUNT = "a positive whole number"
_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@frozen
class Key:
    """One setting: its default, a description of valid values, and their test."""

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
        return number and (0 if zero else 1e-3) <= value <= 10**8  # type: ignore[operator]  # checked above

    return Key(default, f"a number of seconds, {'0 or more' if zero else 'more than 0'}", accepts)


def _bool(*, default: bool) -> Key:
    return Key(default, "true or false", lambda value: isinstance(value, bool))


def _text(default: str | None, allowed: str = "text") -> Key:
    return Key(default, allowed, _is_text)


# Not allowed in file names, or in YAML.
_IN_NO_NAME = re.compile("[\0\ud800-\udfff]")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and not _IN_NO_NAME.search(value)


def _is(value: object, *kinds: Kind[Any]) -> bool:
    """Whether a value is text of one of these kinds."""
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
            "an address to listen on, or a host name",
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
        "file_path": _text(None, "a file name"),
        "max_file_size": _whole(10485760, 0),
        "backup_count": _whole(5, 0),
    },
    "admin": {
        "enabled": _bool(default=True),
        "rate_limit_per_minute": _whole(10, 1, 10**6),
        "include_sensitive_config": _bool(default=False),
        "log_access": _bool(default=True),
        # buffr's own: the original accepts every name.
        "allowed_hosts": Key([], "a list of host names", _are_hosts),
    },
    "callbacks": {
        "on_shutdown": Key(None, "a function, which only a program can set", callable),
    },
}

DOMAIN: Mapping[str, Key] = {
    "upstream": _text(None, "a URL"),
    "ttl_seconds": _whole(None, 1, 10**8),
    "max_requests_per_second": _whole(None, 1, 10**6),
    "max_requests_per_minute": _whole(None, 1, 10**6),
}


def level_of(value: object) -> str:
    """The level's name, empty if it is invalid."""
    text = value.upper() if isinstance(value, str) else ""
    return text if text in _LEVELS else ""


def logger_name(value: object) -> str:
    """A logger's name; programs may also pass the logger itself."""
    name = value if isinstance(value, str) else getattr(value, "name", "")
    return name if isinstance(name, str) else ""


_KINDS: Mapping[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
}
"""JSON's names for values that are not objects."""
_THEIRS = frozenset(("domain_mappings", "throttling", "security", "server", "callbacks"))


class InvalidSettings(ConfigError, ValueError):
    """Settings are invalid; a line for each, by its key in reference-api-buddy."""


@frozen(kw_only=True)
class Domain:
    """An upstream under a name, the first segment of a request's path."""

    name: str
    upstream: str
    ttl_s: int
    per_second: int | None
    per_minute: int | None
    per_hour: int


@frozen(kw_only=True)
class LogSettings:
    """Where log lines go. ``max_file_bytes`` 0 never rotates the file."""

    level: str
    parent_logger: str | None
    format: str
    date_format: str
    console: bool
    file: str | None
    max_file_bytes: int
    backup_count: int


@frozen(kw_only=True)
class ApiBuddySettings:
    """All settings of the other program.

    ``database`` is ``None`` for a cache in memory. ``given`` is the original
    mapping, with every default filled in.
    """

    host: str
    port: int
    request_timeout_s: float
    domains: tuple[Domain, ...]
    default_per_hour: int
    domain_limits: Mapping[str, int]
    max_delay_s: float
    database: str | None
    default_ttl_s: int
    max_response_bytes: int
    max_entries: int
    require_key: bool
    key: str | None = field(repr=False)
    log_security_events: bool
    admin: bool
    admin_per_minute: int
    admin_log_access: bool
    admin_hosts: tuple[str, ...]
    log: LogSettings
    warnings: tuple[str, ...]
    given: Mapping[str, Any] = field(repr=False, default=Factory(dict))


def looks_like_api_buddy(given: object) -> bool:
    """Whether settings are the other program's, judged by keys that buffr does not have."""
    return isinstance(given, Mapping) and not _THEIRS.isdisjoint(given)


def with_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with every default filled in; its values are not checked."""
    merged: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, keys in SECTIONS.items():
        section = merged.get(name, {})
        if isinstance(section, Mapping):
            defaults = {key: declared.default for key, declared in keys.items()}
            given_here = {key: value for key, value in section.items() if value is not None}
            merged[name] = defaults | given_here
    merged.setdefault("domain_mappings", {})
    return merged


def defaults_used(given: Mapping[str, Any]) -> Iterator[str]:
    """A line for each setting that is missing in a section and therefore has its default."""
    for name, keys in SECTIONS.items():
        section = given.get(name)
        if not isinstance(section, Mapping):
            continue
        for key, declared in keys.items():
            default = declared.default
            if key not in section and isinstance(default, str | int | float):
                yield f"{name}.{key} not specified, using default value: {default}"


def read_api_buddy(given: object, name: str = "") -> ApiBuddySettings:
    """Read the settings. ``name`` is their source in messages.

    Raises ``InvalidSettings`` with a line for each problem. Keys that the other
    program does not know are ignored with a warning, as it ignores them.
    Everything accepted here is valid in buffr's own settings (``api_buddy_yaml``).
    """
    problems = Problems()
    if not isinstance(given, Mapping):
        kind = _KINDS.get(type(given), type(given).__name__)
        problems.error(name, "", f"the settings must be an object, not {kind}")
        raise InvalidSettings("\n".join(problems.errors))
    _warn_of_unknown(given, (*SECTIONS, "domain_mappings"), "", problems, name)
    values = {
        section: _section(given.get(section), keys, section, problems, name)
        for section, keys in SECTIONS.items()
    }
    limits = _limits(values["throttling"]["domain_limits"], problems, name)
    domains = _domains(given.get("domain_mappings"), values, limits, problems, name)
    log = values["logging"]
    if log["enable_file"] and log["file_path"] is None:
        problems.error(name, "logging.file_path", "is missing; enable_file requires it")
    host = values["server"]["host"]
    if not (is_loopback(host) or values["security"]["require_secure_key"]):
        text = f"anyone who can reach {host} may use it; set security.require_secure_key"
        problems.warn(name, "server.host", text)
    if values["admin"]["include_sensitive_config"]:
        path = "admin.include_sensitive_config"
        problems.warn(name, path, "is ignored: secrets are always masked")
    for limited in limits:
        if limited not in {domain.name for domain in domains}:
            path = f"throttling.domain_limits.{shown_key(limited)}"
            problems.warn(name, path, "is not a name in domain_mappings")
    if problems.errors:
        raise InvalidSettings("\n".join(problems.errors))
    return _settings(values, domains, limits, problems, with_defaults(given))


def _settings(
    values: Mapping[str, Mapping[str, Any]],
    domains: tuple[Domain, ...],
    limits: Mapping[str, int],
    problems: Problems,
    given: Mapping[str, Any],
) -> ApiBuddySettings:
    server, security, cache = values["server"], values["security"], values["cache"]
    throttling, log, admin = values["throttling"], values["logging"], values["admin"]
    return ApiBuddySettings(
        host=server["host"],
        port=server["port"],
        request_timeout_s=float(server["request_timeout"]),
        domains=domains,
        default_per_hour=throttling["default_requests_per_hour"],
        domain_limits=limits,
        max_delay_s=float(throttling["progressive_max_delay"]),
        database=_file(cache["database_path"]),
        default_ttl_s=cache["default_ttl_seconds"],
        max_response_bytes=cache["max_cache_response_size"],
        max_entries=cache["max_cache_entries"],
        require_key=security["require_secure_key"],
        key=security["secure_key"],
        log_security_events=security["log_security_events"],
        admin=admin["enabled"],
        admin_per_minute=admin["rate_limit_per_minute"],
        admin_log_access=admin["log_access"],
        admin_hosts=(*_own_name(server["host"]), *admin["allowed_hosts"]),
        log=LogSettings(
            level=level_of(log["level"]),
            parent_logger=logger_name(log["parent_logger"]) or None,
            format=log["format"],
            date_format=log["date_format"],
            console=log["enable_console"],
            file=log["file_path"] if log["enable_file"] else None,
            max_file_bytes=log["max_file_size"],
            backup_count=log["backup_count"],
        ),
        warnings=tuple(problems.warnings),
        given=given,
    )


def _file(path: str) -> str | None:
    """The file of a path or a URI (sqlite.org/uri.html); ``None`` for memory."""
    if ":memory:" in path:
        return None
    if not path.startswith("file:"):
        return path
    uri = urlsplit(path)
    in_memory = "mode=memory" in uri.query.split("&")
    return None if in_memory else unquote(uri.path) or None


def _own_name(host: str) -> tuple[str, ...]:
    """The host to listen on, if it is a name."""
    try:
        return () if address_of(host) is not None else (host_name(host),)
    except ValueError:
        return ()


def _section(
    given: object, keys: Mapping[str, Key], path: str, problems: Problems, name: str
) -> dict[str, Any]:
    values = {key: declared.default for key, declared in keys.items()}
    if given is None:
        return values
    if not isinstance(given, Mapping):
        problems.error(name, path, f"must be a mapping with {', '.join(keys)}")
        return values
    _warn_of_unknown(given, keys, f"{path}.", problems, name)
    for key, declared in keys.items():
        value = given.get(key)
        if value is None or (declared.secret and value == ""):
            continue
        if declared.accepts(value):
            values[key] = value
        else:
            said = "the value (not shown)" if declared.secret else shown(str(value))
            problems.error(name, f"{path}.{key}", f"must be {declared.allowed}, not {said}")
    return values


def _warn_of_unknown(
    given: Mapping[Any, Any], known: Mapping[str, object] | tuple[str, ...], path: str,
    problems: Problems, name: str,
) -> None:  # fmt: skip
    for key in given:
        text = str(key)
        if text not in known and not text.startswith("_"):
            near = did_you_mean(text, known)
            problems.warn(name, f"{path}{shown_key(text)}", f"unknown key, ignored{near}")


def _limits(given: object, problems: Problems, name: str) -> dict[str, int]:
    path = "throttling.domain_limits"
    if not isinstance(given, Mapping):
        problems.error(name, path, "must be a mapping of names to requests per hour")
        return {}
    limits = {}
    for key, value in given.items():
        if is_whole(value, 1, 10**6):
            limits[str(key)] = value
        else:
            at = f"{path}.{shown_key(str(key))}"
            problems.error(name, at, f"must be {COUNT}, not {shown(str(value))}")
    return limits


def _domains(
    given: object,
    values: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, int],
    problems: Problems,
    name: str,
) -> tuple[Domain, ...]:
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        problems.error(name, "domain_mappings", "must be a mapping of names to upstreams")
        return ()
    domains = []
    for key, mapping in given.items():
        text = str(key)
        path = f"domain_mappings.{shown_key(text)}"
        if not _is_name(text):
            what = f"the name must be {ROUTE_NAME.allowed}, and not 'admin'"
            problems.error(name, path, what)
            continue
        if not isinstance(mapping, Mapping):
            problems.error(name, path, "must be a mapping with the key upstream")
            continue
        one = _section(mapping, DOMAIN, path, problems, name)
        upstream = _upstream(one["upstream"], path, problems, name)
        domains.append(
            Domain(
                name=text,
                upstream=upstream,
                ttl_s=one["ttl_seconds"] or values["cache"]["default_ttl_seconds"],
                per_second=one["max_requests_per_second"],
                per_minute=one["max_requests_per_minute"],
                per_hour=limits.get(text, values["throttling"]["default_requests_per_hour"]),
            )
        )
    return tuple(domains)


def _is_name(text: str) -> bool:
    try:
        return text != "admin" and bool(ROUTE_NAME.parse(Scalar("", text)))
    except Refused:
        return False


def _upstream(url: str | None, path: str, problems: Problems, name: str) -> str:
    if url is None:
        problems.error(name, f"{path}.upstream", f"is missing; must be {TARGET.allowed}")
        return ""
    try:
        return TARGET.parse(Scalar(name, url)).url
    except Refused as refused:
        why = f"{refused}; must be" if str(refused) else "must be"
        problems.error(name, f"{path}.upstream", f"{shown(url)} {why} {TARGET.allowed}")
        return ""
