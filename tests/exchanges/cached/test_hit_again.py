"""A fresh answer that is given again to the same bytes, as long as nothing about it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cache_bench import Bench, Client
from twisted.internet.defer import Deferred

from buffr.exchanges.hit import CachedHit, Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.policy.cache.rules import CacheRules

FRESH = (b"Cache-Control", b"max-age=60")


class Connection:
    """A client's connection; ``bonds`` are upstream connections of its own."""

    def __init__(self, *bonds: object) -> None:
        self.bonds = set(bonds)


ANYONE: Any = Connection()


class Remembering(Client):
    """A sink whose request may come again."""

    memorable = True
    hit: Hit | None = None

    def remember(self, hit: Hit) -> None:
        self.hit = hit

    def remember_relay(self, relay: KnownRelay) -> None:
        raise AssertionError


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def asked_again(bench: Bench, *fields: tuple[bytes, bytes]) -> tuple[Remembering, Hit | None]:
    client = Remembering()
    bench.sends(*fields, client=client)
    return client, client.hit


def known(bench: Bench) -> Hit:
    bench.fetched(FRESH)
    bench.clock.advance(0.25)
    client, hit = asked_again(bench)
    assert hit is not None
    assert client.told.startswith(b"buffr; hit")
    assert hit.again(ANYONE)
    return hit


def test_it_holds_while_its_fields_say_the_same(bench: Bench) -> None:
    hit = known(bench)
    bench.clock.advance(0.5)
    assert hit.again(ANYONE)
    bench.clock.advance(0.25)
    assert not hit.again(ANYONE)
    bench.clock.advance(0.25)
    client, later = asked_again(bench)
    assert (client.field(b"age"), client.told) == (b"1", b"buffr; hit; ttl=58")
    assert later is not None
    assert later.again(ANYONE)


def test_it_does_not_hold_before_it_was_given(bench: Bench) -> None:
    hit = known(bench)
    bench.clock.rightNow -= 10
    assert not hit.again(ANYONE)


def test_it_does_not_outlive_its_freshness(tmp_path: Path) -> None:
    bench = Bench(tmp_path, CacheRules(ttl_s=0.5))
    bench.fetched()
    _, hit = asked_again(bench)
    assert hit is not None
    assert hit.again(ANYONE)
    bench.clock.advance(0.5)
    assert not hit.again(ANYONE)


def test_it_is_noted_as_a_hit(bench: Bench) -> None:
    hit = known(bench)
    hit.tell(())
    assert bench.told == 1


def test_another_answer_takes_its_place(bench: Bench) -> None:
    hit = known(bench)
    assert isinstance(hit, CachedHit)
    entry = evolve(hit.found[0].entry, responded_at=hit.found[0].entry.responded_at + 1)
    Deferred.fromCoroutine(bench.store.put(entry))
    assert not hit.again(ANYONE)


def test_a_connection_of_its_own_gets_its_own_answer(bench: Bench) -> None:
    hit = known(bench)
    bonded: Any = Connection("ours")
    bench.upstream.held = bonded
    assert not hit.again(bonded)
    assert hit.again(Connection("another's"))  # type: ignore[arg-type]


@pytest.mark.parametrize("said", [b"max-age=5", b"min-fresh=1", b"max-stale"])
def test_a_request_that_asks_for_an_age_is_judged_each_time(bench: Bench, said: bytes) -> None:
    bench.fetched(FRESH)
    client, hit = asked_again(bench, (b"Cache-Control", said))
    assert client.told.startswith(b"buffr; hit")
    assert hit is None


def test_an_answer_for_everybody_is_no_answer_of_ones_own(bench: Bench) -> None:
    """With credentials, one that is stored later for them alone comes first."""
    public = (b"Cache-Control", b"public, max-age=60")
    bench.fetched(public)
    client, hit = asked_again(bench, (b"Authorization", b"Bearer abc"))
    assert client.told.startswith(b"buffr; hit")
    assert hit is None


class TestVolatile:
    """Fields that are new in each request, and make no difference unless a ``Vary`` names them."""

    def hit(self, bench: Bench, *fields: tuple[bytes, bytes]) -> Hit | None:
        client = Remembering()
        client.volatile = (b"x-request-id",)
        bench.sends((b"X-Request-Id", b"1"), *fields, client=client)
        return client.hit

    def test_they_are_disregarded(self, bench: Bench) -> None:
        bench.fetched(FRESH)
        hit = self.hit(bench)
        assert hit is not None
        assert hit.volatile == (b"x-request-id",)

    def test_unless_an_answer_varies_by_one(self, bench: Bench) -> None:
        vary = (b"Vary", b"X-Request-Id")
        bench.fetched(FRESH, vary, asking=((b"X-Request-Id", b"1"),))
        hit = self.hit(bench)
        assert hit is not None
        assert not hit.volatile
