"""Hoverfly simulations, schema v5 to v5.3.

https://docs.hoverfly.io/en/latest/pages/reference/simulationschema.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    body_of_base64,
    each_imported,
    exchange,
    fields,
    fields_by_name,
    form_of,
    text_bytes,
)
from buffr.interchange.source import Source, shaped

__all__ = ["LACKS", "read"]

LACKS = (
    "order and case of header fields",
    "header fields of requests, other than those that a pair compares",
    "the spelling of queries",
    "where a body was cut, and when its pieces came",
    "times of recordings",
)

_OWN = b"hoverfly"
_IN_PATH = "/%:@!$&'()*+,;=~-._"


class _Matcher(msgspec.Struct):
    matcher: str
    value: Any = None


class _Request(msgspec.Struct):
    method: list[_Matcher] = []
    scheme: list[_Matcher] = []
    destination: list[_Matcher] = []
    path: list[_Matcher] = []
    query: dict[str, list[_Matcher]] | None = None
    deprecatedQuery: list[_Matcher] = []  # Hoverfly's names
    headers: dict[str, list[_Matcher]] | None = None
    body: list[_Matcher] = []
    requiresState: dict[str, str] | None = None


class _Response(msgspec.Struct):
    status: int
    body: str = ""
    encodedBody: bool = False
    headers: dict[str, list[str]] | None = None
    templated: bool = False
    fixedDelay: int = 0
    bodyFile: str | None = None


class _Pair(msgspec.Struct):
    request: _Request
    response: _Response


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The pairs of a simulation, in their order."""
    texts = source.elements("pairs")
    return each_imported(texts, lambda text: _imported(shaped(text, _Pair), source))


def _imported(pair: _Pair, source: Source) -> Imported:
    request, response = pair.request, pair.response
    losses: list[str] = []
    if response.templated:
        raise NotImported("its answer is a template, not a recording")
    if request.requiresState:
        losses.append("states that a pair requires or sets")
    scheme = _exact(request.scheme, "scheme", losses) or "http"
    host = _exact(request.destination, "destination", losses)
    if host is None:
        raise NotImported("it takes requests to any host")
    path = _exact(request.path, "path", losses)
    if path is None:
        raise NotImported("it takes requests by a pattern of their path")
    method = _exact(request.method, "method", losses)
    if method is None:
        raise NotImported("it takes requests of any method")
    query = _query(request, losses)
    url = f"{scheme}://{host}{quote(path, safe=_IN_PATH, errors='surrogatepass')}{query}"
    pairs = [
        (name, value)
        for name, matchers in (request.headers or {}).items()
        for value in [_exact(matchers, f"header field {name}", losses)]
        if value is not None
    ]
    body = _exact(request.body, "body", losses) or ""
    asked = Asked(method, url, fields(pairs), text_bytes(body))
    return exchange(asked, _answer(response, source), losses=losses)


def _answer(response: _Response, source: Source) -> Answer:
    if response.bodyFile:
        body = source.beside(response.bodyFile)
    elif response.encodedBody:
        body = body_of_base64(response.body)
    else:
        body = text_bytes(response.body)
    answered = fields_by_name(response.headers or {})
    kept = tuple([each for each in answered if each[0].lower() != _OWN])
    return Answer(response.status, kept, body, delay_ms=response.fixedDelay)


def _exact(matchers: list[_Matcher], what: str, losses: list[str]) -> str | None:
    for each in matchers:
        if each.matcher in ("exact", "json", "xml") and isinstance(each.value, str):
            return each.value
    if matchers:
        losses.append(f"the {matchers[0].matcher} matcher of the {what}")
    return None


def _query(request: _Request, losses: list[str]) -> str:
    for each in request.deprecatedQuery:
        if each.matcher == "exact" and isinstance(each.value, str) and each.value:
            return f"?{each.value}"
    pairs: list[tuple[str, str]] = []
    for name, matchers in (request.query or {}).items():
        for each in matchers:
            if each.matcher == "array" and isinstance(each.value, list):
                pairs += [(name, str(value)) for value in each.value]
            elif each.matcher == "exact":
                pairs += [(name, value) for value in str(each.value).split(";")]
            else:
                losses.append(f"the {each.matcher} matcher of the query field {name}")
    return "?" + form_of(pairs, quote) if pairs else ""
