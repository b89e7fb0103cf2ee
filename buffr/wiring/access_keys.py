"""Generates access keys that are required but not set."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import TypeVar

from attrs import evolve

from buffr.config import Config
from buffr.config.listener import ListenerSettings

__all__ = ["new_key", "with_keys"]

_KEY_BYTES = 32


def new_key() -> str:
    """A random key, as base64url without padding."""
    return token_urlsafe(_KEY_BYTES)


def with_keys(config: Config) -> Config:
    """The settings with a key wherever one is required; a warning reports a new one, once."""
    made = new_key().encode("ascii")
    changed = config
    if config.access.required and config.access.key is None:
        changed = evolve(changed, access=evolve(config.access, key=made))
    if config.gateway is not None:
        changed = evolve(changed, gateway=_with_key(config.gateway, made))
    if config.forward is not None:
        changed = evolve(changed, forward=_with_key(config.forward, made))
    changed = evolve(changed, reverse=tuple(_with_key(row, made) for row in config.reverse))
    if changed == config:
        return config
    text = (
        f"the access key of this run is {made.decode('ascii')}; "
        "for a permanent one, run `buffr key` and set access.key (BUFFR_KEY)"
    )
    return evolve(changed, warnings=(*config.warnings, text))


Listener = TypeVar("Listener", bound=ListenerSettings)


def _with_key(listener: Listener, key: bytes) -> Listener:
    own = listener.access
    if own is None or not own.required or own.key is not None:
        return listener
    return evolve(listener, access=evolve(own, key=key))
