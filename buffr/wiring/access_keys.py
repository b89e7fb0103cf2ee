"""Keys that are asked for and not given are made."""

from __future__ import annotations

from secrets import token_urlsafe

from attrs import evolve

from buffr.config import Config

__all__ = ["new_key", "with_keys"]

_KEY_BYTES = 32


def new_key() -> str:
    """A random key, as base64url without padding."""
    return token_urlsafe(_KEY_BYTES)


def with_keys(config: Config) -> Config:
    """The settings with a key wherever one is required; a warning tells a new one, once."""
    made = new_key().encode("ascii")
    changed = config
    if config.access.required and config.access.key is None:
        changed = evolve(changed, access=evolve(config.access, key=made))
    gateway = config.gateway
    if gateway is not None and gateway.access is not None:
        own = gateway.access
        if own.required and own.key is None:
            changed = evolve(changed, gateway=evolve(gateway, access=evolve(own, key=made)))
    reverse = tuple(
        row
        if row.access is None or not row.access.required or row.access.key is not None
        else evolve(row, access=evolve(row.access, key=made))
        for row in config.reverse
    )
    if reverse != config.reverse:
        changed = evolve(changed, reverse=reverse)
    if changed is config:
        return config
    text = (
        f"the access key of this run is {made.decode('ascii')}; "
        "`buffr key` makes one, access.key (BUFFR_KEY) keeps it"
    )
    return evolve(changed, warnings=(*config.warnings, text))
