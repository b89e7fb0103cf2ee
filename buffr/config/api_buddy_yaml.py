"""Converts the settings of reference-api-buddy into buffr's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from attrs import evolve

from buffr.config.api_buddy import ApiBuddySettings, Domain
from buffr.config.loading import load
from buffr.config.model import Config
from buffr.config.schema import SCHEMA_FILE

__all__ = ["OVERRIDE", "as_config", "as_settings", "as_yaml"]

OVERRIDE = ("no-cache", "must-revalidate")
"""A TTL applies to these answers too: that is its purpose. Answers for one client
(``private``, ``no-store``, ``Set-Cookie``) stay out of the cache."""

_METHODS = ("GET", "HEAD", "POST")

_NOBODY = Domain(
    name="nobody",
    upstream="http://127.0.0.1",
    ttl_s=1,
    per_second=None,
    per_minute=None,
    per_hour=1,
)
"""A placeholder if there are no routes, which a settings file must have."""
_OURS = "gateway"
"""The prefix of warnings about buffr's own form of the settings."""


def as_settings(settings: ApiBuddySettings) -> dict[str, Any]:
    """The content of the equivalent settings file of buffr."""
    access: dict[str, Any] = {"required": settings.require_key}
    if settings.key is not None and settings.require_key:
        access["key"] = settings.key
    return {
        "listen": settings.host,
        "cache": {
            "entries": settings.max_entries,
            "body_bytes": settings.max_response_bytes,
        },
        "limits": {"upstream_idle_s": _duration(settings.request_timeout_s)},
        "gateway": {
            "port": settings.port,
            "access": access,
            "admin": {
                "enabled": settings.admin,
                "rate_limit_per_minute": settings.admin_per_minute,
                "log_access": settings.admin_log_access,
                **({"hosts": list(settings.admin_hosts)} if settings.admin_hosts else {}),
            },
            "routes": {one.name: _route(one, settings) for one in settings.domains},
        },
    }


def _route(domain: Domain, settings: ApiBuddySettings) -> Mapping[str, Any]:
    store = "memory:" if settings.database is None else f"sqlite:{settings.database}"
    return {
        "target": domain.upstream,
        "mode": "cache",
        "ttl": f"{domain.ttl_s}s",
        "methods": list(_METHODS),
        "override": list(OVERRIDE),
        "match": {"normalise": {"query_order": True}},
        "store": store,
        "limits": _limits(domain, settings.max_delay_s),
    }


def _limits(domain: Domain, max_delay_s: float) -> dict[str, Any]:
    counts = {
        "per_second": domain.per_second,
        "per_minute": domain.per_minute,
        "per_hour": domain.per_hour,
    }
    given: dict[str, Any] = {name: count for name, count in counts.items() if count is not None}
    return given | {"max_delay": _duration(max_delay_s)}


def _duration(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def as_yaml(settings: ApiBuddySettings) -> str:
    """Like ``as_settings``, as the text of a file that names its schema for editors."""
    head = f"# yaml-language-server: $schema={SCHEMA_FILE}\n"
    return head + yaml.safe_dump(as_settings(settings), sort_keys=False, allow_unicode=True)


def as_config(settings: ApiBuddySettings, environ: Mapping[str, str]) -> Config:
    """The settings as buffr's own; ``server.host`` must be an address.

    Parent proxies come from ``environ``, the process's environment. Everything
    that ``read_api_buddy`` accepts is accepted here.
    """
    others = {name: value for name, value in environ.items() if not name.startswith("BUFFR_")}
    domains = settings.domains or (_NOBODY,)
    config = load(None, others, {}, mapping=as_settings(evolve(settings, domains=domains)))
    assert config.gateway is not None
    if not settings.domains:  # every request is 404, until a name is added
        config = evolve(config, gateway=evolve(config.gateway, routes=()))
    warnings = tuple(line for line in config.warnings if not line.startswith(_OURS))
    return evolve(config, shown_as=settings.given, warnings=warnings)
