"""What is not answered from the cache, and what it changes there (RFC 9111 4.4)."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urljoin, urlsplit

from attrs import evolve

from buffr.caching.call import Storage
from buffr.caching.flying import Flying
from buffr.caching.sink import CacheSink
from buffr.calls import RequestBody, stream_through
from buffr.errors import BuffrError
from buffr.exchange import Exchange
from buffr.message import Headers, ResponseHead, first_value
from buffr.policy.cache.freshness import lifetime, terms_of
from buffr.policy.cache.keys import Asked
from buffr.policy.cache.status import forwarded
from buffr.policy.cache.storing import Stored
from buffr.redaction.rules import RedactionRules
from buffr.redaction.target_for_log import target_for_log
from buffr.route import Route, RouteCache
from buffr.streams import BodyStream

__all__ = ["through", "url_of"]

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


@lru_cache(maxsize=4096)
def _url(base: str, target: bytes, rules: RedactionRules) -> str:
    return base + target_for_log(target, rules).decode("latin-1")


def url_of(route: Route, target: bytes) -> str:
    """The URL at the upstream as people may see it, without credentials."""
    assert route.upstream is not None
    return _url(route.upstream.origin.url, target, route.redaction)


async def through(
    flying: Flying, exchange: Exchange, cache: RouteCache, body: bytes | BodyStream
) -> tuple[int, str | None]:
    """Forward a request, and remove what it may have changed: the status, and why it broke off."""
    route, request = exchange.route, exchange.request
    if isinstance(body, bytes):
        exchange.body = RequestBody(body)
    else:
        exchange.body = stream_through(route, body, record=False)
    url = url_of(route, request.target)

    async def changed(head: ResponseHead) -> None:
        if request.method not in _SAFE and head.status < 400:
            await _invalidate(flying, exchange, cache, url, head.headers)

    def asked(head: ResponseHead) -> Asked | None:
        """The key of a POST's answer that is what GET would give (RFC 9110 9.3.3)."""
        location = first_value(head.headers, b"content-location")
        if request.method != b"POST" or head.status != 200 or location is None:
            return None
        own = urljoin(url, location.decode("latin-1")) == url
        found = lifetime(head.status, head.headers, terms_of(head.headers), flying.around.wall())
        if not own or found is None or not found.explicit:
            return None
        got = evolve(request, method=b"GET", body_length=0)
        return cache.keys.asked(got, b"", route.origin)

    storage = Storage(method=b"GET", url=url, asked=asked, changed=changed)
    under_way = flying.depart(exchange, cache, storage)

    def fields(head: ResponseHead) -> Headers:
        stored = isinstance(under_way.call.verdict, Stored)
        return forwarded(b"method", head.status, stored=stored)

    head, cut = await under_way.flight.follow(CacheSink(exchange.sink, fields, lambda _: None))
    return head.status, cut


async def _invalidate(
    flying: Flying, exchange: Exchange, cache: RouteCache, url: str, headers: Headers
) -> None:
    urls = {url}
    for name in (b"location", b"content-location"):
        value = first_value(headers, name)
        if value is not None:
            other = _at_upstream(exchange, urljoin(url, value.decode("latin-1")), url)
            if other is not None:
                urls.add(other)
    for each in urls:
        flying.outdate(cache.name, each)
        try:
            await cache.store.clear(route=cache.name, url=each)
        except BuffrError as error:
            flying.around.failed(error)


def _at_upstream(exchange: Exchange, named: str, url: str) -> str | None:
    """A URL of the same origin, which may be named as the client names it, as ours are."""
    try:
        parts, own = urlsplit(named), urlsplit(url)
    except ValueError:
        return None
    host = first_value(exchange.request.headers, b"host") or b""
    if parts.netloc.lower() not in (own.netloc, host.decode("latin-1").lower()):
        return None
    target = parts._replace(scheme="", netloc="", fragment="").geturl().encode("latin-1", "replace")
    base = f"{own.scheme}://{own.netloc}"
    return _url(base, target, exchange.route.redaction)
