"""Bodies: bytes become pieces by their framing, however they are cut on the way."""

from __future__ import annotations

import pytest
from decoding import Decoded, bytewise, places
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import BodyCutShort
from buffr.message import CHUNKED, UNTIL_CLOSE, Headers, Piece
from buffr.wire.http1_body import ChunkedDecoder, ChunkWriter, chunked_whole, decoder_for, fields

_NAME = st.from_regex(rb"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,8}", fullmatch=True)
_VALUE = st.binary(max_size=8).map(
    lambda value: bytes(byte for byte in value if byte == 9 or (byte > 31 and byte != 127)).strip()
)

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b' ;a="b;c"', b";\xc3\xa9", b"\t"])
TRAILERS: st.SearchStrategy[Headers] = st.lists(st.tuples(_NAME, _VALUE), max_size=3).map(tuple)
HELLO = b"5\r\nhello\r\n"
LAST = b"0\r\n\r\n"

REFUSED = {
    "size 0x5": b"0x5\r\nhello\r\n" + LAST,
    "size +5": b"+5\r\nhello\r\n" + LAST,
    "size -5": b"-5\r\nhello\r\n" + LAST,
    "leading space": b" 5\r\nhello\r\n" + LAST,
    "underscore": b"0_5\r\nhello\r\n" + LAST,
    "empty size": b"\r\nhello\r\n" + LAST,
    "no digit": b"g\r\nhello\r\n" + LAST,
    "only an extension": b";5\r\nhello\r\n" + LAST,
    "Arabic digit": b"\xd9\xa5\r\nhello\r\n" + LAST,
    "nul": b"5\0\r\nhello\r\n" + LAST,
    "bare CR in size": b"5\r5\r\nhello\r\n" + LAST,
    "vertical tab": b"\x0b5\r\nhello\r\n" + LAST,
    "point": b"5.0\r\nhello\r\n" + LAST,
    "over 64 bits": b"10000000000000005\r\nhello\r\n" + LAST,
    "twenty digits": b"F" * 20 + b"\r\nhello\r\n" + LAST,
    "5,000 digits": b"f" * 5000 + b"\r\nhello\r\n" + LAST,
    "extension of 64 KB": b"5;" + b"a" * 65536 + b"\r\nhello\r\n" + LAST,
    "extensions without end": (b"1;" + b"e" * 4000 + b"\r\nx\r\n") * 200 + LAST,
    "bare LF behind an extension": b"2;\nxx\r\n3\r\n" + LAST,
    "bare LF in an extension": b"5;a\nhello\r\n" + LAST,
    "control in an extension": b"5;\x01\r\nhello\r\n" + LAST,
    "size ended by LF": b"5\nhello\r\n" + LAST,
    "data ended by LF": b"5\r\nhello\n" + LAST,
    "data ended by CR": b"5\r\nhello\r" + LAST,
    "data without an end": b"5\r\nhello" + LAST,
    "data over its size": b"5\r\nhelloXX" + LAST,
    "last chunk ended by CR CR": HELLO + b"0\r\rGET / HTTP/1.1\r\n\r\n",
    "something behind the last chunk": HELLO + b"0\r\nXGET / HTTP/1.1\r\n\r\n",
    "trailer without colon": HELLO + b"0\r\nno colon here\r\n\r\n",
    "trailer with space before colon": HELLO + b"0\r\nX : 1\r\n\r\n",
    "trailer folded": HELLO + b"0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer with bare LF": HELLO + b"0\r\nX: 1\nY: 2\r\n\r\n",
    "trailer with bare CR": HELLO + b"0\r\nX: 1\rY: 2\r\n\r\n",
    "trailer with nul": HELLO + b"0\r\nX: \0\r\n\r\n",
    "trailers without end": HELLO + b"0\r\n" + b"X: y\r\n" * 4000,
    "one trailer without end": HELLO + b"0\r\nX: " + b"y" * 20000,
}


