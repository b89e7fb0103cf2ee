"""Heads taken off a connection's buffer, however its bytes were cut."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from request_heads import ACCEPTED, ENCODED, REFUSED, head, target

from buffr.errors import BadRequest
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http1_requests import HeadMemo, RequestHeads

LIMITS = HeadLimits(count=70)


def heads(memo: HeadMemo | None = None, limits: HeadLimits = LIMITS) -> RequestHeads:
    return RequestHeads(memo or HeadMemo(), limits)


def taken(segments: list[bytes], memo: HeadMemo | None = None) -> list[object]:
    """The heads in these segments, then what is left, or the status that refuses it."""
    taking, buffer, found = heads(memo), b"", list[object]()
    for segment in segments:
        buffer += segment
        try:
            while buffer:
                request, buffer = taking.take(buffer)
                if request is None:
                    break
                found.append(attrs.astuple(request))
        except BadRequest as error:
            return [*found, error.status]
    return [*found, buffer]


SHORT = [raw for raw in (*ACCEPTED.values(), *map(target, ENCODED)) if len(raw) < 5000]


class TestCuts:
    @pytest.mark.parametrize("raw", SHORT)
    def test_accepted_byte_by_byte(self, raw: bytes) -> None:
        """No cut changes what a head says, nor what comes behind it."""
        raw += head() + b"GET /next HTT"
        whole = taken([raw])
        assert len(whole) == 3
        assert whole[-1] == b"GET /next HTT"
        assert taken([raw[place : place + 1] for place in range(len(raw))]) == whole

    @pytest.mark.parametrize("name", [name for name in REFUSED if len(REFUSED[name]) < 5000])
    def test_refused_byte_by_byte(self, name: str) -> None:
        """What is refused whole is refused in parts, and never turns into a request."""
        raw = REFUSED[name]
        assert taken([raw]) == [400]
        found = taken([raw[place : place + 1] for place in range(len(raw))])
        assert found == [400]

    @given(st.data(), st.lists(st.sampled_from([head(), b"\r\n", b"x", b"\n", b"\r", b"GET /"])))
    def test_any_cuts(self, data: st.DataObject, parts: list[bytes]) -> None:
        """The same heads come out of any segments."""
        raw = b"".join(parts)
        places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
        cut = [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
        whole, parted = taken([raw]), taken(cut)
        assert [each for each in parted if isinstance(each, tuple)] == [
            each for each in whole if isinstance(each, tuple)
        ]
        assert isinstance(parted[-1], int) is isinstance(whole[-1], int)


class TestEarly:
    @pytest.mark.parametrize(
        ("partial", "status"),
        [
            (b"\x16\x03\x01", 400),
            (b" ", 400),
            (b"\n", 400),
            (b"GET / HTTP/1.1\n", 400),
            (b"GET / HTTP/1.1\rx", 400),
            (b"GET / HTTP/1.1\r\nX: y\n", 400),
            (b"SSH-2.0-x\r\n", 400),
            (b"GET / HTTP/2.0\r\n", 505),
            (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, 431),
            (b"A" * 70_000, 431),
            (b"\r\n" * 9, 400),
        ],
    )
    def test_refused_as_soon_as_nothing_can_mend_it(self, partial: bytes, status: int) -> None:
        """Nobody waits for the end of what will be refused."""
        assert taken([partial]) == [status]

    @pytest.mark.parametrize(
        "partial", [b"", b"\r", b"\r\n" * 8, b"G", b"GET / HTTP/1.1\r\nX: y\r"]
    )
    def test_not_sooner(self, partial: bytes) -> None:
        """What can still become a request is waited for."""
        assert isinstance(taken([partial])[-1], bytes)

    def test_empty_lines_count_for_one_request(self) -> None:
        """Each request may have some before it."""
        raw = (b"\r\n" * 8 + head()) * 3
        assert len(taken([raw])) == 4


class TestBounds:
    def test_size(self) -> None:
        """A head of the bound is taken, and one byte more is not."""
        raw = head(b"X: y\r\n")
        assert heads(limits=HeadLimits(len(raw))).take(raw)[0] is not None
        with pytest.raises(BadRequest) as caught:
            heads(limits=HeadLimits(len(raw) - 1)).take(raw)
        assert caught.value.status == 431

    def test_the_memo_is_used(self) -> None:
        """A head that was read before is not read again, on whichever connection."""
        memo = HeadMemo()
        heads(memo).take(head())
        first, _ = heads(memo).take(head())
        second, rest = heads(memo).take(head() + b"rest")
        assert first is second
        assert rest == b"rest"

    def test_what_is_refused_is_not_remembered(self) -> None:
        """The second connection is refused as the first one was."""
        memo = HeadMemo()
        for name in REFUSED:
            assert taken([REFUSED[name]], memo) == taken([REFUSED[name]], memo)
