"""Who may use a proxy that others can reach."""

from __future__ import annotations

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.schema import described, setting
from buffr.config.shapes import ListOf
from buffr.policy.access import Network

__all__ = ["AccessSettings"]


@frozen(kw_only=True)
class AccessSettings:
    """Who may use the forward proxy beyond loopback: whoever has the key, or is in a network."""

    key: bytes | None = field(
        default=None,
        repr=False,
        metadata=described(
            kinds.KEY,
            "The key that clients give as password of the proxy's URL, or as bearer token.",
            variable="BUFFR_KEY",
        ),
    )
    allow: tuple[Network, ...] = setting(
        ListOf[Network, tuple[Network, ...]](kinds.NETWORK, tuple),
        (),
        "Networks whose clients need no key.",
        variable="BUFFR_ALLOW",
    )
