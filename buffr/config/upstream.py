"""How an upstream is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from attrs import frozen

from buffr.config import kinds
from buffr.config.parents import Via
from buffr.config.schema import setting

__all__ = ["Http2Use", "UpstreamOptions"]

Http2Use = Literal["auto", "always", "never"]


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

    http2_use: Http2Use = setting(
        kinds.one_of(get_args(Http2Use)),
        "auto",
        "Whether the upstream is spoken to in HTTP/2. `auto`: for requests that came in HTTP/2, if "
        "the upstream chooses it in the TLS handshake, and for gRPC without TLS. `always`: for all "
        "requests, without TLS too; an upstream with TLS may still choose HTTP/1.1. `never`: in "
        "HTTP/1.1 only.",
        key="upstream.http2",
    )

    @property
    def parent(self) -> Via | None:
        """``via``, or ``"none"`` if ``resolve`` is set, which rules out a parent proxy."""
        return "none" if self.resolve is not None else self.via
