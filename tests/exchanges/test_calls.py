"""Request bodies that are read before anything is done with them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.trial import unittest

from buffr.exchanges.explain import Explainer
from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.exchanges.playhead import Playhead, Repeat
from buffr.exchanges.request_body import RequestBody, read_whole
from buffr.exchanges.route import Recorded
from buffr.matching.body import IN_MEMORY
from buffr.matching.matcher import Matcher, MatchRules
from buffr.message import Headers, Piece, Request, ResponseHead
from buffr.policy.mode import Mode
from buffr.redaction.rules import RedactionRules
from buffr.stores.memory import MemoryInteractions
from buffr.transport.streams import BodyStream

TRIAL = unittest.SynchronousTestCase()
JSON = ((b"Content-Type", b"application/json"),)


class Sink:
    """Takes no answer: bodies are read before there is one."""

    def inform(self, head: ResponseHead) -> None:
        raise AssertionError(head)

    def begin(self, head: ResponseHead) -> None:
        raise AssertionError(head)

    def answer(self, head: ResponseHead, body: bytes, sizes: object, trailers: Headers) -> None:
        raise AssertionError(head)

    def write(self, piece: Piece) -> None:
        raise AssertionError(piece)

    def flush(self) -> None:
        raise AssertionError

    async def drain(self) -> None:
        raise AssertionError

    def end(self, trailers: Headers) -> None:
        raise AssertionError(trailers)

    def abort(self, _: int | None = None) -> None:
        raise AssertionError


def route_in(directory: Path) -> Recorded:
    matcher, redaction = Matcher(MatchRules(), with_origin=False), RedactionRules()
    store = MemoryInteractions().view(matcher.recorded_key)
    return Recorded(
        mode=Mode.AUTO,
        upstream=None,
        store=store,
        matcher=matcher,
        bodies=RouteBodies(LongBodies(), matcher, store),
        playhead=Playhead(Repeat.CYCLE),
        explainer=Explainer(Clock(), store, matcher, redaction),
        redaction=redaction,
        share=True,
        record_statuses=range(200, 300),
        replay_delays=False,
        spool_dir=directory,
    )


def read(directory: Path, data: bytes, piece_bytes: int) -> RequestBody:
    """A body that came in pieces, and was read to its end."""
    stream = BodyStream(lambda: None, lambda: None)
    stream.feed(Piece(data[at : at + piece_bytes]) for at in range(0, len(data), piece_bytes))
    stream.finish()
    request = Request(b"POST", b"/", JSON)
    body: RequestBody = TRIAL.successResultOf(_read(route_in(directory), request, stream))
    return body


async def _read(route: Recorded, request: Request, stream: BodyStream) -> RequestBody:
    return await read_whole(route, request, stream, Sink())


class TestExact:
    """What distinguishes two bodies byte for byte."""

    @pytest.mark.parametrize("data", [b"", b"x", b'{"a": 1}', b"x" * IN_MEMORY])
    def test_up_to_a_limit_it_is_the_bytes(self, tmp_path: Path, data: bytes) -> None:
        """Canonical JSON plays no part."""
        assert read(tmp_path, data, 65536).exact == data
        assert RequestBody(data, data).exact == data

    @pytest.mark.parametrize("piece_bytes", [65536, 100_001, IN_MEMORY, 3 * IN_MEMORY])
    @pytest.mark.parametrize("size_bytes", [IN_MEMORY + 1, 2 * IN_MEMORY])
    def test_beyond_it_the_digest_of_them(
        self, tmp_path: Path, size_bytes: int, piece_bytes: int
    ) -> None:
        """Of the very bytes: neither redacted nor made canonical."""
        data = (b'{ "api_key": "sk-ant-0123456789abcdef0123456789abcdef", "a": 1.0 }').ljust(
            size_bytes
        )
        body = read(tmp_path, data, piece_bytes)
        assert body.exact == b"sha256:" + sha256(data).digest()
        body.close()

    def test_a_body_that_spells_a_digest_is_not_the_one_that_has_it(self, tmp_path: Path) -> None:
        large = read(tmp_path, b"x" * (IN_MEMORY + 1), 65536)
        assert read(tmp_path, large.exact, 65536).exact != large.exact
        large.close()