class TestChunked:
    @given(st.data(), CHUNKS, EXTENSIONS, TRAILERS, st.binary(max_size=9))
    def test_cuts_make_no_difference(
        self,
        data: st.DataObject,
        chunks: list[bytes],
        extension: bytes,
        trailers: Headers,
        behind: bytes,
    ) -> None:
        """Bytes, chunk sizes, trailers and what follows are the same whole, bytewise and cut."""
        parts = [b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
        raw = b"".join(parts) + b"00%b\r\n%b\r\n" % (extension, fields(trailers)) + behind
        expected = (True, b"".join(chunks), [len(chunk) for chunk in chunks], trailers, behind)
        assert Decoded(CHUNKED, raw).outcome == expected
        assert bytewise(CHUNKED, raw).outcome == expected
        assert Decoded(CHUNKED, raw, data.draw(places(raw))).outcome == expected

    @pytest.mark.parametrize("name", REFUSED)
    def test_refused_however_it_is_cut(self, name: str) -> None:
        """Broken or ambiguous framing is refused whole and bytewise."""
        raw = REFUSED[name]
        assert Decoded(CHUNKED, raw).refused
        assert bytewise(CHUNKED, raw).refused

    @pytest.mark.parametrize("name", REFUSED)
    def test_refused_with_no_byte_to_spare(self, name: str) -> None:
        """Of what is refused no byte behind the fault is taken for data."""
        assert set(bytewise(CHUNKED, REFUSED[name]).data) <= set(b"hellox")

    def test_large_chunk_is_passed_on_as_it_comes(self) -> None:
        """A chunk that spans many reads announces its size once."""
        decoder = ChunkedDecoder()
        pieces = decoder.feed(b"fffffffffffffff\r\nab") + decoder.feed(b"c") + decoder.feed(b"d")
        assert [(piece.data, piece.chunk) for piece in pieces] == [
            (b"ab", 0xFFFFFFFFFFFFFFF),
            (b"c", None),
            (b"d", None),
        ]

    def test_three_thousand_chunks_of_a_byte(self) -> None:
        """Many small chunks stay as they are."""
        read = Decoded(CHUNKED, b"1\r\nx\r\n" * 3000 + LAST)
        assert read.done
        assert read.sizes == [1] * 3000

    def test_extensions_may_not_outweigh_the_data(self) -> None:
        """Extensions are fine as long as the data keeps up with them."""
        chunk = b"100;" + b"e" * 250 + b"\r\n" + b"x" * 256 + b"\r\n"
        assert Decoded(CHUNKED, chunk * 500 + LAST).done

    @pytest.mark.parametrize(
        "name",
        [b"Content-Length", b"TRANSFER-ENCODING", b"Host", b"Authorization", b"content-type"],
    )
    def test_trailers_never_frame_or_route(self, name: bytes) -> None:
        """Fields that have no business behind a body are dropped (RFC 9110 6.5.1)."""
        raw = HELLO + b"0\r\nX-A: 1\r\n%b: 50\r\nX-B: 2\r\n\r\n" % name
        assert Decoded(CHUNKED, raw).trailers == ((b"X-A", b"1"), (b"X-B", b"2"))

    def test_long_trailers_byte_by_byte(self) -> None:
        """Each trailer line is judged once, not once a byte (else this takes seconds)."""
        raw = b"0\r\n" + b"a:\r\n" * 4000 + b"\r\n"
        assert len(bytewise(CHUNKED, raw).trailers) == 4000

    @pytest.mark.parametrize(
        "raw", [b"", b"5", b"5\r\nhel", HELLO, HELLO + b"0\r\n", b"0\r\nX: 1\r\n"]
    )
    def test_the_end_of_the_connection_cuts_it_short(self, raw: bytes) -> None:
        """Only the last chunk and its empty line end a body."""
        decoder = decoder_for(CHUNKED)
        decoder.feed(raw)
        with pytest.raises(BodyCutShort):
            decoder.finish()


class TestLength:
    @given(st.data(), st.binary(max_size=60), st.binary(max_size=9))
    def test_cuts_make_no_difference(self, data: st.DataObject, body: bytes, behind: bytes) -> None:
        """So many bytes are the body, and the rest is not."""
        raw = body + behind
        read = Decoded(len(body), raw, data.draw(places(raw)))
        assert read.outcome == (True, body, [], (), behind)

    def test_no_bytes(self) -> None:
        """An empty body is whole before anything comes."""
        assert decoder_for(0).done

    def test_the_end_of_the_connection_cuts_it_short(self) -> None:
        """The error says how much is missing."""
        decoder = decoder_for(10)
        decoder.feed(b"hello")
        with pytest.raises(BodyCutShort, match="5 bytes before"):
            decoder.finish()


class TestUntilClose:
    def test_the_end_of_the_connection_is_the_end(self) -> None:
        """Whatever comes is the body, and the close makes it whole."""
        decoder = decoder_for(UNTIL_CLOSE)
        assert decoder.feed(b"") == []
        assert [piece.data for piece in decoder.feed(b"0\r\n\r\n")] == [b"0\r\n\r\n"]
        assert not decoder.done
        decoder.finish()
        assert decoder.done


class TestRoundTrip:
    @given(st.data(), CHUNKS, TRAILERS)
    def test_chunk_boundaries_survive(
        self, data: st.DataObject, chunks: list[bytes], trailers: Headers
    ) -> None:
        """What was read in any cuts and written again has the sender's chunks and trailers."""
        sizes = [len(chunk) for chunk in chunks]
        raw = chunked_whole(b"".join(chunks), sizes, trailers)
        read = Decoded(CHUNKED, raw, data.draw(places(raw)))
        writer = ChunkWriter()
        written = b"".join(writer.frame(piece) for piece in read.pieces) + writer.end(read.trailers)
        assert written == raw

    @given(CHUNKS)
    def test_what_had_no_chunks_is_cut_by_its_pieces(self, parts: list[bytes]) -> None:
        """Each piece of a body of another framing becomes one chunk."""
        writer = ChunkWriter()
        bare = [piece for part in parts for piece in decoder_for(UNTIL_CLOSE).feed(part)]
        written = b"".join(map(writer.frame, bare)) + writer.end(())
        assert Decoded(CHUNKED, written).sizes == [len(part) for part in parts]

    def test_nothing_is_no_chunk(self) -> None:
        """An empty piece or size would be the last chunk, and is left out."""
        assert chunked_whole(b"ab", [0, 2, 0]) == b"2\r\nab\r\n0\r\n\r\n"
        assert ChunkWriter().frame(Piece(b"")) == b""
