"""Requests that are one have one key; others differ; a recording has its request's key."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from long_bodies import live_keys

from buffr.interaction import Body, HTTPInteraction, IndexEntry, RecordedRequest
from buffr.matching.body import IN_MEMORY
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher, MatchRules, differences, legal_target
from buffr.message import Headers, Request, ResponseHead
from buffr.origin import Origin
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

JSON: Headers = ((b"Content-Type", b"application/json"),)
REDACTOR = Redactor(RedactionRules(), b"salt")
ORIGIN = Origin("https", "api.example.org", 443)


def reverse() -> Matcher:
    return Matcher(MatchRules(), with_origin=False)


def key(
    target: bytes, body: bytes = b"", headers: Headers = JSON, method: bytes = b"POST"
) -> MatchKey:
    return reverse().live(Request(method, target, headers), body).keys[0]


def stored(request: RecordedRequest) -> RecordedRequest:
    answer = ResponseHead(200, b"OK", ())
    return REDACTOR.interaction(HTTPInteraction(request, answer)).request


class TestLive:
    def test_parts(self) -> None:
        """Behind a reverse port a key consists of method, path, query and body, in this order."""
        assert key(b"/p?a=1", b"[ 1 ]").parts == (
            ("method", b"POST"),
            ("path", b"/p"),
            ("query", b"?a=1"),
            ("body", b"[1]"),
        )

    def test_digest_is_of_the_parts(self) -> None:
        """The digest that the matcher computes is the one that the parts give."""
        for body in (b"", b"[ 1 ]", b"x" * 1000):
            made = key(b"/p", body)
            assert made.digest == MatchKey(made.parts).digest

    @pytest.mark.parametrize(
        "targets",
        [
            (b"/x", b"/x/", b"/x?", b"/x??", b"//x", b"/y/../x", b"/X"),
            (b"/a/b", b"/a%2Fb", b"/a%252Fb", b"/a%5Cb"),
            (b"/a/./b", b"/a/b", b"/a//b", b"/a/../a/b"),
            (
                b"/x?a=1&b=2",
                b"/x?b=2&a=1",
                b"/x?a=1&a=2",
                b"/x?a=2&a=1",
                b"/x?a",
                b"/x?a=",
                b"/x?A",
            ),
            (b"/x?sig=1", b"/x?sig=1&sig=1", b"/x?sig", b"/x?SIG=1", b"/x"),
            (b"/x?key=en", b"/x?key=de", b"/x?key=", b"/x?key", b"/x?KEY=en", b"/x?token=en"),
        ],
    )
    def test_targets_are_exact(self, targets: tuple[bytes, ...]) -> None:
        """No two of these are one request."""
        assert len({key(target).digest for target in targets}) == len(targets)

    def test_method_and_body(self) -> None:
        """Both count; the spelling of JSON does not."""
        assert key(b"/", method=b"GET").digest != key(b"/", method=b"HEAD").digest
        assert key(b"/", b"[1]").digest != key(b"/", b"[1.0]").digest
        assert key(b"/", b"[1]").digest == key(b"/", b"[ 1 ]", headers=()).digest

    def test_dummy_key(self) -> None:
        """What a real key recorded is found with a dummy one, in header and query."""
        real = key(b"/x?key=sk-real-0123456789abcdef&a=1", headers=((b"Authorization", b"A"),))
        dummy = Request(b"POST", b"/x?key=dummy&a=1", ((b"Authorization", b"B"),))
        assert real.digest in [each.digest for each in reverse().live(dummy, b"").keys]
        assert b"real" not in b"".join(value for _, value in real.parts)

    def test_remembered(self) -> None:
        """A request that comes again has the same key, also when much came in between."""
        matcher = reverse()
        request = Request(b"POST", b"/p", JSON)
        first = matcher.live(request, b"[ 1 ]").keys
        assert matcher.live(request, b"[ 1 ]").keys is first
        for number in range(5000):
            matcher.live(Request(b"POST", b"/%d" % number, JSON), b"%d" % number)
        assert matcher.live(request, b"[ 1 ]").keys[0].digest == first[0].digest

    def test_ten_thousand_bodies_are_remembered(self) -> None:
        """Of a kilobyte each, asked for in turn: none is read a second time."""
        matcher, request = reverse(), Request(b"POST", b"/chat", JSON)
        bodies = [b'{"n": %d, "pad": "%b"}' % (n, b"x" * 1000) for n in range(10_000)]
        first = [matcher.live(request, body) for body in bodies]
        again = [matcher.live(request, body) for body in bodies]
        assert all(one is other for one, other in zip(first, again, strict=True))
        assert len({identity.keys[0].digest for identity in first}) == len(bodies)

    def test_heads_are_kept_apart(self) -> None:
        """One body under two content types, targets or methods: what is remembered fits each."""
        matcher = reverse()
        kinds: tuple[Headers, ...] = (JSON, ((b"content-type", b"text/plain"),))
        for _ in range(2):
            found = {
                matcher.live(Request(method, target, kind), b" 1").keys[0].digest
                for kind in kinds
                for method in (b"POST", b"PUT")
                for target in (b"/a", b"/b")
            }
            assert len(found) == 8

    def test_body_in_pieces(self) -> None:
        """A body that was spooled has the key that it has in memory, and one by its bytes."""
        made, exact = live_keys(
            reverse(), Request(b"POST", b"/", JSON), b"[" + b" " * IN_MEMORY + b"1]"
        )
        assert made.digest == key(b"/", b"[1]").digest != exact.digest


class TestForward:
    MATCHER = Matcher(MatchRules(), with_origin=True)

    def live(self, origin: Origin) -> tuple[MatchKey, ...]:
        return self.MATCHER.live(Request(b"GET", b"/p", ()), b"", origin).keys

    def test_exact_to_lenient(self) -> None:
        """Keys leave out port, scheme and host in turn."""
        names = [[name for name, _ in made.parts][:-4] for made in self.live(ORIGIN)]
        assert names == [["scheme", "host", "port"], ["scheme", "host"], ["host"], []]

    def test_absent_parts(self) -> None:
        """A recording that lacks parts is found by one of the keys."""
        full = RecordedRequest(b"GET", b"/p", (), Body(), "https", "API.example.org", 443)
        portless = evolve(full, port=None)
        recordings = (full, portless, evolve(portless, scheme=None))
        made = [each.digest for each in self.live(ORIGIN)]
        assert [self.MATCHER.recorded(each).digest for each in recordings] == made[:3]
        assert [self.MATCHER.recorded_key(IndexEntry(each)).digest for each in recordings] == made[
            :3
        ]

    def test_origins_are_kept_apart(self) -> None:
        """Another port, scheme or host is another request."""
        others = [evolve(ORIGIN, port=8443), evolve(ORIGIN, scheme="http"), Origin("https", "b", 1)]
        exact = {self.live(origin)[0].digest for origin in (ORIGIN, *others)}
        assert len(exact) == 4


class TestDistinctCredentials:
    RULES = MatchRules(credentials="distinct")
    MATCHER = Matcher(RULES, with_origin=False, salt=lambda: REDACTOR.salt)

    def made(self, target: bytes, headers: Headers) -> bytes:
        return self.MATCHER.live(Request(b"GET", target, headers), b"").keys[0].digest

    def test_distinguished(self) -> None:
        """Two users' requests are two, by query and by header."""
        one, two = b"one-0123456789abcdefghij", b"two-0123456789abcdefghij"
        found = {
            self.made(b"/?key=" + query, ((b"X-Api-Key", header),))
            for query in (one, two)
            for header in (one, two)
        }
        assert len(found) == 4

    def test_recording_has_its_key(self) -> None:
        """The pseudonyms that were stored say whose request it was."""
        headers = ((b"Cookie", b"sid=0123456789abcdefghij"), (b"Authorization", b"Bearer x"))
        target = b"/?key=0123456789abcdefghijkl"
        recorded = self.MATCHER.recorded(stored(RecordedRequest(b"GET", target, headers)))
        assert recorded.digest == self.made(target, headers)

    def test_a_replayed_token_is_its_own(self) -> None:
        """What an answer gave as ``access_token`` comes back in a header, and in text."""
        token = b"0123456789abcdefghij"
        given = REDACTOR.pseudonym(b"access_token", token)

        def sent(value: bytes) -> RecordedRequest:
            body = Body.of(b'{"note": "as %b says"}' % value)
            return RecordedRequest(
                b"GET", b"/" + value, ((b"Authorization", b"Bearer " + value),), body
            )

        def live(value: bytes) -> bytes:
            request = sent(value)
            asked = Request(b"GET", request.target, request.headers)
            return self.MATCHER.live(asked, request.body.data).keys[0].digest

        recorded = self.MATCHER.recorded(REDACTOR.interaction(_answered(sent(token))).request)
        assert recorded.digest == live(token) == live(given)
        assert recorded.digest != live(b"another0123456789abcdefghij")

    def test_the_salt_may_change(self) -> None:
        """When the cassette is read again and is another one."""
        salt = b"one"
        matcher = Matcher(self.RULES, with_origin=False, salt=lambda: salt)
        request = Request(b"GET", b"/", ((b"Authorization", b"Bearer 0123456789abcdefghij"),))
        before = matcher.live(request, b"").keys[0].digest
        salt = b"other"
        after = matcher.live(request, b"").keys[0].digest
        stored_request = RecordedRequest(
            b"GET", b"/", Redactor(RedactionRules(), salt).headers(request.headers)
        )
        assert before != after == matcher.recorded(stored_request).digest

    def test_needs_a_salt(self) -> None:
        """Without a salt they cannot be distinguished."""
        with pytest.raises(ValueError):
            Matcher(MatchRules(credentials="distinct"), with_origin=False)


