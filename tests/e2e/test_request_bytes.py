"""What a client sends reaches the upstream as it was sent, apart from what belongs to the hop."""

from __future__ import annotations

import pytest
from bench import Bench, Place
from raw_http import RawClient, request

from buffr.testing import Received, answer

HOST = b"Host: client.test\r\n"


def with_upstream_host(raw: bytes, bench: Bench) -> bytes:
    return raw.replace(HOST, b"Host: 127.0.0.1:%d\r\n" % bench.upstream.port)


ODD_HEAD = (
    b"GET %b HTTP/1.1\r\n"
    b"x-first: 1\r\n"
    b"Host: client.test\r\n"
    b"ACCEPT: */*\r\n"
    b"X-Dup: a\r\n"
    b"x-Between: b\r\n"
    b"x-dup: c\r\n"
    b"User-Agent: odd/1\r\n"
    b"X-Empty: \r\n"
    b"X-Latin: caf\xe9\r\n"
    b"x-Dup: a\r\n"
    b"Accept-Encoding: br\r\n"
    b"\r\n"
)


class TestHeads:
    """Seed defect 13: order, case and duplicates across names were lost."""

    @pytest.mark.parametrize("route", ["auto", "record", "passthrough"])
    def test_order_case_and_duplicates_are_kept_and_only_host_is_changed(
        self, bench: Bench, place: Place, route: str
    ) -> None:
        """Byte for byte: nothing is added, removed or sorted."""
        place.answers(answer(b"ok"))
        raw = ODD_HEAD % place.path
        assert place.ask(route, raw).status == 200
        assert place.received()[0].raw == with_upstream_host(raw, bench)

    @pytest.mark.parametrize("route", ["auto", "record", "passthrough"])
    def test_a_request_with_a_body_is_passed_on_byte_for_byte(
        self, bench: Bench, place: Place, route: str
    ) -> None:
        place.answers(answer(b"ok"))
        raw = request(
            place.path,
            method=b"POST",
            headers=[(b"content-TYPE", b"application/json"), (b"X-A", b"1")],
            body=b'{ "b" : 1,\n "a":1.0 }\xff',
        )
        assert place.ask(route, raw).status == 200
        assert place.received()[0].raw == with_upstream_host(raw, bench)

    def test_hop_by_hop_fields_stay_behind(self, bench: Bench, place: Place) -> None:
        """RFC 9110 7.6.1: those it lists, and those that ``Connection`` names."""
        place.answers(answer(b"ok"))
        raw = (
            b"GET %b HTTP/1.1\r\nHost: client.test\r\nX-Kept: 1\r\n"
            b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
            b"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\n"
            b"X-Also-Kept: 2\r\n\r\n"
        ) % place.path
        assert place.ask("passthrough", raw).status == 200
        assert place.received()[0].headers == (
            (b"Host", b"127.0.0.1:%d" % bench.upstream.port),
            (b"X-Kept", b"1"),
            (b"X-Also-Kept", b"2"),
        )

    def test_keep_host_passes_the_clients_host_on(self, place: Place) -> None:
        place.answers(answer(b"ok"))
        raw = ODD_HEAD % place.path
        assert place.ask("keep_host", raw).status == 200
        assert place.received()[0].raw == raw

    def test_a_head_that_comes_byte_by_byte_is_the_same_request(
        self, bench: Bench, place: Place
    ) -> None:
        place.answers(answer(b"ok"))
        raw = ODD_HEAD % place.path
        with RawClient(bench.port("passthrough")) as client:
            for byte in raw:
                client.send(bytes([byte]))
            assert client.answer().body == b"ok"
        assert place.received()[0].raw == with_upstream_host(raw, bench)


TARGETS = [
    b"/%b/a%%2Fb",
    b"/%b/a/b",
    b"//%b/x",
    b"/%b//x",
    b"/a/../%b",
    b"/a/./%b/..",
    b"/%b",
    b"/%b/",
    b"/%b?",
    b"/%b?flag",
    b"/%b?flag=",
    b"/%b?a=1&a=2",
    b"/%b?a=2&a=1",
    b"/%b?a=1",
    b"/%b?a=1&",
    b"/%b?page=1",
    b"/%b?page=2",
    b"/%b?q=%%C3%%BC&r=a+b&s=a%%20b",
    b"/%b?x=/../?y",
    b"/%b;v=1/x;w=2",
    b"/%b?[0]=a",
]


