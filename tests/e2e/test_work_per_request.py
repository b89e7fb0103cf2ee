"""How much work a request is: calls into buffr and allocations, which no busy machine changes.

A time says little where tests run; a call more for each request shows here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen
from http2_clients import Http2Client
from http2_pair import GET

from buffr.message import Headers
from buffr.testing import FakeUpstream, answer

_PROGRAM = """
import os, signal, sys
import buffr
root = os.path.dirname(buffr.__file__) + os.sep
calls = 0
def count(frame, event, _):
    global calls
    if event == "call" and frame.f_code.co_filename.startswith(root):
        calls += 1
def report(*_):
    global calls
    sys.setprofile(None)
    with open(os.environ["REPORT"], "a") as file:
        print(calls, file=file)
    calls = 0
    sys.setprofile(count)
from twisted.internet import reactor
reactor.callWhenRunning(lambda: signal.signal(signal.SIGUSR1, report))
from buffr.commands.cli import main
main()
"""
_ALLOCATIONS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

static unsigned long count;

unsigned long allocations(void) { return __sync_fetch_and_and(&count, 0); }

void *malloc(size_t size) {
    static void *(*real)(size_t);
    if (!real) real = dlsym(RTLD_NEXT, "malloc");
    __sync_fetch_and_add(&count, 1);
    return real(size);
}

void *realloc(void *old, size_t size) {
    static void *(*real)(void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "realloc");
    __sync_fetch_and_add(&count, 1);
    return real(old, size);
}
"""
_ALLOCATING = """
import ctypes, os, signal
count = ctypes.CDLL(os.environ["LD_PRELOAD"]).allocations
count.restype = ctypes.c_ulong
def report(*_):
    with open(os.environ["REPORT"], "a") as file:
        print(count(), file=file)
from twisted.internet import reactor
reactor.callWhenRunning(lambda: signal.signal(signal.SIGUSR1, report))
from buffr.commands.cli import main
main()
"""
_COUNT = 100
_WARM = 20
_BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 1900}]}).encode()
_FIELDS = (
    b"Host: a\r\nUser-Agent: x/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n"
    b"Authorization: Bearer sk-aaaaaaaaaaaaaaaaaaaaaaaa1\r\n"
)


def get(_: int) -> bytes:
    return b"GET /a HTTP/1.1\r\n" + _FIELDS + b"\r\n"


def post(_: int) -> bytes:
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
    return b"POST /p HTTP/1.1\r\n" + _FIELDS + head + _BODY


def traced(number: int) -> bytes:
    return get(0)[:-2] + b"traceparent: 00-%032x-0000000000000001-01\r\n\r\n" % (number + 1)


def another(number: int) -> bytes:
    """A POST that was not made before."""
    body = _BODY[:-1] + b',"number":%d}' % (10_000 + number)
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return b"POST /p HTTP/1.1\r\n" + _FIELDS + head + body


MOST = {
    "a replayed GET": (get, 18),
    "a replayed POST": (post, 18),
    "a replayed GET with a trace id of its own": (traced, 23),
}
"""The calls that there may be, which only a better answer may raise. One of them reads from the
client; Twisted's own transport makes two, which would not be counted here."""

MOST_ON_THE_WAY = {
    "passthrough": (get, 37),
    "passthrough, with a trace id of its own": (traced, 57),
    "record": (get, 183),
    "auto": (another, 266),
}
"""Calls on the reactor's thread for a request that goes to the upstream, by mode."""

MOST_ALLOCATIONS = {
    "a replayed GET": 69,
    "a replayed POST": 69,
    "a replayed GET with a trace id of its own": 93,
}
"""Calls of ``malloc`` and ``realloc``, a tenth more than there are in CPython 3.11."""

MOST_IN_2 = {"a replayed GET": 21, "a replayed GET with a trace id of its own": 26}

MOST_IN_TUNNELS = {"new": 126, "kept": 25}


