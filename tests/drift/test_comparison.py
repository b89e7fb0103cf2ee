from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from drift_answers import EVENTS, JSON, events, exchange
from hypothesis import given
from hypothesis import strategies as st

from buffr.drift.comparison import Comparison
from buffr.drift.finding import Severity
from buffr.drift.noise import Noise, VolatileRule
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)

BREAKING, ADDITION, VALUE = Severity.BREAKING, Severity.ADDITION, Severity.VALUE

Told = list[tuple[Severity, str, str]]


def told(old: Interaction, new: Interaction, comparison: Comparison | None = None) -> Told:
    """The findings: how bad, where, and what."""
    found = (comparison or Comparison()).of(old, new)
    return [(one.severity, f"{one.part} {one.path}".rstrip(), one.what) for one in found]


def in_json(old: Any, new: Any) -> Told:
    return told(exchange(old), exchange(new))


class TestStructure:
    def test_the_same_is_no_drift(self) -> None:
        assert in_json({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) == []

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ({"a": 1, "b": 2}, {"a": 1}, (BREAKING, "body $.b", "is gone")),
            ({"a": 1}, {"a": 1, "b": 2}, (ADDITION, "body $.b", "is new")),
            ({"a": 1}, {"a": "x"}, (BREAKING, "body $.a", "type changed")),
            ({"a": 1}, {"a": [1]}, (BREAKING, "body $.a", "type changed")),
            ({"a": "x"}, {"a": None}, (BREAKING, "body $.a", "is null")),
            ({"a": None}, {"a": "x"}, (VALUE, "body $.a", "is no longer null")),
            ({"a": 1}, {"a": 2}, (VALUE, "body $.a", "differs")),
            ({"a": [1]}, {"a": [1, 2]}, (VALUE, "body $.a", "differs")),
            ([{"a": 1}], [{"b": 1}], None),
            ({"state": "open"}, {"state": "held"}, (ADDITION, "body $.state", "has a new value")),
            ({"note": "a b"}, {"note": "c d"}, (VALUE, "body $.note", "differs")),
        ],
    )
    def test_one_change_is_one_finding(
        self, old: Any, new: Any, expected: tuple[Severity, str, str] | None
    ) -> None:
        if expected is None:
            assert in_json(old, new) == [
                (BREAKING, "body $[*].a", "is gone"),
                (ADDITION, "body $[*].b", "is new"),
            ]
        else:
            assert in_json(old, new) == [expected]

    def test_elements_are_compared_by_what_they_have_in_common(self) -> None:
        """Neither their number nor their order is structure."""
        old = {"items": [{"id": n, "tag": "x"} for n in range(3)]}
        new = {"items": [{"id": n, "tag": "x"} for n in range(5)]}
        assert in_json(old, new) == [(VALUE, "body $.items", "differs")]
        del new["items"][4]["tag"]
        assert (BREAKING, "body $.items[*].tag", "is not always there any more") in in_json(
            old, new
        )

    def test_an_optional_member_may_be_gone(self) -> None:
        old = [{"a": 1, "b": 1}, {"a": 1}]
        assert in_json(old, [{"a": 1}, {"a": 1}]) == [
            (VALUE, "body $[*].b", "is gone; it was not always there")
        ]

    def test_nullability(self) -> None:
        assert in_json([1, 2], [1, None]) == [(BREAKING, "body $[*]", "may be null")]
        assert in_json([1, None], [1, 2]) == []

    def test_names_that_are_identifiers_are_no_schema(self) -> None:
        """An object by identifiers is a map: its members are compared like elements."""
        old = {"users": {"1001": {"name": "a"}, "1002": {"name": "b"}}}
        new = {"users": {"2001": {"name": "a"}, "2002": {"title": "b"}}}
        assert in_json(old, new) == [
            (BREAKING, "body $.users[*].name", "is not always there any more"),
            (ADDITION, "body $.users[*].title", "is new"),
        ]

    def test_an_enumeration_is_known_by_its_use(self) -> None:
        old = [{"tint": tint} for tint in ("red", "blue", "red", "blue", "red")]
        new = [{"tint": "red"}, {"tint": "mauve"}]
        assert (ADDITION, "body $[*].tint", "has a new value") in in_json(old, new)

    def test_the_body_is_read_through_its_coding(self) -> None:
        body = json.dumps({"a": 1}).encode()
        coded = exchange(gzip.compress(body), headers=(*JSON, (b"Content-Encoding", b"gzip")))
        assert told(coded, exchange(body)) == [(VALUE, "header content-encoding", "is gone")]

    def test_what_is_no_json_any_more(self) -> None:
        assert told(exchange({"a": 1}), exchange(b"oops")) == [(BREAKING, "body", "type changed")]

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
        max_leaves=12,
    )

    @given(json_values, json_values)
    def test_any_two_documents(self, old: Any, new: Any) -> None:
        """No document surprises it, and the same is the same."""
        assert in_json(old, old) == []
        told(exchange(old), exchange(new), Comparison(habits=False))


