"""Finds and compares the key of a proxy in a request."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from buffr.errors import AccessDenied
from buffr.message import Request
from buffr.policy.access import Access
from buffr.policy.key_gate import KeyGate

__all__ = ["SecurityError", "find_key", "same_key"]


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