class TestTargets:
    """Seed defects 1 and 9: the query was not in the key, paths were decoded and redirected."""

    def test_a_target_reaches_the_upstream_byte_for_byte_and_is_a_recording_of_its_own(
        self, place: Place
    ) -> None:
        """The answers tell the targets apart, live, in the same run, and in another process."""
        targets = [target % place.mark for target in TARGETS]
        place.answers(lambda received: answer(b"for " + received.target))
        for target in targets:
            assert place.ask("auto", request(target)).body == b"for " + target
        assert [received.target for received in place.received()] == targets
        for route in ("auto", "replay"):
            for target in targets:
                assert place.ask(route, request(target)).body == b"for " + target
        assert len(place.received()) == len(targets)
        assert len(place.recorded()) == len(targets)

    def test_equal_spellings_of_a_target_are_one_recording(self, place: Place) -> None:
        """RFC 3986, 6.2.2: the case of hex digits and `%7E` for `~`; each goes out as it came."""
        place.answers(lambda received: answer(b"for " + received.target))
        first, second = b"/%b/a%%2Fb/~" % place.mark, b"/%b/a%%2fb/%%7E" % place.mark
        for target in (first, second):
            assert place.ask("auto", request(target)).body == b"for " + first
            assert place.ask("replay", request(target)).body == b"for " + first
        assert place.ask("record", request(second)).body == b"for " + second

    def test_a_base_path_goes_before_the_target_as_it_is(self, place: Place) -> None:
        place.answers(answer(b"ok"))
        for target in (b"/%b/a%%2Fb?" % place.mark, b"//%b" % place.mark):
            place.ask("based", request(target))
        assert [received.target for received in place.received()] == [
            b"/base/%b/a%%2Fb?" % place.mark,
            b"/base//%b" % place.mark,
        ]

    def test_bytes_beyond_ascii_are_percent_encoded(self, place: Place) -> None:
        """Clients send them raw or encoded, and mean the same: one recording does for both."""
        place.counts()
        raw = b"/%b/m\xc3\xbcnchen?caf\xe9" % place.mark
        encoded = b"/%b/m%%C3%%BCnchen?caf%%E9" % place.mark
        for route in ("auto", "replay"):
            assert place.ask(route, request(raw)).body == b"1"
            assert place.ask(route, request(encoded)).body == b"1"
        assert [received.target for received in place.received()] == [encoded]

    def test_an_absolute_target_loses_its_origin(self, place: Place) -> None:
        """RFC 9112 3.2.2: every server takes the absolute form, which no origin needs."""
        place.answers(answer(b"ok"))
        place.ask("passthrough", request(b"http://elsewhere.test/%b?x" % place.mark))
        assert place.received()[0].target == b"/%b?x" % place.mark

    @pytest.mark.parametrize("target", [b"nothing", b"*", b"/a b", b"/x\x01", b"/x#part"])
    def test_a_malformed_target_is_refused(self, bench: Bench, place: Place, target: bytes) -> None:
        before = len(bench.upstream.received)
        assert place.ask("auto", request(target)).status == 400
        assert len(bench.upstream.received) == before


class TestConditions:
    def test_a_condition_makes_another_request(self, place: Place) -> None:
        """A 304 or a part is no answer for who asked for the whole."""
        parts = {
            b"If-None-Match": (b'"x"', b"304 Not Modified"),
            b"Range": (b"bytes=0-1", b"206 Partial Content"),
        }

        def script(received: Received) -> bytes:
            for name, (_, status) in parts.items():
                if received.header(name) is not None:
                    return answer(b"" if status.startswith(b"304") else b"wh", status)
            return answer(b"whole")

        place.answers(script)
        for route in ("auto", "auto", "replay"):
            for name, (value, status) in parts.items():
                got = place.ask(route, request(place.path, headers=[(name, value)]))
                assert got.line == b"HTTP/1.1 " + status
            assert place.ask(route).body == b"whole"
        assert len(place.received()) == 3