class TestHead:
    def test_status(self) -> None:
        assert told(exchange(status=200), exchange(status=404)) == [(BREAKING, "status", "changed")]
        assert told(exchange(status=200), exchange(status=201)) == [(VALUE, "status", "changed")]

    def test_media_type(self) -> None:
        html = exchange(b"<p>", headers=((b"Content-Type", b"text/html"),))
        assert told(exchange({}), html) == [(BREAKING, "media type", "changed")]
        latin = exchange({}, headers=((b"content-type", b"application/json; charset=x"),))
        assert told(exchange({}), latin) == [(VALUE, "header content-type", "differs")]

    def test_headers_that_matter(self) -> None:
        old = exchange({}, headers=(*JSON, (b"Link", b"</2>"), (b"Server", b"a"), (b"ETag", b"1")))
        new = exchange({}, headers=(*JSON, (b"Sunset", b"soon"), (b"X-Id", b"b"), (b"etag", b"2")))
        assert told(old, new) == [
            (BREAKING, "header link", "is gone"),
            (ADDITION, "header sunset", "is new"),
        ]

    def test_more_headers_count_if_they_are_named(self) -> None:
        old, new = exchange({}, headers=(*JSON, (b"X-Plan", b"a"))), exchange({})
        assert told(old, new) == []
        named = Comparison(headers=frozenset(["x-plan"]))
        assert told(old, new, named) == [(BREAKING, "header x-plan", "is gone")]

    def test_cookies_count_by_name(self) -> None:
        old = exchange({}, headers=(*JSON, (b"Set-Cookie", b"sid=REDACTED-sid-0011aabb; Path=/")))
        new = exchange({}, headers=(*JSON, (b"set-cookie", b"sid=REDACTED-sid-99999999")))
        assert told(old, new) == []
        assert told(old, exchange({})) == [(BREAKING, "cookie sid", "is gone")]

    def test_trailers(self) -> None:
        old = exchange({"a": 1}, trailers=((b"X-Sum", b"1"),))
        assert told(old, exchange({"a": 1, "b": 2})) == [
            (ADDITION, "body $.b", "is new"),
            (BREAKING, "trailer x-sum", "is gone"),
        ]
        assert told(old, exchange({"a": 1})) == [(BREAKING, "trailer x-sum", "is gone")]


class TestHabits:
    """What differs in any two answers is no drift, even without asking twice."""

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("2026-11-21T22:02:42Z", "2027-01-02T03:04:05Z"),
            ("0b1ea1cf-9b4c-4f3e-8a59-1d3f3f9f0a11", "7d444840-9dc0-11d1-b245-5ffdce74fad2"),
            (1_764_000_000, 1_795_000_000),
            ("REDACTED-token-0a1b2c3d", "REDACTED-token-ffffffff"),
            ("https://h/f/9f86d081884c7d65", "https://h/f/60303ae22b998861"),
        ],
    )
    def test_times_identifiers_and_stand_ins(self, old: Any, new: Any) -> None:
        assert in_json({"x": old}, {"x": new}) == []
        assert told(exchange({"x": old}), exchange({"x": new}), Comparison(habits=False)) == [
            (VALUE, "body $.x", "differs")
        ]

    def test_values_that_were_carried(self) -> None:
        known = Comparison(is_known=lambda old, new: (old, new) == ("alpha", "beta"))
        assert told(exchange({"x": "alpha"}), exchange({"x": "beta"}), known) == []
        assert told(exchange({"x": "alpha"}), exchange({"x": "gamma"}), known) != []


class TestStreams:
    def test_events_by_name_and_order(self) -> None:
        old = events(("start", {}), ("delta", {"text": "a"}), ("stop", {}))
        assert told(old, old) == []
        assert told(old, events(("start", {}), ("delta", {"text": "a"}))) == [
            (BREAKING, "event stop", "is gone")
        ]
        assert told(old, events(("start", {}), ("ping", {}), *DELTA_STOP)) == [
            (ADDITION, "event ping", "is new")
        ]
        assert told(old, events(*DELTA_STOP, ("start", {}))) == [
            (BREAKING, "events", "come in another order")
        ]

    def test_events_of_one_name_share_a_structure(self) -> None:
        old = events(*[("delta", {"text": "a", "n": 1})] * 3)
        new = events(*[("delta", {"text": "b"})] * 5)
        assert told(old, new) == [
            (VALUE, "events", "are more or fewer"),
            (BREAKING, "event delta $.n", "is gone"),
        ]

    def test_the_type_of_nameless_events_is_their_name(self) -> None:
        """And a mark like [DONE] is its own."""
        old = events(("", {"type": "a", "x": 1}), ("", {"type": "b"}), ("", "[DONE]"))
        new = events(("", {"type": "a"}), ("", {"type": "b"}))
        assert told(old, new) == [
            (BREAKING, "event [DONE]", "is gone"),
            (BREAKING, "event a $.x", "is gone"),
        ]

    def test_lines_of_json(self) -> None:
        headers = ((b"Content-Type", b"application/x-ndjson"),)
        old = exchange(b'{"a":1}\n{"a":2}\n', headers=headers)
        new = exchange(b'{"a":1}\n{"a":"2"}\n', headers=headers)
        assert told(old, new) == [(BREAKING, "line line $.a", "type changed")]

    def test_an_empty_stream(self) -> None:
        assert told(exchange(b"", headers=EVENTS), exchange(b"", headers=EVENTS)) == []


