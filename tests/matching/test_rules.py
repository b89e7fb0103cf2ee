"""The rules of the settings, as the keys of requests show them."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.interaction import Body, Direction, Frame, FrameKind, HTTPInteraction, RecordedRequest
from buffr.matching.matcher import Matcher
from buffr.matching.rules import IgnoreRule, MatchRules, Normalisation
from buffr.message import Headers, Request, ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

JSON = (b"Content-Type", b"application/json")
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
GZIP = (b"Content-Encoding", b"gzip")


class Asked:
    """A matcher with rules, and the digests it gives."""

    def __init__(self, rules: MatchRules) -> None:
        self.matcher = Matcher(rules, with_origin=False, salt=lambda: b"salt")

    def __call__(
        self, target: bytes = b"/", body: bytes = b"", *headers: tuple[bytes, bytes]
    ) -> bytes:
        key = self.matcher.live(Request(b"POST", target, headers), body).keys[0]
        redactor = Redactor(RedactionRules(), b"salt")
        request = RecordedRequest(b"POST", target, headers, Body.of(body))
        stored = redactor.interaction(HTTPInteraction(request, ResponseHead(200, b"", ()))).request
        assert self.matcher.recorded(stored).digest == key.digest
        return key.digest


def ignoring(part: str, pattern: str, replace_with: str = "") -> Asked:
    return Asked(
        MatchRules(ignore=(IgnoreRule(part=part, pattern=pattern, replace_with=replace_with),))
    )


class TestHeadersThatDoNotCount:
    def test_neither_their_value_nor_their_presence(self) -> None:
        """Of those in the key, those that ``match.header`` names, and credentials."""
        rules = RedactionRules()
        for rule in (
            MatchRules(ignore_header=("depth",)),
            MatchRules(ignore_header=("depth",), header=("depth",)),
        ):
            asked = Asked(rule)
            assert asked(b"/", b"", (b"Depth", b"1")) == asked(b"/", b"", (b"depth", b"0"))
            assert asked(b"/", b"", (b"Depth", b"1")) == asked()
        plain, distinct = (
            Asked(MatchRules(redaction=rules, credentials="distinct", ignore_header=ignored))
            for ignored in ((), ("authorization",))
        )
        one, other = (b"Authorization", b"Bearer " + b"k" * 30), (b"Authorization", b"Bearer 1")
        assert plain(b"/", b"", one) != plain(b"/", b"", other)
        assert distinct(b"/", b"", one) == distinct(b"/", b"", other) == distinct()

    def test_nor_a_type_that_would(self) -> None:
        """The body is read by it all the same."""
        soap = b"application/soap+xml; action=urn:a"
        asked, plain = Asked(MatchRules(ignore_header=("content-type",))), Asked(MatchRules())
        one, other = (b"Content-Type", soap), (b"Content-Type", soap.replace(b":a", b":b"))
        assert plain(b"/", b"<a/>", one) != plain(b"/", b"<a/>", other)
        assert asked(b"/", b"<a/>", one) == asked(b"/", b"<a/>", other)
        assert asked(b"/", b'{"a": 1}', JSON) == asked(b"/", b'{"a":1}', JSON)

    def test_nor_does_one_select_among_variants(self) -> None:
        matcher = Asked(MatchRules(ignore_header=("x-api-version",))).matcher
        request = Request(b"GET", b"/", ((b"X-Api-Version", b"2"),))
        assert (
            matcher.live(request, b"").selecting
            == matcher.live(Request(b"GET", b"/", ()), b"").selecting
        )


class TestIgnore:
    def test_body(self) -> None:
        """The rule comes before the canonical form, as in the Go program."""
        asked = ignoring("request.body", "run-[0-9]{4}", "<RUN>")
        one = asked(b"/", b'{"id": "run-0001", "a": 1}', JSON)
        assert one == asked(b"/", b'{"a":1,"id":"run-0002"}', JSON)
        assert one != asked(b"/", b'{"a":1,"id":"run-x"}', JSON)

    def test_under_a_coding(self) -> None:
        """And after the content coding is undone."""
        asked = ignoring("request.body", "run-[0-9]+")
        one, two = (gzip.compress(body, mtime=7) for body in (b"run-1", b"run-2"))
        assert asked(b"/", one, GZIP) == asked(b"/", two, GZIP)

    def test_path_and_query(self) -> None:
        """Each on its own."""
        path, query = ignoring("request.path", "[0-9]+", "N"), ignoring("request.query", "[0-9]+")
        assert path(b"/u/1?a=1") == path(b"/u/22?a=1") != path(b"/u/1?a=2")
        assert query(b"/u/1?a=1") == query(b"/u/1?a=22") != query(b"/u/2?a=1")

    def test_header(self) -> None:
        """Of a header that counts."""
        rules = MatchRules(
            header=("X-Trace",),
            ignore=(IgnoreRule(part="request.header.x-trace", pattern="[0-9]+"),),
        )
        asked = Asked(rules)
        assert asked(b"/", b"", (b"X-Trace", b"a1")) == asked(b"/", b"", (b"x-trace", b"a2"))
        assert asked(b"/", b"", (b"X-Trace", b"a1")) != asked(b"/", b"", (b"x-trace", b"b1"))

    def test_frames(self) -> None:
        """Frames of WebSocket clients have rules of their own."""
        asked = ignoring("websocket.frame", "id-[0-9]+", "id")
        frame = Frame(Direction.CLIENT, FrameKind.TEXT, Body.of(b"id-1 id-2"))
        assert asked.matcher.frames.same(frame, FrameKind.TEXT, b"id-3 id-4")
        assert not asked.matcher.frames.same(frame, FrameKind.TEXT, b"id-3 no")

    def test_warnings(self) -> None:
        """Invalid rules are named; the matcher works without them."""
        asked = ignoring("request.body", "(")
        assert len(asked.matcher.warnings) == 1
        assert asked(b"/", b"a") != asked(b"/", b"b")


class TestFields:
    def test_query(self) -> None:
        """Query fields that do not count may as well be absent."""
        asked = Asked(MatchRules(query=("ts", "no nce")))
        assert asked(b"/?a=1&ts=5&no%20nce=x") == asked(b"/?no+nce&a=1") == asked(b"/?a=1")
        assert asked(b"/?ts=1") == asked(b"/")
        assert asked(b"/?") != asked(b"/")

    def test_form(self) -> None:
        """So may form fields; the order of the others counts, their spelling does not."""
        asked = Asked(MatchRules(form=("ts",)))
        assert asked(b"/", b"a=b+c&ts=1", FORM) == asked(b"/", b"a=b%20c&t%73=2", FORM)
        assert asked(b"/", b"a=1&b=2", FORM) != asked(b"/", b"b=2&a=1", FORM)
        assert asked(b"/", b"a=1&ts=1") != asked(b"/", b"a=1&ts=2")

    def test_form_credentials(self) -> None:
        """A token request with a dummy secret finds what a real one recorded."""
        asked = Asked(MatchRules())
        form = b"grant_type=client_credentials&client_secret="
        assert asked(b"/", form + b"real", FORM) == asked(b"/", form + b"dummy", FORM)

    def test_json(self) -> None:
        """What the JSONPaths find may as well be absent."""
        pytest.importorskip("jsonpath_rfc9535")
        asked = Asked(MatchRules(json=("$.metadata.run_id", "$.messages[*].id", "$..ts")))
        one = b'{"metadata": {"run_id": 1}, "messages": [{"id": 2, "x": 1.50}], "a": {"ts": 1}}'
        two = b'{"metadata": {}, "messages": [{"x": 1.50}], "a": {"ts": 2.0}}'
        assert asked(b"/", one, JSON) == asked(b"/", two, JSON)
        assert asked(b"/", one, JSON) != asked(b"/", one.replace(b"1.50", b"1.5"), JSON)
        assert asked(b"/", b"not json 1", JSON) != asked(b"/", b"not json 2", JSON)

    def test_header(self) -> None:
        """A named header counts, sent or not; credentials by their pseudonyms."""
        asked = Asked(MatchRules(header=("Accept", "Authorization", "Referer")))
        assert asked(b"/", b"", (b"Accept", b"a")) != asked(b"/", b"", (b"Accept", b"b")) != asked()
        secrets = [b"Bearer %b" % (letter * 24) for letter in (b"a1", b"b2")]
        mine, yours = (asked(b"/", b"", (b"Authorization", secret)) for secret in secrets)
        assert len({mine, yours, asked()}) == 3
        two = ((b"accept", b"a"), (b"Accept", b"b"))
        assert asked(b"/", b"", *two) == asked(b"/", b"", (b"Accept", b"a, b"))
        referer = b"https://h/?api_key=a1b2c3d4e5f6a7b8c9"
        assert asked(b"/", b"", (b"Referer", referer + b"1")) == asked(
            b"/", b"", (b"Referer", referer + b"2")
        )


class TestNormalisation:
    @pytest.mark.parametrize(
        "name", [b"Range", b"if-none-match", b"If-Modified-Since", b"If-Range"]
    )
    def test_conditions(self, name: bytes) -> None:
        """A request for a part, or under a condition, is another request."""
        asked = Asked(MatchRules())
        assert len({asked(b"/", b"", (name, b"1")), asked(b"/", b"", (name, b"2")), asked()}) == 3
        off = Asked(MatchRules(normalise=Normalisation(conditions=False)))
        assert off(b"/", b"", (name, b"1")) == off()

    def test_content_coding(self) -> None:
        """A compressed body counts as its content, whatever the encoder, if it can be decoded."""
        asked = Asked(MatchRules())
        body = json.dumps({"a": list(range(100))}).encode()
        one, two = gzip.compress(body, 1, mtime=1), gzip.compress(body, 9, mtime=2)
        assert asked(b"/", one, JSON, GZIP) == asked(b"/", two, GZIP) == asked(b"/", body)
        assert asked(b"/", one[:-1], GZIP) != asked(b"/", two[:-1], GZIP)
        off = Asked(MatchRules(normalise=Normalisation(content_coding=False)))
        assert off(b"/", one, GZIP) != off(b"/", two, GZIP)

    def test_multipart_under_a_coding(self) -> None:
        """The boundary makes no difference there either."""
        asked = Asked(MatchRules())
        found = {
            asked(
                b"/",
                gzip.compress(b"--%b\r\n\r\n1\r\n--%b--\r\n" % (boundary, boundary)),
                (b"Content-Type", b"multipart/form-data; boundary=" + boundary),
                GZIP,
            )
            for boundary in (b"abc", b"defg")
        }
        assert len(found) == 1

    def test_signatures(self) -> None:
        """A pre-signed URL is the URL."""
        asked = Asked(MatchRules())
        signed = b"/o?v=1&X-Amz-Signature=%b&X-Amz-Date=%b&X-Amz-Credential=AKIA"
        assert asked(signed % (b"a", b"1")) == asked(signed % (b"b", b"2")) == asked(b"/o?v=1")
        off = Asked(MatchRules(normalise=Normalisation(signatures=False)))
        assert off(signed % (b"a", b"1")) != off(signed % (b"b", b"2"))

    @pytest.mark.parametrize(
        ("off", "one", "two", "header"),
        [
            (Normalisation(json=False), b'{"a": 1}', b'{"a":1}', JSON),
            (Normalisation(form=False), b"a=b+c", b"a=b%20c", FORM),
        ],
    )
    def test_off(
        self, off: Normalisation, one: bytes, two: bytes, header: tuple[bytes, bytes]
    ) -> None:
        """What is switched off is compared exactly."""
        exact, alike = Asked(MatchRules(normalise=off)), Asked(MatchRules())
        assert exact(b"/", one, header) != exact(b"/", two, header)
        assert alike(b"/", one, header) == alike(b"/", two, header)

    def test_multipart_off(self) -> None:
        """Multipart by its exact bytes."""
        asked = Asked(MatchRules(normalise=Normalisation(multipart=False)))
        found = {
            asked(b"/", b"--%b--" % each, (b"Content-Type", b"multipart/mixed; boundary=" + each))
            for each in (b"a", b"b")
        }
        assert len(found) == 2


HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"Range", b"Content-Type", b"Content-Encoding", b"X-A", b"Cookie"]),
        st.sampled_from([b"gzip", b"application/json", b"a=1", b"multipart/mixed; boundary=a"]),
    ),
    max_size=4,
).map(tuple)


class TestRecorded:
    ALL = Asked(
        MatchRules(
            ignore=(
                IgnoreRule(part="request.body", pattern="[0-9]+", replace_with="N"),
                IgnoreRule(part="request.query", pattern="b", replace_with="B"),
            ),
            query=("ts",),
            form=("ts",),
            header=("x-a", "cookie"),
        )
    )

    @given(
        st.text("abkey=&ts%5", max_size=12).map(lambda text: b"/?" + text.encode()),
        st.one_of(st.binary(max_size=12), st.sampled_from([b'{"a": 1}', b"--a\r\n\r\n1--a--"])),
        HEADERS,
    )
    def test_has_its_requests_key(self, target: bytes, body: bytes, headers: Headers) -> None:
        """Under all rules a live request and its redacted recording have one key."""
        self.ALL(target, body, *headers)
