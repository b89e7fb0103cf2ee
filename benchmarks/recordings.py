"""One recording becomes many, which differ by the number in their request's body."""

from __future__ import annotations

from pathlib import Path

from benchmarks.message import MARK

__all__ = ["multiply_cassette", "multiply_flows"]

_START, _END = b"\n    {\n", b"\n    }\n"


def _numbered(recording: bytes, count: int, between: bytes) -> bytes:
    mark = MARK.encode()
    return between.join([recording.replace(mark, b"%08d" % number) for number in range(count)])


def multiply_cassette(cassette: Path, count: int) -> None:
    """Make buffr's one recording ``count`` recordings."""
    text = cassette.read_bytes()
    start, end = text.index(_START), text.index(_END) + len(_END) - 1
    recordings = _numbered(text[start:end], count, b",")
    cassette.write_bytes(text[:start] + recordings + text[end:])


def multiply_flows(flows: Path, count: int) -> None:
    """Make mitmproxy's one flow ``count`` flows."""
    flows.write_bytes(_numbered(flows.read_bytes(), count, b""))
