"""A browser through the forward proxy: a page and all of its parts, recorded and replayed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from bench import eventually, interactions
from forward_bench import NO_PARENTS, Proxy, forward_proxy, origin_tls, secure_origin
from realtime import AUDIO, DELTAS, realtime

from buffr.testing import FakeUpstream, Received, Step, answer, chunked
from buffr.wire.http2.engines import ENGINES, EngineName

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
CERTUTIL = shutil.which("certutil")
HOST = "shop.example.test"
PATIENCE_S = 120.0

_PAGE = """<!DOCTYPE html><html><head><title>page</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">
</head><body><img id="picture" src="/picture.png"><p id="styled">x</p>
<script src="/script.js"></script></body></html>"""

_SCRIPT = """
addEventListener("load", async () => {
  const seen = [];
  await new Promise((done) => {
    const source = new EventSource("/events");
    source.onmessage = (event) => {
      seen.push(event.data);
      if (event.data.startsWith("last")) { source.close(); done(); }
    };
  });
  const data = await (await fetch("/data", {method: "POST", body: "{}"})).json();
  const width = document.getElementById("picture").naturalWidth;
  const color = getComputedStyle(document.getElementById("styled")).color;
  const found = [seen.join("-"), data.number, width, color.replace(/[^0-9]+/g, "-")];
  const kinds = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
  found.push([...new Set(kinds.map((one) => one.nextHopProtocol))].join("-"));
  await fetch("/done/" + found.join("/"));
});
"""

_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

_TALK = """<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head><body><script>
const socket = new WebSocket(`wss://${location.host}/v1/realtime`, ["realtime"]);
socket.binaryType = "arraybuffer";
const events = [], found = [];
let audio = 0;
socket.onopen = () => {
  socket.send(new Uint8Array(70000));
  socket.send(JSON.stringify({type: "response.create"}));
};
socket.onmessage = (message) => {
  if (typeof message.data !== "string") { audio += message.data.byteLength; return; }
  const event = JSON.parse(message.data);
  events.push(event);
  if (event.type === "response.done") {
    socket.send(JSON.stringify({type: "bye", code: 4001, reason: "so-long"}));
  }
};
socket.onclose = (event) => {
  found.push(socket.protocol, events[0].session.id, events.length, audio);
  found.push(event.code, event.reason, event.wasClean);
  fetch("/done/" + found.join("/"));
};
</script></body></html>"""


class Shop:
    """A script for ``FakeUpstream``; what it says has numbers, so that it never says the same."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, received: Received) -> bytes | Iterator[Step]:
        number = next(self._numbers)
        match received.target:
            case b"/":
                return _typed(b"text/html", _PAGE.encode())
            case b"/style.css":
                return _typed(b"text/css", b"#styled { color: rgb(1, 2, %d) }" % number)
            case b"/script.js":
                return _typed(b"text/javascript", _SCRIPT.encode())
            case b"/picture.png":
                return _typed(b"image/png", _PIXEL)
            case b"/events":
                events = [b"data: first-%d\n\n" % number, b"data: last-%d\n\n" % number]
                kind = (b"Content-Type", b"text/event-stream")
                return chunked(events, [kind], delay_s=0.05)
            case b"/data":
                return _typed(b"application/json", json.dumps({"number": number}).encode())
        return answer(b"")


def _typed(kind: bytes, body: bytes) -> bytes:
    return answer(body, headers=[(b"Content-Type", kind), (b"Cache-Control", b"no-store")])


