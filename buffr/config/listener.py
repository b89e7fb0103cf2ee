"""Who may use a proxy that others can reach."""

from __future__ import annotations

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.schema import described, setting
from buffr.config.shapes import ListOf
from buffr.policy.access import Network

__all__ = ["AccessSettings", "ListenerAccess"]


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
