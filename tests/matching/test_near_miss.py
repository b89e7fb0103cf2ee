"""A near miss reports what differs, and the rule that it suggests makes it a hit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import Difference, NearMiss, near_misses
from buffr.matching.rules import MatchRules
from buffr.matching.suggestion import Suggestion
from buffr.message import Headers, Request
from buffr.redaction.rules import RedactionRules

JSON: Headers = ((b"Content-Type", b"application/json"),)
FORM: Headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
REDACTION = RedactionRules()
ALIKE = ("0", "0.0", "false", '"0"', '"false"', "1", "1.0", "true", "[]", "null")
TOKEN = "sk-proj-1a2B3c4D5e6F7g8H9i0J"
UUIDS = ("7b8a5f0e-3c1d-4e2f-9a6b-0c1d2e3f4a5b", "00000000-0000-4000-8000-000000000001")


class Sent:
    def __init__(self, target: bytes, body: object = b"", headers: Headers = JSON) -> None:
        self.request = Request(b"POST", target, headers)
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def key(self, rules: MatchRules | None = None) -> MatchKey:
        matcher = Matcher(rules or MatchRules(), with_origin=False)
        assert not matcher.warnings
        return matcher.live(self.request, self.body).keys[0]


def miss(recorded: Sent, live: Sent) -> NearMiss:
    (found,) = near_misses((live.key(),), [(7, recorded.key())], REDACTION)
    assert found.place == 7
    return found


def with_rule(rule: Suggestion) -> MatchRules:
    return evolve(
        MatchRules(), ignore=rule.ignore, json=rule.json, query=rule.query, form=rule.form
    )


class TestDifferences:
    def test_json(self) -> None:
        """Places in a JSON body by their pointers, with both values."""
        recorded = Sent(b"/", {"a": {"b/c": 1.50, "d~": "x"}, "e": [1, 2], "gone": None})
        live = Sent(b"/", {"a": {"b/c": 1.5, "d~": "x"}, "e": [1, 3, 4], "new": True})
        assert set(miss(recorded, live).differences) == {
            Difference("body", "/e/1", "2", "3"),
            Difference("body", "/e/2", None, "4"),
            Difference("body", "/gone", "null", None),
            Difference("body", "/new", None, "true"),
        }

    def test_values_that_python_considers_equal(self) -> None:
        """In lists, too, where equal elements are skipped in one step."""
        recorded = Sent(b"/", {"e": [{"a": 1}, [True], {"same": [1, True, None]}, 2]})
        live = Sent(b"/", {"e": [{"a": True}, [1], {"same": [1, True, None]}, 2.0]})
        assert set(miss(recorded, live).differences) == {
            Difference("body", "/e/0/a", "1", "true"),
            Difference("body", "/e/1/0", "true", "1"),
            Difference("body", "/e/3", "2", "2.0"),
        }

    def test_telling_names(self) -> None:
        """In keys that contain credentials in clear, those under a telling name are hidden."""
        rules = MatchRules(credentials="exact")
        old, new = (
            Sent(b"/", {"dpopProof": f"a1B2c3D4e5F6g7H8i9J0{n}"}).key(rules) for n in (1, 2)
        )
        (found,) = near_misses((new,), [(7, old)], REDACTION)
        assert found.differences == (Difference("body", "/dpopProof", "REDACTED", "REDACTED"),)

    @given(st.lists(st.tuples(st.sampled_from(ALIKE), st.sampled_from(ALIKE)), max_size=4))
    def test_one_after_the_other(self, pairs: list[tuple[str, str]]) -> None:
        """What was shown before is not shown for what only resembles it."""
        old, new = (
            f'{{"e":[{",".join(side)}]}}'.encode() for side in zip(("0", "0"), *pairs, strict=True)
        )
        expected = [
            Difference("body", f"/e/{at}", recorded, live)
            for at, (recorded, live) in enumerate(pairs, 1)
            if recorded != live
        ]
        found = near_misses((Sent(b"/", new).key(),), [(0, Sent(b"/", old).key())], REDACTION)
        assert list(found[0].differences) == expected

    def test_digits(self) -> None:
        """Numbers are shown as they were written."""
        (found,) = miss(Sent(b"/", b'{"a":1.50}'), Sent(b"/", b'{"a":1.5}')).differences
        assert (found.recorded, found.live) == ("1.50", "1.5")

    def test_inserted_element(self) -> None:
        """An element put in is one difference, not one of all that follow."""
        found = miss(Sent(b"/", {"a": [1, 2, 3]}), Sent(b"/", {"a": [0, 1, 2, 3]})).differences
        assert found == (Difference("body", "/a/0", None, "0"),)

    def test_query_form_and_path(self) -> None:
        """Fields by their names, a path as a whole."""
        recorded = Sent(b"/a?x=1&y=2&y=3", b"p=1&q=2", FORM)
        live = Sent(b"/b?x=2&y=2", b"p=1&q=3", FORM)
        assert miss(recorded, live).differences == (
            Difference("path", "", "/a", "/b"),
            Difference("query", "/x", "1", "2"),
            Difference("query", "/y", "3", None),
            Difference("body", "/q", "2", "3"),
        )

    def test_order_of_a_query(self) -> None:
        """Where only the order differs the whole query is shown."""
        assert miss(Sent(b"/?a=1&b=2"), Sent(b"/?b=2&a=1")).differences == (
            Difference("query", "", "?a=1&b=2", "?b=2&a=1"),
        )

    def test_header(self) -> None:
        """A condition that was not recorded is a part that was absent."""
        live = Sent(b"/", b"", ((b"Range", b"bytes=0-1"),))
        assert miss(Sent(b"/", b"", ()), live).differences == (
            Difference("header range", "", None, "bytes=0-1"),
        )

    def test_long_and_binary(self) -> None:
        """Long values are cut to where they differ; bytes that are not text are shown by digest."""
        text = "x" * 500
        (found,) = miss(
            Sent(b"/", {"a": text + "1" + text}), Sent(b"/", {"a": text + "2" + text})
        ).differences
        assert found.recorded is not None
        assert "x1x" in found.recorded
        assert len(found.recorded) < 130
        (found,) = miss(Sent(b"/", b"\xff\x00", ()), Sent(b"/", b"\xff\x01", ())).differences
        assert found.live is not None
        assert found.live.startswith("2 bytes, sha256 ")

    def test_credentials(self) -> None:
        """No credential is shown, at whatever depth, nor where it is the difference."""
        recorded = {"password": "hunter2", "more": {"x": 1}}
        live = {
            "password": "hunter3",
            "more": {"x": {"api_key": "hunter4"}},
            "new": [{"access_token": "hunter5"}],
        }
        found = miss(Sent(b"/?sig=hunter6", recorded), Sent(b"/?sig=hunter7&a=1", live))
        assert "hunter" not in repr(found.differences)
        assert "/password" not in [each.pointer for each in found.differences], "one constant"
        double = miss(
            Sent(b"/", b'{"a":1,"secret":"hunter2","secret":1}'),
            Sent(b"/", b'{"a":1,"secret":"hunter2"}'),
        )
        assert "hunter" not in repr(double)

    def test_ambiguous_names(self) -> None:
        """If a name is as often one of data, the value decides whether it is shown."""
        found = miss(Sent(b"/?key=en", {"key": TOKEN}), Sent(b"/?key=de", {"key": "a"}))
        assert set(found.differences) == {
            Difference("query", "/key", "en", "de"),
            Difference("body", "/key", "REDACTED", '"a"'),
        }

    def test_readings(self) -> None:
        """A possible dummy for a credential is not a difference from one."""
        matcher = Matcher(MatchRules(), with_origin=False)
        live = matcher.live(Request(b"GET", b"/?page=2&key=test", ()), b"").keys
        recorded = matcher.live(Request(b"GET", b"/?page=1&key=%b" % TOKEN.encode(), ()), b"").keys
        (found,) = near_misses(live, [(0, recorded[0])], REDACTION)
        assert found.differences == (Difference("query", "/page", "1", "2"),)

    def test_bounded(self) -> None:
        """Two documents with nothing in common do not make an endless list."""
        found = miss(Sent(b"/", list(range(1000))), Sent(b"/", list(range(1000, 2000))))
        assert 0 < len(found.differences) <= 20
        assert found.rule is None


class TestOrder:
    def test_nearest_three(self) -> None:
        """The three with the best scores, best first; a hit would be 1."""
        live = Sent(b"/a?x=1", {"a": "x" * 100}).key()
        others = [
            Sent(b"/b?x=1", {"a": "x" * 100}),
            Sent(b"/a?x=2", {"a": "x" * 100}),
            Sent(b"/a?x=1", {"a": "x" * 99 + "y"}),
            Sent(b"/a?x=1", {"b": 1}),
        ]
        recorded = [(place, other.key()) for place, other in enumerate(others)]
        found = near_misses((live,), recorded, REDACTION)
        assert [each.place for each in found] == [2, 1, 3]
        assert near_misses((live,), [(0, live)], REDACTION)[0].score == 1


NOISE = [
    (UUIDS[0], UUIDS[1]),
    ("2026-11-21T22:02:41.123Z", "2026-11-22T01:00:00Z"),
    ("2026-11-21", "2026-11-22"),
    ("Sat, 21 Nov 2026 22:02:41 GMT", "Sun, 22 Nov 2026 22:02:41 GMT"),
    ("20261121T220241Z", "20261122T220241Z"),
    ("1763762561", "1763762999"),
    ("1763762561.123", "1763762999.5"),
    ("1763762561000", "1763762999123"),
    ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"),
    ("req_9aB3cD4eF5gH6iJ7k", "req_1zY2xW3vU4tS5rQ6p"),
    ("run-0001", "run-0417"),
]

NOT_NOISE = [
    ("tea", "coffee"),
    ("gpt-4o", "gpt-4o-mini"),
    ("internationalisation", "internationalization"),
    ("12", "13"),
    ("", "x"),
    ("1.0", "1.00"),
]


TEXTS = st.one_of(st.text(max_size=60), st.text("0123456789abcdef-:TZ ru", max_size=40))


class TestRule:
    @pytest.mark.parametrize(("old", "new"), NOISE)
    def test_in_text(self, old: str, new: str) -> None:
        """Noise inside a text, path or header: a pattern; with it the request is a hit."""
        if " " not in old:
            for shape in ("/v1/{}/x", "/v1/{}"):
                self.hits(*[Sent(shape.format(each).encode()) for each in (old, new)])
        texts = [{"a": [f"It is {each}, says the clock. " + "x" * 300]} for each in (old, new)]
        self.hits(*[Sent(b"/", text) for text in texts])
        self.hits(*[Sent(b"/", f"It is {each}.".encode(), ()) for each in (old, new)])

    @pytest.mark.parametrize(("old", "new"), NOISE)
    def test_fields(self, old: str, new: str) -> None:
        """A query or form field that is all noise: its name."""
        query, form = ([Sent(*each) for each in pair] for pair in self.fields(old, new))
        for pair in (query, form):
            self.hits(*pair)

    @staticmethod
    def fields(old: str, new: str) -> tuple[list[Any], list[Any]]:
        plain = [each.replace(" ", "+").encode() for each in (old, new)]
        query = [(b"/?a=1&x=" + each,) for each in plain]
        form = [(b"/", b"a=1&x=" + each, FORM) for each in plain]
        return query, form

    @pytest.mark.parametrize(("old", "new"), NOISE)
    def test_json_values(self, old: str, new: str) -> None:
        """A JSON value that is all noise: its path."""
        pair = [
            Sent(b"/", {"meta": {"my key'\\": each}, "items": [{"x": each}, {"x": each}]})
            for each in (old, new)
        ]
        rule = miss(*pair).rule
        assert rule is not None
        assert set(rule.json) == {"$.meta['my key\\'\\\\']", "$.items[*].x"}
        pytest.importorskip("jsonpath_rfc9535")
        self.hits(*pair)

    @pytest.mark.parametrize("name", ["ts", "created_at", "requestId", "seq", "timestamp", "seed"])
    def test_numbers_by_their_names(self, name: str) -> None:
        """A number is noise under a name that says so; a field that was added or removed is not."""
        rule = miss(Sent(b"/", {name: 17}), Sent(b"/", {name: 18})).rule
        assert rule == Suggestion(json=(f"$.{name}",))
        assert miss(Sent(b"/"), Sent(f"/?{name}=5".encode())).rule is None
        assert miss(Sent(b"/", {"a": 1}), Sent(b"/", {"a": 1, name: 5})).rule is None

    @pytest.mark.parametrize(("old", "new"), NOT_NOISE)
    def test_not_noise(self, old: str, new: str) -> None:
        """A meaningful value gets no rule; noise beside it does."""
        assert miss(Sent(b"/", {"a": old}), Sent(b"/", {"a": new})).rule is None
        both = [{"a": old, "b": UUIDS[0]}, {"a": new, "b": UUIDS[1]}]
        rule = miss(*[Sent(b"/", each) for each in both]).rule
        assert rule == Suggestion(json=("$.b",), partial=True)
        assert miss(Sent(f"/?max={old}".encode()), Sent(f"/?max={new}".encode())).rule is None

    def test_several_at_once(self) -> None:
        """Noise in many places is one rule for all of them."""
        pair = [
            Sent(f"/{one}?ts={two}&a=1".encode(), f"at {two}".encode(), ())
            for one, two in ((UUIDS[0], "1763762561"), (UUIDS[1], "1763762999"))
        ]
        rule = self.hits(*pair)
        assert rule.query == ("ts",)
        assert [each.part for each in rule.ignore] == ["request.path", "request.body"]

    def test_noise_beside_a_field_that_only_one_has(self) -> None:
        pair = [Sent(f"/{each}?ts=1{at}".encode()) for at, each in enumerate(UUIDS[:2])]
        pair[1] = Sent(pair[1].request.target + b"&page=2")
        rule = miss(*pair).rule
        assert rule is not None
        assert (rule.query, len(rule.ignore), rule.partial) == (("ts",), 1, True)

    def hits(self, recorded: Sent, live: Sent) -> Suggestion:
        rule = miss(recorded, live).rule
        assert rule is not None
        assert not rule.partial
        rules = with_rule(rule)
        assert recorded.key(rules).digest == live.key(rules).digest
        return rule

    def test_yaml(self) -> None:
        """The rule reads as settings do."""
        yaml = pytest.importorskip("yaml")
        pair = [
            Sent(f"/{each}?ts=1{index}".encode(), {"it's": each})
            for index, each in enumerate(UUIDS)
        ]
        rule = miss(*pair).rule
        assert rule is not None
        settings = yaml.safe_load(rule.yaml())
        assert settings == {
            "match": {
                "json": ["$['it\\'s']"],
                "query": ["ts"],
                "ignore": [
                    {
                        "in": "request.path",
                        "pattern": rule.ignore[0].pattern,
                        "replace_with": "<uuid>",
                    }
                ],
            }
        }

    @given(st.lists(TEXTS, min_size=2, max_size=2))
    def test_anything(self, texts: list[str]) -> None:
        """Whatever two texts are, a rule that is suggested makes them one."""
        recorded, live = (Sent(b"/", text.encode(), ()) for text in texts)
        rule = miss(recorded, live).rule
        if rule is not None and not rule.json and not rule.partial:
            self.hits(recorded, live)

    def test_many_changes(self) -> None:
        """Noise in every element is one path; there may be more where there is too much to see."""
        for size in (50, 500):
            rule = Suggestion(json=("$[*].id",), partial=size == 500)
            pair = [[{"id": f"run-{turn}{index}"} for index in range(size)] for turn in (1, 2)]
            found = miss(*[Sent(b"/", each) for each in pair])
            assert (found.rule, len(found.differences)) == (rule, 20)

    def test_names_that_are_too_long_for_a_line(self) -> None:
        """A name with a line feed cannot be pasted."""
        assert miss(Sent(b"/?a%0ats=1"), Sent(b"/?a%0ats=2")).rule is None
        assert miss(Sent(b"/"), Sent(f"/?a%0a={UUIDS[0]}".encode())).rule is None
