"""The gateway, as settings say it."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.caching import CacheSettings
from buffr.config.limits import RateLimits
from buffr.config.listener import ListenerAccess
from buffr.config.route import REPEAT, RecordingSettings, Repeat
from buffr.config.schema import described, embedded, setting
from buffr.config.shapes import ListOf, NamedRows, Section
from buffr.config.upstream import UpstreamOptions
from buffr.origin import Origin
from buffr.policy.mode import Mode

__all__ = ["GatewayAdmin", "GatewayRow", "GatewaySettings"]


@frozen(kw_only=True)
class GatewayRow(RecordingSettings):
    """A route of the gateway: ``/NAME/path`` is ``path`` below ``target``.

    ``replay_delays`` is ``None`` where the global setting decides.
    """

    name: str
    target: Origin = field(
        metadata=described(kinds.TARGET, "The upstream; what follows the name is put behind it.")
    )
    mode: Mode = setting(kinds.MODE, Mode.CACHE, "What is done with a request.")
    cassette: Path = field(
        metadata=described(
            kinds.PATH,
            "The cassette's file, relative to the working directory.",
            default_text="`NAME.json` in the data directory",
        )
    )
    keep_host: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether the upstream gets the client's `Host` and not its own.",
    )
    repeat: Repeat = setting(
        REPEAT, "cycle", "What follows the last of several recordings of one request."
    )
    limits: RateLimits | None = setting(
        Section(RateLimits), None, "How often the upstream is asked; a hit counts for nothing."
    )
    upstream: UpstreamOptions = embedded(UpstreamOptions())
    cache: CacheSettings = embedded(CacheSettings())
    replay_delays: bool | None = setting(
        kinds.BOOL,
        None,
        "As the global setting, for this route.",
        default_text="the global setting",
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
class GatewaySettings:
    """The gateway's port. ``routes`` are complete; ``tls`` is as in ``ReverseRoute``."""

    port: int = setting(
        kinds.PORT, 8080, "The port to listen on.", variable="BUFFR_PORT", flag="port"
    )
    tls: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether clients speak TLS to this port.",
        default_text="`true` with `cert` and `key`, else `false`",
    )
    tls_names: tuple[str, ...] = setting(
        ListOf(kinds.HOST_NAME, tuple),
        (),
        "The names and addresses that a certificate of buffr's own CA is made for.",
        default_text="localhost, the loopback addresses, the machine's name",
    )
    cert: Path | None = setting(
        kinds.PATH, None, "A certificate (PEM) for this port, instead of one of buffr's CA."
    )
    key: Path | None = setting(kinds.PATH, None, "The key (PEM) of `cert`.")
    access: ListenerAccess | None = setting(
        Section(ListenerAccess), None, "Who may use this port, in place of the global `access`."
    )
    admin: GatewayAdmin = setting(Section(GatewayAdmin), GatewayAdmin(), "The gateway's own pages.")
    routes: tuple[GatewayRow, ...] = field(
        default=(),
        metadata=described(
            NamedRows(GatewayRow, kinds.ROUTE_NAME),
            "The upstreams, each by the name that its paths begin with.",
        ),
    )