class TestMethods:
    """Any method that is a token is passed on; none is special but HEAD."""

    @pytest.mark.parametrize(
        "method",
        [b"PROPFIND", b"M-SEARCH", b"QUERY", b"BREW", b"OPTIONS", b"PATCH", b"get", b"x!#$"],
    )
    def test_every_method_is_relayed_recorded_and_replayed(
        self, place: Place, method: bytes
    ) -> None:
        place.counts()
        for body in (None, b"<body/>"):
            raw = request(place.path, method=method, body=body)
            live = place.ask("auto", raw)
            assert live.status == 200
            assert place.received()[-1].method == method
            assert place.received()[-1].body == (body or b"")
            asked = len(place.received())
            assert place.ask("auto", raw).body == live.body
            assert place.ask("replay", raw).body == live.body
            assert len(place.received()) == asked

    def test_connect_is_refused(self, bench: Bench, place: Place) -> None:
        before = bench.upstream.connections
        assert place.ask("auto", request(b"client.test:443", method=b"CONNECT")).status == 400
        assert bench.upstream.connections == before

    def test_methods_are_told_apart(self, place: Place) -> None:
        place.answers(lambda received: answer(received.method))
        for method in (b"GET", b"POST", b"DELETE", b"Get"):
            assert place.ask("auto", request(place.path, method=method)).body == method
        assert len(place.received()) == 4


CHUNKED_POST = (
    b"POST %b HTTP/1.1\r\nHost: client.test\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CHUNKS = b"5\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\nX-Sum: 12\r\nx-more: y\r\n\r\n"


class TestBodies:
    @pytest.mark.parametrize("route", ["auto", "record", "passthrough"])
    @pytest.mark.parametrize("bytewise", [False, True])
    def test_chunk_boundaries_and_trailers_are_kept(
        self, bench: Bench, place: Place, route: str, *, bytewise: bool
    ) -> None:
        """However the bytes are cut on their way: the sender's chunks are the receiver's."""
        place.answers(answer(b"ok"))
        head = CHUNKED_POST % place.path
        with RawClient(bench.port(route)) as client:
            client.send(head)
            for part in (
                [CHUNKS[at : at + 1] for at in range(len(CHUNKS))] if bytewise else [CHUNKS]
            ):
                client.send(part)
            assert client.answer().body == b"ok"
        assert place.received()[0].raw == with_upstream_host(head + CHUNKS, bench)

    def test_a_chunked_body_and_one_of_known_length_are_one_request(self, place: Place) -> None:
        """Framing is the hop's business, and no part of the match key."""
        place.counts()
        assert place.ask("auto", CHUNKED_POST % place.path + CHUNKS).body == b"1"
        again = request(place.path, method=b"POST", body=b"hello, world")
        assert place.ask("auto", again).body == b"1"

    def test_extensions_of_chunks_are_dropped(self, bench: Bench, place: Place) -> None:
        place.answers(answer(b"ok"))
        head = CHUNKED_POST % place.path
        extended = b"2;name=value\r\nhi\r\n0;last\r\n\r\n"
        assert place.ask("passthrough", head + extended).status == 200
        assert place.received()[0].raw == with_upstream_host(head + b"2\r\nhi\r\n0\r\n\r\n", bench)

    def test_binary_bodies_are_told_apart(self, place: Place) -> None:
        """Seed defect 7: binary request bodies became U+FFFD and matched each other."""
        place.counts()
        bodies = [b"\xff\xfe\x00", b"\xfe\xff\x00", b"\xef\xbf\xbd\xef\xbf\xbd\x00", b"\x80"]
        for _ in range(2):
            for number, body in enumerate(bodies, 1):
                raw = request(place.path, method=b"POST", body=body)
                assert place.ask("auto", raw).body == b"%d" % number
        assert [received.body for received in place.received()] == bodies
        for number, body in enumerate(bodies, 1):
            raw = request(place.path, method=b"POST", body=body)
            assert place.ask("replay", raw).body == b"%d" % number

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1])
    def test_bodies_of_every_size_are_recorded_and_found_again(
        self, place: Place, size: int
    ) -> None:
        """Around the sizes where bodies begin to be streamed, spooled, and kept beside."""
        place.answers(lambda received: answer(received.body[::-1]))
        body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        chunked = CHUNKED_POST % place.path + b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        raws = [request(place.path, method=b"POST", body=body), chunked]
        for route in ("auto", "auto", "replay"):
            for raw in raws if size else raws[:1]:
                assert place.ask(route, raw).body == body[::-1]
        other = request(place.path, method=b"POST", body=body + b"!")
        assert place.ask("replay", other).status == 599
        assert len(place.received()) == 1

    def test_numbers_keep_their_digits(self, place: Place) -> None:
        """Seed defect 8: numbers went through doubles, so that neighbouring ids matched."""
        place.counts()
        ids = (b"9007199254740992", b"9007199254740993", b"1.0", b"1", b"1e0")
        for _ in range(2):
            for number, one in enumerate(ids, 1):
                raw = request(place.path, method=b"POST", body=b'{"id": %b}' % one)
                assert place.ask("auto", raw).body == b"%d" % number

    def test_json_is_compared_in_canonical_form(self, place: Place) -> None:
        """Neither the order of members nor white space makes another request."""
        place.counts()
        kind = [(b"Content-Type", b"application/json")]
        spellings = (b'{"a": 1, "b": [1, 2]}', b'{"b":[1,2],"a":1}', b'{\n"a":1,"b":[1 ,2]}\n')
        for body in spellings:
            raw = request(place.path, method=b"POST", headers=kind, body=body)
            assert place.ask("auto", raw).body == b"1"
        other = request(place.path, method=b"POST", headers=kind, body=b'{"a":1,"b":[2,1]}')
        assert place.ask("auto", other).body == b"2"


