"""Mode cache, from a request to its answer: nothing but the upstream is played."""

from __future__ import annotations

from pathlib import Path

import pytest
from cache_bench import DATE, Bench

from buffr.errors import FlightTimeout, NotCached, UpstreamFailed
from buffr.policy.cache.rules import CacheRules

FRESH = (b"Cache-Control", b"max-age=60")
TAG = (b"ETag", b'"v1"')
ALICE = ((b"Authorization", b"Bearer alice"),)
BOB = ((b"Authorization", b"Bearer bob"),)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestHits:
    def test_a_fresh_answer_is_not_requested_again(self, bench: Bench) -> None:
        first = bench.fetched(FRESH, (b"Date", DATE), body=b"one")
        assert first.told == b"buffr; fwd=uri-miss; fwd-status=200; stored"
        bench.clock.advance(59)
        second = bench.asks()
        assert (second.status, second.body, bench.calls) == (200, b"one", 1)
        assert second.told == b"buffr; hit; ttl=1"
        assert second.field(b"age") == b"59"

    def test_a_stale_answer_is_requested_again(self, bench: Bench) -> None:
        bench.fetched(FRESH)
        bench.clock.advance(60)
        again = bench.fetched(FRESH, body=b"two")
        assert (again.body, bench.calls) == (b"two", 2)
        assert again.told == b"buffr; fwd=stale; fwd-status=200; stored"

    def test_a_head_is_answered_from_a_get(self, bench: Bench) -> None:
        bench.fetched(FRESH, body=b"12345")
        answer = bench.asks(method=b"HEAD")
        assert (answer.status, answer.body, bench.calls) == (200, b"", 1)
        assert answer.field(b"content-length") == b"5"

    def test_an_answer_to_head_does_not_answer_get(self, bench: Bench) -> None:
        bench.fetched(FRESH, method=b"HEAD", body=b"")
        bench.fetched(FRESH, body=b"whole")
        assert bench.calls == 2

    def test_a_chunked_body_is_kept_with_its_length(self, bench: Bench) -> None:
        first = bench.asks()
        bench.upstream.last().begins(FRESH)
        stream = bench.upstream.last().stream
        stream.feed([])
        stream.finish()
        assert first.done
        answer = bench.asks()
        assert answer.field(b"content-length") == b"0"
        assert answer.field(b"transfer-encoding") is None

    def test_targets_differ_by_their_bytes(self, bench: Bench) -> None:
        """Seed defect 8: these were one."""
        for target in (b"/x?flag", b"/x?flag=", b"/x?a=1&a=2", b"/x?a=2&a=1", b"/x/", b"/x"):
            bench.fetched(FRESH, target=target, body=target)
        assert bench.calls == 6
        assert bench.asks(target=b"/x?a=1&a=2").body == b"/x?a=1&a=2"

    def test_the_body_is_stored_as_it_came(self, bench: Bench) -> None:
        """Seed defect 6: it was decompressed on the way."""
        coded = b"\x1f\x8b\x08\x00not really"
        bench.fetched(FRESH, (b"Content-Encoding", b"gzip"), body=coded)
        answer = bench.asks()
        assert (answer.body, answer.field(b"content-encoding")) == (coded, b"gzip")


