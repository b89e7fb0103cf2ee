"""Rough keys: what has the same match key has the same rough key, or one that covers it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buffr.interaction import Body, IndexEntry, RecordedRequest
from buffr.matching.body import BodyKind
from buffr.matching.canonical_json import canonical
from buffr.matching.matcher import Matcher
from buffr.matching.rough import RoughHead, sought
from buffr.matching.rules import PRESETS, IgnoreRule, MatchRules, Normalisation
from buffr.message import Headers, Request
from buffr.origin import Origin

JSON: Headers = ((b"Content-Type", b"application/json"),)
SECRET = b"sk-proj-1a2B3c4D5e6F7g8H9i0J1a2B3c4D5e6F7g8H9i0J"

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


def matcher(**rules: object) -> Matcher:
    return Matcher(MatchRules(**rules), with_origin=True)  # type: ignore[arg-type]  # of any kind


def covers(of: Matcher, recorded: RecordedRequest, live: RecordedRequest) -> bool:
    """Whether a lookup of a live request looks at a recording that it may match."""
    rough = of.rough(recorded)
    request = Request(live.method, live.target, live.headers)
    identity = of.live(request, live.body.data, Origin("https", "api.test", 443))
    digest = of.recorded_key(IndexEntry(recorded)).digest
    found = [key for key in (*identity.keys, *identity.headerless) if key.digest == digest]
    assert found, "these are two requests"
    if rough is None:
        return True
    wanted = [sought(key.parts) for key in found]
    return all(one.head in (None, rough.head) and one.rest in (None, rough.rest) for one in wanted)


def get(target: bytes) -> RecordedRequest:
    return RecordedRequest(b"GET", target, (), Body(), "https", "api.test", 443)


def post(body: bytes, target: bytes = b"/v1/items", headers: Headers = JSON) -> RecordedRequest:
    return RecordedRequest(b"POST", target, headers, Body.of(body), "https", "api.test", 443)


class TestBodies:
    @given(DOCUMENTS, st.sampled_from([None, 2]), st.booleans(), st.booleans())
    @example({"a": '\b\f\n\r\t"\\/\x7f\u2028é', "b": -0.0}, None, False, True)
    def test_any_spelling_of_a_document_is_looked_at(
        self, document: object, indent: int | None, sort: bool, ascii_only: bool
    ) -> None:
        text = json.dumps([document], indent=indent, sort_keys=sort, ensure_ascii=ascii_only)
        other = json.dumps([document], separators=(",", ":"), ensure_ascii=not ascii_only)
        try:
            recorded, live = text.encode(), other.encode()
        except UnicodeEncodeError:
            return
        assert covers(matcher(), post(recorded), post(live))

    @given(st.text('\\"/bnu0041{}[]:, -Ee\x01\x1f', max_size=24))
    def test_what_only_looks_like_a_document(self, text: str) -> None:
        body = b"{" + text.encode()
        assert covers(matcher(), post(body), post(body))

    @given(st.binary(max_size=20))
    def test_any_bytes(self, body: bytes) -> None:
        assert covers(matcher(), post(body), post(body))

    def test_canonical_json_has_the_same_characters(self) -> None:
        head = RoughHead(BodyKind(), (), b"")
        for text in (b'{"b": 1.50, "a": [10, "x y"]}', b'{"a":-0,"a":"\\b\\f"}', b'["\\\\n"]'):
            spelled = canonical(text)
            assert spelled is not None
            assert head.key(text) == head.key(spelled)

    def test_others_are_told_apart(self) -> None:
        bodies = [b'{"user": "%06d", "text": "the same in all of them"}' % n for n in range(20_000)]
        rough = {matcher().rough(post(body)) for body in bodies}
        assert None not in rough
        assert len(rough) > 19_990

    def test_a_token_that_is_left_out(self) -> None:
        first, second = (
            b'{"n": 1, "clientToken": "%b"}' % token
            for token in (
                b"0f8fad5b-d9cb-469f-a165-70867728950e",
                b"7c9e6679-7425-40de-944b-e07fc1f90ae7",
            )
        )
        assert covers(matcher(), post(first), post(second))
        assert covers(matcher(), post(b'{"n": 1}'), post(second))
        assert covers(matcher(), post(first), post(b'{"n": 1}'))


class TestCredentials:
    @pytest.mark.parametrize(
        ("recorded", "live"),
        [
            (post(b'{"api_key": "%b"}' % SECRET), post(b'{"api_key": "another-key-of-mine-1"}')),
            (post(b'{"text": "use %b"}' % SECRET), post(b'{"text": "use %b"}' % SECRET[::1])),
            (get(b"/bot%b/send" % SECRET), get(b"/bot%b/send" % SECRET)),
            (get(b"/v1?api_key=%b&a=1" % SECRET), get(b"/v1?api_key=dummy&a=1")),
            (get(b"/v1?key=%b&a=1" % SECRET), get(b"/v1?key=dummy&a=1")),
            (get(b"/v1?key=en"), get(b"/v1?key=en")),
        ],
    )
    def test_a_recording_in_clear_is_looked_at(
        self, recorded: RecordedRequest, live: RecordedRequest
    ) -> None:
        assert covers(matcher(), recorded, live)

    def test_a_credential_of_its_own_header_somewhere_else(self) -> None:
        authorized = (*JSON, (b"Authorization", b"Bearer some-words-that-are-secret"))
        recorded = post(b'{"echo": "some-words-that-are-secret"}', headers=authorized)
        others = (*JSON, (b"Authorization", b"Bearer other-words-that-are-secret"))
        live = post(b'{"echo": "other-words-that-are-secret"}', headers=others)
        assert covers(matcher(), recorded, live)


class TestTargets:
    @pytest.mark.parametrize(
        ("recorded", "live"),
        [
            (b"/a%7Eb?q=%c3%a9", b"/a~b?q=%C3%A9"),
            (b"/a?b=1&a=2", b"/a?b=1&a=2"),
            (b"/a?", b"/a?"),
            (b"/a?b=1&X-Amz-Signature=abc&X-Amz-Credential=x&X-Amz-Algorithm=y", None),
            (b"/a?ClientToken=0f8fad5b-d9cb-469f-a165-70867728950e&b=1", None),
        ],
    )
    def test_equal_targets(self, recorded: bytes, live: bytes | None) -> None:
        assert covers(matcher(), get(recorded), get(recorded if live is None else live))

    def test_fields_in_another_order(self) -> None:
        rules = Normalisation(query_order=True)
        assert covers(matcher(normalise=rules), get(b"/a?b=1&a=2"), get(b"/a?a=2&b=1"))

    def test_rules_that_leave_something_out(self) -> None:
        path = IgnoreRule(part="request.path", pattern="[0-9]+")
        assert covers(matcher(ignore=(path,)), get(b"/a/1"), get(b"/a/2"))
        query = IgnoreRule(part="request.query", pattern="[0-9]+")
        assert covers(matcher(ignore=(query,)), get(b"/a?b=1"), get(b"/a?b=2"))
        body = IgnoreRule(part="request.body", pattern="[0-9]+")
        assert covers(matcher(ignore=(body,)), post(b'{"a": 1}'), post(b'{"a": 2}'))
        assert covers(matcher(query=("b",)), get(b"/a?b=1"), get(b"/a?b=2"))
        assert covers(matcher(json=("$.a",)), post(b'{"a": 1}'), post(b'{"a": 2}'))

    @pytest.mark.parametrize("name", sorted(PRESETS))
    def test_presets(self, name: str) -> None:
        preset = PRESETS[name]
        rules = matcher(
            on=preset.on, query_pairs=preset.query_pairs, bodiless=preset.bodiless, json=preset.json
        )
        assert covers(rules, get(b"/a?b=1&c="), get(b"/a?b=1&c="))
        assert covers(rules, post(b'{"a": 1}'), post(b'{ "a":1}'))
        if preset.query_pairs:
            assert covers(rules, get(b"/a?b=1&c=%41&d="), get(b"/a?c=A&b=1"))

    def test_parts_of_the_origin_that_a_recording_lacks(self) -> None:
        assert covers(matcher(), RecordedRequest(b"GET", b"/a"), get(b"/a"))
        assert covers(matcher(), RecordedRequest(b"GET", b"/a", host="API.test"), get(b"/a"))
