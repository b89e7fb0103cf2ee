from __future__ import annotations

import json
from typing import Any

from drift_answers import JSON, exchange
from hypothesis import given
from hypothesis import strategies as st

from buffr.drift.carrying import Carried, answer_words, asked_words
from buffr.interaction import Body, RecordedRequest
from buffr.message import Headers


def request(
    target: bytes = b"/", headers: Headers = (), body: bytes = b"", method: bytes = b"GET"
) -> RecordedRequest:
    return RecordedRequest(method, target, headers, Body.of(body))


def carried(recorded: Any, live: Any, later: RecordedRequest) -> RecordedRequest:
    """The later request, after an answer with this JSON, or these headers."""
    one, other = (
        exchange({}, headers=each) if isinstance(each, tuple) else exchange(each)
        for each in (recorded, live)
    )
    values = Carried(frozenset(asked_words(exchange({}, request=later))))
    values.learn(0, one, other)
    return values.request(later)


class TestValues:
    def test_identifiers_in_each_part_of_a_request(self) -> None:
        """In the path, the query, a header and the body."""
        old, new = (
            {"thing": {"id": "thing_AAA111"}, "n": 4711},
            {
                "thing": {"id": "thing_BBB222"},
                "n": 815,
            },
        )
        new["n"] = 99815
        later = request(
            b"/things/thing_AAA111/parts/4711?of=thing_AAA111",
            (*JSON, (b"X-Thing", b"thing_AAA111"), (b"Content-Length", b"26")),
            b'{"of": "thing_AAA111", "n": 4711}',
            b"POST",
        )
        sent = carried(old, new, later)
        assert sent.target == b"/things/thing_BBB222/parts/99815?of=thing_BBB222"
        assert sent.headers[1] == (b"X-Thing", b"thing_BBB222")
        assert sent.body.data == b'{"of": "thing_BBB222", "n": 99815}'
        assert sent.headers[2] == (b"Content-Length", b"%d" % len(sent.body.data))

    def test_short_values_stay(self) -> None:
        """They would be found by chance."""
        later = request(b"/a/123/abc")
        assert carried({"a": 123, "b": "abc"}, {"a": 999, "b": "xyz"}, later) is later

    def test_parts_of_words_stay(self) -> None:
        later = request(b"/a/x12345678/12345678")
        assert carried({"a": "12345678"}, {"a": "87654321"}, later).target == (
            b"/a/x12345678/87654321"
        )

    def test_values_can_swap(self) -> None:
        later = request(b"/aaaaaaaa1/bbbbbbbb2")
        sent = carried(
            {"x": "aaaaaaaa1", "y": "bbbbbbbb2"}, {"x": "bbbbbbbb2", "y": "aaaaaaaa1"}, later
        )
        assert sent.target == b"/bbbbbbbb2/aaaaaaaa1"

    def test_location(self) -> None:
        """Relative or absolute: what counts are its segments."""
        old = ((b"Location", b"/v1/jobs/1234?token=abcdefgh"),)
        new = ((b"location", b"https://h/v1/jobs/98765?token=zyxwvuts"),)
        later = request(b"/v1/jobs/1234/result?t=abcdefgh")
        assert carried(old, new, later).target == b"/v1/jobs/98765/result?t=zyxwvuts"

    def test_a_path_stays_a_path(self) -> None:
        old, new = ((b"Location", b"/v1/jobs/1234"),), ((b"Location", b"/v1/jobs/98 65"),)
        assert carried(old, new, request(b"/v1/jobs/1234/x")).target == b"/v1/jobs/98%2065/x"

    def test_cookies_and_validators(self) -> None:
        old = ((b"Set-Cookie", b"sid=0123456789; Path=/"), (b"ETag", b'"aaaaaaaa"'))
        new = ((b"Set-Cookie", b"sid=9876543210"), (b"ETag", b'"bbbbbbbb"'))
        later = request(
            b"/", ((b"Cookie", b"a=1; sid=0123456789"), (b"If-None-Match", b'"aaaaaaaa"'))
        )
        assert carried(old, new, later).headers == (
            (b"Cookie", b"a=1; sid=9876543210"),
            (b"If-None-Match", b'"bbbbbbbb"'),
        )

    def test_spellings(self) -> None:
        """A value is written as the place needs it: percent-encoded, escaped."""
        old, new = {"id": 'a/b "12345678"'}, {"id": 'é/ "87654321"'}
        form = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
        later = request(b"/x?id=a%2Fb%20%2212345678%22", form, b"id=a%2Fb+%2212345678%22")
        sent = carried(old, new, later)
        assert sent.target == b"/x?id=%C3%A9%2F%20%2287654321%22"
        assert sent.body.data == b"id=%C3%A9%2F+%2287654321%22"
        later = request(b"/", JSON, json.dumps(old).encode())
        assert json.loads(carried(old, new, later).body.data) == new

    def test_the_latest_value_counts(self) -> None:
        later = request(b"/aaaaaaaa1")
        values = Carried(frozenset(asked_words(exchange({}, request=later))))
        values.learn(0, exchange({"a": "aaaaaaaa1"}), exchange({"a": "first9999"}))
        values.learn(0, exchange({"a": "aaaaaaaa1"}), exchange({"a": "second999"}))
        assert values.request(later).target == b"/second999"
        assert values.is_known("aaaaaaaa1", "second999")
        assert not values.is_known("aaaaaaaa1", "first9999")

    def test_what_no_later_request_has_is_not_kept(self) -> None:
        values = Carried(frozenset(asked_words(exchange({}, request=request(b"/other")))))
        values.learn(0, exchange({"a": "aaaaaaaa1"}), exchange({"a": "bbbbbbbb2"}))
        assert not values.is_known("aaaaaaaa1", "bbbbbbbb2")

    @given(st.text(min_size=8, max_size=30), st.text(min_size=1, max_size=30))
    def test_any_values_in_json(self, old: str, new: str) -> None:
        """Whatever the values are, a body stays JSON, and holds the live value or the recorded."""
        later = request(b"/", JSON, json.dumps({"v": old}).encode())
        sent = json.loads(carried({"id": old}, {"id": new}, later).body.data)
        assert sent in ({"v": old}, {"v": new})


class TestWords:
    def test_answers_name_what_may_be_needed_later(self) -> None:
        words = answer_words(exchange({"id": "thing_AAA111", "n": 4711, "s": "short"}))
        assert words & asked_words(exchange({}, request=request(b"/things/4711")))
        assert not words & asked_words(exchange({}, request=request(b"/short/things")))