class TestConditions:
    def test_a_client_that_has_it_gets_a_304(self, bench: Bench) -> None:
        bench.fetched(FRESH, TAG)
        answer = bench.asks((b"If-None-Match", b'W/"v1"'))
        assert (answer.status, answer.body, bench.calls) == (304, b"", 1)
        assert answer.field(b"etag") == b'"v1"'
        assert answer.field(b"content-length") is None

    def test_a_stale_answer_is_validated(self, bench: Bench) -> None:
        bench.fetched(FRESH, TAG, (b"X-Old", b"1"), (b"X-Both", b"1"), body=b"kept")
        bench.clock.advance(100)
        answer = bench.asks()
        assert bench.upstream.last().field(b"if-none-match") == b'"v1"'
        bench.upstream.last().answers(FRESH, TAG, (b"X-Both", b"2"), status=304, body=b"")
        assert (answer.status, answer.body) == (200, b"kept")
        assert (answer.field(b"x-old"), answer.field(b"x-both")) == (b"1", b"2")
        assert answer.field(b"age") == b"0"
        assert answer.told == b'buffr; fwd=stale; fwd-status=304; detail="validated"'
        assert bench.asks().field(b"x-both") == b"2"
        assert bench.calls == 2

    def test_a_304_about_something_else_is_asked_again(self, bench: Bench) -> None:
        bench.fetched(FRESH, TAG)
        bench.clock.advance(100)
        answer = bench.asks()
        bench.upstream.last().answers((b"ETag", b'"v2"'), status=304, body=b"")
        assert bench.upstream.last().field(b"if-none-match") is None
        bench.upstream.last().answers(FRESH, (b"ETag", b'"v2"'), body=b"new")
        assert (answer.status, answer.body) == (200, b"new")

    def test_our_condition_replaces_the_clients(self, bench: Bench) -> None:
        """The whole answer arrives, and is stored; the client, which has it, gets a 304."""
        bench.fetched(FRESH, TAG)
        bench.clock.advance(100)
        answer = bench.asks((b"If-None-Match", b'"v2"'))
        assert bench.upstream.last().field(b"if-none-match") == b'"v1"'
        bench.upstream.last().answers(FRESH, (b"ETag", b'"v2"'), body=b"new")
        assert (answer.status, answer.body) == (304, b"")
        assert bench.asks().body == b"new"

    def test_only_an_origin_judges_if_match(self, bench: Bench) -> None:
        bench.fetched(FRESH, TAG)
        bench.asks((b"If-Match", b'"v1"'))
        assert bench.calls == 2

    def test_a_head_freshens_what_get_stored(self, bench: Bench) -> None:
        bench.fetched(FRESH, (b"X-A", b"1"), body=b"12345")
        bench.clock.advance(100)
        head = bench.asks(method=b"HEAD")
        bench.upstream.last().begins(FRESH, (b"X-A", b"2"), length=5)
        bench.upstream.last().stream.finish()
        assert head.status == 200
        answer = bench.asks()
        assert (answer.body, answer.field(b"x-a"), bench.calls) == (b"12345", b"2", 2)


class TestRanges:
    @pytest.mark.parametrize(
        ("asked", "status", "body", "told"),
        [
            (b"bytes=0-1", 206, b"01", b"bytes 0-1/10"),
            (b"bytes=8-", 206, b"89", b"bytes 8-9/10"),
            (b"bytes=-3", 206, b"789", b"bytes 7-9/10"),
            (b"bytes=-30", 206, b"0123456789", b"bytes 0-9/10"),
            (b"bytes=10-", 416, b"", b"bytes */10"),
            (b"bytes=-0", 416, b"", b"bytes */10"),
            (b"bytes=1-0", 200, b"0123456789", None),
            (b"bytes=0-1,3-4", 200, b"0123456789", None),
            (b"bytes=-", 200, b"0123456789", None),
            (b"lines=1-2", 200, b"0123456789", None),
        ],
    )
    def test_a_part_of_a_stored_body(
        self, bench: Bench, asked: bytes, status: int, body: bytes, told: bytes | None
    ) -> None:
        bench.fetched(FRESH, body=b"0123456789")
        answer = bench.asks((b"Range", asked))
        assert (answer.status, answer.body) == (status, body)
        assert answer.field(b"content-range") == told
        assert answer.field(b"content-length") == b"%d" % len(body)

    def test_a_part_is_never_stored_as_the_whole(self, bench: Bench) -> None:
        """Seed defect 4: answers to Range were."""
        bench.fetched(FRESH, asking=((b"Range", b"bytes=0-1"),), status=206, body=b"01")
        assert bench.upstream.last().field(b"range") == b"bytes=0-1"
        assert bench.fetched(FRESH, body=b"0123456789").body == b"0123456789"

    def test_a_part_of_another_version_is_not_used(self, bench: Bench) -> None:
        bench.fetched(FRESH, TAG, body=b"0123456789")
        answer = bench.asks((b"Range", b"bytes=0-1"), (b"If-Range", b'"v0"'))
        assert (answer.status, answer.body) == (200, b"0123456789")


