"""An interaction survives its way through JSON, and the Go program reads the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from go_schema import check_element, go_body
from hypothesis import given
from hypothesis import strategies as st
from recordings import exchange_of, recording
from test_store_contract import shape

from buffr.errors import CassetteError
from buffr.interaction import Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.message import Headers, ResponseHead
from buffr.stores.cassette.format import decode, decode_index, encode, index_entry

BODIES = Path("api.d")

names = st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}", fullmatch=True)
common = st.sampled_from((b"Set-Cookie", b"set-cookie", b"X-A", b"x-a", b"Content-Type"))
values = st.one_of(st.binary(max_size=12), st.text(max_size=8).map(str.encode))
fields = st.lists(st.tuples(st.one_of(names, common), values), max_size=6).map(tuple)
bodies = st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode))
targets = st.from_regex(rb"/[!$&-;=@-Z\[-~]{0,10}(\?[!-\"$-~]{0,10})?", fullmatch=True).filter(
    lambda target: b"%" not in target.partition(b"?")[0]
)
requests = st.builds(
    RecordedRequest,
    st.sampled_from((b"GET", b"POST", b"M-SEARCH", b"x!")),
    targets,
    fields,
    bodies.map(Body.of),
    st.none() | st.sampled_from(("http", "https")),
    st.none() | st.text(max_size=8),
    st.none() | st.integers(1, 65535),
)

# What no answer has (RFC 9110 5.5, RFC 9112 6.3) is not replayed either.
sendable = values.filter(lambda value: not set(value) & set(b"\r\n\0"))
sendable_fields = st.lists(
    st.tuples(st.one_of(names, common), sendable).filter(
        lambda field: field[0].lower() not in (b"content-length", b"transfer-encoding")
    ),
    max_size=6,
).map(tuple)
heads = st.builds(ResponseHead, st.integers(200, 999), sendable, sendable_fields)
streams = st.just(((b"Content-Type", b"Text/Event-Stream; charset=utf-8"),))
stream_heads = st.builds(ResponseHead, st.just(200), st.just(b"OK"), streams)


@st.composite
def interactions(draw: st.DrawFn) -> HTTPInteraction:
    parts = draw(st.lists(st.tuples(bodies, st.integers(0, 5000)), max_size=4))
    whole = draw(st.booleans())
    truncated = draw(st.none() | st.text(max_size=8))
    return HTTPInteraction(
        draw(requests),
        draw(st.one_of(heads, stream_heads)),
        Body.of(b"".join(data for data, _ in parts)),
        () if whole else tuple(Chunk(len(data), delay_ms) for data, delay_ms in parts),
        draw(sendable_fields),
        truncated,
        draw(st.none() | st.just("2026-11-21T22:02:42.5Z")),
        draw(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2).map(tuple)),
        draw(st.none() | st.text(max_size=8)) if truncated is None else None,
    )


class TestRoundTrip:
    @given(interactions())
    def test_every_part_survives(self, kept: HTTPInteraction) -> None:
        assert shape(exchange_of(decode(encode(kept), BODIES))) == shape(kept)

    @given(interactions())
    def test_the_index_reads_the_same_request(self, kept: HTTPInteraction) -> None:
        entry = index_entry(decode_index(encode(kept)), BODIES)
        request = None if entry is None else entry.request
        if kept.truncated is not None:
            assert request is None
            return
        assert request is not None
        read = HTTPInteraction(request, ResponseHead(200, b"", ()))
        expected = HTTPInteraction(kept.request, ResponseHead(200, b"", ()))
        assert shape(read) == shape(expected)

    @given(interactions())
    def test_the_go_program_reads_the_same_answer(self, kept: HTTPInteraction) -> None:
        element = json.loads(encode(kept))
        check_element(element)
        assert go_body(element["http"]["response"]) == kept.body.data

    @given(interactions())
    def test_an_element_ends_at_the_first_line_of_its_own_indentation(
        self, kept: HTTPInteraction
    ) -> None:
        element = encode(kept)
        assert element.startswith(b'{\n      "type": "http"')
        assert element.find(b"\n    }") == len(element) - 6

    @given(st.binary(max_size=30), st.none() | st.binary(max_size=10))
    def test_any_target_is_stored_as_one_that_is_read_back(
        self, path: bytes, query: bytes | None
    ) -> None:
        target = b"/" + path.replace(b"?", b"") + (b"" if query is None else b"?" + query)
        once = decode(encode(recording(target)), BODIES)
        twice = decode(encode(recording(once.request.target)), BODIES)
        assert once.request.target == twice.request.target
        assert all(0x21 <= byte < 0x7F for byte in once.request.target)


class TestWhatIsWritten:
    def test_text_stays_readable(self) -> None:
        """Neither umlauts nor angle brackets are escaped: diffs are for people."""
        assert '"body": "<p>Grüße 🦊</p>"'.encode() in encode(
            recording(body="<p>Grüße 🦊</p>".encode())
        )

    def test_names_are_listed_only_where_the_mapping_loses_something(self) -> None:
        assert written((b"A", b"1"), (b"B", b"2"), (b"B", b"3")).get("raw_headers") is None
        assert written((b"B", b"1"), (b"A", b"2"))["raw_headers"] == ["B", "A"]
        assert written((b"a", b"1"))["raw_headers"] == ["a"]
        assert written((b"B", b"1"), (b"A", b"2"), (b"B", b"3"))["raw_headers"] == ["B", "A", "B"]

    def test_utf_8_values_are_what_the_go_program_reads(self) -> None:
        response = written((b"X-Name", "Grüße".encode()))
        assert response["headers"] == {"X-Name": ["Grüße"]}
        assert "header_encoding" not in response

    def test_other_values_are_latin_1_and_say_so(self) -> None:
        response = written((b"X-Name", b"Gr\xfc\xdfe"))
        assert response["headers"] == {"X-Name": ["Grüße"]}
        assert response["header_encoding"] == "latin-1"

    def test_an_event_stream_is_written_in_chunks(self) -> None:
        """As the Go program does; a chunk that ends inside a character is base64."""
        head = ResponseHead(200, b"OK", ((b"Content-Type", b"text/event-stream"),))
        data = "data: ü\n\n".encode()
        kept = HTTPInteraction(
            recording().request, head, Body.of(data), (Chunk(7, 3), Chunk(3, 40))
        )
        response = json.loads(encode(kept))["http"]["response"]
        assert response["body_chunks"] == [
            {"data_b64": "ZGF0YTogww==", "delay_ms": 3},
            {"data_b64": "vAoK", "delay_ms": 40},
        ]

    def test_other_bodies_stay_whole_beside_their_cuts(self) -> None:
        kept = HTTPInteraction(
            recording().request,
            ResponseHead(200, b"OK", ()),
            Body.of(b"abcdef"),
            (Chunk(2, 0), Chunk(4, 12)),
        )
        assert b'"body": "abcdef",\n          "chunks": [[2, 0], [4, 12]]' in encode(kept)

    def test_a_question_mark_alone_is_not_lost(self) -> None:
        request = json.loads(encode(recording(b"/x?")))["http"]["request"]
        assert (request["path"], request["query"]) == ("/x", "")
        assert "query" not in json.loads(encode(recording(b"/x")))["http"]["request"]

    def test_a_standard_reason_is_left_out(self) -> None:
        assert "reason" not in written()
        assert b'"reason": "Fine"' in encode(
            HTTPInteraction(recording().request, ResponseHead(200, b"Fine", ()))
        )


class TestWhatIsRead:
    def test_the_go_programs_decoded_path_is_encoded_again(self) -> None:
        element = {
            "type": "http",
            "http": {
                "request": {"method": "GET", "path": "/a b/ü?#/100%/%2F", "query": "q=%20"},
                "response": {"status": 200},
            },
        }
        loaded = decode(json.dumps(element).encode(), BODIES)
        assert loaded.request.target == b"/a%20b/%C3%BC%3F%23/100%25/%2F?q=%20"

    def test_unknown_fields_are_passed_over(self) -> None:
        element = json.loads(encode(recording()))
        element["unheard_of"] = element["http"]["unheard_of"] = element["http"]["response"][
            "unheard_of"
        ] = [{}]
        loaded = exchange_of(decode(json.dumps(element).encode(), BODIES))
        assert shape(loaded) == shape(recording())

    @pytest.mark.parametrize(
        ("headers", "raw_headers", "expected"),
        [
            ({"A": ["1"], "B": ["2"]}, ["b", "A", "b"], ((b"b", b"2"), (b"A", b"1"))),
            ({"A": ["1"], "C": ["3"]}, ["b", "a"], ((b"a", b"1"), (b"C", b"3"))),
            ({"A": ["1", "2", "3"]}, ["a"], ((b"a", b"1"), (b"A", b"2"), (b"A", b"3"))),
            ({"a": ["1"]}, ["A"], ((b"A", b"1"),)),
            ({"b": ["1"], "A": ["2"]}, None, ((b"b", b"1"), (b"A", b"2"))),
        ],
    )
    def test_after_an_edit_the_values_win(
        self, headers: dict[str, list[str]], raw_headers: list[str] | None, expected: Headers
    ) -> None:
        element = json.loads(encode(recording()))
        element["http"]["response"]["headers"] = headers
        element["http"]["response"]["raw_headers"] = raw_headers
        assert decode(json.dumps(element).encode(), BODIES).response.headers == expected

    def test_a_body_that_was_edited_is_played_whole(self) -> None:
        kept = HTTPInteraction(
            recording().request, ResponseHead(200, b"OK", ()), Body.of(b"abc"), (Chunk(3, 5),)
        )
        loaded = exchange_of(decode(encode(kept).replace(b'"abc"', b'"abcd"'), BODIES))
        assert (loaded.body.data, loaded.chunks) == (b"abcd", ())

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"status": "200"}, r"Expected `int`, got `str` - at `\$.http.response.status`"),
            ({"body_b64": "%"}, r"Invalid base64 .* `\$.http.response.body_b64`"),
            ({"body_file": "../x"}, "not a SHA-256"),
            ({"header_encoding": "utf-16"}, "Invalid enum value 'utf-16'"),
        ],
    )
    def test_a_wrong_field_is_named(self, change: dict[str, Any], said: str) -> None:
        element = json.loads(encode(recording()))
        element["http"]["response"] |= change
        with pytest.raises(CassetteError, match=said):
            decode(json.dumps(element).encode(), BODIES)


def written(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    element = json.loads(encode(recording(headers=headers)))
    response: dict[str, Any] = element["http"]["response"]
    return response
