"""What a request says to buffr itself, taken off it: its scope, and by which buffrs it came."""

from __future__ import annotations

from buffr.errors import BadRequest
from buffr.message import Request
from buffr.policy.access import SCOPE_IS, is_scope

__all__ = ["scoped"]


def scoped(request: Request, otherwise: str = "") -> tuple[Request, str]:
    """The request without ``X-Buffr-Scope``, and what that names; else the other scope.

    It loses ``X-Buffr-Via`` too. Raises ``BadRequest`` for a name that is
    none, and for several.
    """
    if not request.is_for_buffr:
        return request, otherwise
    names = request.scopes
    if not names:
        return request.for_others, otherwise
    if len(names) > 1:
        raise BadRequest("X-Buffr-Scope is there more than once", hint="name one scope")
    if not is_scope(names[0]):
        raise BadRequest("X-Buffr-Scope names no scope", hint=f"a scope has {SCOPE_IS}")
    return request.for_others, names[0].decode("ascii")
