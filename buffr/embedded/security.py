"""The key of a proxy, with reference-api-buddy's interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buffr.config.api_buddy import read_api_buddy
from buffr.embedded.keys import find_key, same_key
from buffr.wiring.access_keys import new_key

__all__ = ["SecurityManager"]


class SecurityManager:
    """Makes, finds and checks keys, by the settings under ``security``.

    Raises ``ValueError`` for a wrong one. The settings change through the
    proxy: ``update_config``.
    """

    def __init__(self, security_config: Mapping[str, Any] | None = None) -> None:
        settings = read_api_buddy({"security": security_config})
        self._enabled = settings.require_key
        self._key = settings.key or new_key()

    @property
    def security_enabled(self) -> bool:
        return self._enabled

    @property
    def secure_key(self) -> str:
        """The key in the settings, or the generated one."""
        return self._key

    def generate_secure_key(self) -> str:
        """A new key: 32 random bytes in base64url."""
        return new_key()

    def validate_request(self, provided_key: str | None) -> bool:
        """Whether a request with this key may pass."""
        return not self._enabled or self.validate_secure_key(provided_key)

    def validate_secure_key(self, provided_key: str | None) -> bool:
        """Whether this is the key, compared in constant time."""
        return bool(provided_key) and same_key(self._key, provided_key or "")

    def extract_secure_key(
        self, request_path: str, headers: Mapping[str, str], query_params: Mapping[str, str]
    ) -> tuple[str | None, str]:
        """The key of a request, if it has it, and its path without it."""
        found, rest = find_key(self._key, request_path, headers, query_params)
        return (self._key if found else None), rest
