"""The settings that every kind of listener accepts, declared once."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.schema import described, setting
from buffr.config.shapes import ListOf, Section
from buffr.policy.access import Network

__all__ = ["AccessSettings", "ListenerAccess", "ListenerSettings"]


@frozen(kw_only=True)
class ListenerAccess:
    """Who may use one listener: clients with the key or in a network. ``{}`` admits everybody."""

    key: bytes | None = field(
        default=None, repr=False, metadata=described(kinds.KEY, "The key that clients must send.")
    )
    allow: tuple[Network, ...] = setting(
        ListOf[Network, tuple[Network, ...]](kinds.NETWORK, tuple),
        (),
        "Networks whose clients need no key.",
    )
    required: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether a key is required. If none is set, one is generated and logged at startup.",
    )


@frozen(kw_only=True)
class AccessSettings:
    """Who may use the listeners: clients with the key or in a network.

    The forward proxy on a loopback address admits everybody on the machine,
    unless ``required`` is true.
    """

    key: bytes | None = field(
        default=None,
        repr=False,
        metadata=described(
            kinds.KEY,
            "The key that clients must send; to the forward proxy, as the password in its URL or "
            "as a bearer token.",
            variable="BUFFR_KEY",
        ),
    )
    allow: tuple[Network, ...] = setting(
        ListOf[Network, tuple[Network, ...]](kinds.NETWORK, tuple),
        (),
        "Networks whose clients need no key.",
        variable="BUFFR_ALLOW",
    )
    required: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether a key is required, even for a forward proxy on a loopback address. "
        "If none is set, one is generated and logged at startup.",
    )


@frozen(kw_only=True, slots=False)  # so that a port can also be a route
class ListenerSettings:
    """A listener's port. 0 takes a free one.

    ``tls`` is also true if ``cert`` and ``key`` are set, which go together.
    Without them the certificate is issued by buffr's own CA, and empty
    ``tls_names`` mean this machine's names.
    """

    port: int = setting(
        kinds.PORT, 8080, "The port to listen on.", variable="BUFFR_PORT", flag="port"
    )
    tls: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether clients speak TLS to this port.",
        default_text="`true` with `cert` and `key`, otherwise `false`",
    )
    tls_names: tuple[str, ...] = setting(
        ListOf(kinds.HOST_NAME, tuple),
        (),
        "The names and addresses for which buffr's own CA issues the certificate.",
        default_text="localhost, the loopback addresses, the machine's name",
    )
    cert: Path | None = setting(
        kinds.PATH, None, "A certificate (PEM) for this port, instead of one issued by buffr's CA."
    )
    key: Path | None = setting(kinds.PATH, None, "The key (PEM) of `cert`.")
    http2: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether this port serves HTTP/2 beside HTTP/1.1: over TLS to clients that choose it, "
        "otherwise to those that begin with it.",
    )
    access: ListenerAccess | None = setting(
        Section(ListenerAccess), None, "Who may use this port. Replaces the global `access`."
    )
