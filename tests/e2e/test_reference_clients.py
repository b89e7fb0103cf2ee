"""Clients of reference APIs through an embedded proxy: only their URL is another."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
import requests

from buffr import CachingProxy
from buffr.testing import FakeUpstream, Received, answer

_JSON = [(b"Content-Type", b"application/sparql-results+json")]
_BINDINGS = {
    "head": {"vars": ["item"]},
    "results": {"bindings": [{"item": {"type": "uri", "value": "http://example/Q42"}}]},
}
_ENTITY = {"entities": {"Q42": {"id": "Q42", "labels": {"en": {"language": "en", "value": "D"}}}}}


def wikidata(received: Received) -> bytes:
    if received.target.startswith(b"/wiki/Special:EntityData"):
        return answer(
            json.dumps(_ENTITY).encode(), headers=[(b"Content-Type", b"application/json")]
        )
    return answer(json.dumps(_BINDINGS).encode(), headers=_JSON)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(wikidata) as made:
        yield made


@pytest.fixture
def base(upstream: FakeUpstream) -> Iterator[str]:
    config = {
        "server": {"port": 0},
        "logging": {"enable_console": False},
        "domain_mappings": {"wikidata": {"upstream": upstream.url}},
    }
    with CachingProxy(config) as proxy:
        assert proxy.server is not None
        yield f"http://127.0.0.1:{proxy.server.server_port}/wikidata"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_sparqlwrapper(base: str, upstream: FakeUpstream, method: str) -> None:
    sparql = pytest.importorskip("SPARQLWrapper")
    for _ in range(3):
        client = sparql.SPARQLWrapper(f"{base}/sparql", returnFormat=sparql.JSON)
        client.setMethod(method)
        client.setQuery("SELECT ?item WHERE { ?item wdt:P31 wd:Q146. } LIMIT 1")
        assert client.query().convert() == _BINDINGS
    assert [one.method.decode() for one in upstream.received] == [method]


def test_wikidata(base: str, upstream: FakeUpstream) -> None:
    client = pytest.importorskip("wikidata.client")
    for _ in range(3):
        entity = client.Client(base_url=f"{base}/").get("Q42", load=True)
        assert str(entity.label) == "D"
    assert len(upstream.received) == 1


def test_requests_and_httpx_share_what_is_cached(base: str, upstream: FakeUpstream) -> None:
    query = {"query": "ASK { wd:Q42 wdt:P31 wd:Q5. }"}
    fields = {"Accept": "application/sparql-results+json"}
    for _ in range(2):
        assert requests.get(f"{base}/sparql", params=query, headers=fields, timeout=120).ok
        assert httpx.get(f"{base}/sparql", params=query, headers=fields).json() == _BINDINGS
        with httpx.Client(http2=False) as client:
            assert client.post(f"{base}/sparql", data=query).json() == _BINDINGS
    assert [one.method for one in upstream.received].count(b"POST") == 1
