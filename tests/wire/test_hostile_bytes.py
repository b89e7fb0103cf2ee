"""Hostile bytes: a value or a ``BuffrError``, never anything else, and never without a bound."""

from __future__ import annotations

import pytest
from decoding import Decoded, bytewise, damaged, places
from hypothesis import given
from hypothesis import strategies as st
from request_heads import ACCEPTED, REFUSED

from buffr.errors import BadFraming, BadRequest, BadUpstreamAnswer
from buffr.message import CHUNKED
from buffr.wire.http1_body import ChunkedDecoder
from buffr.wire.http1_head import END_OF_HEAD, HeadLimits, parse_request_head, parse_response_head
from buffr.wire.http1_requests import HeadMemo

LIMITS = HeadLimits()
_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\n",
    b"HTTP/1.0 404\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
]
_CHUNKED = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"A;a=b\r\n0123456789\r\n00;c\r\nX-A: 1\r\nX-B:\r\n\r\nbehind",
    b"1;" + b"e" * 300 + b"\r\nx\r\n" * 3 + b"0\r\n\r\n",
]


def first_head(raw: bytes) -> bytes:
    """What a connection cuts out as the first head."""
    return raw[: (raw + END_OF_HEAD).find(END_OF_HEAD)] + END_OF_HEAD


HEADS = st.binary(max_size=200) | damaged(
    [raw for raw in (ACCEPTED | REFUSED).values() if len(raw) < 5000]
)


class TestHeads:
    @given(HEADS)
    def test_a_request_or_a_refusal(self, raw: bytes) -> None:
        """Whatever stands before an empty line is a request, or a bad one."""
        try:
            request = parse_request_head(first_head(raw), LIMITS)
        except BadRequest:
            return
        text = b"".join([request.method, request.target, *map(b"".join, request.headers)])
        assert not set(text) & set(b"\r\n\0")
        assert request.body_length >= CHUNKED

    @given(HEADS)
    def test_cold_and_warm_agree(self, raw: bytes) -> None:
        """A head that was refused is not remembered, one that was accepted reads the same."""
        memo = HeadMemo()
        raw = first_head(raw)
        for _ in range(3):
            try:
                memo.put(raw, parse_request_head(raw, LIMITS))
            except BadRequest:
                assert memo.get(raw) is None

    @given(st.binary(max_size=200) | damaged(_ANSWERS))
    def test_an_answer_or_a_refusal(self, raw: bytes) -> None:
        """An upstream's head is one, or a bad one."""
        try:
            head = parse_response_head(first_head(raw), LIMITS)
        except BadUpstreamAnswer:
            return
        assert not set(b"".join([head.reason, *map(b"".join, head.headers)])) & set(b"\r\n\0")


class TestChunks:
    @given(st.data(), st.binary(max_size=60) | damaged(_CHUNKED))
    def test_cuts_make_no_difference(self, data: st.DataObject, raw: bytes) -> None:
        """What is refused whole is refused in parts, and what is read is read alike."""
        whole = Decoded(CHUNKED, raw).outcome
        assert bytewise(CHUNKED, raw).outcome == whole
        assert Decoded(CHUNKED, raw, data.draw(places(raw))).outcome == whole

    @pytest.mark.parametrize(
        "flood",
        [
            b"1",
            b"f",
            b" ",
            b"5;",
            b"a",
            b"\r",
            b"1;e\r\nx\r\n",
            b"0\r\nX-A: y\r\n",
            b"0\r\nX",
            b"1\r\nx\r\n",
        ],
    )
    @pytest.mark.parametrize("start", [b"", b"5;", b"0\r\n", b"0\r\nX:"])
    def test_it_holds_back_little(self, start: bytes, flood: bytes) -> None:
        """No input makes a decoder keep more than a line, or a trailer section."""
        decoder = ChunkedDecoder()
        try:
            decoder.feed(start)
            for _ in range(100):
                decoder.feed(flood * 1000)
                assert len(decoder._pending) <= 16384
                if decoder.done:
                    break
        except BadFraming:
            pass
        assert sum(map(len, map(b"".join, decoder.trailers))) <= 16384
