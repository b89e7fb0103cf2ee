"""Elements are found in any layout; errors are located, and distinguished from torn texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import recording

from buffr.errors import CassetteError
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.layout import TAIL, Layout, LayoutState, opening
from buffr.stores.cassette.records import ElementRecord
from buffr.stores.cassette.writing import head, laid_out

PATH = Path("api.json")
SALT = "0123456789abcdef" * 2

ELEMENTS = [encode(recording(b"/%d" % number, b'{"n": %d}' % number)) for number in range(3)]


def cassette(*elements: bytes) -> bytes:
    separators = [b"\n    "] + [b",\n    "] * len(elements)
    listed = b"".join(s + e for s, e in zip(separators, elements, strict=False))
    return head(SALT, ()) + listed + TAIL


def read(text: bytes) -> tuple[Layout, list[Any]]:
    layout = Layout.of(text, PATH)
    values = [value(layout.element(number)) for number, _ in enumerate(layout.elements())]
    assert [value(layout.element(number)) for number in range(len(layout.spans))] == values
    assert layout.size_bytes == len(text)
    return layout, values


def value(element: bytes) -> Any:
    """That its strings are UTF-8 is only seen when an element is loaded."""
    return json.loads(element.decode(errors="replace"))


WHOLE = cassette(*ELEMENTS)
VALUES = [json.loads(element) for element in ELEMENTS]


class TestLayouts:
    def test_ours_is_ready_to_be_appended_to(self) -> None:
        layout, values = read(WHOLE)
        assert values == VALUES
        assert (layout.state, layout.salt) == (LayoutState.READY, SALT)
        assert layout.piece(layout.end, layout.size_bytes) == TAIL

    def test_an_empty_list_of_ours_is_ready(self) -> None:
        layout, values = read(cassette())
        assert (layout.state, values) == (LayoutState.READY, [])

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(json.dumps(json.loads(WHOLE)).encode(), id="minified"),
            pytest.param(json.dumps(json.loads(WHOLE), indent=4).encode(), id="four spaces"),
            pytest.param(json.dumps(json.loads(WHOLE), indent="\t").encode(), id="tabs"),
            pytest.param(json.dumps(json.loads(WHOLE), indent=0).encode(), id="flush left"),
            pytest.param(WHOLE.replace(b"\n", b"\r\n"), id="CRLF"),
            pytest.param(WHOLE.rstrip(), id="no newline at the end"),
            pytest.param(WHOLE + b"\n", id="two newlines at the end"),
            pytest.param(b"\xef\xbb\xbf" + WHOLE, id="byte order mark"),
            pytest.param(WHOLE.replace(b'"salt": "' + SALT.encode() + b'",', b""), id="no salt"),
            pytest.param(WHOLE.replace(b'"version": 1,', b""), id="no version"),
            pytest.param(WHOLE.replace(b'"version": 1,', b'"version": 0,'), id="version 0"),
            pytest.param(WHOLE[:-3] + b',\n"note": {"a": [1]}}', id="a member behind the list"),
            pytest.param(WHOLE.replace(b"\n    {", b"\n{"), id="an edited indentation"),
            pytest.param(WHOLE.replace(b'\n      "http"', b'\n    "http"'), id="another one"),
        ],
    )
    def test_other_layouts_are_read_and_rewritten(self, text: bytes) -> None:
        layout, values = read(text)
        assert values == VALUES
        if layout.state is LayoutState.READY:  # only elements are indented in another way
            assert text.endswith(TAIL)
        again, values = read(relaid(layout))
        assert values == VALUES
        assert again.state is LayoutState.READY

    @pytest.mark.parametrize(
        "text",
        [b"", b" \n", b"\xef\xbb\xbf", b"{}", b'{"version": 1, "interactions": null}',
         b'{"version":1,"interactions":[]}'],
    )  # fmt: skip
    def test_these_are_empty(self, text: bytes) -> None:
        layout, values = read(text)
        assert (layout.state, values) == (LayoutState.FOREIGN, [])
        assert read(relaid(layout))[0].state is LayoutState.READY

    def test_other_members_are_kept(self) -> None:
        text = b'{"note": {"by":  "me", "n": 1.50}, "version": 1, "interactions": []}'
        assert b'\n  "note": {"by":  "me", "n": 1.50},\n' in relaid(read(text)[0])

    def test_laying_out_changes_no_lexeme(self) -> None:
        element = b'{"type":"new","x":[1.50,1e5,12345678901234567890123,"\\u00e9\\/"]}'
        text = b'{"interactions":[%b]}' % element
        laid = relaid(read(text)[0])
        for lexeme in (b"1.50", b"1e5", b"12345678901234567890123", b'"\\u00e9\\/"'):
            assert lexeme in laid

    def test_our_elements_stay_byte_for_byte(self) -> None:
        layout, _ = read(WHOLE.rstrip().replace(b"\n", b"\r\n"))
        assert b"".join(laid_out(layout)) == WHOLE[len(head(SALT, ())) : -len(TAIL)]

    def test_a_long_foreign_element_is_found(self) -> None:
        text = json.dumps({"interactions": [json.loads(e) for e in ELEMENTS] * 3}).encode()
        body = b"x" * 300_000
        layout, values = read(text.replace(b'{\\"n\\": 1}', body))
        assert len(values) == 9
        assert layout.state is LayoutState.FOREIGN


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (b"[]", r"api\.json:1:1: the top level must be an object"),
            (b"oops", r"api\.json:1:1: the top level must be an object"),
            (b"SQLite format 3\0\1", r"api\.json:1:1: it is an SQLite file .*, not a cassette"),
            (b'{\n "version": 2,', r"api\.json:2:13: version 2 is newer than .* \(1\)"),
            (b'{"version": "1"}', r"api\.json:1:13: version must be a number"),
            (b'{"version": true}', r"api\.json:1:13: version must be a number"),
            (b'{"salt": "abc"}', r"api\.json:1:10: salt must be 32 hexadecimal digits"),
            (b'{"interactions": {}}', r"api\.json:1:18: interactions must be a list"),
            (b'{"interactions": [1]}', r"api\.json:1:19: expected an interaction"),
            (b'{"interactions": [], "interactions": []}', r":1:38: .* must not occur twice"),
            (b'{"version": 1, }', r"api\.json:1:16: expected a name"),
            (b'{"version": 1', r"api\.json:1:14: expected ',' or '}'"),
            (b'{"version" 1}', r"api\.json:1:12: expected ':'"),
            (b'{"version": 1} {}', r"api\.json:1:16: there is more after the end"),
            (b'{"name": "x"}', r"api\.json:1:1: there is no list of interactions"),
            (b'{"interactions": [' + b'{"a":' * 5000, r"nested too deeply"),
        ],
    )
    def test_errors_are_reported_with_their_place(self, text: bytes, said: str) -> None:
        with pytest.raises(CassetteError, match=said):
            read(text)

    def test_a_typo_in_the_middle_is_found(self) -> None:
        wrong = WHOLE.replace(b'"path": "/1"', b'"path": "/1')
        line = wrong[: wrong.index(b'"/1')].count(b"\n") + 1
        with pytest.raises(CassetteError, match=rf"api\.json:{line}:\d+: Invalid control char"):
            read(wrong)

    def test_a_typo_in_the_last_element_is_not_a_torn_end(self) -> None:
        wrong = WHOLE.replace(b'"path": "/2"', b'"path: "/2"')
        with pytest.raises(CassetteError, match=r"api\.json:\d+:\d+: "):
            read(wrong)

    @pytest.mark.parametrize(
        ("element", "said"),
        [
            (ELEMENTS[1].replace(b'"path": "/1"', b'"path": 1'), "Expected `str`, got `int`"),
            (b"{}", "missing required field `type`"),
            (b'{\n      "type": 1\n    }', "Expected `str`, got `int`"),
        ],
    )
    def test_a_wrong_type_is_reported_and_does_not_affect_others(
        self, element: bytes, said: str
    ) -> None:
        text = cassette(ELEMENTS[0], *[element] * 20, ELEMENTS[2])
        layout = Layout.of(text, PATH)
        first, *wrong, last = [record for _, record in layout.elements()]
        assert isinstance(first, ElementRecord)
        assert isinstance(last, ElementRecord)
        assert all(isinstance(each, str) and said in each for each in wrong)
        assert len(wrong) == 20

    @pytest.mark.parametrize("place", [b'\n      "http"', b"\n  ]", b"\n    {"])
    def test_a_merge_conflict_is_named(self, place: bytes) -> None:
        at = WHOLE.rindex(place) + 1
        mine, theirs = WHOLE[at:], WHOLE[at:].replace(b"/2", b"/3")
        text = WHOLE[:at] + b"<<<<<<< HEAD\n" + mine + b"=======\n" + theirs + b">>>>>>> other\n"
        line = WHOLE[:at].count(b"\n") + 1
        with pytest.raises(CassetteError, match=rf"json:{line}:1: .* contains a merge conflict"):
            read(text)

    def test_a_column_counts_characters(self) -> None:
        with pytest.raises(CassetteError, match=r"api\.json:1:11: "):
            read('{"äöü": 1 x}'.encode())


class TestTornEnds:
    @pytest.mark.parametrize("step", range(0, 400, 7))
    def test_a_file_cut_anywhere_in_its_last_element_keeps_the_others(self, step: int) -> None:
        cut = len(WHOLE) - len(TAIL) - 1 - step
        layout, values = read(WHOLE[:cut])
        assert (layout.state, values) == (LayoutState.TORN, VALUES[:2])
        assert layout.rest == WHOLE[:cut][layout.end :]
        assert read(relaid(layout))[1] == VALUES[:2]

    @pytest.mark.parametrize("kept", range(len(TAIL) - 3))
    def test_a_missing_tail_is_all_that_is_missing(self, kept: int) -> None:
        layout, values = read(WHOLE[: len(WHOLE) - len(TAIL) + kept])
        assert (layout.state, values, layout.rest) == (LayoutState.TORN, VALUES, b"")

    def test_zeros_of_a_crashed_machine_are_passed_over(self) -> None:
        layout, values = read(WHOLE[:-100] + b"\0" * 10000)
        assert (layout.state, values) == (LayoutState.TORN, VALUES[:2])

    @pytest.mark.parametrize("first", [True, False])
    def test_every_moment_of_an_append_keeps_the_older_elements(self, *, first: bool) -> None:
        """Step one cut anywhere; step two cut within its seven bytes: then all of it is there."""
        before = cassette() if first else cassette(*ELEMENTS[:2])
        kept = [] if first else VALUES[:2]
        after = cassette(ELEMENTS[2]) if first else WHOLE
        at = len(before) - len(TAIL)
        beyond = after[at + len(TAIL) :]
        for size in range(len(beyond) + 1):
            layout, values = read(before + beyond[:size])
            assert values == kept
            assert (layout.state is LayoutState.READY) is (size == 0)
            assert layout.state is LayoutState.TORN or not beyond[:size].strip()
        opened = opening(first=first)
        assert after[at : at + len(TAIL)] == opened
        for cut in range(1, len(TAIL)):
            torn = before[:at] + opened[:cut] + TAIL[cut:] + beyond
            if torn in (after, before + beyond):
                continue
            layout, values = read(torn)
            assert (layout.state, values) == (LayoutState.TORN, [*kept, VALUES[2]])
            assert read(relaid(layout))[1] == values

    def test_text_after_the_end_is_set_aside(self) -> None:
        layout, values = read(WHOLE + b"something else\n")
        assert (layout.state, values, layout.rest) == (
            LayoutState.TORN,
            VALUES,
            b"something else\n",
        )

    @given(st.data())
    def test_cut_or_wrong_but_never_mistaken_for_fewer(self, data: st.DataObject) -> None:
        """Bytes changed anywhere: an error, or all elements before the change."""
        at = data.draw(st.integers(0, len(WHOLE) - 1))
        change = data.draw(st.binary(max_size=3))
        text = WHOLE[:at] + change + WHOLE[at + data.draw(st.integers(0, 2)) :]
        try:
            layout, values = read(text)
        except CassetteError:
            return
        whole_before = sum(WHOLE.find(element) + len(element) <= at for element in ELEMENTS)
        assert values[:whole_before] == VALUES[:whole_before]
        if layout.state is not LayoutState.TORN:
            assert len(values) == 3
            assert value(text.removeprefix(b"\xef\xbb\xbf"))

    @given(st.binary(max_size=60))
    def test_hostile_bytes_give_a_layout_or_an_error(self, noise: bytes) -> None:
        for text in (noise, b'{"interactions": [' + noise, cassette()[: -len(TAIL)] + noise):
            try:
                read(text)
            except CassetteError:
                continue


def relaid(layout: Layout) -> bytes:
    return head(layout.salt or SALT, layout.others) + b"".join(laid_out(layout)) + TAIL
