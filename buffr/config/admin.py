"""The admin listener, as settings describe it."""

from __future__ import annotations

import re

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.schema import Kind, Refused, described, setting
from buffr.config.shapes import ListOf
from buffr.config.written import Scalar
from buffr.policy.access import is_loopback

__all__ = ["ADMIN_FILE", "DEFAULT_PORT", "AdminAddress", "AdminSettings"]

DEFAULT_PORT = 8089
ADMIN_FILE = "buffr-admin.json"
"""In the data directory: the URL and the token of the admin listener that started last."""

_HIGHEST_PORT = 65535
_ADDRESS = re.compile(r"(?:(?P<host>\[[^\[\]]+\]|[^:\[\]]+):)?(?P<port>[0-9]{1,5})")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@frozen
class AdminAddress:
    """Where the admin listener listens.

    A ``port`` that was not ``chosen`` may be replaced by a free one. ``host``
    is an IP address or ``localhost``.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    chosen: bool = False
    enabled: bool = True

    def __str__(self) -> str:
        if not self.enabled:
            return "false"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _parse_address(scalar: Scalar) -> AdminAddress:
    word = _WORDS.get(scalar.text.lower())
    if word is not None:
        return AdminAddress(enabled=word)
    found = _ADDRESS.fullmatch(scalar.text)
    if found is None or int(found["port"]) > _HIGHEST_PORT:
        raise Refused
    host = AdminAddress().host
    if found["host"] is not None:
        host = kinds.ADDRESS.parse(Scalar(scalar.at, found["host"].strip("[]")))
    return AdminAddress(host, int(found["port"]), chosen=True)


_ADMIN_ADDRESS = Kind(
    "true, false, a port, or ADDRESS:PORT (port 0 takes a free one)",
    _parse_address,
    json={"type": ["boolean", "integer", "string"], "minimum": 0, "maximum": _HIGHEST_PORT},
)


@frozen(kw_only=True)
class AdminSettings:
    """The admin listener: its API, its metrics and the live page."""

    address: AdminAddress = setting(
        _ADMIN_ADDRESS,
        AdminAddress(),
        "Where the admin listener of `buffr serve`, `auto`, `proxy` and the like listens; on "
        "loopback unless an address is given. `admin: false` switches it off.",
        variable="BUFFR_ADMIN",
        flag="admin",
        default_text=f"`127.0.0.1:{DEFAULT_PORT}`, or a free port if that is taken",
    )
    token: bytes | None = field(
        default=None,
        repr=False,
        metadata=described(
            kinds.KEY,
            "The token that changes need, and that reading needs too if the listener is not on a "
            "loopback address.",
            variable="BUFFR_ADMIN_TOKEN",
            default_text="a new one for each run",
        ),
    )
    hosts: tuple[str, ...] = setting(
        ListOf(kinds.HOST_PATTERN, tuple),
        (),
        "Host names under which browsers may reach the admin listener, in addition to loopback "
        "names, its address and this machine's name.",
    )
    exchanges_bytes: int = setting(
        kinds.size(1 << 16),
        32 << 20,
        "How much memory recent exchanges may take. The oldest are dropped first.",
    )
    body_bytes: int = setting(
        kinds.size(0, 1 << 30),
        256 << 10,
        "How much of a live request's or answer's body is kept with its exchange, if no store "
        "has it.",
    )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.address.host)