@frozen
class Counting:
    """buffr in a process that counts; a signal has it write the number and begin anew."""

    process: subprocess.Popen[bytes]
    client: socket.socket
    report: Path

    def ask(self, data: bytes, by: socket.socket | None = None) -> None:
        client = by or self.client
        client.sendall(data)
        received = b""
        while not received.endswith(b"y" * 200):
            more = client.recv(65536)
            assert more
            received += more

    def ask_in_2(self, client: Http2Client, fields: Headers, number: int = 10) -> None:
        """Ask in so many streams at once."""
        streams = [client.engine.request(fields, ended=True) for _ in range(number)]
        client.flush()
        client.until(lambda: client.heard.over.issuperset(streams))
        assert {client.heard.bodies.pop(one) for one in streams} == {b"y" * 200}

    def counted(self) -> int:
        before = self._reports()
        self.process.send_signal(signal.SIGUSR1)
        while len(self._reports()) == len(before):
            time.sleep(0.01)
        return self._reports()[-1]

    def _reports(self) -> list[int]:
        text = self.report.read_text() if self.report.exists() else ""
        return [int(line) for line in text.splitlines()]


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Counting]:
    with counted(tmp_path) as counting:
        yield counting


@contextmanager
def counted(
    tmp_path: Path,
    admin: str = "false",
    mode: str = "auto",
    program: str = _PROGRAM,
    more: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Counting]:
    with FakeUpstream(lambda _: answer(b"y" * 200)) as upstream:
        report = tmp_path / f"report-{admin}"
        command = [sys.executable, "-c", program]
        command += arguments or (mode, "--target", upstream.url, "--port", "0", "--admin", admin)
        if mode != "passthrough" and not arguments:
            command += ["--cassette", f"{admin}.json"]
        environment = {**os.environ, "REPORT": str(report), **(more or {})}
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line
                found = re.search(rb"msg=listening.*addr=127.0.0.1:(\d+)", line)
            try:
                with socket.create_connection(("127.0.0.1", int(found[1]))) as client:
                    yield Counting(process, client, report)
            finally:
                process.terminate()
                process.communicate()


