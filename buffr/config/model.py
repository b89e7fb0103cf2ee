"""The settings: frozen values, each field with how it is written and what it means.

The table of all settings is made of these declarations, and so is
``docs/settings.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from attrs import field, frozen

from buffr.config import kinds, quantities
from buffr.config.limits import Limits
from buffr.config.matching import MatchSettings
from buffr.config.schema import described, setting
from buffr.config.shapes import NOT_SERVED, ListOf, Rows, Section
from buffr.config.statuses import StatusSet
from buffr.policy.mode import Mode
from buffr.upstream.origin import Origin

__all__ = [
    "Config",
    "Durability",
    "LogFormat",
    "Redaction",
    "Repeat",
    "ReverseRoute",
]

LogFormat = Literal["text", "json"]
Durability = Literal["process", "disk"]
Repeat = Literal["cycle", "last", "once"]


def _statuses(entries: tuple[StatusSet, ...]) -> StatusSet:
    """One set out of the sets of single entries."""
    return StatusSet(
        tuple(one for entry in entries for one in entry.included),
        tuple(one for entry in entries for one in entry.excluded),
    )


@frozen(kw_only=True)
class Redaction:
    """What is kept from the disk beside what always is. ``headers`` are in lower case."""

    enabled: bool = setting(
        kinds.BOOL, default=True, doc="Whether credentials are kept out of cassettes."
    )
    headers: tuple[str, ...] = setting(
        ListOf(kinds.HEADER_NAME, tuple), (), "More headers whose values are credentials."
    )
    query: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple), (), "More query fields whose values are credentials."
    )


@frozen(kw_only=True)
class ReverseRoute:
    """A port that stands for one upstream.

    ``target`` is ``None`` only in replay. ``port`` 0 means a free one.
    ``cassette`` is relative to the working directory, and so is ``ca_file``.
    ``record_statuses``, ``share`` and ``replay_delays`` are ``None`` where
    the mode, or the global setting, decides.
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
        quantities.PORT,
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
        kinds.one_of(get_args(Repeat)),
        "cycle",
        "What follows the last of several recordings of one request: "
        "the first again, the last again, or a miss.",
        flag="repeat",
    )
    share: bool | None = setting(
        kinds.BOOL,
        None,
        "Whether identical requests under way share one call to the upstream.",
        default_text="by mode",
    )
    record_statuses: StatusSet | None = setting(
        ListOf(kinds.STATUSES, _statuses, least=1),
        None,
        "The statuses that are recorded; answers with others only pass through.",
        default_text="by mode",
    )
    match: MatchSettings = setting(
        Section(MatchSettings), MatchSettings(), "What counts in matching."
    )
    ca_file: Path | None = setting(
        kinds.PATH,
        None,
        "Certificates (PEM) that are trusted for the upstream beside the system's, "
        "relative to the working directory.",
        flag="ca_file",
    )
    verify: bool = setting(
        kinds.BOOL, default=True, doc="Whether the upstream's certificate is verified."
    )
    replay_delays: bool | None = setting(
        kinds.BOOL,
        None,
        "As the global setting, for this route.",
        default_text="the global setting",
    )


@frozen(kw_only=True)
class Config:
    """All settings of one service.

    Paths are relative to the working directory, wherever the YAML file is.
    ``warnings`` are lines to be logged at the start. ``forward``,
    ``gateway``, ``admin`` and ``ca`` keep the places of what comes later.
    """

    data_dir: Path = setting(
        kinds.PATH,
        Path(),
        "Where files without a path of their own are kept, relative to the working directory.",
        variable="BUFFR_DATA_DIR",
        flag="data_dir",
    )
    listen: str = setting(
        kinds.ADDRESS,
        "127.0.0.1",
        "The address that every listener listens on.",
        variable="BUFFR_LISTEN",
        flag="listen",
    )
    replay_delays: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether a replay keeps the recorded delays; `BUFFR_REPLAY_NODELAY=0` says so too.",
        variable="BUFFR_REPLAY_NODELAY",
        variable_shape=kinds.NO_DELAY,
        flag="replay_delays",
    )
    log_format: LogFormat = setting(
        kinds.one_of(get_args(LogFormat)),
        "text",
        "The form of log lines.",
        key="log.format",
        variable="BUFFR_LOG_FORMAT",
        flag="log_format",
    )
    durability: Durability = setting(
        kinds.one_of(get_args(Durability)),
        "process",
        "Whether a recording outlives a crash of the process, or of the machine too.",
        key="cassettes.durability",
    )
    file_mode: int = setting(
        quantities.FILE_MODE,
        0o600,
        "The permissions of a new cassette, in octal.",
        key="cassettes.file_mode",
    )
    redact: Redaction = setting(Section(Redaction), Redaction(), "What never reaches the disk.")
    limits: Limits = setting(Section(Limits), Limits(), "Sizes, counts and times.")
    reverse: tuple[ReverseRoute, ...] = field(
        default=(),
        metadata=described(Rows(ReverseRoute), "Ports that stand for one upstream each."),
    )
    ca_cert: Path = field(
        metadata=described(
            kinds.PATH,
            "The certificate of buffr's own CA (PEM).",
            key="",
            variable="BUFFR_CA_CERT",
            default_text="`buffr-ca.pem` in the data directory",
        )
    )
    ca_key: Path = field(
        metadata=described(
            kinds.PATH,
            "The key of buffr's own CA (PEM).",
            key="",
            variable="BUFFR_CA_KEY",
            default_text="`buffr-ca.key` in the data directory",
        )
    )
    forward: None = setting(NOT_SERVED, None, "The forward proxy.")
    gateway: None = setting(NOT_SERVED, None, "The gateway.")
    admin: None = setting(NOT_SERVED, None, "The admin port.")
    ca: None = setting(NOT_SERVED, None, "The CA's own section.")
    warnings: tuple[str, ...] = ()

    @ca_cert.default
    def _default_ca_cert(self) -> Path:
        return self.data_dir / "buffr-ca.pem"

    @ca_key.default
    def _default_ca_key(self) -> Path:
        return self.data_dir / "buffr-ca.key"
