"""Reverse ports, as settings describe them."""

from __future__ import annotations

from pathlib import Path

import attrs
from attrs import frozen

from buffr.config import kinds
from buffr.config.listener import ListenerSettings
from buffr.config.route import RouteSettings
from buffr.config.schema import setting, varied
from buffr.origin import Origin

__all__ = ["ReverseRoute"]


@frozen(kw_only=True)
class ReverseRoute(RouteSettings, ListenerSettings):
    """A port that forwards to one upstream.

    ``target`` is ``None`` only in mode replay. Files are relative to the working
    directory.
    """

    target: Origin | None = setting(
        kinds.TARGET,
        None,
        "The upstream. Not needed in mode replay if `cassette` is set.",
        variable="BUFFR_TARGET",
        flag="target",
        default_text="required",
    )
    port: int = varied(ListenerSettings, "port", default_text="8080, 8081 ... by position")
    cassette: Path = varied(
        RouteSettings,
        "cassette",
        default=attrs.NOTHING,
        variable="BUFFR_CASSETTE",
        flag="cassette",
        default_text="`HOST.json`, or `HOST_PORT.json`, of the target in the data directory",
    )
    rewrite: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether the target's addresses in redirects, links and cookies are rewritten to "
        "this port's, so that clients stay behind it.",
    )
