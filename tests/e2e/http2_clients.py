"""Clients in HTTP/2: programs, what an origin says to them, and one on a socket of the test's."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from attrs import define, field, frozen
from forward_bench import NO_PARENTS
from http2_pair import GET, Heard

from buffr.message import Headers
from buffr.testing import Received, Step, answer, chunked
from buffr.wire.http2.engines import open_engine
from buffr.wire.http2.interface import Bounds, Engine, Role

__all__ = ["CLIENTS", "Http2Client", "Ports", "Script", "missing"]

PATIENCE_S = 120
_JS = """
import http2 from "node:http2";
const [url, path] = process.argv.slice(-2);
const client = http2.connect(url, {rejectUnauthorized: false});
const ask = (headers, body) => new Promise((done, fail) => {
  const stream = client.request(headers);
  const seen = {status: 0, text: "", trailers: {}};
  stream.on("response", (fields) => { seen.status = fields[":status"]; });
  stream.on("trailers", (fields) => { seen.trailers = {...fields}; });
  stream.setEncoding("utf8");
  stream.on("data", (text) => { seen.text += text; });
  stream.on("end", () => done(seen));
  stream.on("error", fail);
  stream.end(body);
});
const all = await Promise.all([
  ask({":path": path}),
  ask({":path": path + "/post", ":method": "POST"}, "a body without a length"),
  ask({":path": path + "/chunks", te: "trailers"}),
]);
client.close();
console.log(JSON.stringify(all));
"""
_UNDICI = """
import {createRequire} from "node:module";
const {Agent, fetch} = createRequire(process.env.NODE_PATH + "/")("undici");
const [url, path] = process.argv.slice(-2);
const dispatcher = new Agent({allowH2: true, connect: {rejectUnauthorized: false}});
const seen = [];
for (const [method, body] of [["GET", undefined], ["POST", "x".repeat(9000)]]) {
  const answer = await fetch(url + path + "/" + method, {method, body, dispatcher});
  seen.push([answer.status, await answer.text()]);
}
console.log(JSON.stringify(seen));
"""
_HTTPX = """
import asyncio, json, sys, httpx
url, path, proxy, origin = sys.argv[1:]

async def main():
    seen = []
    async with httpx.AsyncClient(http2=True, verify=False) as client:
        answers = await asyncio.gather(*(client.get(url + path, params={"n": n}) for n in range(9)))
        seen += [(one.http_version, one.status_code, one.text) for one in answers]
        one = await client.post(url + path, json={"a": [1, 2, 3]})
        seen.append((one.http_version, one.status_code, one.text))
    async with httpx.AsyncClient(http2=True, verify=False, proxy=proxy) as client:
        one = await client.get(origin + path)
        seen.append((one.http_version, one.status_code, one.text))
    print(json.dumps(seen))

asyncio.run(main())
"""


class Script:
    """An origin that never says the same twice, and has trailers where they are asked for."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, received: Received) -> bytes | Iterator[Step]:
        said = b"%d: %b %b %d\n" % (
            next(self._numbers),
            received.method,
            received.target,
            len(received.body),
        )
        if received.target.endswith(b"/chunks"):
            return chunked([said, b"!"], trailers=[(b"X-Sum", b"1")])
        if received.target.endswith(b"/long"):
            return answer(said + b"." * 300_000)
        return answer(said, headers=[(b"X-Twice", b"1"), (b"x-other", b"2"), (b"x-twice", b"3")])


@frozen
class Ports:
    """Where one buffr listens, and the origin behind its forward proxy."""

    plain: int
    secure: int
    proxy: int
    gateway: int
    origin: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.plain}"

    @property
    def tls(self) -> str:
        return f"https://localhost:{self.secure}"

    @property
    def behind(self) -> str:
        return f"https://localhost:{self.origin}"


