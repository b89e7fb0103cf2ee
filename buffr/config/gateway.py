"""The gateway, as settings describe it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import attrs
from attrs import field, frozen

from buffr.config import kinds
from buffr.config.listener import ListenerSettings
from buffr.config.route import RouteSettings
from buffr.config.schema import described, setting, varied
from buffr.config.shapes import ListOf, NamedRows, Section
from buffr.origin import Origin
from buffr.policy.mode import Mode

__all__ = ["GatewayAdmin", "GatewayRow", "GatewaySettings"]


@frozen(kw_only=True)
class GatewayRow(RouteSettings):
    """A route of the gateway: ``/NAME/path`` maps to ``path`` below ``target``."""

    refuses: ClassVar[Mapping[str, str]] = {
        one.name: f"applies to the whole gateway; set gateway.{one.name}"
        for one in attrs.fields(ListenerSettings)
    }

    name: str
    target: Origin = field(
        metadata=described(
            kinds.TARGET, "The upstream. The path after the route's name is appended to it."
        )
    )
    mode: Mode = varied(RouteSettings, "mode", default=Mode.CACHE)
    cassette: Path = varied(
        RouteSettings,
        "cassette",
        default=attrs.NOTHING,
        default_text="`NAME.json` in the data directory",
    )


@frozen(kw_only=True)
class GatewayAdmin:
    """The gateway's own pages below ``/admin/``."""

    enabled: bool = setting(
        kinds.BOOL, default=False, doc="Whether `/admin/...` reports the state of the gateway."
    )
    rate_limit_per_minute: int = setting(
        kinds.whole(1, 1_000_000),
        10,
        "Requests from one client in any minute. More are answered with 429.",
    )
    hosts: tuple[str, ...] = setting(
        ListOf(kinds.HOST_PATTERN, tuple),
        (),
        "Host names under which clients may reach these pages, in addition to loopback names, the "
        "listen address and this machine's name. `'*'` allows every name.",
    )
    log_access: bool = setting(
        kinds.BOOL, default=True, doc="Whether each request to `/admin/...` is logged."
    )


@frozen(kw_only=True)
class GatewaySettings(ListenerSettings):
    """The gateway's port. ``routes`` are complete."""

    admin: GatewayAdmin = setting(Section(GatewayAdmin), GatewayAdmin(), "The gateway's own pages.")
    routes: tuple[GatewayRow, ...] = field(
        default=(),
        metadata=described(
            NamedRows(GatewayRow, kinds.ROUTE_NAME),
            "The upstreams, each under the name with which its paths begin.",
        ),
    )
