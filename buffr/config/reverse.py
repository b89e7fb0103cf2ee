"""Reverse ports, as settings say them."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.caching import CacheSettings
from buffr.config.limits import RateLimits
from buffr.config.listener import ListenerAccess
from buffr.config.route import REPEAT, RecordingSettings, Repeat
from buffr.config.schema import described, embedded, setting
from buffr.config.shapes import ListOf, Section
from buffr.config.upstream import UpstreamOptions
from buffr.origin import Origin
from buffr.policy.mode import Mode

__all__ = ["ReverseRoute"]


@frozen(kw_only=True)
class ReverseRoute(RecordingSettings):
    """A port that stands for one upstream.

    ``target`` is ``None`` only in replay. ``port`` 0 means a free one.
    Files are relative to the working directory. ``replay_delays`` is ``None``
    where the global setting decides. ``tls`` is true as well where ``cert`` and ``key`` are
    given, which come both or not at all; without them the certificate is one
    of buffr's own CA, and empty ``tls_names`` mean this machine's names.
    """

    target: Origin | None = setting(
        kinds.TARGET,
        None,
        "The upstream. Mode replay goes without, when there is a cassette.",
        variable="BUFFR_TARGET",
        flag="target",
        default_text="required",
    )
    port: int = setting(
        kinds.PORT,
        8080,
        "The port to listen on.",
        variable="BUFFR_PORT",
        flag="port",
        default_text="8080, 8081 ... by position",
    )
    mode: Mode = setting(
        kinds.MODE,
        Mode.AUTO,
        "What is done with a request.",
        variable="BUFFR_MODE",
        flag="mode",
    )
    cassette: Path = field(
        metadata=described(
            kinds.PATH,
            "The cassette's file, relative to the working directory.",
            variable="BUFFR_CASSETTE",
            flag="cassette",
            default_text="`HOST.json`, or `HOST_PORT.json`, of the target in the data directory",
        )
    )
    keep_host: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether the upstream gets the client's `Host` and not its own.",
        flag="keep_host",
    )
    repeat: Repeat = setting(
        REPEAT,
        "cycle",
        "What follows the last of several recordings of one request: "
        "the first again, the last again, or a miss.",
        flag="repeat",
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