def run(*command: str) -> str:
    """A program's output. Raises ``AssertionError`` with the rest if it fails."""
    done = subprocess.run(
        command,
        env={**NO_PARENTS, "PATH": "/usr/local/bin:/usr/bin:/bin", "NODE_PATH": NODE_PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    output = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, output
    return done.stdout.decode("utf-8", "replace")


def _node_modules() -> str:
    npm, named = shutil.which("npm"), os.environ.get("NODE_PATH", "")
    if npm is None or named:
        return named
    return (
        subprocess.run([npm, "root", "-g"], capture_output=True, check=False)
        .stdout.decode()
        .strip()
    )


NODE_PATH = _node_modules()
HTTP_2 = "%{http_version} %{http_code}"
CURL = ("curl", "-sS", "-k", "--max-time", "60", "-w", HTTP_2)


def curl(ports: Ports) -> str:
    """By ALPN, on the port with TLS: a GET, a POST and a long answer."""
    url = f"{ports.tls}/curl"
    seen = run(*CURL, "--http2", url, "-d", "", "--next", *CURL[1:], "--http2", f"{url}/long")
    assert seen.count("2 200") == 2
    return seen


def curl_prior_knowledge(ports: Ports) -> str:
    seen = run(*CURL, "--http2-prior-knowledge", "-i", "-F", "a=b", f"{ports.url}/prior")
    assert seen.endswith("2 200")
    return seen


def curl_in_a_tunnel(ports: Ports) -> str:
    proxy = f"http://127.0.0.1:{ports.proxy}"
    seen = run(*CURL, "--http2", "-x", proxy, f"{ports.behind}/tunnel")
    assert seen.endswith("2 200")
    return seen


def curl_at_the_gateway(ports: Ports) -> str:
    seen = run(*CURL, "--http2", f"https://localhost:{ports.gateway}/api/gateway")
    assert seen.endswith("2 200")
    return seen


def nghttp(ports: Ports) -> str:
    """Several requests in streams of one connection."""
    paths = [f"{ports.url}/nghttp/{number}" for number in range(5)]
    return " ".join(sorted(re.findall(r"\d+: GET \S+", run("nghttp", "--no-dep", *paths))))


def h2load(ports: Ports) -> str:
    """Many of the same: all are answered, by one recording."""
    run(*CURL, "--http2", f"{ports.tls}/h2load")
    told = run("h2load", "-n", "2000", "-c", "4", "-m", "10", f"{ports.tls}/h2load")
    assert "Application protocol: h2" in told
    counted = re.search(r"status codes: .*", told)
    assert counted is not None
    assert "2000 succeeded, 0 failed" in told
    return counted[0]


def node(ports: Ports) -> str:
    return "".join(
        run("node", "--input-type=module", "--eval", _JS, "--", url, "/node")
        for url in (ports.url, ports.tls)
    )


def undici(ports: Ports) -> str:
    return run("node", "--input-type=module", "--eval", _UNDICI, "--", ports.tls, "/undici")


def httpx(ports: Ports) -> str:
    proxy = f"http://127.0.0.1:{ports.proxy}"
    told = run(
        sys.executable, "-W", "ignore", "-c", _HTTPX, ports.tls, "/httpx", proxy, ports.behind
    )
    assert {version for version, _, _ in json.loads(told)} == {"HTTP/2"}
    return told


CLIENTS: dict[str, Callable[[Ports], str]] = {
    one.__name__: one
    for one in (
        curl,
        curl_prior_knowledge,
        curl_in_a_tunnel,
        curl_at_the_gateway,
        nghttp,
        h2load,
        node,
        undici,
        httpx,
    )
}


def missing(name: str) -> str:
    """Why a client is not here; empty if it is."""
    if name == "undici":
        return "" if Path(NODE_PATH, "undici").exists() else "undici is not installed (npm -g)"
    if name == "httpx":
        return "" if find_spec("httpx") else "httpx is not installed"
    program = name.split("_", maxsplit=1)[0]
    return "" if shutil.which(program) else f"{program} is not on this machine"


@define(eq=False)
class Http2Client:
    """A client of an engine's on a socket, for what no program does."""

    socket: socket.socket
    heard: Heard = field(factory=Heard)
    engine: Engine = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.engine = self.heard.engine = open_engine(Role.CLIENT, self.heard, Bounds(), "ngh2")
        self.flush()

    def flush(self) -> None:
        while data := self.engine.take(65536):
            self.socket.sendall(data)

    def ask(self, fields: Headers = GET, *, ended: bool = True) -> int:
        stream = self.engine.request(fields, ended=ended)
        self.flush()
        return stream

    def say(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        self.engine.send(stream, data, ended=ended)
        self.flush()

    def until(self, done: Callable[[], bool]) -> None:
        self.socket.settimeout(PATIENCE_S)
        while not done():
            data = self.socket.recv(65536)
            assert data, "the connection was closed"
            self.engine.receive(data)
            self.flush()

    def whole(self, stream: int) -> tuple[int, bytes]:
        """A whole answer: its status and body."""
        self.until(lambda: stream in self.heard.over)
        head = dict(self.heard.heads[stream])
        return int(head[b":status"]), self.heard.bodies.get(stream, b"")