class TestUsers:
    """Seed defect 4: one user's answer went to another."""

    def test_each_credential_has_its_own(self, bench: Bench) -> None:
        bench.fetched(FRESH, body=b"nobody's")
        bench.fetched(FRESH, asking=ALICE, body=b"alice's")
        bench.fetched(FRESH, asking=BOB, body=b"bob's")
        assert bench.asks(*ALICE).body == b"alice's"
        assert bench.asks(*BOB).body == b"bob's"
        assert bench.asks().body == b"nobody's"
        assert bench.calls == 3

    @pytest.mark.parametrize("name", [b"Cookie", b"X-Api-Key", b"X-Acme-Auth-Token"])
    def test_other_credentials_count_too(self, bench: Bench, name: bytes) -> None:
        bench.fetched(FRESH, asking=((name, b"a=1"),), body=b"a")
        assert bench.fetched(FRESH, asking=((name, b"b=2"),), body=b"b").body == b"b"

    @pytest.mark.parametrize("said", [b"public", b"s-maxage=60", b"must-revalidate"])
    def test_an_upstream_can_say_that_all_may_have_it(self, bench: Bench, said: bytes) -> None:
        bench.fetched((b"Cache-Control", b"max-age=60, " + said), asking=ALICE)
        assert (bench.asks(*BOB).status, bench.asks().status, bench.calls) == (200, 200, 1)

    def test_a_route_can_say_so(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(override=frozenset(["authorization"])))
        bench.fetched(FRESH, asking=ALICE)
        assert (bench.asks(*BOB).status, bench.calls) == (200, 1)

    @pytest.mark.parametrize(
        "field",
        [
            (b"Set-Cookie", b"session=1"),
            (b"Cache-Control", b"private"),
            (b"Cache-Control", b"no-store"),
            (b"Vary", b"*"),
        ],
    )
    def test_an_answer_for_one_user_is_not_stored_whatever_the_ttl(
        self, tmp_path: Path, field: tuple[bytes, bytes]
    ) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=60))
        bench.fetched(field)
        bench.asks()
        assert bench.calls == 2

    @pytest.mark.parametrize(
        ("name", "field"),
        [
            ("set-cookie", (b"Set-Cookie", b"session=1")),
            ("private", (b"Cache-Control", b"private")),
            ("no-store", (b"Cache-Control", b"no-store")),
            ("no-cache", (b"Cache-Control", b"no-cache")),
        ],
    )
    def test_a_route_overrides_it_by_name(
        self, tmp_path: Path, name: str, field: tuple[bytes, bytes]
    ) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=60, override=frozenset([name])))  # type: ignore[list-item]
        bench.fetched(field)
        assert (bench.asks().status, bench.calls) == (200, 1)

    def test_the_store_contains_no_credential(self, bench: Bench) -> None:
        vary = (b"Vary", b"Authorization")
        bench.fetched(FRESH, vary, asking=ALICE, target=b"/x?key=s3cret-s3cret-s3cret")
        held = [cached.entry for cached in bench.store._held.values()]
        assert len(held) == 1
        assert b"alice" not in repr(held[0].vary).encode()
        assert "s3cret" not in held[0].url

    def test_variants_by_the_fields_in_vary(self, bench: Bench) -> None:
        vary = (b"Vary", b"Accept-Language")
        german, french = ((b"Accept-Language", b"de"),), ((b"Accept-Language", b"fr"),)
        bench.fetched(FRESH, vary, asking=german, body=b"de")
        bench.fetched(FRESH, vary, asking=french, body=b"fr")
        assert (bench.asks(*german).body, bench.asks(*french).body) == (b"de", b"fr")
        assert bench.calls == 2


