"""What of a request and its answer is recorded, and how it is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from buffr.interaction import Body, Chunk
from buffr.message import Headers, Piece, Request, ResponseHead
from buffr.origin import Origin
from buffr.recording.http import recorded_request, recording
from buffr.recording.tape import Tape
from buffr.transport.spool import Spool

CHUNKED = (b"Transfer-Encoding", b"chunked")
EVENTS = (b"Content-Type", b"Text/Event-Stream; charset=utf-8")
LENGTH = (b"Content-Length", b"5")


def taped() -> Tape:
    """Two chunks on the wire in three pieces."""
    tape = Tape(Spool(100, Path("/missing")), 0.0)
    for now, piece in enumerate([Piece(b"a", 3), Piece(b"bc"), Piece(b"de", 2)]):
        tape.append(piece, now / 10)
    tape.trailers = ((b"X-T", b"1"),)
    return tape


class TestCuts:
    @pytest.mark.parametrize(
        ("headers", "chunks"),
        [
            ((LENGTH,), ()),
            ((CHUNKED,), (Chunk(3, 0), Chunk(2, 200))),
            ((), (Chunk(1, 0), Chunk(2, 100), Chunk(2, 100))),
            ((LENGTH, EVENTS), (Chunk(1, 0), Chunk(2, 100), Chunk(2, 100))),
            ((CHUNKED, EVENTS), (Chunk(3, 0), Chunk(2, 200))),
        ],
    )
    def test_by_framing_and_type(self, headers: Headers, chunks: tuple[Chunk, ...]) -> None:
        """Chunks of the wire, what arrived at once in a stream, and nothing for a known length."""
        request = recorded_request(Request(b"GET", b"/", ()), Body(), None)
        head = ResponseHead(200, b"OK", headers)
        interaction = recording(request, head, taped(), recorded_at="now", truncated="cut")
        assert interaction.chunks == chunks
        assert interaction.body == Body.of(b"abcde")
        assert interaction.trailers == ((b"X-T", b"1"),)
        assert (interaction.recorded_at, interaction.truncated) == ("now", "cut")

    @pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 304)])
    def test_no_body_no_chunks(self, method: bytes, status: int) -> None:
        """An answer that cannot have a body is not cut, whatever its fields say."""
        request = recorded_request(Request(method, b"/", ()), Body(), None)
        tape = Tape(Spool(100, Path("/missing")), 0.0)
        head = ResponseHead(status, b"", (CHUNKED,))
        assert recording(request, head, tape, recorded_at="now").chunks == ()


class TestFields:
    HEADERS: Headers = (
        *((b"Host", b"h"), (b"X-b", b"1"), (b"Connection", b"x-gone"), (b"X-Gone", b"1")),
        *((b"Proxy-Authorization", b"Basic x"), (b"x-B", b"2"), CHUNKED, (b"Trailer", b"X-T")),
    )

    def test_request(self) -> None:
        """Neither hop-by-hop fields nor ``Host``, which names only buffr, are stored."""
        stored = recorded_request(Request(b"POST", b"/p?q", self.HEADERS), Body.of(b"x"), None)
        assert stored.headers == ((b"X-b", b"1"), (b"x-B", b"2"))
        assert (stored.method, stored.target, stored.body) == (b"POST", b"/p?q", Body.of(b"x"))
        assert (stored.scheme, stored.host, stored.port) == (None, None, None)

    def test_request_to_an_origin(self) -> None:
        """Where the client names the origin, that is stored in its stead."""
        origin = Origin("https", "api.test", 443)
        stored = recorded_request(Request(b"GET", b"/", self.HEADERS), Body(), origin)
        assert stored.headers == ((b"X-b", b"1"), (b"x-B", b"2"))
        assert (stored.scheme, stored.host, stored.port) == ("https", "api.test", 443)

    def test_answer(self) -> None:
        """The client gets the framing, and nothing else of the hop."""
        head = ResponseHead(200, b"Fine", self.HEADERS, minor=0).for_next_hop
        assert head.headers == (
            *((b"Host", b"h"), (b"X-b", b"1"), (b"x-B", b"2"), CHUNKED, (b"Trailer", b"X-T")),
        )
        assert (head.status, head.reason, head.minor) == (200, b"Fine", 1)
