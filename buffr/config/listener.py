"""What every kind of listener can be told, declared once."""

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
    """Who may use one listener: whoever has the key, or is in a network. ``{}`` is everybody."""

    key: bytes | None = field(
        default=None, repr=False, metadata=described(kinds.KEY, "The key that clients give.")
    )
    allow: tuple[Network, ...] = setting(
        ListOf[Network, tuple[Network, ...]](kinds.NETWORK, tuple),
        (),
        "Networks whose clients need no key.",
    )
    required: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether a key is required. If none is set, one is generated and logged at the start.",
    )


@frozen(kw_only=True)
class AccessSettings:
    """Who may use the listeners: whoever has the key, or is in a network.

    The forward proxy on a loopback address lets everybody on the machine in,
    unless ``required`` is true.
    """

    key: bytes | None = field(
        default=None,
        repr=False,
        metadata=described(
            kinds.KEY,
            "The key that clients give; to the forward proxy as its URL's password, or a bearer.",
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
        doc="Whether a key is required, on a loopback forward proxy too. "
        "If none is set, one is generated and logged at the start.",
    )


@frozen(kw_only=True, slots=False)  # so that a port can be a route as well
class ListenerSettings:
    """A listener's port. 0 is a free one.

    ``tls`` is true as well where ``cert`` and ``key`` are given, which come
    both or not at all. Without them the certificate is issued by buffr's own
    CA, and empty ``tls_names`` stand for this machine's names.
    """

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
        "The names and addresses for which buffr's own CA issues the certificate.",
        default_text="localhost, the loopback addresses, the machine's name",
    )
    cert: Path | None = setting(
        kinds.PATH, None, "A certificate (PEM) for this port, instead of one issued by buffr's CA."
    )
    key: Path | None = setting(kinds.PATH, None, "The key (PEM) of `cert`.")
    access: ListenerAccess | None = setting(
        Section(ListenerAccess), None, "Who may use this port, instead of the global `access`."
    )
