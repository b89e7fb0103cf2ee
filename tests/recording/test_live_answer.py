"""Live values in a recorded answer: fields, framing, chunks and content codings stay true."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.codings import decoded, encoded, encoding
from buffr.interaction import Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.message import Headers, ResponseHead
from buffr.recording.live_answer import LiveBody, with_live_fields
from buffr.recording.live_values import Replacements
from buffr.recording.player import reader

RUN = Replacements.of([(b"run-1", b"run-22222")])
CODINGS = [b"", b"gzip", b"deflate", b"br", b"zstd", b"deflate, gzip"]


def interaction(
    body: bytes, headers: Headers = (), sizes: Sequence[int] = (), trailers: Headers = ()
) -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"GET", b"/"),
        ResponseHead(200, b"OK", headers),
        Body.of(body),
        tuple(Chunk(size, 10) for size in sizes),
        trailers,
    )


def live(recorded: HTTPInteraction, replacements: Replacements = RUN) -> HTTPInteraction:
    answer = LiveBody(recorded, [replacements.stream()], reader(recorded.body))
    return answer.answer(Body.of(b"".join(answer.pieces())))


class TestFields:
    def test_values_in_headers_and_trailers(self) -> None:
        """But not in the fields that frame the body."""
        headers = ((b"X-Run", b"id run-1"), (b"Content-Length", b"1234"), (b"X-Size", b"1234"))
        recorded = interaction(b"", headers, trailers=((b"X-End", b"run-1"),))
        both = Replacements.of([(b"run-1", b"run-22222"), (b"1234", b"56789")])
        got = with_live_fields(recorded, both)
        assert got.response.headers == (
            (b"X-Run", b"id run-22222"),
            (b"Content-Length", b"1234"),
            (b"X-Size", b"56789"),
        )
        assert got.trailers == ((b"X-End", b"run-22222"),)


class TestBody:
    @pytest.mark.parametrize("coding", CODINGS)
    def test_under_a_content_coding(self, coding: bytes) -> None:
        """Undone, replaced, done again."""
        headers = ((b"Content-Encoding", coding),) if coding else ()
        got = live(interaction(encoded(coding, b"<run-1> and run-1"), headers))
        plain = decoded(coding, got.body.data, limit_bytes=1000)
        assert plain == b"<run-22222> and run-22222"
        assert got.chunks == ()

    @pytest.mark.parametrize("coding", CODINGS)
    def test_without_any_value_the_exact_bytes_stay(self, coding: bytes) -> None:
        headers = ((b"Content-Encoding", coding),)
        recorded = interaction(encoded(coding, b"nothing of it"), headers, [5])
        assert live(recorded) is recorded

    def test_a_value_across_chunks_is_sent_with_the_later_one(self) -> None:
        """The others keep their cuts and times."""
        got = live(interaction(b"one run-1 two", sizes=[3, 4, 2, 4]))
        assert got.body.data == b"one run-22222 two"
        assert got.chunks == (Chunk(3, 10), Chunk(1, 10), Chunk(9, 10), Chunk(4, 10))

    def test_an_emptied_chunk_is_dropped(self) -> None:
        """A chunk of no bytes would end the body (RFC 9112 7.1); its delay stays."""
        got = live(interaction(b"run-1.", sizes=[2, 2, 2]))
        assert got.body.data == b"run-22222."
        assert got.chunks == (Chunk(10, 30),)

    @pytest.mark.parametrize("coding", CODINGS[1:])
    def test_events_under_a_content_coding_stay_apart(self, coding: bytes) -> None:
        """Each can be decoded when its chunk is there."""
        events = [b"data: run-1\n\n", b"data: more\n\n", b"data: run-1!\n\n"]
        coded = list(encoding(coding, events, flushed=True))
        sizes = [len(coded[0]), len(coded[1]), len(b"".join(coded[2:]))]
        got = live(interaction(b"".join(coded), ((b"Content-Encoding", coding),), sizes))
        assert len(got.chunks) == 3
        assert sum(chunk.size_bytes for chunk in got.chunks) == got.body.size_bytes
        plain = decoded(coding, got.body.data, limit_bytes=1000)
        assert plain == b"".join(events).replace(b"run-1", b"run-22222")

    @given(
        st.lists(st.sampled_from([b"run-1", b"run-", b"r", b" ", b"1"]), min_size=1, max_size=12),
        st.lists(st.integers(1, 9), max_size=12),
        st.sampled_from(CODINGS),
    )
    def test_chunks_always_make_the_body(
        self, words: list[bytes], sizes: list[int], coding: bytes
    ) -> None:
        """Wherever the recording was cut, of whatever coding."""
        plain = b"".join(words)
        body = encoded(coding, plain)
        cuts: list[int] = []
        for size in sizes:
            if sum(cuts) + size < len(body):
                cuts.append(size)
        cuts.append(len(body) - sum(cuts))
        headers = ((b"Content-Encoding", coding),) if coding else ()
        got = live(interaction(body, headers, cuts))
        expected = plain.replace(b"run-1", b"run-22222")
        assert decoded(coding, got.body.data, limit_bytes=10_000) == expected
        assert sum(chunk.size_bytes for chunk in got.chunks) == got.body.size_bytes
        assert all(chunk.size_bytes for chunk in got.chunks)
        assert sum(chunk.delay_ms for chunk in got.chunks) == 10 * len(cuts)

    def test_chunks_that_no_longer_fit_are_none(self) -> None:
        """Somebody edited the body in the cassette."""
        got = live(evolve(interaction(b"run-1"), chunks=(Chunk(3), Chunk(9))))
        assert got.body.data == b"run-22222"
        assert got.chunks == ()