class TestExpectations:
    RAW = (
        b"POST %b HTTP/1.1\r\nHost: client.test\r\n"
        b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    )

    @pytest.mark.parametrize("route", ["auto", "record", "passthrough"])
    def test_a_client_that_waits_for_100_gets_it_and_then_its_answer(
        self, bench: Bench, place: Place, route: str
    ) -> None:
        """In auto buffr needs the body first and answers itself; else the upstream's 100 counts."""
        place.answers(answer(b"ok"))
        with RawClient(bench.port(route)) as client:
            client.send(self.RAW % place.path)
            assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            client.send(b"body")
            assert client.answer().body == b"ok"
        received = place.received()[0]
        assert received.body == b"body"
        assert (received.header(b"Expect") is None) == (route == "auto")

    def test_a_replay_meets_the_expectation_too(self, bench: Bench, place: Place) -> None:
        place.counts()
        for port in (bench.port("auto"), bench.port("auto"), bench.port("replay")):
            with RawClient(port) as client:
                client.send(self.RAW % place.path)
                assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
                client.send(b"body")
                assert client.answer().body == b"1"

    def test_a_client_that_does_not_wait_gets_its_answer(self, place: Place) -> None:
        place.answers(answer(b"ok"))
        assert place.ask("auto", self.RAW % place.path + b"body").body == b"ok"

    def test_another_expectation_is_refused(self, place: Place) -> None:
        raw = request(place.path, headers=[(b"Expect", b"the-unexpected")])
        assert place.ask("auto", raw).status == 417
        assert not place.received()


class TestUpgrades:
    def test_an_offer_of_h2c_is_ignored(self, place: Place) -> None:
        """RFC 9110 7.8: a server may ignore the field; the answer is an ordinary one."""
        place.answers(answer(b"plain"))
        offer = [
            (b"Connection", b"Upgrade, HTTP2-Settings"),
            (b"Upgrade", b"h2c"),
            (b"HTTP2-Settings", b"AAMAAABkAAQAoAAAAAIAAAAA"),
        ]
        answered = place.ask("auto", request(place.path, headers=offer))
        assert (answered.status, answered.body) == (200, b"plain")
        assert [name for name, _ in place.received()[0].headers] == [b"Host"]
