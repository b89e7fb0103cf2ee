"""Playwright reads the HAR files that buffr exports, with a browser and without a network."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from node_packages import node_packages

from buffr.interaction import Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.interchange.exporting import ExportReport, ExportTo, exported
from buffr.message import Headers, ResponseHead
from buffr.stores.cassette.snapshot import read_snapshot
from buffr.stores.cassette.writing import write_new

_HERE = Path(__file__).parent
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BINARY = bytes(range(256))
TEXT = '{"said": "grüße"}'.encode()


def kept(
    target: bytes,
    body: bytes,
    *headers: tuple[bytes, bytes],
    method: bytes = b"GET",
    sent: bytes = b"",
    status: int = 200,
    chunks: tuple[Chunk, ...] = (),
) -> HTTPInteraction:
    asked: Headers = ((b"Accept", b"*/*"),)
    if sent:
        asked = (*asked, (b"Content-Type", b"application/json"))
    request = RecordedRequest(
        method, target, asked, Body.of(sent), scheme="https", host="app.test", port=443
    )
    head = ResponseHead(status, b"", headers)
    return HTTPInteraction(request, head, Body.of(body), chunks, recorded_at="2026-01-02T03:04:05Z")


JSON = (b"Content-Type", b"application/json")
INTERACTIONS = (
    kept(b"/", b"<title>recorded</title>", (b"Content-Type", b"text/html")),
    kept(b"/json", TEXT, JSON, (b"X-Own", b"1")),
    kept(b"/gzip", gzip.compress(TEXT, mtime=0), JSON, (b"Content-Encoding", b"gzip")),
    kept(b"/bytes?a=1&a=2", BINARY, (b"Content-Type", b"application/octet-stream")),
    kept(b"/made", b'{"ok": 1}', JSON, method=b"POST", sent=b'{"n":1}', status=201),
    kept(
        b"/stream",
        b"data: 1\n\ndata: 2\n\n",
        (b"Content-Type", b"text/event-stream"),
        chunks=(Chunk(9), Chunk(9, 20)),
    ),
)


def _browser() -> str:
    for name in _BROWSERS:
        if (path := shutil.which(name)) is not None:
            return path
    return pytest.skip("there is no Chromium on this machine")


class TestPlaywright:
    def test_it_reads_what_buffr_exports(self, tmp_path: Path) -> None:
        cassette, har = tmp_path / "c.json", tmp_path / "c.har"
        write_new(cassette, "00" * 16, INTERACTIONS, print)
        har.write_bytes(
            b"".join(exported(read_snapshot(cassette, print), ExportTo.HAR, ExportReport()))
        )
        post = {
            "method": "POST",
            "body": '{"n":1}',
            "headers": {"Content-Type": "application/json"},
        }
        calls = [["/json"], ["/json"], ["/gzip"], ["/bytes?a=1&a=2"], ["/made", post], ["/stream"]]
        calls.append(["/never-recorded"])
        done = subprocess.run(
            ["node", str(_HERE / "read_har.cjs"), str(har), "https://app.test/", json.dumps(calls)],
            env={**os.environ, "NODE_MODULES": str(node_packages()), "CHROMIUM": _browser()},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["title"] == "recorded"
        *seen, last = told["seen"]
        assert [(status, own, bytes(body)) for status, own, body in seen] == [
            (200, "1", TEXT),
            (200, "1", TEXT),
            (200, None, TEXT),
            (200, None, BINARY),
            (201, None, b'{"ok": 1}'),
            (200, None, b"data: 1\n\ndata: 2\n\n"),
        ]
        assert last == ["TypeError: Failed to fetch"]
