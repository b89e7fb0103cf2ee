"""Identical requests under way share one call to the upstream, where that is safe."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from bench import Bench, Place, eventually
from raw_http import Answer, BrokenAnswer, RawClient, ask, request

from buffr.testing import Received, Step, answer, chunked, steps


def all_at_once(bench: Bench, route: str, raws: Sequence[bytes]) -> list[RawClient]:
    """Clients whose requests have all been read by buffr."""
    clients = [RawClient(bench.port(route)) for _ in raws]
    for client, raw in zip(clients, raws, strict=True):
        client.send(raw)
    for _ in range(2):
        # Connections are accepted, and read, in their order: a later one has been answered.
        assert ask(bench.port("passthrough"), request(b"/no-script")).status == 404
    return clients


def answers_of(clients: Sequence[RawClient], method: bytes = b"GET") -> list[Answer]:
    answers = [client.answer(method) for client in clients]
    for client in clients:
        client.close()
    return answers


class Gate:
    """A script whose answers wait until it is opened."""

    def __init__(self, body: bytes = b"shared") -> None:
        self._body = body
        self._opened = threading.Event()

    def __call__(self, received: Received) -> Iterator[Step]:
        self._opened.wait(120)
        yield answer(b"" if received.method == b"HEAD" else self._body)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(place: Place) -> Iterator[Gate]:
    gate = Gate()
    place.answers(gate)
    yield gate
    gate.open()


MANY = 20


class TestShared:
    """Seed defect 19: N identical misses made N calls and N recordings."""

    @pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
    def test_identical_requests_make_one_call_and_one_recording(
        self, bench: Bench, place: Place, gate: Gate, method: bytes
    ) -> None:
        body = b'{"a": 1}' if method == b"POST" else None
        raw = request(place.path, method=method, body=body)
        clients = all_at_once(bench, "auto", MANY * [raw])
        gate.open()
        got = answers_of(clients, method)
        assert {one.status for one in got} == {200}
        assert {one.body for one in got} == {b"" if method == b"HEAD" else b"shared"}
        assert len(place.received()) == 1
        assert len(place.recorded()) == 1

    def test_equal_means_byte_for_byte(self, bench: Bench, place: Place, gate: Gate) -> None:
        """JSON spelled in two ways is one recording later, but two calls while both wait."""
        raws = [
            request(place.path, method=b"POST", body=b'{"a": 1, "b": 2}'),
            request(place.path, method=b"POST", body=b'{"b":2,"a":1}'),
            request(place.path + b"?x", method=b"POST", body=b'{"b":2,"a":1}'),
        ]
        clients = all_at_once(bench, "auto", raws)
        gate.open()
        answers_of(clients)
        assert len(place.received()) == 3

    def test_noise_makes_no_difference(self, bench: Bench, place: Place, gate: Gate) -> None:
        raws = [
            request(place.path, method=b"POST", headers=[(b"User-Agent", agent)], body=b"[1]")
            for agent in (b"1", b"2")
        ]
        clients = all_at_once(bench, "auto", raws)
        gate.open()
        answers_of(clients)
        assert len(place.received()) == 1

    def test_who_comes_late_gets_a_stream_from_its_start(self, bench: Bench, place: Place) -> None:
        go_on = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            for number, step in enumerate(chunked([b"one", b"two", b"three"])):
                if number == 3:
                    go_on.wait(120)
                yield step

        place.answers(script)
        with RawClient(bench.port("auto")) as early:
            early.send(request(place.path))
            early.until(b"two")
            (late,) = all_at_once(bench, "auto", [request(place.path)])
            late.until(b"\r\n\r\n")
            assert [late.chunk(), late.chunk()] == [b"one", b"two"]
            go_on.set()
            assert [late.chunk(), late.chunk()] == [b"three", b""]
            early.until(b"0\r\n\r\n")
            late.close()
        assert len(place.received()) == 1

    def test_an_error_goes_to_all_and_stays_with_none(self, bench: Bench, place: Place) -> None:
        """The next request asks anew."""
        go_on = threading.Event()

        def script(_: Received) -> bytes | Iterator[Step]:
            if go_on.is_set():
                return answer(b"back")
            go_on.wait(120)
            return steps(None)

        place.answers(script)
        raw = request(place.path, method=b"POST", body=b"x")
        clients = all_at_once(bench, "auto", 5 * [raw])
        go_on.set()
        assert {one.status for one in answers_of(clients)} == {502}
        assert place.ask("auto", raw).body == b"back"
        assert len(place.received()) == 2

    def test_a_break_goes_to_all(self, bench: Bench, place: Place) -> None:
        go_on = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
            go_on.wait(120)
            yield None

        place.answers(script)
        clients = all_at_once(bench, "auto", 3 * [request(place.path)])
        for client in clients:
            client.until(b"\r\n\r\n")
        go_on.set()
        for client in clients:
            with pytest.raises(BrokenAnswer):
                client.until(b"whole")
        assert len(place.received()) == 1

    def test_who_leaves_takes_nothing_from_the_others(
        self, bench: Bench, place: Place, gate: Gate
    ) -> None:
        """Also the one who made the call."""
        clients = all_at_once(bench, "auto", 4 * [request(place.path)])
        clients[0].reset()
        clients[2].reset()
        eventually(lambda: len(place.log()) == 2)
        gate.open()
        got = answers_of([clients[1], clients[3]])
        assert {one.body for one in got} == {b"shared"}
        assert len(place.received()) == 1

    def test_a_slow_reader_does_not_hold_back_a_fast_one(self, bench: Bench, place: Place) -> None:
        size = 8_000_000
        place.answers(answer(size * b"x"))
        with RawClient(bench.port("auto")) as slow:
            slow.send(request(place.path))
            slow.until(b"\r\n\r\n")
            assert len(place.ask("auto").body) == size
            assert len(slow.take(size)) == size
        assert len(place.received()) == 1


class TestNotShared:
    @pytest.mark.parametrize("method", [b"PUT", b"PATCH", b"DELETE", b"PROPPATCH"])
    def test_what_may_change_something_is_sent_each_time(
        self, bench: Bench, place: Place, gate: Gate, method: bytes
    ) -> None:
        raw = request(place.path, method=method, body=b"x")
        clients = all_at_once(bench, "auto", 5 * [raw])
        eventually(lambda: len(place.received()) == 5)
        gate.open()
        answers_of(clients)
        assert len(place.recorded()) == 5

    @pytest.mark.parametrize(
        ("route", "recordings"),
        [("record", 5), ("unshared", 5), ("once", 5), ("passthrough", 0)],
    )
    def test_where_the_settings_say_no(
        self, bench: Bench, place: Place, gate: Gate, route: str, recordings: int
    ) -> None:
        clients = all_at_once(bench, route, 5 * [request(place.path)])
        eventually(lambda: len(place.received()) == 5)
        gate.open()
        answers_of(clients)
        assert len(place.recorded(route)) == recordings

    @pytest.mark.parametrize(
        "field",
        [b"Authorization: Bearer ", b"Cookie: session=", b"X-Api-Key: ", b"Proxy-Authorization: "],
    )
    def test_other_credentials_are_another_user(
        self, bench: Bench, place: Place, gate: Gate, field: bytes
    ) -> None:
        """Seed defect 17: answers were shared between users."""
        name, _, start = field.partition(b": ")
        raws = [
            request(place.path, headers=[(name, start + user)])
            for user in (b"alice", b"bob", b"alice", b"bob")
        ]
        clients = all_at_once(bench, "auto", [*raws, request(place.path)])
        eventually(lambda: len(place.received()) == 3)
        gate.open()
        assert {one.body for one in answers_of(clients)} == {b"shared"}
        assert len(place.received()) == 3

    @pytest.mark.parametrize(
        "name", [b"X-Amz-Target", b"Accept", b"Idempotency-Key", b"X-Unknown", b"Stripe-Version"]
    )
    def test_other_fields_are_another_request(
        self, bench: Bench, place: Place, gate: Gate, name: bytes
    ) -> None:
        """An idempotency key is no part of a match key, and still is meant for each call."""
        raws = [
            request(place.path, method=b"POST", headers=[(name, value)], body=b"[1]")
            for value in (b"1", b"2")
        ]
        clients = all_at_once(bench, "auto", raws)
        eventually(lambda: len(place.received()) == 2)
        gate.open()
        answers_of(clients)

    @pytest.mark.parametrize("body", [b"", b"{}"])
    def test_unsafe_requests_that_say_nothing(
        self, bench: Bench, place: Place, gate: Gate, body: bytes
    ) -> None:
        """Two that purge a queue are two."""
        field = (b"X-Amz-Target", b"AmazonSQS.PurgeQueue")
        raw = request(place.path, method=b"POST", headers=[field], body=body)
        clients = all_at_once(bench, "auto", [raw, raw])
        eventually(lambda: len(place.received()) == 2)
        gate.open()
        answers_of(clients)

    def test_another_key_in_the_query_is_another_user(
        self, bench: Bench, place: Place, gate: Gate
    ) -> None:
        """Though in the match key both are one constant."""
        raws = [request(b"%b?api_key=%b" % (place.path, user)) for user in (b"alice", b"bob")]
        clients = all_at_once(bench, "auto", raws)
        eventually(lambda: len(place.received()) == 2)
        gate.open()
        answers_of(clients)
