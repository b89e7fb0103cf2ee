"""The key of a proxy: found and compared in requests, and reference-api-buddy's interface."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from buffr.config.api_buddy import read_api_buddy
from buffr.errors import AccessDenied
from buffr.message import Request
from buffr.policy.access import Access
from buffr.policy.key_gate import KeyGate
from buffr.wiring.access_keys import new_key

__all__ = ["SecurityError", "SecurityManager", "find_key", "same_key"]


class SecurityError(Exception):
    """A request lacks the proxy's key, or has a wrong one."""


def same_key(key: str, given: str) -> bool:
    """Whether two keys are equal, compared in constant time."""
    return hmac.compare_digest(key.encode(), given.encode("utf-8", "surrogatepass"))


def find_key(
    key: str, path: str, headers: Mapping[str, str], query: Mapping[str, str]
) -> tuple[bool, str]:
    """Whether a request has the key where the gateway looks for it, and its path without it."""
    target = f"{path}?{urlencode(query, errors='surrogatepass')}" if query else path
    request = Request(
        b"GET",
        target.encode("utf-8", "surrogatepass"),
        tuple((_bytes(name), _bytes(value)) for name, value in headers.items()),
    )
    try:
        admitted = KeyGate(Access(key=key.encode()), in_path=True).admit(request, "")
    except AccessDenied:
        return False, path
    return True, admitted.request.path.decode("utf-8", "surrogatepass")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


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
