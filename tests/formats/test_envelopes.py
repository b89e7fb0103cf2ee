"""Messages in envelopes, in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.envelopes import Counter, Splitter, is_enveloped, split

MESSAGES = st.lists(st.binary(max_size=40), max_size=8)
SIZES = st.lists(st.integers(1, 12), min_size=1)


def enveloped(message: bytes, flags: int = 0) -> bytes:
    return bytes((flags,)) + len(message).to_bytes(4, "big") + message


def pieces(body: bytes, sizes: list[int]) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(body):
        size = sizes[len(found) % len(sizes)]
        found.append(body[at : at + size])
        at += size
    return found


@pytest.mark.parametrize(
    ("media_type", "wanted"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc-web+proto", True),
        (b"application/connect+json", True),
        (b"application/grpc-web-text", False),  # base64
        (b"application/json", False),
        (b"application/proto", False),
    ],
)
def test_the_media_type_says_whether_there_are_messages(media_type: bytes, wanted: bool) -> None:
    assert is_enveloped(media_type) is wanted


@given(MESSAGES, SIZES, st.integers(0, 44))
def test_the_size_of_the_pieces_makes_no_difference(
    messages: list[bytes], sizes: list[int], cut: int
) -> None:
    whole = [enveloped(message, number % 2) for number, message in enumerate(messages)]
    rest = enveloped(bytes(40))[:cut]
    body = b"".join(whole) + rest
    assert list(split(body)) == whole
    splitter, counter = Splitter(), Counter()
    found = []
    for piece in pieces(body, sizes):
        found += splitter.feed(piece)
        counter.feed(piece)
    assert found == whole
    assert splitter.pending_bytes == len(rest)
    assert (counter.whole, counter.begun) == (len(whole), len(whole) + bool(rest))


@given(st.binary())
def test_any_bytes_are_messages_and_a_rest(body: bytes) -> None:
    found = b"".join(split(body))
    assert body.startswith(found)
    splitter = Splitter()
    assert b"".join(splitter.feed(body)) == found
