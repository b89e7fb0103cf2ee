"""Builds the gateway's routes from their settings."""

from __future__ import annotations

from attrs import evolve

from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.exchanges.route import Route
from buffr.listeners.gateway import GatewayRoute
from buffr.listeners.gateway_addresses import Outside
from buffr.policy.mode import Mode
from buffr.wiring.routes import RouteMaker

__all__ = ["gateway_routes"]


def gateway_routes(settings: GatewaySettings, maker: RouteMaker) -> dict[bytes, GatewayRoute]:
    """The routes by their names in paths. Raises ``ConfigError``."""
    made = {}
    for row in settings.routes:
        name = row.name.encode("ascii")
        made[name] = GatewayRoute(Outside(name, row.target), _route(row, maker))
    return made


def _route(row: GatewayRow, maker: RouteMaker) -> Route:
    # Requests arrive with the upstream's full path, which is also in the recorded URL.
    origin = evolve(row.target, base_path="")
    upstream = None
    if row.mode is not Mode.REPLAY:
        upstream = maker.upstreams.of(origin, row.upstream, keep_host=row.keep_host)
    return maker.of_row(row, upstream, origin, row.name)
