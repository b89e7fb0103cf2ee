"""The forward proxy, as settings describe it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
from attrs import field, frozen

from buffr.config import kinds
from buffr.config.listener import ListenerSettings
from buffr.config.route import RouteSettings, cassette_name
from buffr.config.schema import described, setting, varied
from buffr.config.shapes import ListOf, Rows
from buffr.policy.hosts import EVERY_HOST, HostTable, plain_host

__all__ = ["ForwardHost", "ForwardSettings", "host_cassette"]

_OTHERS = "misc.json"


def host_cassette(data_dir: Path, host: str) -> Path:
    """The default cassette for a host or a host pattern."""
    return data_dir / (_OTHERS if host == EVERY_HOST else cassette_name(host))


@frozen(kw_only=True)
class ForwardHost(RouteSettings):
    """The settings for a host behind the forward proxy. ``host`` has ``HostTable``'s syntax.

    Settings that it leaves out are inherited from the forward proxy.
    """

    inherits: ClassVar[str] = "forward"
    refuses: ClassVar[Mapping[str, str]] = {
        one.name: f"applies to the whole forward proxy; set forward.{one.name}"
        for one in attrs.fields(ListenerSettings)
    } | {"target": "does not apply to the forward proxy, whose upstream is the requested host"}

    host: str = field(
        metadata=described(
            kinds.HOST_PATTERN,
            "A host name, `*.example.com` for its subdomains, "
            "or `*` for every host without its own row.",
        )
    )
    cassette: Path = varied(
        RouteSettings,
        "cassette",
        default=attrs.NOTHING,
        default_text="`HOST.json`, for `'*'` `misc.json`, in the data directory",
    )


@frozen(kw_only=True)
class ForwardSettings(RouteSettings, ListenerSettings):
    """The forward proxy's port, and what applies to its hosts unless their rows differ.

    ``hosts`` are complete: settings that a row leaves out are filled in from here.
    ``deny_private`` is ``None`` if the listen address decides, as in
    ``Config.denies_private``.
    """

    refuses: ClassVar[Mapping[str, str]] = {
        "target": ForwardHost.refuses["target"],
        "host": "belongs in a row of forward.hosts",
    }

    cassette: Path | None = varied(
        RouteSettings,
        "cassette",
        doc="One cassette for all hosts whose rows set none, relative to the working directory.",
        default_text="one for each host",
    )
    bypass: tuple[str, ...] = setting(
        ListOf(kinds.BYPASS, tuple),
        (),
        "Hosts whose connections are relayed unread, in addition to those in `NO_PROXY`.",
        flag="bypass",
    )
    scope_cassettes: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether each scope has its own cassettes.",
    )
    require_scope: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether every client must name a scope, as its user name or in `X-Buffr-Scope`.",
    )
    deny_private: bool | None = setting(
        kinds.BOOL,
        None,
        "Whether to refuse private destinations, except those named in the settings.",
        default_text="`true` if `listen` is not a loopback address",
    )
    hosts: tuple[ForwardHost, ...] = field(
        default=(),
        metadata=described(Rows(ForwardHost), "Settings for individual hosts."),
    )
    data_dir: Path = Path()
    _table: HostTable[ForwardHost] = field(init=False, eq=False, repr=False)

    @_table.default
    def _default_table(self) -> HostTable[ForwardHost]:
        return HostTable(self.hosts)

    def of(self, host: str) -> ForwardHost:
        """The settings for a host, listed or not."""
        name = plain_host(host)
        return self._table.find(name) or ForwardHost(host=name, **self._for_hosts(name))

    def _for_hosts(self, host: str) -> dict[str, Any]:
        shared = {one.name: getattr(self, one.name) for one in attrs.fields(RouteSettings)}
        return shared | {"cassette": self.cassette or host_cassette(self.data_dir, host)}
