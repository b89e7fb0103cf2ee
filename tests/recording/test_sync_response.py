"""Recorded values in an answer become the live ones, whole or in pieces."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.recording.live_values import LONGEST, SHORTEST, Replacements

RUN = (b"run-0001", b"run-77777777")

# Few letters, so that values overlap, begin alike, and contain each other.
letters = st.lists(st.sampled_from([b"a", b"b", b"\xc3\xa9", b'"', b"\\", b"/"]), max_size=8)
values = letters.map(b"".join)
pairs = st.lists(st.tuples(values, values), max_size=4)


def in_pieces(replacements: Replacements, data: bytes, cuts: list[int]) -> bytes:
    stream = replacements.stream()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    return b"".join([stream.feed(piece) for piece in pieces]) + stream.end()


class TestWhole:
    def test_each_recorded_value_becomes_its_live_one(self) -> None:
        """However often it occurs; everything else stays."""
        assert Replacements.of([RUN]).whole(b"<run-0001 run-000 run-0001>") == (
            b"<run-77777777 run-000 run-77777777>"
        )

    def test_values_change_places(self) -> None:
        """All values are replaced at once: replacements are not replaced again."""
        swap = Replacements.of([(b"aaaa", b"bbbb"), (b"bbbb", b"aaaa")])
        assert swap.whole(b"aaaa bbbb") == b"bbbb aaaa"

    def test_the_longest_value_counts(self) -> None:
        """Also one that does not change: it is not mistaken for a shorter one."""
        both = Replacements.of([(b"run-1", b"run-9"), (b"run-12", b"run-12")])
        assert both.whole(b"run-1 run-12") == b"run-9 run-12"

    def test_one_recorded_value_has_one_live_value(self) -> None:
        """The first that it was paired with."""
        assert Replacements.of([(b"same", b"one!"), (b"same", b"two!")]).whole(b"same") == b"one!"

    @pytest.mark.parametrize("short", [b"", b"7", b"abc"])
    def test_a_short_value_is_left_alone(self, short: bytes) -> None:
        """It would be replaced in the middle of numbers and words."""
        assert len(short) < SHORTEST
        replacements = Replacements.of([(short, b"other")])
        assert not replacements
        assert replacements.whole(b"abc 1777") == b"abc 1777"

    def test_nor_is_one_that_is_short_in_another_spelling(self) -> None:
        replacements = Replacements.of([(rb"\u00e9", rb"\u00e8")])
        assert replacements.whole("é \\u00e9".encode()) == "é \\u00e8".encode()

    def test_a_long_value_is_left_alone(self) -> None:
        """As much of a stream would be held back."""
        assert not Replacements.of([(b"a" * (LONGEST + 1), b"b")])

    def test_equal_values_replace_nothing(self) -> None:
        assert not Replacements.of([(b"same", b"same")])
        assert not Replacements.of([])

    @pytest.mark.parametrize(
        "dump", [json.dumps, lambda text: json.dumps(text, ensure_ascii=False)]
    )
    @pytest.mark.parametrize("sent", ["plain", "escaped"])
    def test_values_as_json_strings_spell_them(self, dump: object, sent: str) -> None:
        """A value with quotes or umlauts is found whether the client or the server escaped it."""
        assert callable(dump)
        old, new = 'Zoë "1"', 'Jürgen "22"\\ 🦊'
        if sent == "plain":
            pair = (old.encode(), new.encode())
        else:
            pair = (json.dumps(old)[1:-1].encode(), json.dumps(new)[1:-1].encode())
        answer = dump({"hello": old}).encode()
        assert json.loads(Replacements.of([pair]).whole(answer)) == {"hello": new}

    def test_escaped_slashes(self) -> None:
        """PHP writes them in JSON."""
        paths = Replacements.of([(b"/runs/1", b"/runs/22")])
        assert paths.whole(rb'{"at": "\/runs\/1"}') == rb'{"at": "\/runs\/22"}'

    def test_values_that_are_not_text(self) -> None:
        binary = Replacements.of([(b"\xff\xfe\x00\x01", b"\x00\xff\xff\xff")])
        assert binary.whole(b"<\xff\xfe\x00\x01>") == b"<\x00\xff\xff\xff>"


class TestField:
    def test_a_field_never_takes_a_line_break(self) -> None:
        """A client must not write header fields through a value of its request."""
        replacements = Replacements.of([(b"run-1", b"x\r\nSet-Cookie: a=b")])
        assert replacements.in_field(b"id run-1") == b"id run-1"
        assert Replacements.of([RUN]).in_field(b"id run-0001") == b"id run-77777777"


class TestStream:
    @pytest.mark.parametrize("cut", range(len(b"<run-0001>") + 1))
    def test_a_value_is_found_across_any_cut(self, cut: int) -> None:
        assert in_pieces(Replacements.of([RUN]), b"<run-0001>", [cut]) == b"<run-77777777>"

    def test_only_what_may_become_a_value_is_held_back(self) -> None:
        """The end of an event is sent with the event."""
        stream = Replacements.of([RUN]).stream()
        assert stream.feed(b"data: one\n\n") == b"data: one\n\n"
        assert stream.feed(b"data: ru") == b"data: "
        assert stream.feed(b"st\n\n") == b"rust\n\n"

    @given(pairs, letters.map(b"".join), st.lists(st.integers(0, 200), max_size=5), st.data())
    def test_in_pieces_as_whole(
        self, found: list[tuple[bytes, bytes]], filler: bytes, cuts: list[int], data: st.DataObject
    ) -> None:
        """Whatever the values and the cuts are."""
        replacements = Replacements.of(found)
        known = [recorded for recorded, _ in found] or [b""]
        parts = st.lists(st.sampled_from([*known, filler, b"a", b"b"]), max_size=8)
        text = b"".join(data.draw(parts))
        assert in_pieces(replacements, text, cuts) == replacements.whole(text)