class TestErrors:
    """Seed defect 3: they became 502 and were cached for the TTL."""

    @pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
    def test_an_error_passes_unchanged_and_is_not_kept(self, tmp_path: Path, status: int) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=3600))
        answer = bench.fetched((b"X-Why", b"1"), status=status, body=b"why")
        assert (answer.status, answer.body, answer.field(b"x-why")) == (status, b"why", b"1")
        assert bench.fetched(body=b"fine").body == b"fine"

    def test_errors_are_kept_if_the_route_says_so(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_by_status=(((404,), 60.0),)))
        bench.fetched(status=404)
        assert (bench.asks().status, bench.calls) == (404, 1)
        bench.clock.advance(61)
        bench.asks()
        assert bench.calls == 2

    def test_a_refused_connection_is_not_kept(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=3600))
        refused = bench.asks()
        bench.upstream.last().fails(UpstreamFailed("refused"))
        assert isinstance(refused.error, UpstreamFailed)
        assert bench.fetched(body=b"back").body == b"back"

    def test_a_stale_answer_replaces_an_unreachable_upstream(self, bench: Bench) -> None:
        bench.fetched(FRESH, body=b"old")
        bench.clock.advance(100)
        answer = bench.asks()
        bench.upstream.last().fails(UpstreamFailed("refused"))
        assert (answer.status, answer.body, answer.field(b"age")) == (200, b"old", b"100")
        assert answer.told == b'buffr; fwd=stale; detail="upstream_failed"'

    @pytest.mark.parametrize(
        "said", [b"must-revalidate", b"proxy-revalidate", b"no-cache", b"s-maxage=60"]
    )
    def test_not_where_the_upstream_forbids_it(self, bench: Bench, said: bytes) -> None:
        bench.fetched((b"Cache-Control", b"max-age=60, " + said), TAG)
        bench.clock.advance(100)
        answer = bench.asks()
        bench.upstream.last().fails(UpstreamFailed("refused"))
        assert isinstance(answer.error, UpstreamFailed)

    def test_a_503_is_covered_by_leave_alone(self, bench: Bench) -> None:
        bench.fetched((b"Cache-Control", b"max-age=60, stale-if-error=100"), body=b"old")
        bench.clock.advance(150)
        assert bench.fetched(status=503).body == b"old"
        bench.clock.advance(50)
        assert bench.fetched(status=503).status == 503

    def test_a_broken_answer_is_not_stored(self, bench: Bench) -> None:
        client = bench.asks()
        bench.upstream.last().begins(FRESH, length=10)
        bench.upstream.last().stream.feed([])
        bench.upstream.last().stream.fail(UpstreamFailed("broke off"))
        assert client.aborted
        bench.asks()
        assert bench.calls == 2


class TestInvalidation:
    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"BREW"])
    def test_what_may_have_changed_is_requested_again(self, bench: Bench, method: bytes) -> None:
        bench.fetched(FRESH, asking=ALICE)
        bench.fetched(FRESH)
        bench.fetched(method=method, sent=b"1")
        bench.fetched(FRESH, asking=ALICE)
        bench.fetched(FRESH)
        assert bench.calls == 5

    @pytest.mark.parametrize(
        ("method", "status"), [(b"PUT", 500), (b"PUT", 404), (b"OPTIONS", 200)]
    )
    def test_a_request_that_changed_nothing_invalidates_nothing(
        self, bench: Bench, method: bytes, status: int
    ) -> None:
        bench.fetched(FRESH)
        bench.fetched(method=method, status=status)
        assert (bench.asks().status, bench.calls) == (200, 2)

    @pytest.mark.parametrize(
        ("location", "gone"),
        [
            (b"/other", True),
            (b"http://api.example/other", True),
            (b"http://buffr:8080/other", True),
            (b"http://elsewhere.example/other", False),
            (b"http://[", False),
        ],
    )
    def test_urls_that_the_answer_names_are_invalidated(
        self, bench: Bench, location: bytes, gone: bool
    ) -> None:
        bench.fetched(FRESH, target=b"/other")
        bench.fetched((b"Location", location), method=b"POST", status=201)
        bench.asks(target=b"/other")
        assert bench.calls == (3 if gone else 2)

    def test_an_answer_under_way_meanwhile_is_not_stored(self, bench: Bench) -> None:
        before = bench.asks()
        reading = bench.upstream.last()
        bench.fetched(method=b"PUT")
        reading.answers(FRESH, body=b"old")
        assert before.body == b"old"
        assert bench.fetched(FRESH, body=b"new").body == b"new"

    def test_a_posts_answer_that_is_gets(self, bench: Bench) -> None:
        """RFC 9110 9.3.3."""
        bench.fetched(FRESH, (b"Content-Location", b"/x"), method=b"POST", body=b"made")
        assert (bench.asks().body, bench.calls) == (b"made", 1)