def _answered(request: RecordedRequest) -> HTTPInteraction:
    return HTTPInteraction(request, ResponseHead(200, b"OK", ()), Body.of(b""))


TARGETS = st.text("abk=&;?#%26y[]/ü key", max_size=20).map(lambda text: b"/" + text.encode())
BODIES = st.one_of(
    st.binary(max_size=20),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3).map(
        lambda value: json.dumps(value).encode()
    ),
)


class TestRecorded:
    @given(TARGETS, BODIES, st.sampled_from([JSON, (), ((b"content-type", b"text/plain"),)]))
    def test_redacted_or_not(self, target: bytes, body: bytes, headers: Headers) -> None:
        """A live request and its recording, redacted or not, have the same key."""
        live = key(target, body, headers).digest
        recorded = RecordedRequest(b"POST", target, headers, Body.of(body))
        assert reverse().recorded(recorded).digest == live
        assert reverse().recorded(stored(recorded)).digest == live

    @given(TARGETS, TARGETS)
    def test_different_targets(self, one: bytes, two: bytes) -> None:
        """Without credentials or illegal bytes two targets are two requests."""
        if not any(mark in one + two for mark in (b"k", b"#", b" ", b"%", b"[", b"]", b"\xc3")):
            assert (key(one).digest == key(two).digest) is (one == two)

    @given(
        st.lists(st.sampled_from([b"a", b"=", b"#", b"key", b"?", b"&", b";", b"%"]), max_size=8)
    )
    def test_made_legal(self, pieces: list[bytes]) -> None:
        """A recording whose illegal bytes were percent-encoded after redaction has it too."""
        target = b"/?" + b"".join(pieces)
        redacted = stored(RecordedRequest(b"POST", target, JSON))
        legal = evolve(redacted, target=legal_target(redacted.target))
        assert reverse().recorded(legal).digest == key(target).digest

    def test_decoded_path(self) -> None:
        """A path that the Go program decoded is found by the request that encodes it."""
        recorded = reverse().recorded(RecordedRequest(b"POST", "/ü b".encode(), JSON))
        assert recorded.digest == key(b"/%C3%BC%20b").digest


class TestDifferences:
    def test_names(self) -> None:
        """The parts that differ, in order; none for one request."""
        assert differences(key(b"/a?x", b"1"), key(b"/b?x", b"2")) == ("path", "body")
        assert differences(key(b"/a"), key(b"/a")) == ()

    def test_absent(self) -> None:
        """A part of the origin that one key lacks is not a difference, another part is."""
        full = MatchKey((("scheme", b"https"), ("host", b"a"), ("header range", b"1")))
        assert differences(full, MatchKey((("host", b"b"),))) == ("host", "header range")
        assert differences(MatchKey((("host", b"b"),)), full) == ("host", "header range")
