"""A long document that is read in slices has the spelling that it has as a whole."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_canonical_json import DOCUMENTS, spelled

from buffr.formats.json_paths import NOWHERE
from buffr.matching.canonical_json import DEEPEST, canonical, document_of
from buffr.matching.json_fields import JSONFields
from buffr.matching.json_in_slices import document_in_slices, spelled_in_slices
from buffr.matching.pieces import go_on

NOTHING_OUT = JSONFields()
WINDOWS = st.integers(16, 80)
PATHS = st.lists(
    st.sampled_from(
        ["$.a", "$..a", "$[0]", "$[*].b", "$..[1]", "$[1:3]", "$", "$..*", "$['']", "$..[::2].a"]
    ),
    max_size=3,
)
FILTERS = st.lists(
    st.sampled_from(["$[?@.a == 1]", "$[-1]", "$..[?@.b].a", "$.a[?@ == 'x']"]), max_size=2
)


def in_slices(text: bytes, window: int, fields: JSONFields = NOTHING_OUT) -> bytes | None:
    pieces = spelled_in_slices(text, fields.walk, fields, go_on, window)
    return None if pieces is None else b"".join(pieces)


SMALL_NAMES = st.sampled_from(["a", "b", "", "clientToken", "é"])
SMALL_DOCUMENTS = st.recursive(
    st.sampled_from([None, True, 0, 1, -2.5, "", "x", "a" * 40, "0" * 32, "é\n"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(SMALL_NAMES, inner, max_size=4)
    ),
    max_leaves=30,
).flatmap(
    lambda document: st.integers(0, 2).map(lambda indent: json.dumps(document, indent=indent))
)


class TestAsAWhole:
    @settings(max_examples=settings().max_examples * 5)
    @given(DOCUMENTS.flatmap(spelled), WINDOWS)
    def test_documents(self, text: bytes, window: int) -> None:
        assert in_slices(text, window) == canonical(text)

    @settings(max_examples=settings().max_examples * 3)
    @given(SMALL_DOCUMENTS, PATHS, WINDOWS, st.booleans())
    def test_without_fields_and_tokens(
        self, text: str, paths: list[str], window: int, tokens: bool
    ) -> None:
        fields, _ = JSONFields.of(tuple(paths), tokens=tokens)
        assert in_slices(text.encode(), window, fields) == fields.canonical(text.encode())

    @given(SMALL_DOCUMENTS, PATHS, FILTERS)
    def test_with_paths_that_need_the_whole(
        self, text: str, paths: list[str], filters: list[str]
    ) -> None:
        fields, _ = JSONFields.of((*paths, *filters))
        pieces = fields.in_slices(text.encode(), go_on)
        assert pieces is not None
        assert b"".join(pieces) == fields.canonical(text.encode())

    @settings(max_examples=settings().max_examples * 3)
    @given(st.text('{}[]":,-0e1.\\u003aDd8 \né', max_size=60), WINDOWS)
    def test_texts_that_may_not_be_json(self, text: str, window: int) -> None:
        assert in_slices(text.encode(), window) == canonical(text.encode())

    @given(st.binary(max_size=40), WINDOWS)
    def test_hostile(self, text: bytes, window: int) -> None:
        for made in (text, b'"' + text + b'"', b"[" + text + b"]"):
            assert in_slices(made, window) == canonical(made)

    @pytest.mark.parametrize("window", [16, 17, 29, 64])
    @pytest.mark.parametrize(
        "inner",
        [
            '"' + "é🦊" * 30 + '"',
            '"' + r"\u00e9\ud83e\udd8a\/" * 30 + '"',
            '"' + r"\ud83e" * 9 + '"',
            '"' + "x" * 50 + r"\udd8a" + '"',
            "[" + "1, " * 60 + "2]",
            "9" * 100,
            "[" + " " * 200 + "]",
            '{"' + "n" * 100 + '"  :  1}',
            '{"a": 1, "a": 2, "b": [{"a": 3}]}',
            "[1, 2,]",
            "[1 2]",
            '{"a": 1,}',
            '{"a" 1}',
            "[" * 20 + "]" * 19,
            "[}",
            "tru",
            "1, 2",
        ],
    )
    def test_cuts(self, inner: str, window: int) -> None:
        """In characters, escapes, numbers, names and white space."""
        for text in (
            inner,
            f"[{inner}, {inner}]",
            f'{{"b": {inner}, "a": {inner} }}',
            f" {inner} ",
        ):
            for after in ("", "\n", "x"):
                whole = (text + after).encode()
                assert in_slices(whole, window) == canonical(whole)

    @pytest.mark.parametrize("window", [16, 65536])
    def test_depth(self, window: int) -> None:
        for begin, end in ((b"[", b"]"), (b'{"a":', b"}")):
            for depth in (*range(DEEPEST - 5, DEEPEST + 3), 5000):
                text = begin * depth + b"1" + end * depth
                assert in_slices(text, window) == canonical(text)

    def test_members_of_one_name_keep_all(self) -> None:
        """As in the whole document: nothing is left out of an object with such members."""
        fields, _ = JSONFields.of(("$.a", "$..b"), tokens=True)
        token = '"clientToken": "' + "0" * 32 + '"'
        text = f'{{"a": {{"b": 1}}, "a": {{"b": 2}}, {token}, "c": [{{"b": 1, {token}}}]}}'.encode()
        assert in_slices(text, 16, fields) == fields.canonical(text) == canonical(text)


class TestLongDocuments:
    """Of more members and elements than are sorted or put together at once."""

    def test_many_members(self) -> None:
        numbers = random.Random(1)
        members = {f"m{numbers.random()}é"[: 3 + at % 9]: "x" * (at % 50) for at in range(20_000)}
        members["long"] = "y" * 10_000
        text = json.dumps(members, ensure_ascii=False).encode()
        assert in_slices(text, 1024) == canonical(text)
        twice = text[:-1] + b"," + text[1:]
        assert in_slices(twice, 1024) == canonical(twice)

    def test_many_elements(self) -> None:
        rows = [{"id": at, "v": [at / 7, None, {"n": "a b"}]} for at in range(5000)]
        text = json.dumps({"rows": rows, "nonce": 7}).encode()
        fields, _ = JSONFields.of(("$.nonce", "$..id"))
        for window in (512, 65536):
            assert in_slices(text, window) == canonical(text)
            assert in_slices(text, window, fields) == fields.canonical(text)

    def test_every_step_is_short(self) -> None:
        """Others get a turn after each slice, whatever the document is like."""
        documents: list[Any] = [
            "x" * 3_000_000,
            "\\/" * 1_000_000,
            list(range(300_000)),
            {str(at): at for at in range(100_000)},
            [{"a": [[{"b": [1]}]]}] * 50_000,
        ]
        for document in documents:
            turns = 0

            def pause() -> None:
                nonlocal turns
                turns += 1

            text = json.dumps(document).encode()
            assert spelled_in_slices(text, NOWHERE, NOTHING_OUT, pause) is not None
            assert turns >= len(text) // 131_072


class TestWholeDocument:
    @given(SMALL_DOCUMENTS, WINDOWS)
    def test_as_python_has_it(self, text: str, window: int) -> None:
        read = document_in_slices(text.encode(), NOTHING_OUT, go_on, window)
        assert read == document_of(text.encode())
