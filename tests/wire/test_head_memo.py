"""The memo of heads: what it answers, what it never holds, and how much."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import attrs
import pytest
from request_heads import ACCEPTED, head, target

from buffr.message import Request
from buffr.wire.http1_head import HeadLimits, parse_request_head
from buffr.wire.http1_requests import HeadMemo

LIMITS = HeadLimits(count=2000)
NEVER = {
    "chunked": head(b"Transfer-Encoding: chunked\r\n"),
    "expect": head(b"Expect: 100-continue\r\nContent-Length: 5\r\n"),
    "upgrade": head(b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
    "over 8 KiB": head(b"X-A: " + b"a" * 8192 + b"\r\n"),
}


def put(memo: HeadMemo, raw: bytes) -> None:
    """As a client does that sends a head a second time."""
    for _ in range(2):
        memo.put(raw, parse_request_head(raw, LIMITS))


def remembered(memo: HeadMemo, raw: bytes) -> Request:
    put(memo, raw)
    found = memo.get(raw)
    assert found is not None
    return found


class TestAnswers:
    @pytest.mark.parametrize("name", ACCEPTED)
    def test_warm_is_as_cold(self, name: str) -> None:
        """A head that is remembered says what its bytes say."""
        raw = ACCEPTED[name]
        cold = parse_request_head(raw, LIMITS)
        memo = HeadMemo()
        put(memo, raw)
        warm = memo.get(raw) or parse_request_head(raw, LIMITS)
        assert attrs.astuple(warm) == attrs.astuple(cold)

    @pytest.mark.parametrize(
        "other",
        [b"get /p HTTP/1.1", b"GET /P HTTP/1.1", b"GET /p HTTP/1.0", b"GET /p? HTTP/1.1"],
    )
    def test_only_the_exact_bytes(self, other: bytes) -> None:
        """Another case or version is another head."""
        memo = HeadMemo()
        remembered(memo, head())
        assert memo.get(head(line=other)) is None

    @pytest.mark.parametrize("name", NEVER)
    def test_never_held(self, name: str) -> None:
        """Heads that begin a special course, and long ones, are read anew each time."""
        memo = HeadMemo()
        put(memo, NEVER[name])
        assert memo.get(NEVER[name]) is None


class TestBound:
    def test_heads_that_come_once_take_no_memory(self) -> None:
        """A session of requests that all differ leaves marks of them, which are there already."""
        memo = HeadMemo()
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(5000):
                raw = target(b"/%d" % number)
                memo.put(raw, parse_request_head(raw, LIMITS))
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken < 100_000

    def test_the_oldest_leaves_first(self) -> None:
        """When there is no room, what was read last stays."""
        memo = HeadMemo(20_000)
        heads = [target(b"/%d" % number) for number in range(100)]
        held = [remembered(memo, raw) for raw in heads]
        kept = [memo.get(raw) is not None for raw in heads]
        assert kept == sorted(kept)
        assert 1 < sum(kept) < len(held)

    def test_more_than_there_is_room_for(self) -> None:
        """A head that exceeds the bound alone is not held, and nothing breaks."""
        memo = HeadMemo(100)
        put(memo, head())
        assert memo.get(head()) is None

    def test_the_same_head_twice(self) -> None:
        """Putting a head again takes no more room."""
        memo = HeadMemo(20_000)
        remembered(memo, head())
        for _ in range(1000):
            remembered(memo, target(b"/other"))
        assert memo.get(head()) is not None

    @pytest.mark.parametrize(
        "fields", [b"", b"ab:cd\r\n" * 200, b"Accept-Encoding: gzip, deflate\r\n" * 100]
    )
    def test_the_bound_holds_for_the_memory_taken(self, fields: bytes) -> None:
        """The parsed heads count too, which can weigh twenty times their bytes."""
        size_bytes = 150_000

        def heads() -> Iterator[bytes]:
            for number in range(size_bytes // (len(fields) + 60) + 100):
                yield head(fields, line=b"GET /%d HTTP/1.1" % number)

        memo = HeadMemo(size_bytes)
        gc.collect()
        tracemalloc.start()
        try:
            for raw in heads():
                put(memo, raw)
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size_bytes / 4 < taken < 1.3 * size_bytes
