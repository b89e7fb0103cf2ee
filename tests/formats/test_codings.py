"""Content codings are undone where that is possible within bounds, else not at all."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.codings import (
    BadCoding,
    are_known,
    are_plain,
    decoded,
    decoding,
    encoded,
    encoding,
)

LIMIT = 10_000
KNOWN = [b"gzip", b"deflate", b"br", b"zstd", b"gzip, deflate", b"identity"]


def bare_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


class TestDecoded:
    @given(st.binary(max_size=200))
    def test_known(self, body: bytes) -> None:
        """gzip, deflate with and without its frame, several in a row, and none at all."""
        for codings, coded in (
            (b"gzip", gzip.compress(body)),
            (b"X-GZIP", gzip.compress(body[:5]) + gzip.compress(body[5:])),
            (b"deflate", zlib.compress(body)),
            (b"deflate", bare_deflate(body)),
            (b"br", brotli.compress(body)),
            (b"zstd", zstandard.compress(body)),
            (b"zstd", zstandard.compress(body[:5]) + zstandard.compress(body[5:])),
            (b"aws-chunked, br", brotli.compress(body)),
            (b"deflate, gzip", gzip.compress(zlib.compress(body))),
            (b"identity,,", body),
            (b"UTF-8", body),
            (b"none, gzip", gzip.compress(body)),
        ):
            assert decoded(codings, coded, limit_bytes=LIMIT) == body

    @pytest.mark.parametrize(
        ("codings", "body"),
        [
            (b"compress", b"x"),
            (b"br", b"no brotli"),
            (b"br", b""),
            (b"br", brotli.compress(b"a") + b"junk"),
            (b"br", brotli.compress(b"cut short")[:-1]),
            (b"br", brotli.compress(b"x" * 5_000_000)),
            (b"zstd", b"no zstd"),
            (b"zstd", b""),
            (b"zstd", zstandard.compress(b"a") + b"junk"),
            (b"zstd", zstandard.compress(b"cut short")[:-1]),
            (b"zstd", zstandard.compress(b"x" * 5_000_000)),
            (b"zstd", zstandard.compress(b"") * 5000),
            (b"gzip", b"not gzip"),
            (b"gzip", b""),
            (b"gzip", gzip.compress(b"cut short")[:-1]),
            (b"gzip", gzip.compress(b"a") + b"junk"),
            (b"deflate", zlib.compress(b"a") + b"junk"),
            (b"gzip", gzip.compress(b"x" * (LIMIT + 1))),
            (b"gzip", gzip.compress(b"x" * LIMIT) + gzip.compress(b"x")),
            (b"gzip, gzip", gzip.compress(gzip.compress(b"x" * 5_000_000))),
            (b"gzip", gzip.compress(b"") * 5000),
            (b"gzip, " * 9, b"x"),
            (b"br, " * 3000, b"x"),
        ],
    )
    def test_unknown(self, codings: bytes, body: bytes) -> None:
        """Other codings, broken bodies and bombs stay as they are."""
        assert decoded(codings, body, limit_bytes=LIMIT) is None

    @pytest.mark.parametrize(
        ("codings", "plain"),
        [
            *((name, True) for name in (b"", b"identity", b"aws-chunked", b"Identity, ")),
            *((name, True) for name in (b"utf-8", b"UTF8", b"us-ascii", b"ISO-8859-15", b"latin1")),
            *((name, True) for name in (b"windows-1252", b"None", b"binary", b"8bit", b"chunked")),
            *((name, True) for name in (b"application/json", b"utf-8, none", b"amz-1.0")),
            *((name, False) for name in (b"gzip", b"utf-8, gzip", b"compress", b"utf-16")),
            *((name, False) for name in (b"aes128gcm", b"dcb", b"snappy", b"gzip;q=1", b"base64")),
        ],
    )
    def test_values_that_are_not_codings(self, codings: bytes, plain: bool) -> None:
        """Character sets and the like are not codings.

        A possible coding is never treated as plain.
        """
        assert are_plain(codings) is plain
        if plain:
            assert are_known(codings)

    @given(st.sampled_from(KNOWN), st.binary(max_size=50))
    def test_hostile(self, codings: bytes, body: bytes) -> None:
        """Any bytes are a value or none."""
        decoded(codings, b"\x1f\x8b\x08" + body, limit_bytes=LIMIT)
        decoded(codings, body, limit_bytes=LIMIT)


def cut(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


class TestPieces:
    @given(st.sampled_from(KNOWN), st.binary(max_size=3000), st.integers(1, 700))
    def test_there_and_back(self, codings: bytes, body: bytes, size: int) -> None:
        """However it is split, a body comes back unchanged, and is always encoded the same way."""
        coded = b"".join(encoding(codings, cut(body, size)))
        assert b"".join(decoding(codings, cut(coded, size))) == body
        assert encoded(codings, body) == encoded(codings, body)

    @pytest.mark.parametrize("codings", [b"gzip", b"deflate", b"br", b"zstd"])
    def test_bounded(self, codings: bytes) -> None:
        """A bomb comes out in pieces of a bounded size."""
        bomb = encoded(codings, b"x" * 20_000_000)
        sizes = [len(piece) for piece in decoding(codings, (bomb,))]
        assert sum(sizes) == 20_000_000
        assert max(sizes) <= 9 << 20

    @pytest.mark.parametrize("codings", [b"gzip", b"deflate", b"br", b"zstd"])
    def test_cut_short(self, codings: bytes) -> None:
        """What there is comes, then the error."""
        body = bytes(range(256)) * 4000
        pieces = decoding(codings, cut(encoded(codings, body)[:-3], 100))
        got = bytearray()
        with pytest.raises(BadCoding):
            got.extend(byte for piece in pieces for byte in piece)
        assert body.startswith(got)

    def test_how_many(self) -> None:
        """Eight are undone; more are as unknown as any other name."""
        body = b"x"
        for _ in range(8):
            body = gzip.compress(body)
        assert decoded(b"gzip, " * 8, body, limit_bytes=LIMIT) == b"x"
        assert are_known(b"identity, " * 3000 + b"gzip, " * 8)
        assert not are_known(b"gzip, " * 9)
        assert not are_known(b"gzip, " * 3000)

    def test_names(self) -> None:
        assert are_known(b"gzip, BR,zstd , deflate,identity,aws-chunked")
        assert not are_known(b"gzip, compress")
