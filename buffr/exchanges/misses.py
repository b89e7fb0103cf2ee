"""The error that answers a request without a recording."""

from __future__ import annotations

from buffr.errors import NoMatch
from buffr.exchanges.exchange import Exchange, shown
from buffr.exchanges.explain import as_data, as_text, in_short
from buffr.matching.near_miss import NearMiss
from buffr.message import Request
from buffr.redaction.request_hint import hint_of
from buffr.stores.base import Store

__all__ = ["no_match"]


async def no_match(exchange: Exchange) -> NoMatch:
    """What to raise: with the nearest recordings, where the route can tell them."""
    route, request = exchange.route, exchange.request
    words = shown(request, route)
    body = exchange.body.identity if isinstance(exchange.body.identity, bytes) else b""
    operation = hint_of(request.target, request.headers, body, route.redaction).operation
    named = f" ({operation})" if operation else ""
    message = f"no recorded interaction matches {words}{named}"
    hint = "record it in mode auto or record"
    if route.explainer is None:
        return _for(request, NoMatch(message, hint=hint))
    assert exchange.identity is not None
    nearest = await route.explainer.nearest(exchange.identity, exchange.variants)
    first = route.explainer.first
    error = NoMatch(f"{message}: {_why(nearest, first, route.store)}", hint=hint)
    error.explanation = as_text(nearest, first)
    error.details = {
        "request": {"method": request.method.decode("ascii"), "shown": words},
        "nearest": as_data(nearest, first),
    }
    return _for(request, error)


def _why(nearest: tuple[NearMiss, ...], first: int, store: Store | None) -> str:
    """What came nearest; and where the store as a whole has a fault, that too."""
    trouble = "" if store is None else store.trouble
    if trouble and not nearest:
        return trouble
    return in_short(nearest, first) + (f" ({trouble})" if trouble else "")


_RETRYING_SDKS = (
    (b"x-fern-language", b"", 424),  # Cohere's, and all others that Fern generates
    (b"user-agent", b"azsdk-js-", 424),
    (b"user-agent", b"azsdk-java-", 424),
    (b"user-agent", b"octokit.js/", 400),  # it takes 424 for a passing trouble, too
)
"""SDKs that repeat a request after any 5xx, whatever the answer says: a field, how its
value begins, and a status that none of them repeats (RFC 4918 11.4)."""


def _for(request: Request, error: NoMatch) -> NoMatch:
    """With a status after which the client does not try again."""
    for name, value in request.headers:
        for field, start, status in _RETRYING_SDKS:
            if name.lower() == field and value.startswith(start):
                error.status = status
    return error
