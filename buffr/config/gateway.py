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
    """A route of the gateway: ``/NAME/path`` is ``path`` below ``target``."""

    refuses: ClassVar[Mapping[str, str]] = {
        one.name: f"is for the whole gateway; set gateway.{one.name}"
        for one in attrs.fields(ListenerSettings)
    }

    name: str
    target: Origin = field(
        metadata=described(
            kinds.TARGET, "The upstream. The rest of the path, after the name, is appended to it."
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
        kinds.BOOL, default=False, doc="Whether `/admin/...` shows how the gateway is doing."
    )
    rate_limit_per_minute: int = setting(
        kinds.whole(1, 1_000_000), 10, "Requests of one client in any minute; else 429."
    )
    hosts: tuple[str, ...] = setting(
        ListOf(kinds.HOST_PATTERN, tuple),
        (),
        "Names that clients reach these pages by, beside loopback names, the address that is "
        "listened on and this machine's name; `'*'` is every name.",
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
            "The upstreams, each under the name that its paths begin with.",
        ),
    )
