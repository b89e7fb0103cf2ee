"""The settings: frozen values, each field with its syntax and its meaning.

The table of all settings is built from these declarations, and so is
``docs/settings.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.admin import AdminSettings
from buffr.config.caching import CacheBounds
from buffr.config.drift import DriftSettings
from buffr.config.forward import ForwardSettings
from buffr.config.gateway import GatewaySettings
from buffr.config.limits import Limits
from buffr.config.listener import AccessSettings, ListenerAccess
from buffr.config.parents import ParentProxies
from buffr.config.redis import RedisSettings
from buffr.config.reverse import ReverseRoute
from buffr.config.schema import described, embedded, setting
from buffr.config.shapes import Drafted, ListOf, MapOf, Rows, Section
from buffr.policy.access import Access, Destinations, is_loopback
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import HostTable
from buffr.policy.mode import Mode
from buffr.policy.prices import PRICES_OF, Price

__all__ = ["Config", "Durability", "LogFormat", "Redaction"]

LogFormat = Literal["text", "json"]
Http2Engine = Literal["auto", "ngh2", "h2"]
Durability = Literal["process", "disk"]
Unsafe = Literal["refuse", "warn"]


@frozen(kw_only=True)
class Redaction:
    """What is redacted, in addition to the defaults. ``headers`` are in lower case."""

    enabled: bool = setting(
        kinds.BOOL, default=True, doc="Whether credentials are kept out of cassettes."
    )
    headers: tuple[str, ...] = setting(
        ListOf(kinds.HEADER_NAME, tuple), (), "Additional headers whose values are credentials."
    )
    query: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple),
        (),
        "Additional query and form fields whose values are credentials.",
    )
    json: tuple[str, ...] = setting(
        ListOf(kinds.MEMBER, tuple),
        (),
        "Additional JSON members whose values are credentials, by name or JSONPath.",
    )
    patterns: tuple[str, ...] = setting(
        ListOf(kinds.PATTERN, tuple),
        (),
        "Patterns of further credentials, in RE2 syntax. If a pattern has a group, only the group "
        "is redacted.",
    )
    unsafe: Unsafe = setting(
        kinds.one_of(get_args(Unsafe)),
        "refuse",
        "What to do with a recording that cannot be searched for credentials: not store it, or "
        "store it with a warning.",
    )


@frozen(kw_only=True)
class Config:
    """All settings of one service.

    Paths are relative to the working directory, wherever the YAML file is.
    ``file`` is the settings file, if there is one. ``no_proxy`` holds the entries
    of ``NO_PROXY``, and ``parents`` the parent
    proxies from the environment. ``warnings`` are lines to log at startup.
    ``shown_as`` holds the original settings if they were another program's.
    ``sources`` says where what is not a default was set (``buffr.yaml:12``,
    ``BUFFR_PORT``, ``--port``), by its key (``reverse[0].target``).
    """

    data_dir: Path = setting(
        kinds.PATH,
        Path(),
        "The directory for files without a configured path, relative to the working directory.",
        variable="BUFFR_DATA_DIR",
        flag="data_dir",
    )
    listen: str = setting(
        kinds.ADDRESS,
        "127.0.0.1",
        "The address on which every listener listens.",
        variable="BUFFR_LISTEN",
        flag="listen",
    )
    replay_delays: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether a replay keeps the recorded delays. `BUFFR_REPLAY_NODELAY=0` means `true`.",
        variable="BUFFR_REPLAY_NODELAY",
        variable_shape=kinds.NO_DELAY,
        flag="replay_delays",
    )
    log_format: LogFormat = setting(
        kinds.one_of(get_args(LogFormat)),
        "text",
        "The format of log lines.",
        key="log.format",
        variable="BUFFR_LOG_FORMAT",
        flag="log_format",
    )
    http2_engine: Http2Engine = setting(
        kinds.one_of(get_args(Http2Engine)),
        "auto",
        "The library that speaks HTTP/2: libnghttp2 by `ngh2`, or `h2`. `auto` takes `ngh2` if it "
        "is installed.",
        variable="BUFFR_HTTP2_ENGINE",
    )
    durability: Durability = setting(
        kinds.one_of(get_args(Durability)),
        "process",
        "Whether recordings survive a crash of the process only, or of the machine too.",
        key="cassettes.durability",
    )
    file_mode: int = setting(
        kinds.FILE_MODE,
        0o600,
        "The permissions of a new cassette, in octal.",
        key="cassettes.file_mode",
    )
    lenient: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether to repair the faults in upstreams' answers that RFC 9112 lets a proxy "
        "repair. With `false`, such answers become 502.",
        key="upstream.lenient",
    )
    detect_loops: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether requests to private addresses, and to other buffrs on this machine, carry "
        "`X-Buffr-Via`, so that a loop of buffrs is answered with 508.",
        key="upstream.detect_loops",
        variable="BUFFR_DETECT_LOOPS",
    )
    workers: int = setting(
        kinds.WORKERS,
        1,
        "The number of processes that serve the same ports, or `auto` for one for each core. "
        "Their routes need a store that they share.",
        variable="BUFFR_WORKERS",
        flag="workers",
    )
    allow_unrecorded: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether to start even if recordings, or the file of a cache, cannot be written.",
        variable="BUFFR_ALLOW_UNRECORDED",
        flag="allow_unrecorded",
    )
    redact: Redaction = setting(Section(Redaction), Redaction(), "What is never written to disk.")
    limits: Limits = setting(Section(Limits), Limits(), "Sizes, counts and times.")
    cache: CacheBounds = setting(
        Section(CacheBounds), CacheBounds(), "Size limits of each store of mode cache."
    )
    redis: RedisSettings = setting(
        Section(RedisSettings), RedisSettings(), "Stores on Redis or Valkey servers."
    )
    credentials: tuple[tuple[str, str], ...] = setting(
        MapOf[str, str, tuple[tuple[str, str], ...]](kinds.STAND_IN_NAME, kinds.VARIABLE, tuple),
        (),
        "Variables with the credentials for `buffr cassette check` and `refresh`, by the names in "
        "the recordings' stand-ins: `authorization: API_KEY` for `REDACTED-authorization-...`.",
    )
    drift: DriftSettings = setting(
        Section(DriftSettings), DriftSettings(), "What counts as drift of a live API."
    )
    reverse: tuple[ReverseRoute, ...] = field(
        default=(),
        metadata=described(Rows(ReverseRoute), "Ports that each forward to one upstream."),
    )
    forward: ForwardSettings | None = field(
        default=None, metadata=described(Drafted(ForwardSettings), "The forward proxy's port.")
    )
    access: AccessSettings = embedded(AccessSettings(), key="access.")
    ca_cert: Path = field(
        metadata=described(
            kinds.PATH,
            "The certificate of buffr's own CA (PEM).",
            key="ca.cert",
            variable="BUFFR_CA_CERT",
            flag="ca_cert",
            default_text="`buffr-ca.pem` in the data directory",
        )
    )
    ca_key: Path = field(
        metadata=described(
            kinds.PATH,
            "The key of buffr's own CA (PEM).",
            key="ca.key",
            variable="BUFFR_CA_KEY",
            flag="ca_key",
            default_text="`buffr-ca.key` in the data directory",
        )
    )
    gateway: GatewaySettings | None = field(
        default=None,
        metadata=described(Drafted(GatewaySettings), "One port for many upstreams, by name."),
    )
    prices: tuple[tuple[str, Price], ...] = setting(
        MapOf(kinds.NAME, kinds.PRICE, tuple),
        (),
        "Prices of language models by their names, in addition to the built-in table, which they "
        "replace.",
    )
    prices_of: str = setting(
        kinds.LITERAL,
        PRICES_OF,
        "The date of the prices, as it is shown with what was saved.",
    )
    admin: AdminSettings = embedded(AdminSettings(), key="admin.", word="address")
    file: Path | None = field(default=None, eq=False)
    no_proxy: tuple[str, ...] = ()
    parents: ParentProxies = ParentProxies()
    warnings: tuple[str, ...] = ()
    shown_as: Mapping[str, Any] | None = field(default=None, repr=False)
    sources: Mapping[str, str] = field(factory=dict, eq=False, repr=False)

    @ca_cert.default
    def _default_ca_cert(self) -> Path:
        return self.data_dir / "buffr-ca.pem"

    @ca_key.default
    def _default_ca_key(self) -> Path:
        return self.data_dir / "buffr-ca.key"

    @property
    def modes(self) -> frozenset[Mode]:
        """The modes of all routes."""
        modes = {row.mode for row in self.reverse}
        if self.gateway is not None:
            modes |= {row.mode for row in self.gateway.routes}
        if self.forward is not None:
            modes |= {self.forward.mode, *(row.mode for row in self.forward.hosts)}
        return frozenset(modes)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the listeners."""
        return is_loopback(self.listen)

    @property
    def denies_private(self) -> bool:
        """Whether the forward proxy refuses private destinations that no setting names."""
        chosen = None if self.forward is None else self.forward.deny_private
        return not self.on_loopback if chosen is None else chosen

    @property
    def destinations(self) -> Destinations:
        """The destinations that the forward proxy's clients may reach.

        ``NO_PROXY`` exempts no private address: it often names metadata addresses.
        """
        forward = self.forward
        targets = [route.target for route in self.reverse if route.target is not None]
        if self.gateway is not None:
            targets += [route.target for route in self.gateway.routes]
        return Destinations(
            bypass=self.bypass,
            private_denied=forward is not None and self.denies_private,
            rows=HostTable(() if forward is None else forward.hosts),
            named=Bypass.of(() if forward is None else forward.bypass),
            targets=frozenset((one.host, one.port) for one in targets),
        )

    @property
    def bypass(self) -> Bypass:
        """Hosts that the forward proxy does not intercept: its own list, and ``NO_PROXY``.

        A ``*`` in ``NO_PROXY`` does not count here: it means that buffr should
        use no parent proxy, hardly that it should record nothing.
        """
        own = () if self.forward is None else self.forward.bypass
        return Bypass.of(own + tuple(entry for entry in self.no_proxy if entry != "*"))

    @property
    def access_to_forward(self) -> Access:
        """Who may use the forward proxy.

        On a loopback address, clients on this machine need no key unless
        ``access.required`` is set.
        """
        own = None if self.forward is None else self.forward.access
        chosen = self.access if own is None else own
        return Access(
            key=chosen.key,
            allow=chosen.allow,
            on_loopback=self.on_loopback and not chosen.required,
            require_scope=self.forward is not None and self.forward.require_scope,
        )

    def access_to(self, own: ListenerAccess | None) -> Access:
        """Who may use a reverse port or the gateway: by its own ``access``, or the global one.

        A key that is set is required of clients on this machine, too.
        """
        chosen = self.access if own is None else own
        return Access(
            key=chosen.key,
            allow=chosen.allow,
            on_loopback=self.on_loopback and chosen.key is None,
        )
