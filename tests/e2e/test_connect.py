"""Connect and gRPC-Web, which need no HTTP/2: recorded and replayed in both versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from buffr.formats.grpc import END_OF_STREAM, TRAILERS, framed, frames
from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked
from buffr.wire.http2.engines import ENGINES

_PATIENCE_S = 60
_OPTIONS = ("--cassette", "c.json", "--port", "0")

UNARY = {
    "connect, proto": (
        {"connect-protocol-version": "1", "content-type": "application/proto"},
        b"\n\x05world",
    ),
    "connect, json": (
        {"connect-protocol-version": "1", "content-type": "application/json"},
        b'{"name": "world"}',
    ),
}
STREAMS = {
    "connect's stream": (
        {"connect-protocol-version": "1", "content-type": "application/connect+proto"},
        framed(0, b"\n\x05world"),
    ),
    "gRPC-Web": (
        {"x-grpc-web": "1", "content-type": "application/grpc-web+proto"},
        framed(0, b"\n\x05world"),
    ),
    "gRPC-Web, text": (
        {"x-grpc-web": "1", "content-type": "application/grpc-web-text"},
        b"AAAAAAcKBXdvcmxk",
    ),
}
CALLS = {**UNARY, **STREAMS}
_ENDS = {
    "application/connect+proto": framed(END_OF_STREAM, b"{}"),
    "application/grpc-web+proto": framed(TRAILERS, b"grpc-status:0\r\n"),
}


def script(received: Received) -> bytes | Iterator[Step]:
    kind = (received.header(b"content-type") or b"").decode()
    fields = ((b"content-type", kind.encode()),)
    if kind in _ENDS:
        pieces = [framed(0, b"one of " + received.body[5:]), framed(0, b"two"), _ENDS[kind]]
        return chunked(pieces, headers=fields)
    return answer(b"heard " + received.body, headers=fields)


def outcomes(port: int, *, http2: bool) -> dict[str, tuple[int, str, bytes]]:
    seen = {}
    with httpx.Client(http1=not http2, http2=http2, timeout=_PATIENCE_S, trust_env=False) as client:
        for number, (name, (fields, body)) in enumerate(CALLS.items()):
            timeouts = {
                "connect-timeout-ms": str(60_000 + number),
                "grpc-timeout": f"{number + 9}S",
            }
            got = client.post(
                f"http://127.0.0.1:{port}/helloworld.Greeter/SayHello",
                content=body,
                headers={**fields, **timeouts},
            )
            assert got.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            seen[name] = got.status_code, got.headers["content-type"], got.content
    return seen


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("recorded_in", [1, 2])
def test_recorded_and_replayed_it_is_the_same(
    tmp_path: Path, engine: str, recorded_in: int
) -> None:
    (tmp_path / "buffr.yaml").write_text(f"http2_engine: {engine}\n")
    with FakeUpstream(script) as upstream:
        with BuffrProcess.run("auto", "--target", upstream.url, *_OPTIONS, cwd=tmp_path) as buffr:
            wanted = outcomes(buffr.ports[0], http2=recorded_in == 2)
        assert len(upstream.received) == len(CALLS)
    assert wanted["gRPC-Web"][2].endswith(_ENDS["application/grpc-web+proto"])
    with BuffrProcess.run("replay", *_OPTIONS, cwd=tmp_path) as buffr:
        for http2 in (False, True):
            assert outcomes(buffr.ports[0], http2=http2) == wanted


def test_a_miss_is_an_error_of_the_protocol(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"version": 1, "interactions": []}\n')
    with BuffrProcess.run("replay", *_OPTIONS, cwd=tmp_path) as buffr:
        port = buffr.ports[0]
        for name in UNARY:
            status, kind, body = outcomes(port, http2=False)[name]
            assert (status, kind) == (599, "application/json")
            assert json.loads(body)["code"] == "failed_precondition"
        status, kind, body = outcomes(port, http2=True)["connect's stream"]
        assert (status, kind) == (200, "application/connect+proto")
        (last,) = frames(body, len(body))
        assert last.flags == END_OF_STREAM
        error = json.loads(last.content)["error"]
        assert error["code"] == "failed_precondition"
        assert "no recorded interaction matches" in error["message"]
        got = httpx.post(
            f"http://127.0.0.1:{port}/helloworld.Greeter/SayHello",
            content=CALLS["gRPC-Web"][1],
            headers=CALLS["gRPC-Web"][0],
            trust_env=False,
        )
        assert (got.status_code, got.headers["grpc-status"]) == (200, "9")
        assert got.headers["content-type"] == "application/grpc-web+proto"
