"""Hostile requests by each way to buffr, cold and warm: refused, harming nobody, smuggling nothing.

``make corpus DIR=...`` gives the files of a directory to the same ports.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_requests import BEHIND, HOSTILE, HOSTILE_TO_PROXIES
from service_bench import Client, ServiceBench, service

WAYS = ("reverse", "forward", "intercepted")
GOOD = b"GET TARGET HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n"
CORPUS = os.environ.get("CORPUS")
ORIGIN = "10.9.0.1"
_GET = {"method": "GET", "path": "/"}
_OK = {"status": 200, "headers": {"Content-Length": ["2"]}, "body": "ok"}
RECORDED = {
    "version": 1,
    "interactions": [{"type": "http", "http": {"request": _GET, "response": _OK}}],
}


class Talk:
    """A client by one of the ways, in clear or in TLS inside a tunnel."""

    def __init__(self, way: str, bench: ServiceBench) -> None:
        self.client: Client = bench.client()
        self._bench = bench
        self._tls: ssl.SSLObject | None = None
        self._came = b""
        if way == "intercepted":
            self.client.send(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
            bench.until(lambda: b"\r\n\r\n" in self.client.wire.value())
            assert b" 200 " in self.client.wire.taken()
            self._begin_tls()

    def _begin_tls(self) -> None:
        context = ssl.create_default_context(cafile=str(self._bench.directory / "buffr-ca.pem"))
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="a.test")
        tls = self._tls

        def shaken() -> bool:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._carry()
                return False
            self._carry()
            return True

        self._bench.until(shaken)

    def _carry(self) -> None:
        if data := self._outgoing.read():
            self.client.send(data)
        self._incoming.write(self.client.wire.taken())

    def send(self, data: bytes) -> None:
        if self._tls is None:
            self.client.send(data)
        else:
            for at in range(0, len(data), 16_000):
                self._tls.write(data[at : at + 16_000])
                self._carry()

    @property
    def came(self) -> bytes:
        """All that was answered so far."""
        if self._tls is None:
            return bytes(self.client.wire.value())
        self._carry()
        try:
            while data := self._tls.read():
                self._came += data
        except ssl.SSLError:
            pass  # no more for now, or the other side has ended it
        return self._came

    @property
    def over(self) -> bool:
        return bool(self.client.wire.ends)


class Way:
    """A port, and the forms that requests have there."""

    def __init__(self, name: str, bench: ServiceBench) -> None:
        self.name, self.bench = name, bench
        self._victims = 0

    def raw(self, case: bytes) -> bytes:
        target = b"http://a.test/" if self.name == "forward" else b"/"
        return case.replace(b"TARGET", target).replace(b"AUTHORITY", b"a.test")

    def talk(self) -> Talk:
        return Talk(self.name, self.bench)

    def refuses(self, raw: bytes, *, warm: bool) -> None:
        """A case gets an error and an end, and no upstream hears of it or of what is behind it."""
        talk = self.talk()
        if warm:
            for number in (1, 2):
                talk.send(self.raw(GOOD))
                self.bench.until(lambda number=number: talk.came.count(b"\r\n\r\nok") == number)  # type: ignore[misc]
        before, had = len(self.bench.asked), len(talk.came)
        talk.send(raw + self.raw(BEHIND))
        self.bench.until(lambda: talk.over or re.search(rb"\r\n\r\n", talk.came[had:]) is not None)
        got = talk.came[had:]
        assert re.match(rb"HTTP/1\.1 (400|405|408|413|414|421|431|501|505) ", got), got[:200]
        assert len(re.findall(rb"HTTP/1\.1 [1-5]\d\d ", got)) == 1
        assert b"\r\nConnection: close\r\n" in got
        self.bench.idle(2)
        assert len(self.bench.asked) == before
        assert all(b"smuggled" not in origin.wire.value() for origin in self.bench.origins)
        talk.client.leave()

    def serves(self) -> None:
        """Somebody else is answered as ever."""
        talk = self.talk()
        if self.name == "intercepted":
            talk.send(self.raw(GOOD))
            self.bench.until(lambda: talk.came.endswith(b"\r\n\r\nok"))
            talk.client.leave()
            return
        self._victims += 1
        name = b"/victim-%d" % self._victims
        raw = self.raw(GOOD)
        talk.send(raw.replace(b"a.test/ ", b"a.test%b " % name).replace(b" / ", b" %b " % name))
        self.bench.until(lambda: talk.came.endswith(b"ok"))
        assert talk.came.startswith(b"HTTP/1.1 200 OK\r\n")
        assert self.bench.asked[-1].startswith(b"GET %b HTTP/1.1\r\n" % name)
        talk.client.leave()


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    name: str = request.param
    directory = tmp_path_factory.mktemp(name)
    row: dict[str, Any] = {"mode": "auto", "store": "memory:", "port": 0}
    settings: dict[str, Any]
    if name == "reverse":
        settings = {"reverse": [{"target": f"http://{ORIGIN}", **row}]}
    elif name == "forward":
        settings = {"forward": {**row, "hosts": [{"host": "*", "resolve": ORIGIN}]}}
    else:  # the origins in memory speak no TLS
        (directory / "c.json").write_text(json.dumps(RECORDED))
        cassette = str(directory / "c.json")
        settings = {"forward": {"mode": "replay", "port": 0, "cassette": cassette}}
    with service(directory, settings) as bench:
        yield Way(name, bench)


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE)
def test_refused(way: Way, case: bytes) -> None:
    """Twice on connections of their own, and behind two good requests whose heads are known."""
    raw = way.raw(case)
    for warm in (False, False, True):
        way.refuses(raw, warm=warm)
    way.serves()


@pytest.mark.parametrize("case", HOSTILE_TO_PROXIES.values(), ids=HOSTILE_TO_PROXIES)
def test_refused_by_the_forward_proxy(way: Way, case: bytes) -> None:
    if way.name != "forward":
        pytest.skip("not a request there")
    for warm in (False, True):
        way.refuses(case, warm=warm)
    way.serves()


FILES = sorted(Path(CORPUS).iterdir()) if CORPUS else []


@pytest.mark.skipif(not FILES, reason="CORPUS names no directory")
def test_files(way: Way) -> None:
    """Any bytes: no defect, an answer for each request that goes on, others served, an end."""
    for file in FILES:
        raw = file.read_bytes()
        for _ in range(2):
            before = len(way.bench.asked)
            talk = way.talk()
            talk.send(raw)
            way.bench.until(lambda: True)
            way.bench.idle(2)
            asked = len(way.bench.asked) - before
            answers = len(re.findall(rb"HTTP/1\.1 [2-5]\d\d ", talk.came))
            assert asked <= answers, f"{file.name}: {way.bench.asked[before:]}"
            talk.client.leave()
        way.serves()
        assert "defect" not in way.bench.log(), file.name