class TestFlights:
    def test_many_misses_make_one_call(self, bench: Bench) -> None:
        clients = [bench.asks() for _ in range(1000)]
        assert bench.calls == 1
        bench.upstream.last().answers(FRESH, body=b"for all")
        assert {client.body for client in clients} == {b"for all"}
        assert all(client.done for client in clients)
        assert clients[1].told == b"buffr; fwd=uri-miss; fwd-status=200; stored; collapsed"

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
    def test_unsafe_requests_never_share_a_call(self, bench: Bench, method: bytes) -> None:
        """Seed defect 1: concurrent mutations became one."""
        for _ in range(3):
            bench.asks(method=method, body=b"same")
        assert bench.calls == 3

    @pytest.mark.parametrize(
        "name", [b"X-HTTP-Method-Override", b"x-http-method", b"X-Method-Override"]
    )
    def test_nor_do_requests_that_a_field_makes_unsafe(self, tmp_path: Path, name: bytes) -> None:
        """Some frameworks treat a request as having another method than it says."""
        rules = CacheRules(ttl_s=60, methods=frozenset((b"GET", b"POST")))
        bench = Bench(tmp_path, rules)
        bench.fetched(FRESH)
        for method in (b"GET", b"POST"):
            for _ in range(2):
                bench.fetched(FRESH, asking=((name, b"delete"),), method=method)
        bench.fetched(FRESH)
        assert bench.calls == 6

    def test_a_post_that_means_get_is_another_request(self, tmp_path: Path) -> None:
        rules = CacheRules(ttl_s=60, methods=frozenset((b"GET", b"POST")))
        bench = Bench(tmp_path, rules)
        meant = (b"X-HTTP-Method-Override", b"GET")
        bench.fetched(method=b"POST", sent=b"1", asking=(meant,))
        bench.fetched(method=b"POST", sent=b"1")
        assert bench.asks(meant, method=b"POST", body=b"1").told.startswith(b"buffr; hit")

    def test_a_body_of_another_type_is_another_request(self, tmp_path: Path) -> None:
        rules = CacheRules(ttl_s=60, methods=frozenset((b"GET", b"POST")))
        bench = Bench(tmp_path, rules)
        plain = (b"Content-Type", b"text/plain; charset=utf-8")
        json = (b"Content-Type", b"application/json")
        bench.fetched(method=b"POST", sent=b'{"a":1}', asking=(plain,))
        bench.fetched(method=b"POST", sent=b'{"a":1}', asking=(json,))
        assert bench.asks(method=b"POST", body=b'{"a": 1}').told.startswith(b"buffr; hit")

    def test_a_post_is_shared_where_the_route_caches_it(self, tmp_path: Path) -> None:
        rules = CacheRules(ttl_s=60, methods=frozenset((b"GET", b"POST")))
        bench = Bench(tmp_path, rules)
        json = (b"Content-Type", b"application/json")
        bodies = [b'{"a": 1, "b": 2}', b'{"b":2,"a":1}']
        clients = [bench.asks(json, method=b"POST", body=body) for body in bodies]
        other = bench.asks(json, method=b"POST", body=b'{"a": 2}')
        assert bench.calls == 2
        bench.upstream.requests[0].answers(body=b"one")
        assert [client.body for client in clients] == [b"one", b"one"]
        assert not other.done
        assert bench.asks(json, method=b"POST", body=bodies[0]).body == b"one"

    @pytest.mark.parametrize(
        "field", [(b"Cache-Control", b"private"), (b"Set-Cookie", b"a=b"), (b"X", b"no freshness")]
    )
    def test_an_answer_for_one_client_goes_to_one(
        self, bench: Bench, field: tuple[bytes, bytes]
    ) -> None:
        """Clients that waited send their own requests (RFC 9111 4)."""
        clients = [bench.asks() for _ in range(3)]
        assert bench.calls == 1
        bench.upstream.requests[0].answers(field, body=b"first's")
        assert [client.body for client in clients] == [b"first's", b"", b""]
        assert bench.calls == 3
        bench.upstream.requests[1].answers(field, body=b"second's")
        bench.upstream.requests[2].answers(field, body=b"third's")
        assert [client.body for client in clients] == [b"first's", b"second's", b"third's"]

    def test_no_client_waits_for_an_answer_that_was_for_one(self, bench: Bench) -> None:
        for _ in range(2):
            bench.asks()
        bench.upstream.requests[0].answers((b"Cache-Control", b"private"))
        bench.upstream.requests[1].answers((b"Cache-Control", b"private"))
        bench.asks()
        bench.asks()
        assert bench.calls == 4
        bench.clock.advance(61)
        bench.asks()
        bench.asks()
        assert bench.calls == 5

    def test_users_do_not_share_a_flight(self, bench: Bench) -> None:
        bench.asks(*ALICE)
        bench.asks(*BOB)
        bench.asks()
        assert bench.calls == 3

    def test_variants_share_among_themselves(self, bench: Bench) -> None:
        vary = (b"Vary", b"Accept")
        json, html = ((b"Accept", b"json"),), ((b"Accept", b"html"),)
        first = bench.asks(*json)
        others = [bench.asks(*html) for _ in range(5)]
        assert bench.calls == 1
        bench.upstream.requests[0].answers(FRESH, vary, body=b"json")
        assert (first.body, bench.calls) == (b"json", 2)
        bench.upstream.requests[1].answers(FRESH, vary, body=b"html")
        assert {client.body for client in others} == {b"html"}

    def test_an_error_reaches_all_followers(self, bench: Bench) -> None:
        """A failed flight is forgotten, and the next request is not left waiting."""
        clients = [bench.asks() for _ in range(3)]
        bench.upstream.last().fails(UpstreamFailed("refused"))
        assert all(isinstance(client.error, UpstreamFailed) for client in clients)
        assert bench.fetched(body=b"back").body == b"back"

    @pytest.mark.parametrize("status", [429, 503])
    def test_an_upstream_in_need_is_not_asked_by_each(self, bench: Bench, status: int) -> None:
        clients = [bench.asks() for _ in range(3)]
        bench.upstream.last().answers(status=status, body=b"busy")
        assert [(client.status, client.body) for client in clients] == [(status, b"busy")] * 3
        assert bench.calls == 1
        bench.asks()
        assert bench.calls == 2

    def test_a_late_one_reads_a_stream_from_its_start(self, bench: Bench) -> None:
        from buffr.message import Piece  # noqa: PLC0415

        first = bench.asks()
        bench.upstream.last().begins(FRESH)
        bench.upstream.last().stream.feed([Piece(b"a", 1)])
        late = bench.asks()
        bench.upstream.last().stream.feed([Piece(b"b", 1)])
        bench.upstream.last().stream.finish()
        assert (first.body, late.body, bench.calls) == (b"ab", b"ab", 1)

    def test_waiting_for_another_ends(self, bench: Bench) -> None:
        """Seed defect 2: the 504 was never reached."""
        first, second = bench.asks(), bench.asks()
        bench.clock.advance(60)
        assert isinstance(second.error, FlightTimeout)
        assert first.error is None
        bench.upstream.last().answers(FRESH)
        assert first.done

    def test_a_client_says_how_long_it_waits(self, bench: Bench) -> None:
        client = bench.asks((b"X-Buffr-Flight-Timeout", b"0.5"))
        assert bench.upstream.last().field(b"x-buffr-flight-timeout") is None
        bench.clock.advance(0.5)
        assert isinstance(client.error, FlightTimeout)
        bench.clock.advance(2)
        assert bench.upstream.last().gone

    def test_a_client_that_leaves_does_not_affect_the_others(self, bench: Bench) -> None:
        _, leaving = bench.sends()
        staying = bench.asks()
        leaving.cancel()
        bench.upstream.last().answers(FRESH, body=b"still")
        assert staying.body == b"still"

    def test_a_stale_answer_serves_while_one_call_renews_it(self, bench: Bench) -> None:
        bench.fetched((b"Cache-Control", b"max-age=60, stale-while-revalidate=60"), body=b"old")
        bench.clock.advance(100)
        assert [bench.asks().body for _ in range(3)] == [b"old"] * 3
        assert bench.calls == 2
        bench.upstream.last().answers(FRESH, body=b"new")
        assert (bench.asks().body, bench.calls) == (b"new", 2)
        bench.clock.advance(1000)

    def test_a_validation_serves_all_waiting_clients(self, bench: Bench) -> None:
        bench.fetched(FRESH, TAG, body=b"kept")
        bench.clock.advance(100)
        clients = [bench.asks(), bench.asks((b"If-None-Match", b'"v1"')), bench.asks()]
        assert bench.calls == 2
        bench.upstream.last().answers(FRESH, TAG, status=304, body=b"")
        assert [(client.status, client.body) for client in clients] == [
            (200, b"kept"),
            (304, b""),
            (200, b"kept"),
        ]


