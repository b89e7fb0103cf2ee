"""The error that answers a request without a recording."""

from __future__ import annotations

from buffr.errors import NoMatch
from buffr.exchange import Exchange, shown
from buffr.explainer import as_data, as_text, in_short

__all__ = ["no_match"]


async def no_match(exchange: Exchange) -> NoMatch:
    """What to raise: with the nearest recordings, where the route can tell them."""
    route, request = exchange.route, exchange.request
    words = shown(request, route)
    message = f"no recorded interaction matches {words}"
    hint = "record it in mode auto or record"
    if route.explainer is None:
        return NoMatch(message, hint=hint)
    nearest = await route.explainer.nearest(exchange.keys)
    first = route.explainer.first
    error = NoMatch(f"{message}: {in_short(nearest, first)}", hint=hint)
    error.explanation = as_text(nearest, first)
    error.details = {
        "request": {"method": request.method.decode("ascii"), "shown": words},
        "nearest": as_data(nearest, first),
    }
    return error
