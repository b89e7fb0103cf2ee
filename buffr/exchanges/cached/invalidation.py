"""Requests that are not answered from the cache, and what they invalidate (RFC 9111 4.4)."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from attrs import evolve

from buffr.errors import BuffrError
from buffr.exchanges.cached.call import CacheCall, Storage, Surroundings
from buffr.exchanges.cached.sink import CacheSink
from buffr.exchanges.exchange import Exchange
from buffr.exchanges.flight import Flights
from buffr.exchanges.request_body import RequestBody, stream_through
from buffr.exchanges.route import Cached
from buffr.message import Headers, Request, ResponseHead, first_value
from buffr.policy.cache.cache_status import forwarded
from buffr.policy.cache.freshness import lifetime, terms_of
from buffr.policy.cache.keys import Asked, methods_of
from buffr.redaction.for_log import credentials_in, target_for_log
from buffr.transport.streams import BodyStream

__all__ = ["through", "url_of"]

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


def url_of(route: Cached, request: Request, target: bytes | None = None) -> str:
    """The URL at the upstream, without credentials, for logs and reports."""
    asked = request.target if target is None else target
    credentials = credentials_in(asked, request.headers, route.redaction)
    shown = target_for_log(asked, route.redaction, credentials)
    return route.upstream.upstream.origin.url + shown.decode("latin-1")


async def through(
    flights: Flights[CacheCall],
    around: Surroundings,
    exchange: Exchange,
    route: Cached,
    body: bytes | BodyStream,
) -> tuple[int, str | None]:
    """Forward a request, and invalidate what it may have changed.

    Returns the status, and why the answer was cut off.
    """
    request = exchange.request
    if isinstance(body, bytes):
        exchange.body = RequestBody(body)
    else:
        exchange.body = stream_through(route, request, body, record=False)
    url = url_of(route, request)
    bound = exchange.has_own_connection

    async def changed(head: ResponseHead) -> None:
        if not methods_of(request) <= _SAFE and head.status < 400:
            await _invalidate(flights, around, exchange, route, url, head.headers)

    def asked(head: ResponseHead) -> Asked | None:
        """The key of a POST's answer that is what GET would return (RFC 9110 9.3.3)."""
        if bound:  # no request field says which user it is for
            return None
        location = first_value(head.headers, b"content-location")
        if request.method != b"POST" or head.status != 200 or location is None:
            return None
        own = _named(exchange, route, location.decode("latin-1")) == url
        found = lifetime(head.status, head.headers, terms_of(head.headers), around.wall())
        if not own or found is None or not found.explicit:
            return None
        got = evolve(request, method=b"GET", body_length=0)
        return route.keys.asked(got, b"", route.origin)

    storage = Storage(method=b"GET", url=url, asked=asked, changed=changed)
    call = CacheCall(exchange, route, storage, around)
    flight = flights.depart(call, route, subject=(route.name, url))

    def fields(head: ResponseHead) -> Headers:
        return forwarded(b"bypass" if bound else b"method", head.status, call.verdict)

    head, cut = await flight.follow(CacheSink(exchange.sink, fields, lambda _: None))
    return head.status, cut


async def _invalidate(
    flights: Flights[CacheCall],
    around: Surroundings,
    exchange: Exchange,
    route: Cached,
    url: str,
    headers: Headers,
) -> None:
    urls = {url}
    for name in (b"location", b"content-location"):
        value = first_value(headers, name)
        if value is not None:
            urls.add(_named(exchange, route, value.decode("latin-1")) or url)
    for each in urls:
        # Calls under way are not stored, and no request joins them any more.
        for flight in flights.about((route.name, each)):
            flight.call.outdated = True
            flights.close(flight)
        try:
            await route.store.clear(route=route.name, url=each)
        except BuffrError as error:
            around.failed(exchange, error)


def _named(exchange: Exchange, route: Cached, location: str) -> str | None:
    """The URL that a response names, if it has the origin of the upstream or of the request."""
    request, origin = exchange.request, route.upstream.upstream.origin
    base = f"{origin.scheme}://{origin.authority.decode('ascii')}"
    own = base + origin.base_path + request.target.decode("latin-1")
    try:
        parts = urlsplit(urljoin(own, location))
    except ValueError:
        return None
    host = (first_value(request.headers, b"host") or b"").decode("latin-1").lower()
    if parts.netloc.lower() not in (urlsplit(base).netloc, host):
        return None
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    if not path.startswith(origin.base_path):
        return None
    target = path[len(origin.base_path) :] or "/"
    return url_of(route, request, target.encode("latin-1", "replace"))
