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

    ``via`` is ``None`` where the environment decides; ``ParentProxies.of``
    answers for both. ``resolve`` is an address to connect to, and ``sni`` the
    name in the TLS hello, where they are not those of the upstream's host.
    """

    ca_file: Path | None = setting(
        kinds.PATH,
        None,
        "Certificates (PEM) that are trusted for the upstream beside the system's, "
        "relative to the working directory.",
        flag="ca_file",
    )
    client_cert: Path | None = setting(
        kinds.PATH, None, "The certificate (PEM) that buffr shows the upstream."
    )
    client_key: Path | None = setting(kinds.PATH, None, "The key (PEM) of `client_cert`.")
    verify: bool = setting(
        kinds.BOOL, default=True, doc="Whether the upstream's certificate is verified."
    )
    via: Via | None = setting(
        kinds.VIA,
        None,
        "The parent proxy to reach the upstream through.",
        default_text="as `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say",
    )
    resolve: str | None = setting(
        kinds.IP_ADDRESS,
        None,
        "The address to connect to, whatever the host resolves to, without a parent proxy.",
    )
    sni: str | None = setting(
        kinds.SERVER_NAME,
        None,
        "The name in the TLS hello, which the certificate is verified for.",
        default_text="the upstream's host",
    )

    lenient: bool | None = setting(
        kinds.BOOL,
        None,
        "As the global setting, for this upstream.",
        key="upstream.lenient",
        default_text="the global setting",
    )

    @property
    def parent(self) -> Via | None:
        """``via``; ``"none"`` where an address to connect to leaves no parent proxy a say."""
        return "none" if self.resolve is not None else self.via
