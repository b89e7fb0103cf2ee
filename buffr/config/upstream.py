"""How an upstream is reached."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from buffr.config import kinds
from buffr.config.parents import Via
from buffr.config.schema import setting

__all__ = ["UpstreamOptions"]


@frozen(kw_only=True)
class UpstreamOptions:
    """How an upstream is reached. Paths are relative to the working directory.

    ``via`` is ``None`` if the environment decides; ``ParentProxies.of``
    resolves both. ``resolve`` is the address to connect to, and ``sni`` the
    name in the TLS hello, if they differ from the upstream's host.
    """

    ca_file: Path | None = setting(
        kinds.PATH,
        None,
        "Certificates (PEM) to trust for the upstream, in addition to the system's, "
        "relative to the working directory.",
        flag="ca_file",
    )
    client_cert: Path | None = setting(
        kinds.PATH, None, "The client certificate (PEM) that buffr presents to the upstream."
    )
    client_key: Path | None = setting(kinds.PATH, None, "The key (PEM) of `client_cert`.")
    verify: bool = setting(
        kinds.BOOL, default=True, doc="Whether the upstream's certificate is verified."
    )
    via: Via | None = setting(
        kinds.VIA,
        None,
        "The parent proxy for this upstream.",
        default_text="from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`",
    )
    resolve: str | None = setting(
        kinds.IP_ADDRESS,
        None,
        "The address to connect to, instead of resolving the host. No parent proxy is used.",
    )
    sni: str | None = setting(
        kinds.SERVER_NAME,
        None,
        "The name in the TLS hello, for which the certificate is verified.",
        default_text="the upstream's host",
    )

    lenient: bool | None = setting(
        kinds.BOOL,
        None,
        "Overrides the global setting for this upstream.",
        key="upstream.lenient",
        default_text="the global setting",
    )

    @property
    def parent(self) -> Via | None:
        """``via``, or ``"none"`` if ``resolve`` is set, which rules out a parent proxy."""
        return "none" if self.resolve is not None else self.via