class TestRequests:
    @pytest.mark.parametrize(
        "said", [b"no-cache", b"max-age=10", b"min-fresh=50", b"no-store", b"max-age=0"]
    )
    def test_a_client_can_want_it_fresher(self, bench: Bench, said: bytes) -> None:
        bench.fetched(FRESH)
        bench.clock.advance(20)
        bench.asks((b"Cache-Control", said))
        assert bench.calls == 2

    def test_a_route_need_not_heed_it(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(override=frozenset(["request"])))
        bench.fetched(FRESH)
        assert (bench.asks((b"Cache-Control", b"no-cache")).status, bench.calls) == (200, 1)

    def test_a_client_can_take_it_stale(self, bench: Bench) -> None:
        bench.fetched(FRESH)
        bench.clock.advance(70)
        assert bench.asks((b"Cache-Control", b"max-stale=10")).status == 200
        assert bench.asks((b"Cache-Control", b"max-stale")).status == 200
        assert bench.calls == 1
        bench.asks((b"Cache-Control", b"max-stale=9"))
        assert bench.calls == 2

    def test_a_client_can_want_nothing_else(self, bench: Bench) -> None:
        wanted = (b"Cache-Control", b"only-if-cached")
        assert isinstance(bench.asks(wanted).error, NotCached)
        assert bench.calls == 0
        bench.fetched(FRESH)
        assert bench.asks(wanted).status == 200