@contextmanager
def browsing(proxy: Proxy, url: str, home: Path, scheme: str = "http") -> Iterator[None]:
    """A browser that has this proxy, trusts its CA, and opens a page."""
    assert BROWSER is not None
    assert CERTUTIL is not None
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    trust = ("-A", "-n", "buffr", "-t", "C,,", "-i", str(proxy.directory / "buffr-ca.pem"))
    for arguments in (("-N", "--empty-password"), trust):
        command = [CERTUTIL, "-d", f"sql:{store}", *arguments]
        subprocess.run(command, check=True, capture_output=True)
    flags = ["headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"]
    flags += ["disable-background-networking", "disable-component-update", "disable-sync"]
    flags += [
        f"proxy-server={scheme}://127.0.0.1:{proxy.port}",
        f"user-data-dir={home / 'profile'}",
    ]
    with (home / "output").open("wb") as output:
        browser = subprocess.Popen(
            [BROWSER, *(f"--{flag}" for flag in flags), url],
            env={**NO_PARENTS, "HOME": str(home), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield
        finally:
            browser.terminate()
            browser.wait(PATIENCE_S)


def _seen(
    directory: Path, mode: str, port: int, engine: EngineName = "auto", scheme: str = "http"
) -> tuple[str, str]:
    """What the page's script found, and the log of all."""
    rows = [
        {"host": HOST, "resolve": "127.0.0.1", "cassette": "shop.json", "ca_file": "origins.pem"},
        # What a browser asks its makers for is none of this.
        {"host": "*", "mode": "replay"},
    ]
    home = directory / mode
    home.mkdir()
    forward = {"mode": mode, "hosts": rows, "tls": scheme == "https"}
    with forward_proxy(directory, forward, env={"BUFFR_HTTP2_ENGINE": engine}) as proxy:
        with browsing(proxy, f"https://{HOST}:{port}/", home, scheme):
            found = eventually(lambda: proxy.lines(f"{HOST}:{port}/done/"), PATIENCE_S)
        return found[0].partition("/done/")[2].partition('"')[0], proxy.process.log()


@pytest.mark.skipif(BROWSER is None, reason="chromium is not on this machine")
@pytest.mark.skipif(CERTUTIL is None, reason="certutil (libnss3-tools) is not on this machine")
class TestBrowser:
    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_page_is_recorded_and_replayed_whole(
        self, tmp_path: Path, engine: EngineName
    ) -> None:
        """Style, script, picture, events and a call, in HTTP/2: the same without the origin."""
        with secure_origin(Shop(), HOST) as origin:
            live, _ = _seen(tmp_path, "auto", origin.port, engine)
            asked = {one.target for one in origin.received}
        first, number, width, color, protocols = live.split("/")
        assert first.startswith("first-")
        assert "-last-" in first
        assert number.isdigit()
        assert (width, protocols) == ("1", "h2")
        assert color.startswith("-1-2-")
        assert {b"/", b"/style.css", b"/script.js", b"/picture.png", b"/events", b"/data"} < asked
        with FakeUpstream(Shop(), port=origin.port) as nobody:
            replayed, log = _seen(tmp_path, "replay", origin.port, engine)
            assert nobody.connections == 0
        assert replayed == live
        assert not [line for line in log.splitlines() if HOST in line and "src=miss" in line]
        assert "Traceback" not in log

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_proxy_in_http_2(self, tmp_path: Path, engine: EngineName) -> None:
        """Tunnels are streams of one connection, and HTTP/2 is spoken in them again."""
        with secure_origin(Shop(), HOST) as origin:
            found, log = _seen(tmp_path, "auto", origin.port, engine, "https")
            assert len(origin.received) >= 6
        assert found.endswith("/h2")
        assert "Traceback" not in log
        assert "defect" not in log

    def test_a_websocket_is_recorded_and_replayed(self, tmp_path: Path) -> None:
        """In a tunnel, compressed as browsers do: its subprotocol, messages, close code, reason."""

        def page(path: str) -> str | None:
            return None if path == "/v1/realtime" else _TALK if path == "/" else "noted"

        with realtime(origin_tls(HOST), page) as api:
            live, _ = _seen(tmp_path, "auto", api.port)
        recorded = interactions(tmp_path / "shop.json")
        (session,) = [one["websocket"] for one in recorded if one["type"] == "websocket"]
        assert session["request"]["http_version"] == 2  # a stream beside the page's (RFC 8441)
        size = len(AUDIO)
        assert live == f"realtime/sess-1/{2 * DELTAS + 2}/{size}/4001/so-long/true"
        replayed, log = _seen(tmp_path, "replay", api.port)
        assert replayed == live
        assert "Traceback" not in log
