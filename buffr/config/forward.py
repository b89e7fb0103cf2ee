"""The forward proxy, as settings say it."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.caching import CacheSettings
from buffr.config.limits import RateLimits
from buffr.config.route import (
    REPEAT,
    MatchSettings,
    RecordingSettings,
    Repeat,
    WebSocketSettings,
    cassette_name,
)
from buffr.config.schema import described, embedded, setting
from buffr.config.shapes import ListOf, Rows, Section
from buffr.config.upstream import UpstreamOptions
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import EVERY_HOST, HostTable, plain_host
from buffr.policy.mode import Mode

__all__ = ["ForwardHost", "ForwardSettings", "host_cassette"]

_OTHERS = "misc.json"


def host_cassette(data_dir: Path, host: str) -> Path:
    """The cassette of a host, or of a pattern of hosts, that names none."""
    return data_dir / (_OTHERS if host == EVERY_HOST else cassette_name(host))


@frozen(kw_only=True)
class ForwardHost:
    """What holds for a host behind the forward proxy. ``host`` is as ``HostTable`` takes it."""

    host: str = field(
        metadata=described(
            kinds.HOST_PATTERN,
            "The host: exactly, or what stands below a name, or all that no other row is for.",
        )
    )
    mode: Mode = field(
        metadata=described(
            kinds.MODE, "What is done with a request.", default_text="the forward proxy's"
        )
    )
    cassette: Path = field(
        metadata=described(
            kinds.PATH,
            "The cassette's file, relative to the working directory.",
            default_text="`HOST.json`, for `'*'` `misc.json`, in the data directory",
        )
    )
    match: MatchSettings = setting(
        Section(MatchSettings),
        MatchSettings(),
        "What counts in matching; it replaces that of the forward proxy.",
    )
    limits: RateLimits | None = setting(
        Section(RateLimits), None, "How often each host that the row is for is asked."
    )
    websocket: WebSocketSettings = setting(
        Section(WebSocketSettings),
        WebSocketSettings(),
        "How WebSocket sessions are replayed; it replaces that of the forward proxy.",
    )
    re_record_after_s: float | None = setting(
        kinds.duration(),
        None,
        "As that of the forward proxy, for this host.",
        key="re_record_after",
        default_text="the forward proxy's",
    )
    upstream: UpstreamOptions = embedded(UpstreamOptions())
    cache: CacheSettings = embedded(CacheSettings())


@frozen(kw_only=True)
class ForwardSettings(RecordingSettings):
    """The forward proxy's port.

    ``hosts`` are complete: what a row leaves open is filled from here.
    ``upstream`` is for hosts without a row. ``deny_private`` is ``None``
    where the address decides; ``Config.denies_private`` knows.
    """

    port: int = setting(
        kinds.PORT, 8080, "The port to listen on.", variable="BUFFR_PORT", flag="port"
    )
    mode: Mode = setting(
        kinds.MODE,
        Mode.AUTO,
        "What is done with a request, for hosts that say nothing else.",
        variable="BUFFR_MODE",
        flag="mode",
    )
    bypass: tuple[str, ...] = setting(
        ListOf(kinds.BYPASS, tuple),
        (),
        "Hosts that are not looked into, beside those of `NO_PROXY`.",
        flag="bypass",
    )
    repeat: Repeat = setting(
        REPEAT,
        "cycle",
        "What follows the last of several recordings of one request.",
        flag="repeat",
    )
    replay_delays: bool | None = setting(
        kinds.BOOL,
        None,
        "As the global setting, for the forward proxy.",
        default_text="the global setting",
    )
    upstream: UpstreamOptions = embedded(UpstreamOptions(), only=("ca_file", "via", "lenient"))
    cache: CacheSettings = embedded(CacheSettings())
    scope_cassettes: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether each scope has cassettes of its own.",
    )
    require_scope: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether every client must name a scope: as user name, or by `X-Buffr-Scope`.",
    )
    deny_private: bool | None = setting(
        kinds.BOOL,
        None,
        "Whether private destinations are refused, but for those that settings name.",
        default_text="on when `listen` is no loopback address",
    )
    hosts: tuple[ForwardHost, ...] = field(
        default=(),
        metadata=described(Rows(ForwardHost), "What holds for single hosts."),
    )
    data_dir: Path = Path()
    _table: HostTable[ForwardHost] = field(init=False, eq=False, repr=False)
    _bypass: Bypass = field(init=False, eq=False, repr=False)

    @_table.default
    def _default_table(self) -> HostTable[ForwardHost]:
        return HostTable(self.hosts)

    @_bypass.default
    def _default_bypass(self) -> Bypass:
        return Bypass.of(self.bypass)

    def of(self, host: str) -> ForwardHost:
        """What holds for a host, listed or not."""
        name = plain_host(host)
        return self._table.find(name) or ForwardHost(
            host=name,
            mode=self.mode,
            cassette=host_cassette(self.data_dir, name),
            match=self.match,
            websocket=self.websocket,
            re_record_after_s=self.re_record_after_s,
            upstream=self.upstream,
            cache=self.cache,
        )

    def names(self, host: str, port: int | None = None) -> bool:
        """Whether a row for a host, or an entry of ``bypass``, names it other than by ``'*'``.

        Without a port, only rows count.
        """
        row = self._table.find(host)
        if row is not None and row.host != EVERY_HOST:
            return True
        return port is not None and self._bypass.names(host, port)