class TestRoutesOwn:
    def test_a_ttl_counts_from_when_it_came(self, tmp_path: Path) -> None:
        """Seed defect 7: TTLs were wrong off UTC. An ``Age`` of others does not shorten it."""
        bench = Bench(tmp_path, CacheRules(ttl_s=60))
        bench.fetched((b"Cache-Control", b"max-age=1"), (b"Age", b"500"))
        bench.clock.advance(59.5)
        assert (bench.asks().status, bench.calls) == (200, 1)
        bench.clock.advance(0.5)
        bench.asks()
        assert bench.calls == 2

    def test_a_large_body_passes_without_being_stored(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=60, most_body_bytes=100))
        assert bench.fetched(body=b"x" * 101).told.endswith(b'detail="size"')
        bench.asks()
        assert bench.calls == 2

    def test_a_stream_that_grows_too_large_too(self, tmp_path: Path) -> None:
        from buffr.message import Piece  # noqa: PLC0415

        bench = Bench(tmp_path, CacheRules(ttl_s=60, most_body_bytes=100))
        client = bench.asks()
        bench.upstream.last().begins()
        for _ in range(5):
            bench.upstream.last().stream.feed([Piece(b"x" * 50, 50)])
        bench.upstream.last().stream.finish()
        assert client.body == b"x" * 250
        bench.asks()
        assert bench.calls == 2


class TestOtherSettings:
    """What was stored before the settings changed obeys those of now."""

    @staticmethod
    def later(bench: Bench, tmp_path: Path, rules: CacheRules) -> Bench:
        """A route of today over the store of before."""
        later = Bench(tmp_path, rules)
        later.take_over(bench)
        return later

    def test_a_shorter_ttl_applies_at_once(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=3600))
        bench.fetched(TAG)
        bench = self.later(bench, tmp_path, CacheRules(ttl_s=60))
        bench.clock.advance(59)
        assert bench.asks().told == b"buffr; hit; ttl=1"
        bench.clock.advance(1)
        bench.asks()
        assert bench.upstream.last().field(b"if-none-match") == TAG[1]

    def test_a_longer_one_makes_fresh_again(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=60))
        bench.fetched(FRESH)
        bench.clock.advance(100)
        bench = self.later(bench, tmp_path, CacheRules(ttl_s=3600))
        assert (bench.asks().told, bench.calls) == (b"buffr; hit; ttl=3500", 0)

    def test_without_one_the_answer_says(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_s=3600))
        bench.fetched(FRESH, (b"Age", b"20"), (b"Date", DATE))
        bench = self.later(bench, tmp_path, CacheRules())
        bench.clock.advance(39)
        assert bench.asks().told == b"buffr; hit; ttl=1"
        bench.clock.advance(1)
        bench.asks()
        assert bench.calls == 1

    def test_a_status_has_its_own(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules(ttl_by_status=(((404,), 60.0),)))
        bench.fetched(status=404)
        bench = self.later(bench, tmp_path, CacheRules())
        bench.asks()
        assert bench.calls == 1
        bench = self.later(bench, tmp_path, CacheRules(ttl_by_status=(((404,), 600.0),)))
        bench.clock.advance(599)
        assert bench.asks().told == b"buffr; hit; ttl=1"

    def test_an_answer_updated_by_a_304_follows_it(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, CacheRules())
        bench.fetched(FRESH, TAG)
        bench.clock.advance(60)
        bench.asks()
        bench.upstream.last().answers((b"Cache-Control", b"max-age=90"), TAG, status=304, body=b"")
        bench.clock.advance(30)
        assert bench.asks().told == b"buffr; hit; ttl=60"