def tunnel(counting: Counting) -> ssl.SSLSocket:
    """A new tunnel, its handshake done."""
    client = socket.create_connection(counting.client.getpeername())
    client.sendall(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
    assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    context = ssl.create_default_context(cafile=str(counting.report.with_name("buffr-ca.pem")))
    return context.wrap_socket(client, server_hostname="a")


class TestCalls:
    @pytest.mark.parametrize("kind", MOST)
    def test_a_request_is_not_more_work_than_it_was(self, kind: str, counting: Counting) -> None:
        made: Callable[[int], bytes]
        made, most = MOST[kind]
        for number in range(_WARM):
            counting.ask(made(number))
        counting.counted()
        for number in range(_WARM, _WARM + _COUNT):
            counting.ask(made(number))
        # A few calls are a timer's, whatever is asked.
        calls = counting.counted()
        assert 0 < calls <= most * _COUNT + 50

    @pytest.mark.parametrize("kind", MOST_ON_THE_WAY)
    def test_nor_is_one_that_goes_to_the_upstream(self, kind: str, tmp_path: Path) -> None:
        made, most = MOST_ON_THE_WAY[kind]
        with counted(tmp_path, mode=kind.partition(",")[0]) as counting:
            for number in range(_WARM):
                counting.ask(made(number))
            counting.counted()
            for number in range(_WARM, _WARM + _COUNT):
                counting.ask(made(number))
            assert 0 < counting.counted() <= most * _COUNT + 50

    def test_nor_is_one_in_a_tunnel(self, tmp_path: Path) -> None:
        """A new one, up to its first answer, and one that is kept."""
        request = {"method": "GET", "scheme": "https", "host": "a", "port": 443, "path": "/a"}
        response = {"status": 200, "headers": {"Content-Length": ["200"]}, "body": "y" * 200}
        recorded = {"type": "http", "http": {"request": request, "response": response}}
        cassette = tmp_path / "a.json"
        cassette.write_text(json.dumps({"version": 1, "interactions": [recorded]}))
        forward = {"port": 0, "mode": "replay", "hosts": [{"host": "a", "cassette": str(cassette)}]}
        settings = {"data_dir": str(tmp_path), "forward": forward}
        (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
        with counted(tmp_path, arguments=("serve", "--admin", "false")) as counting:
            for _ in range(_WARM):
                with tunnel(counting) as client:
                    counting.ask(get(0), client)
            counting.counted()
            for _ in range(_COUNT):
                with tunnel(counting) as client:
                    counting.ask(get(0), client)
            new = counting.counted()
            with tunnel(counting) as client:
                for number in range(_WARM + _COUNT):
                    if number == _WARM:
                        counting.counted()
                    counting.ask(get(0), client)
                kept = counting.counted()
        assert 0 < new <= MOST_IN_TUNNELS["new"] * _COUNT + 50
        assert 0 < kept <= MOST_IN_TUNNELS["kept"] * _COUNT + 50

    @pytest.mark.parametrize(("kind", "most"), MOST_IN_2.items())
    def test_nor_is_one_in_http_2(self, kind: str, most: int, counting: Counting) -> None:
        """Ten streams at once, which share what a segment costs."""
        client = Http2Client(counting.client)

        def fields(number: int) -> Headers:
            trace = (b"traceparent", b"00-%032x-0000000000000001-01" % (number + 1))
            return (*GET, trace) if "trace" in kind else GET

        for number in range(_WARM):
            counting.ask_in_2(client, fields(number), 1)
        counting.counted()
        for number in range(_WARM, _WARM + _COUNT // 10):
            counting.ask_in_2(client, fields(number))
        assert 0 < counting.counted() <= most * _COUNT + 50

    @pytest.mark.parametrize(
        "kind", ["a replayed GET", "a replayed GET with a trace id of its own"]
    )
    def test_metrics_and_the_live_page_add_little_to_a_hit(self, kind: str, tmp_path: Path) -> None:
        """At most 3 %: a hit that is repeated makes no call for them."""
        made: Callable[[int], bytes]
        made, _ = MOST[kind]
        calls = []
        for admin in ("false", "0"):
            with counted(tmp_path, admin) as counting:
                for number in range(_WARM):
                    counting.ask(made(number))
                counting.counted()
                for number in range(_WARM, _WARM + 3 * _COUNT):
                    counting.ask(made(number))
                calls.append(counting.counted())
        without, watched = calls
        # Some 30 calls are made every 50 ms, for all requests since then.
        assert watched <= 1.03 * without + 200

    def test_nor_much_to_a_request_that_is_relayed(self, tmp_path: Path) -> None:
        """One call of its own: what is kept of it is made for many together."""
        calls = []
        for admin in ("false", "0"):
            with counted(tmp_path, admin, "passthrough") as counting:
                for number in range(_WARM):
                    counting.ask(get(number))
                counting.counted()
                for number in range(_WARM, _WARM + 3 * _COUNT):
                    counting.ask(get(number))
                calls.append(counting.counted())
        without, watched = calls
        assert watched <= 1.05 * without + 200


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
class TestAllocations:
    @pytest.mark.parametrize(("kind", "most"), MOST_ALLOCATIONS.items())
    def test_a_request_takes_no_more_than_it_did(
        self, kind: str, most: int, tmp_path: Path
    ) -> None:
        made, _ = MOST[kind]
        source, library = tmp_path / "count.c", tmp_path / "count.so"
        source.write_text(_ALLOCATIONS)
        compiling = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(compiling, check=True)
        more = {"PYTHONMALLOC": "malloc", "LD_PRELOAD": str(library)}
        with counted(tmp_path, program=_ALLOCATING, more=more) as counting:
            for number in range(_WARM):
                counting.ask(made(number))
            counting.counted()
            for number in range(_WARM, _WARM + 3 * _COUNT):
                counting.ask(made(number))
            # A few are a timer's, or those of a table that grows.
            assert 0 < counting.counted() <= 3 * _COUNT * most + 500
