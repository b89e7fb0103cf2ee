"""Content codings are undone where that is possible within bounds, else not at all."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.codings import decoded

LIMIT = 10_000


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
            (b"deflate, gzip", gzip.compress(zlib.compress(body))),
            (b"identity,,", body),
        ):
            assert decoded(codings, coded, limit_bytes=LIMIT) == body

    @pytest.mark.parametrize(
        ("codings", "body"),
        [
            (b"br", b"x"),
            (b"gzip", b"not gzip"),
            (b"gzip", b""),
            (b"gzip", gzip.compress(b"cut short")[:-1]),
            (b"gzip", gzip.compress(b"a") + b"junk"),
            (b"deflate", zlib.compress(b"a") + b"junk"),
            (b"gzip", gzip.compress(b"x" * (LIMIT + 1))),
            (b"gzip", gzip.compress(b"x" * LIMIT) + gzip.compress(b"x")),
            (b"gzip, gzip", gzip.compress(gzip.compress(b"x" * 5_000_000))),
            (b"gzip", gzip.compress(b"") * 5000),
        ],
    )
    def test_unknown(self, codings: bytes, body: bytes) -> None:
        """Other codings, broken bodies and bombs stay as they are."""
        assert decoded(codings, body, limit_bytes=LIMIT) is None

    @given(st.sampled_from([b"gzip", b"deflate", b"gzip, deflate"]), st.binary(max_size=50))
    def test_hostile(self, codings: bytes, body: bytes) -> None:
        """Any bytes are a value or none."""
        decoded(codings, b"\x1f\x8b\x08" + body, limit_bytes=LIMIT)
        decoded(codings, body, limit_bytes=LIMIT)