DELTA_STOP: tuple[tuple[str, Any], ...] = (("delta", {"text": "a"}), ("stop", {}))


def session(*frames: Frame) -> WebSocketInteraction:
    return WebSocketInteraction(RecordedRequest(b"GET", b"/ws"), frames=frames)


def text(data: Any, direction: Direction = Direction.SERVER) -> Frame:
    return Frame(direction, FrameKind.TEXT, Body.of(json.dumps(data).encode()))


class TestSessions:
    def test_messages_by_kind(self) -> None:
        close = Frame(Direction.SERVER, FrameKind.CLOSE, close_code=1000)
        old = session(text({"type": "hello"}), text({"type": "tick", "n": 1}), close)
        assert told(old, old) == []
        new = session(text({"type": "hello"}), text({"type": "tick"}), close)
        assert told(old, new) == [(BREAKING, "message tick $.n", "is gone")]
        assert told(old, session(text({"type": "hello"}), close)) == [
            (BREAKING, "message tick", "is gone")
        ]

    def test_the_clients_messages_do_not_count(self) -> None:
        old = session(text({"type": "ask"}, Direction.CLIENT), text({"type": "hello"}))
        assert told(old, session(text({"type": "hello"}))) == []

    def test_a_refused_session(self) -> None:
        refused = exchange({}, status=403)
        assert told(session(), refused) == [(BREAKING, "status", "changed")]


class TestNoise:
    def learnt(self, one: Any, other: Any) -> Noise:
        strict = Comparison(habits=False)
        return Noise().learning(strict.of(exchange(one), exchange(other)))

    def kept(self, noise: Noise, old: HTTPInteraction, new: HTTPInteraction) -> list[str]:
        return [str(one) for one in Comparison().of(old, new) if not noise.hides(one)]

    def test_what_differs_between_two_live_answers(self) -> None:
        noise = self.learnt({"n": 1, "list": [{"x": "a"}]}, {"n": 2, "list": [{"x": "b"}]})
        old, new = {"n": 7, "list": [{"x": "c"}], "y": 1}, {"n": 8, "list": [{"x": "d"}], "y": 2}
        assert self.kept(noise, exchange(old), exchange(new)) == ["body $.y: differs: 1 -> 2"]

    def test_noise_in_values_hides_no_structure(self) -> None:
        noise = self.learnt({"n": 1}, {"n": 2})
        assert self.kept(noise, exchange({"n": 1}), exchange({"n": "x"})) == [
            "body $.n: type changed: number -> string"
        ]
        assert self.kept(noise, exchange({"n": 1}), exchange({})) == ["body $.n: is gone: number"]

    def test_members_that_come_and_go(self) -> None:
        noise = self.learnt({"a": 1, "b": {"c": 1}}, {"a": 1})
        assert self.kept(noise, exchange({"a": 1, "b": {"c": 1}}), exchange({"a": 1})) == []

    def test_as_rules(self) -> None:
        """What was learnt, written as a rule, hides the same."""
        noise = self.learnt({"n": 1, "l": [{"x": "a"}]}, {"n": 2, "l": [{"x": "b"}]})
        rule = noise.as_rule(b"/v1/4711?q=1")
        assert rule == VolatileRule("/v1/*", ("$.l[*].x", "$.n"), ())
        assert rule.fits(b"/v1/a?q")
        assert not rule.fits(b"/v2/a")
        ruled = Noise(rules=(rule,))
        old, new = {"n": 7, "l": [{"x": "c"}]}, {"n": 8, "l": [{"x": "d"}]}
        assert self.kept(ruled, exchange(old), exchange(new)) == []

    def test_rules_of_the_settings(self) -> None:
        rule = VolatileRule(json=("$..n",), headers=("link",))
        ruled = Noise(rules=(rule,))
        old = exchange({"a": {"n": 1}, "b": 1}, headers=(*JSON, (b"Link", b"a b")))
        new = exchange({"a": {"n": 2}, "b": 2}, headers=(*JSON, (b"Link", b"c d")))
        assert self.kept(ruled, old, new) == ["body $.b: differs: 1 -> 2"]
