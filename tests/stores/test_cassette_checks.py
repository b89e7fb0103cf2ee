"""What cannot be sent is found when a cassette is read, and named; the others replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cassettes import Deck
from hypothesis import given
from hypothesis import strategies as st
from recordings import recording

from buffr.errors import CassetteError
from buffr.interaction import (
    Body,
    BrokenInteraction,
    Direction,
    Frame,
    FrameKind,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.stores.cassette.format import decode, encode

BODIES = Path("api.d")


def changed(where: str, value: Any, element: dict[str, Any]) -> bytes:
    """The element with another value at a place like ``http.response.status``."""
    *path, last = where.split(".")
    at: Any = element
    for name in path:
        at = at[int(name)] if isinstance(at, list) else at[name]
    at[int(last) if isinstance(at, list) else last] = value
    return json.dumps(element).encode()


def exchange() -> dict[str, Any]:
    element: dict[str, Any] = json.loads(encode(recording(b"/broken")))
    element["http"]["response"]["headers"]["Content-Length"] = ["12"]
    return element


def session() -> dict[str, Any]:
    request = RecordedRequest(b"GET", b"/broken", ((b"Upgrade", b"websocket"),))
    frames = (
        Frame(Direction.SERVER, FrameKind.TEXT, Body.of(b"hi")),
        Frame(Direction.SERVER, FrameKind.PING, Body.of(b"hi")),
        Frame(Direction.SERVER, FrameKind.CLOSE, close_code=1000, reason="bye"),
    )
    element: dict[str, Any] = json.loads(encode(WebSocketInteraction(request, frames=frames)))
    element["websocket"]["response"] = {"status": 101, "headers": {}}
    return element


IN_EXCHANGES: list[tuple[str, Any, str]] = [
    ("status", 99, ">= 200"),
    ("status", 100, ">= 200"),
    ("status", 1000, "<= 999"),
    ("status", -1, ">= 200"),
    ("status", "200", "Expected `int`"),
    ("status", 200.5, "Expected `int`"),
    ("status", None, "Expected `int`"),
    ("reason", "OK\r\nX: y", "reason: a line end"),
    ("headers", {"X Y": ["1"]}, "'X Y' cannot be the name"),
    ("headers", {"": ["1"]}, "'' cannot be the name"),
    ("headers", {"X:": ["1"]}, "'X:' cannot be the name"),
    ("headers", {"X\r\nY": ["1"]}, "cannot be the name"),
    ("headers", {"Grüße": ["1"]}, "cannot be the name"),
    ("headers", {"X": ["a\r\nSet-Cookie: b"]}, "headers.X: a line end"),
    ("headers", {"X": ["a\nb"]}, "headers.X: a line end"),
    ("headers", {"X": ["ok", "a\rb"]}, "headers.X: a line end"),
    ("headers", {"X": ["a\0b"]}, "headers.X: a line end or a zero byte"),
    ("headers", {"X": "1"}, "Expected `array`"),
    ("headers", {"X": [1]}, "Expected `str`"),
    ("headers", {"X": None}, "Expected `array`"),
    ("headers", [["X", "1"]], "Expected `object`"),
    ("headers", {"Content-Length": ["x"]}, "Content-Length: 'x' is not one number"),
    ("headers", {"content-length": ["-1"]}, "'-1' is not one number"),
    ("headers", {"Content-Length": ["1", "2"]}, "'1, 2' is not one number"),
    ("headers", {"Content-Length": ["1"], "CONTENT-LENGTH": ["2"]}, "is not one number"),
    ("headers", {"Transfer-Encoding": ["gzip"]}, "'gzip' is not 'chunked'"),
    ("headers", {"Content-Length": ["12"], "Transfer-Encoding": ["chunked"]}, "cannot both"),
    ("raw_headers", ["Content Type"], "'Content Type' cannot be the name"),
    ("raw_headers", [1], "Expected `str`"),
    ("header_encoding", "utf-16", "Invalid enum value"),
    ("trailers", [["X Y", "1"]], "trailers: 'X Y' cannot be the name"),
    ("trailers", [["X", "a\nb"]], "trailers: X: a line end"),
    ("trailers", [["X"]], "Expected `array` of length 2"),
    ("chunks", [[-1, 0], [13, 0]], ">= 0"),
    ("chunks", [[12, -5]], ">= 0"),
    ("chunks", [["12", 0]], "Expected `int`"),
    ("body_chunks", [{"data": "x", "delay_ms": -1}], ">= 0"),
    ("body", 5, "Expected `str`"),
    ("body_b64", "%%%", "Invalid base64"),
    ("body_file", "../../etc/passwd", "not a SHA-256"),
    ("body_size", -1, ">= 0"),
]

IN_REQUESTS: list[tuple[str, Any, str]] = [
    ("headers", {"X": "1"}, "request.headers: Expected `array`"),
    ("headers", {"X": [1]}, "request.headers: Expected `str`"),
    ("headers", None, "request.headers: Expected `object`"),
    ("raw_headers", [1], "request.raw_headers: Expected `str`"),
    ("port", 70000, "<= 65535"),
]

IN_SESSIONS: list[tuple[str, Any, str]] = [
    ("response.status", 200, "<= 101"),
    ("response.headers", {"X": ["a\r\nb"]}, "websocket.response.headers.X: a line end"),
    ("frames.0.delay_ms", -1, ">= 0"),
    ("frames.0.opcode", "ping", "Invalid enum value"),
    ("frames.0.direction", "up", "Invalid enum value"),
    ("frames.0.fragments", [-1, 3], ">= 0"),
    ("frames.0.data_b64", "/w==", "frames[0].data_b64: a text message must be UTF-8"),
    ("frames.0.data_file", "x", "frames[0].data_file: 'x' is not a SHA-256"),
    ("frames.1.close_code", 99, "frames[1].close_code: 99 cannot be sent"),
    ("frames.1.close_code", 1004, "close_code: 1004 cannot be sent"),
    ("frames.1.close_code", 65536, "close_code: 65536 cannot be sent"),
    ("frames.1.close_code", -1, "close_code: -1 cannot be sent"),
    ("frames.1.reason", "x" * 124, "frames[1].reason: it has 124 bytes"),
    ("control.0.data", "x" * 126, "control[0].data: a ping has at most 125 bytes, not 126"),
    ("control.0.after", -1, ">= 0"),
]

BROKEN = [
    pytest.param(changed(f"http.{message}.{where}", value, exchange()), said, id=f"{where}-{said}")
    for message, rows in (("response", IN_EXCHANGES), ("request", IN_REQUESTS))
    for where, value, said in rows
] + [
    pytest.param(changed(f"websocket.{where}", value, session()), said, id=f"{where}-{said}")
    for where, value, said in IN_SESSIONS
]


class TestBrokenRecordings:
    @pytest.mark.parametrize(("element", "said"), BROKEN)
    def test_one_is_named_and_the_others_replay(
        self, tmp_path: Path, element: bytes, said: str
    ) -> None:
        path = tmp_path / "api.json"
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/mark"), recording(b"/2"))
        deck.close()
        value = json.loads(path.read_bytes())
        value["interactions"][1] = json.loads(element)
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False))
        before = path.read_bytes()
        start = before.rindex(b"\n    {", 0, before.index(b"/broken")) + 1
        line = before.count(b"\n", 0, start) + 1
        deck = Deck(path, access="replay")
        assert [deck.count(target) for target in (b"/0", b"/broken", b"/2")] == [1, 0, 1]
        (warned,) = deck.said
        assert said in warned
        assert warned.startswith(f"{path}:{line}: interaction 1 cannot be replayed: ")
        with pytest.raises(CassetteError):
            deck.turns.run(deck.store.load(1))
        deck.close()
        deck = Deck(path)
        deck.append(recording(b"/3"))
        deck.close()
        kept = json.loads(path.read_bytes())["interactions"]
        assert kept[:3] == value["interactions"]
        assert len(kept) == 4

    @pytest.mark.parametrize(("element", "said"), BROKEN)
    def test_it_cannot_be_decoded(self, element: bytes, said: str) -> None:
        with pytest.raises(CassetteError) as raised:
            decode(element, BODIES)
        assert said in raised.value.message

    def test_a_readable_request_is_reported_with_the_reason(self, tmp_path: Path) -> None:
        """So that a miss of the very same request can name it."""
        path = tmp_path / "api.json"
        path.write_bytes(
            b'{"interactions": [%b]}'
            % changed("http.response.headers", {"X": ["a\nb"]}, exchange())
        )
        deck = Deck(path, access="replay")
        (broken,) = deck.turns.run(deck.store.entries((0,)))
        assert deck.cassette.request(0) is None
        assert isinstance(broken, BrokenInteraction)
        assert broken.request.target == b"/broken"
        assert "headers.X: a line end" in broken.why

    def test_many_are_named_within_a_bound(self, tmp_path: Path) -> None:
        path = tmp_path / "api.json"
        path.write_text(json.dumps({"interactions": [{"type": "http"}] * 500}))
        assert 10 < len(Deck(path, access="replay").said) < 50

    def test_other_types_are_ignored(self, tmp_path: Path) -> None:
        """Those of a newer program, whatever they contain."""
        path = tmp_path / "api.json"
        others = [{"type": "new", "http": 5}, {"type": "new", "websocket": {}}, {"type": "new"}]
        path.write_text(json.dumps({"interactions": others}))
        deck = Deck(path, access="replay")
        assert deck.said == []
        assert deck.turns.run(deck.store.entries(range(3))) == [None] * 3


class TestGoodRecordings:
    @pytest.mark.parametrize(
        ("where", "value"),
        [
            ("status", 200),
            ("status", 999),
            ("headers", {"X": []}),
            ("headers", {"X": [""], "x-y!#$%&'*+.^_`|~9": ["\tGrüße\u00a0"]}),
            ("headers", {"Content-Length": ["12", "12"]}),
            ("headers", {"transfer-encoding": ["Chunked"]}),
            ("chunks", [[5, 0], [5, 0]]),
            ("body_file", ""),
        ],
    )
    def test_these_are_sent(self, where: str, value: Any) -> None:
        """Sizes that do not add up come of an edit: the body is replayed whole."""
        decode(changed(f"http.response.{where}", value, exchange()), BODIES)

    @pytest.mark.parametrize("code", [0, 1000, 1001, 1005, 1006, 1011, 1014, 1015, 3000, 4999])
    def test_close_codes(self, code: int) -> None:
        decode(changed("websocket.frames.1.close_code", code, session()), BODIES)

    def test_a_truncated_one_is_read_whatever_it_has(self) -> None:
        element = exchange()
        element["http"]["end"] = {"reason": "time-out"}
        loaded = decode(changed("http.response.headers", {"X": ["a\nb"]}, element), BODIES)
        assert not loaded.whole


class TestWhatIsSent:
    @given(
        st.dictionaries(st.text(max_size=4), st.lists(st.text(max_size=6), max_size=2), max_size=3),
        st.text(max_size=5),
    )
    def test_an_answer_that_is_read_is_one_that_a_client_reads(
        self, headers: dict[str, list[str]], reason: str
    ) -> None:
        """Whatever is in the file: it is refused, or is one answer with these fields."""
        element = exchange()
        element["http"]["response"] |= {"headers": headers, "reason": reason, "body": ""}
        try:
            loaded = decode(json.dumps(element).encode(), BODIES)
        except CassetteError:
            return
        head = loaded.response.encoded + b"\r\n"
        lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert len(lines) == 1 + sum(map(len, headers.values()))
