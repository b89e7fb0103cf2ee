"""The gateway's settings out of a draft: their defaults, and what does not go together."""

from __future__ import annotations

from pathlib import Path

from buffr.config.checks import (
    check_tls,
    given_modes,
    refuse_half,
    warn_of_risks,
    warn_of_uncached,
)
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.config.model import Config
from buffr.config.problems import Problems
from buffr.config.reading import Given
from buffr.config.schema import made
from buffr.config.shapes import Draft
from buffr.policy.mode import Mode

__all__ = ["check_gateway", "finish_gateway"]

_ADMIN = "admin"


def finish_gateway(draft: Draft, data_dir: Path, problems: Problems) -> GatewaySettings | None:
    """The gateway with its defaults; ``None`` where something is wrong with it."""
    found = len(problems.errors)
    routes = draft.given.get("routes", Given(draft.at, ()))
    rows: tuple[Draft, ...] = () if routes.broken else routes.value
    refuse_half(draft, "cert", "key", problems)
    check_tls(draft, problems)
    for row in rows:
        refuse_half(row, "client_cert", "client_key", problems)
    for row in rows:
        warn_of_uncached(row, given_modes(row) or (Mode.CACHE,), problems)
    warn_of_risks(rows, problems)
    if not rows and not routes.broken:
        text = "is missing; must name at least one route, such as wiki: {target: https://...}"
        problems.error(routes.at, f"{draft.path}.routes", text)
    all_given = [draft, *rows]
    if any(one.broken or any(x.broken for x in one.given.values()) for one in all_given):
        return None
    if len(problems.errors) > found or any("target" not in row.given for row in rows):
        return None
    values = {name: one.value for name, one in draft.given.items()}
    values.setdefault("tls", "cert" in values)
    settings = made(
        GatewaySettings, values | {"routes": tuple(_row(row, data_dir) for row in rows)}
    )
    if settings.admin.enabled:
        _refuse_name(rows, problems)
    return settings


def _row(draft: Draft, data_dir: Path) -> GatewayRow:
    values = {name: one.value for name, one in draft.given.items()}
    values.setdefault("cassette", data_dir / f"{values['name']}.json")
    return made(GatewayRow, values)


def _refuse_name(rows: tuple[Draft, ...], problems: Problems) -> None:
    for row in rows:
        if row.given["name"].value == _ADMIN:
            text = "is the place of gateway.admin; rename it, or leave gateway.admin.enabled out"
            problems.error(row.at, row.path, text)


def check_gateway(draft: Draft, config: Config, problems: Problems) -> None:
    """Refuse a port that another listener has, and warn where everybody may come in."""
    gateway = config.gateway
    if gateway is None:
        return
    others = [(f"reverse[{index}]", route.port) for index, route in enumerate(config.reverse)]
    if config.forward is not None:
        others.append(("forward", config.forward.port))
    for path, port in others:
        if port and port == gateway.port:
            given = draft.given.get("port")
            by_default = "" if given else ", the default here,"
            problems.error(
                given.at if given else draft.at,
                f"{draft.path}.port",
                f"{port}{by_default} is the port of {path} already; "
                "must be another, or 0 for a free one",
            )
    own = config.access if gateway.access is None else gateway.access
    if not config.on_loopback and config.access_to(gateway.access).is_open and not own.required:
        text = f"whoever reaches {config.listen} may use it; give access.key or access.allow"
        problems.warn(draft.at, draft.path, text)
