"""How the body of an answer goes out with a fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from twisted.trial import unittest

from buffr.exchanges.exchange import SwitchingSink
from buffr.exchanges.faults import FaultSink
from buffr.message import Headers, Piece, ResponseHead
from buffr.policy.faults import Fault

TRIAL = unittest.SynchronousTestCase()
STREAM = ResponseHead(200, b"OK", ((b"Transfer-Encoding", b"chunked"),))


class Client:
    """What a client gets: the bytes, and in the end whether that is all."""

    def __init__(self) -> None:
        self.got = b""
        self.end_of_it = ""
        self.slept: list[tuple[bytes, float]] = []
        self.flushed_at_begin = False

    def begin(self, head: ResponseHead) -> None:
        """Heads are not looked at here."""

    def write(self, piece: Piece) -> None:
        self.got += piece.data

    def flush(self) -> None:
        self.flushed_at_begin = self.flushed_at_begin or not self.got

    def end(self, _: Headers) -> None:
        self.end_of_it = "whole"

    def abort(self, _: int | None = None) -> None:
        self.end_of_it = "cut"

    async def drain(self) -> None:
        """There is always room."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append((self.got, seconds))


def passed(fault: Fault, pieces: Sequence[bytes], *, drained: bool = True) -> Client:
    client: Any = Client()
    sink = FaultSink(cast("SwitchingSink", client), fault, client.sleep)
    sink.begin(STREAM)
    for piece in pieces:
        sink.write(Piece(piece, len(piece)))
        if drained:
            TRIAL.successResultOf(sink.drain())
    sink.end(())
    assert isinstance(client, Client)
    return client


def cuts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
class TestEvents:
    def test_the_cut_comes_after_so_many(self, end: bytes, size: int) -> None:
        events = [b"data: %d" % number + end for number in range(5)]
        client = passed(Fault(cut_after_events=2), cuts(b"".join(events), size))
        assert (client.got, client.end_of_it) == (b"".join(events[:2]), "cut")

    def test_a_pause_comes_after_each(self, end: bytes, size: int) -> None:
        events = [b"data: %d" % number + end for number in range(3)]
        client = passed(Fault(event_delay_s=1.5), cuts(b"".join(events), size))
        assert client.end_of_it == "whole"
        assert client.slept == [(b"".join(events[: n + 1]), 1.5) for n in range(3)]


def test_what_waits_at_the_end_is_cut_too() -> None:
    fault = Fault(cut_after_events=1, malformed=True)
    client = passed(fault, [b"data: 1\n\ndata: 2\n\n"])
    assert (client.got, client.end_of_it) == (b"data: 1\n\n", "cut")


def test_the_body_waits_behind_the_head() -> None:
    client = passed(Fault(body_delay_s=2.0), [b"ab", b"cd"])
    assert client.flushed_at_begin
    assert (client.got, client.end_of_it) == (b"abcd", "whole")
    assert client.slept == [(b"", 2.0)]
