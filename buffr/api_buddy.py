"""The names of reference-api-buddy: a program changes its import, and nothing else.

from buffr.api_buddy import CachingProxy
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buffr.assembly.keys import new_key
from buffr.config.api_buddy import read_api_buddy
from buffr.embedded import CachingProxy, SecurityError
from buffr.embedding.keys import find_key, same_key
from buffr.embedding.monitoring import MonitoringManager

__all__ = ["CachingProxy", "MonitoringManager", "SecurityError", "SecurityManager"]


class SecurityManager:
    """Makes, finds and checks keys, by the settings under ``security``."""

    def __init__(self, security_config: Mapping[str, Any] | None = None) -> None:
        settings = read_api_buddy({"security": security_config or {}})
        self.security_enabled = settings.require_key
        self.secure_key = settings.key or new_key()

    def generate_secure_key(self) -> str:
        """A new key: 32 random bytes in base64url."""
        return new_key()

    def validate_request(self, provided_key: str | None) -> bool:
        """Whether a request with this key may pass."""
        return not self.security_enabled or self.validate_secure_key(provided_key)

    def validate_secure_key(self, provided_key: str | None) -> bool:
        """Whether this is the key, compared in constant time."""
        return bool(provided_key) and same_key(self.secure_key, provided_key or "")

    def extract_secure_key(
        self, request_path: str, headers: Mapping[str, str], query_params: Mapping[str, str]
    ) -> tuple[str | None, str]:
        """The key of a request, if it has it, and its path without it."""
        found, rest = find_key(self.secure_key, request_path, headers, query_params)
        return (self.secure_key if found else None), rest
