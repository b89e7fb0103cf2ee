"""Clients that leave: how soon their upstream is free, and what is kept of their answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from service_bench import ServiceBench, service

WITHIN_S = 1.0
"""How soon an upstream is free of a client that left before the first byte of its answer."""


@contextmanager
def reverse(directory: Path, mode: str) -> Iterator[ServiceBench]:
    """One port of this mode, whose upstream answers when the test says so."""
    row = {"target": "http://10.9.0.1", "port": 0, "mode": mode}
    with service(directory, {"reverse": [row], "limits": {"half_close_s": 600}}) as bench:
        bench.held = True
        yield bench


class TestBeforeTheFirstByte:
    @pytest.mark.parametrize("mode", ["passthrough", "auto", "record", "cache"])
    @pytest.mark.parametrize(
        ("way", "head"),
        [
            ("half_close", b""),
            ("leave", b""),
            ("leave", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        ],
    )
    def test_its_upstream_is_free_within_a_second(
        self, tmp_path: Path, mode: str, way: str, head: bytes
    ) -> None:
        """Of a kept connection: with it, closing means leaving. Recorded or not."""
        with reverse(tmp_path, mode) as bench:
            client = bench.client()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            bench.until(lambda: len(bench.origins) == 1)
            origin = bench.origins[0]
            if head:
                origin.send(head)
            getattr(client, way)()
            for _ in range(10):
                bench.reactor.advance(WITHIN_S / 10)
                bench.reactor.settle()
            assert origin.wire.ends[:1] == ["cut"]
