"""A fault at any place: it is named and the file left alone, or its last element is torn."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import recording

from buffr.errors import CassetteError
from buffr.interaction import (
    Body,
    Chunk,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    WebSocketInteraction,
)
from buffr.message import ResponseHead
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.layout import TAIL, Layout, LayoutState
from buffr.stores.cassette.writing import head

PATH = Path("api.json")
SALT = "0123456789abcdef" * 2
STREAM = ResponseHead(200, b"OK", ((b"Content-Type", b"text/event-stream"),))


def interaction(number: int) -> Interaction:
    """Plain answers, streams and sessions in turn: with lists and objects at many depths."""
    plain = recording(b"/%d" % number, b'{"n": [%d, {"type": "http", "http": {}}]}' % number)
    if number % 3 == 1:
        data = b"data: %03d\n\n" % number
        chunks = (Chunk(4, 1), Chunk(len(data) - 4, 7))
        return HTTPInteraction(plain.request, STREAM, Body.of(data), chunks)
    if number % 3 == 2:
        frames = (
            Frame(Direction.CLIENT, FrameKind.TEXT, Body.of(b"hi %d" % number)),
            Frame(Direction.SERVER, FrameKind.PING, Body.of(b"")),
            Frame(Direction.SERVER, FrameKind.CLOSE, close_code=1000),
        )
        return WebSocketInteraction(plain.request, frames=frames)
    return plain


def ours(count: int) -> bytes:
    elements = [encode(interaction(number)) for number in range(count)]
    return head(SALT, ()) + b"\n    " + b",\n    ".join(elements) + TAIL


def of_the_go_program(count: int) -> bytes:
    """Its members, its order, and no line end at the end."""
    value = json.loads(ours(count))
    del value["salt"]
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def minified(count: int) -> bytes:
    return json.dumps(json.loads(ours(count)), separators=(",", ":")).encode()


texts = pytest.mark.parametrize(
    "text",
    [
        pytest.param(make(count), id=f"{make.__name__}-{count}")
        for make in (ours, of_the_go_program, minified)
        for count in (1, 2, 20)
    ],
)


def elements(text: bytes) -> list[bytes]:
    return read(Layout.of(text, PATH))


def read(layout: Layout) -> list[bytes]:
    return [layout.element(number) for number, _ in enumerate(layout.elements())]


def check(damaged: bytes, whole: list[bytes]) -> None:
    """What is still in the text, byte for byte, is read, or the text is refused."""
    layout = Layout.of(damaged, PATH)
    try:
        found = read(layout)
    except CassetteError as error:
        said = error.message
        assert re.match(r"api\.json:[1-9]\d*:[1-9]\d*: .", said)  # or none
        return
    lost = [element for element in whole if element in damaged and element not in found]
    assert not lost, f"{layout.state}: {len(lost)} of {len(whole)} are lost: {layout.damage}"
    if layout.state is not LayoutState.TORN:
        value = json.loads(damaged) if damaged.strip() else {}
        assert len(found) == len(value.get("interactions", []))


def lines(text: bytes) -> list[bytes]:
    return text.splitlines(keepends=True)


@texts
class TestEveryPlace:
    def test_a_byte_is_deleted(self, text: bytes) -> None:
        whole = elements(text)
        for at in places(len(text)):
            check(text[:at] + text[at + 1 :], whole)

    @pytest.mark.slow
    def test_each_byte_is_deleted(self, text: bytes) -> None:
        whole = elements(text)
        for at in range(len(text)):
            check(text[:at] + text[at + 1 :], whole)

    @pytest.mark.parametrize("put", [b"{", b"}", b"]", b",", b'"', b"\n", b" ", b"\0", b"\\"])
    def test_a_byte_is_replaced(self, text: bytes, put: bytes) -> None:
        whole = elements(text)
        for at in places(len(text)):
            check(text[:at] + put + text[at + 1 :], whole)

    @pytest.mark.parametrize("put", [b"{", b"}", b"[", b"]", b",", b'"', b"x", b"]}", b"]\n}\n"])
    def test_something_is_inserted(self, text: bytes, put: bytes) -> None:
        whole = elements(text)
        for at in places(len(text)):
            check(text[:at] + put + text[at:], whole)

    def test_a_line_becomes_a_merge_conflict(self, text: bytes) -> None:
        whole, every = elements(text), lines(text)
        for at, line in enumerate(every):
            mine = line.rstrip(b"\n") + b"\n"
            conflict = b"<<<<<<< HEAD\n" + mine + b"=======\n" + mine + b">>>>>>> other\n"
            with pytest.raises(CassetteError, match=r"api\.json:\d+:\d+: "):
                elements(b"".join([*every[:at], conflict, *every[at + 1 :]]))
            for marks in (b"<<<<<<< HEAD\n", b"=======\n", b">>>>>>> other\n"):
                check(b"".join([*every[:at], marks, *every[at + 1 :]]), whole)

    def test_the_end_is_cut_off(self, text: bytes) -> None:
        """The last element is torn, and all before it are there."""
        whole = elements(text)
        for cut in places(len(text)):
            check(text[:cut], whole)

    def test_lines_are_cut_out_of_the_middle(self, text: bytes) -> None:
        whole, every = elements(text), lines(text)
        pairs = list(combinations(range(len(every) + 1), 2))
        chance = random.Random(len(text))
        for start, end in chance.sample(pairs, min(600, len(pairs))):
            check(b"".join(every[:start] + every[end:]), whole)

    def test_a_stretch_is_cut_out_of_the_middle(self, text: bytes) -> None:
        whole = elements(text)
        chance = random.Random(len(text))
        for _ in range(400):
            start, end = sorted(chance.choices(range(len(text)), k=2))
            check(text[:start] + text[end:], whole)

    def test_it_occurs_twice(self, text: bytes) -> None:
        """``cat a.json b.json``: the second is not an unfinished append."""
        for between in (b"", b"\n", b",", b"\n\0\0"):
            with pytest.raises(CassetteError, match="more after the end of the cassette"):
                elements(text + between + text)


def places(size: int) -> Iterator[int]:
    """All of the first element and of the end, and some in between; "deep" takes more of them."""
    deep = settings.get_current_profile_name() == "deep"
    begin = min(900 if deep else 730, size)
    yield from range(begin)
    yield from range(begin, size - 30, (1 if deep else 7) if size < 2500 else 37 if deep else 97)
    yield from range(max(begin, size - 30), size)


class TestOurAppends:
    @given(st.integers(0, 3), st.integers(1, 3), st.data())
    @settings(max_examples=settings().max_examples * 2)
    def test_an_append_that_was_cut_anywhere_loses_no_older_recording(
        self, before: int, added: int, data: st.DataObject
    ) -> None:
        """Groups of several too: text after the end of a whole cassette is an unfinished append."""
        old = ours(before) if before else head(SALT, ()) + TAIL
        new = ours(before + added)
        at = len(old) - len(TAIL)
        beyond = new[len(old) :]
        kept = elements(old)
        cut = data.draw(st.integers(0, len(beyond)))
        assert elements(old + beyond[:cut]) == kept
        seam = data.draw(st.integers(0, len(TAIL)))
        done = new[at : at + seam] + TAIL[seam:]
        found = elements(old[:at] + done + beyond)
        assert found in (kept, elements(new))

    @pytest.mark.parametrize("text", [ours(1), ours(20)])
    def test_a_brace_that_fits_the_seam_is_put_back(self, text: bytes) -> None:
        """A wrong first brace looks like an append that was cut; nothing may be lost by that."""
        wrong = text.replace(b"\n    {\n", b"\n    }\n", 1)
        layout = Layout.of(wrong, PATH)
        assert read(layout) == elements(text)
        assert layout.state is LayoutState.TORN
        assert "all of it is there" in layout.damage
