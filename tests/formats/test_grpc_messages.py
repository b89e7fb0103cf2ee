"""gRPC's messages without their compression."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.grpc import is_grpc_type, without_compression


def framed(message: bytes, *, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def gzipped(message: bytes) -> bytes:
    return gzip.compress(message)


def deflated(message: bytes) -> bytes:
    return zlib.compress(message)


@given(st.lists(st.binary(max_size=300)), st.sampled_from([gzipped, deflated]))
def test_compressed_messages_are_like_plain_ones(
    messages: list[bytes], compress: Callable[[bytes], bytes]
) -> None:
    coded = b"".join(framed(compress(one), flag=1) for one in messages)
    plain = b"".join(framed(one) for one in messages)
    assert without_compression(coded, 1 << 20) == plain
    assert without_compression(plain, 1 << 20) == plain


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",
        framed(b"abc", flag=1),
        framed(gzip.compress(b"abc")[:-3], flag=1),
        framed(gzip.compress(b"abc"), flag=1)[:-1],
        framed(gzip.compress(bytes(5000)), flag=1),
    ],
    ids=["none", "short", "not compressed", "cut", "cut message", "too long"],
)
def test_what_cannot_be_inflated_stays(body: bytes) -> None:
    assert without_compression(body, 1000) == body


@given(st.binary())
def test_any_bytes_are_taken(body: bytes) -> None:
    assert isinstance(without_compression(body, 1000), bytes)


@pytest.mark.parametrize(
    ("media_type", "is_one"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_types(media_type: bytes, is_one: bool) -> None:
    assert is_grpc_type(media_type) is is_one
