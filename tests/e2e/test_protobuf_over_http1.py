"""Protobuf's messages of gRPC-Web and Connect over HTTP/1.1: matched, explained and redacted."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from protos import descriptor_set, made

from buffr.formats.grpc import framed
from buffr.stores.cassette.snapshot import read_snapshot
from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

TOKEN = "tok_4f9aQ2xLr8Zw1Ny7Vb3Kc6Td"  # what is looked for
TRAILERS = framed(128, b"grpc-status: 0\r\n")

Wrap = Callable[[bytes], bytes]

KINDS: dict[str, tuple[Wrap, Wrap]] = {
    "grpc-web+proto": (lambda one: framed(0, one), lambda one: framed(0, one) + TRAILERS),
    "grpc-web-text": (
        lambda one: b64encode(framed(0, one)),
        lambda one: b64encode(framed(0, one) + TRAILERS),
    ),
    "proto": (lambda one: one, lambda one: one),
    "protobuf": (lambda one: one, lambda one: one),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_message(tmp_path: Path, kind: str) -> None:
    (tmp_path / "api.pb").write_bytes(descriptor_set("shop"))
    ask, say = KINDS[kind]
    media_type = f"application/{kind}"
    reply = made("OrderReply", order_id="7", access_token=TOKEN).SerializeToString()

    def script(_: Received) -> bytes:
        return answer(say(reply), headers=[(b"Content-Type", media_type.encode())])

    def post(url: str, message: bytes) -> httpx.Response:
        return httpx.post(
            f"{url}/shop.v1.Shop/Order",
            content=ask(message),
            headers={"content-type": media_type},
            trust_env=False,
        )

    secret = made("OrderRequest", user={"name": "bob", "password": "hunter2"}).SerializeToString()
    same = b"\xba\x01\x00\x0a\x0b\x1a\x04abcd\x0a\x03bob"
    options = ("--cassette", "c.json", "--port", "0", "--grpc-descriptors", "api.pb")
    with (
        FakeUpstream(script) as upstream,
        BuffrProcess.run("auto", "--target", upstream.url, *options, cwd=tmp_path) as running,
    ):
        assert post(running.url, secret).content == say(reply)
        post(running.url, same)
        assert len(upstream.received) == 1
    recorded = read_snapshot(tmp_path / "c.json", print).interaction(0)
    hidden = made("OrderRequest", user={"name": "bob", "password": "REDACTED-password"})
    assert recorded.request.body.data == ask(hidden.SerializeToString())
    with BuffrProcess.run("replay", *options, cwd=tmp_path) as running:
        replayed = post(running.url, same)
        assert replayed.status_code == 200
        assert TOKEN.encode() not in replayed.content
        missed = post(running.url, b"\x0a\x05\x0a\x03eve")
        said = missed.text or unquote(missed.headers["grpc-message"])
        assert "body /user/name: recorded '\"bob\"', live '\"eve\"'" in said


def test_without_the_package(tmp_path: Path) -> None:
    """It is an extra: what needs it says so, and nothing else misses it."""
    (tmp_path / "api.pb").write_bytes(descriptor_set("shop"))
    script = (
        "import sys; sys.modules['google.protobuf'] = None\n"
        "from buffr.__main__ import main; sys.exit(main())"
    )
    options = ("replay", "--cassette", "c.json", "--port", "0", "--grpc-descriptors", "api.pb")
    done = subprocess.run(
        [sys.executable, "-c", script, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "grpc.descriptors: api.pb: needs the package protobuf" in done.stderr
    assert "pip install 'buffr-proxy[grpc]'" in done.stderr
    assert "Traceback" not in done.stderr
