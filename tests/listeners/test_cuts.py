"""Answers that break off, at each of their bytes: never whole to a client, nor replayed as whole.

All of it in memory, where thousands of cuts take seconds; ``tests/e2e`` has some
of them over sockets.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cut_bench import CutBench, Got, cut_bench
from http2_pair import BOUNDS, Heard
from hypothesis import given
from hypothesis import strategies as st
from service_bench import Client, Origin

from buffr.wire.http2.engines import open_engine
from buffr.wire.http2.interface import Role

TEXT = b"whole"
GZIPPED = gzip.compress(TEXT, mtime=0)


def _head(*fields: bytes) -> bytes:
    lines = (b"HTTP/1.1 200 OK", b"Cache-Control: max-age=600", *fields)
    return b"\r\n".join(lines) + b"\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked"
SHAPES = {
    "length": (_head(b"Content-Length: 5") + TEXT, TEXT),
    "chunked": (_head(CHUNKED) + b"3\r\nwho\r\n2;a=b\r\nle\r\n0\r\n\r\n", TEXT),
    "events": (
        _head(b"Content-Type: text/event-stream", CHUNKED)
        + b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n",
        b"data: 1\n\ndata: 2\n\n",
    ),
    "trailers": (_head(CHUNKED) + b"5\r\nwhole\r\n0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n", TEXT),
    "gzip": (
        _head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(GZIPPED)) + GZIPPED,
        GZIPPED,
    ),
    "interim": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _head(b"Content-Length: 5") + TEXT,
        TEXT,
    ),
    "until close": (_head(b"X-Length: none") + TEXT, TEXT),
}
CASES = [
    (name, reset)
    for name in SHAPES
    for reset in (True, False)
    # The end of the connection is the end of such an answer: only a reset breaks it off.
    if reset or name != "until close"
]


@pytest.mark.parametrize("mode", ["auto", "cache", "passthrough"])
@pytest.mark.parametrize(("name", "reset"), CASES)
def test_at_every_byte(tmp_path: Path, mode: str, name: str, *, reset: bool) -> None:
    """By a reset, and by an end in order; then it is fetched again, and replayed whole."""
    raw, body = SHAPES[name]
    until_close = name == "until close"
    sizes = range(len(raw) + until_close)
    with cut_bench(tmp_path, mode) as bench:
        for size in sizes:
            target = f"/{size}"
            broken = bench.answered(bench.asks(target), raw[:size], reset=reset)
            if broken.whole:
                assert broken.status == 502, size
                assert body not in broken.body
            assert body.startswith(broken.body) or broken.whole
            assert bench.ask(target, raw, close=until_close) == (Got(200, body, whole=True), True)
            if mode != "passthrough":
                again = bench.ask(target, b"")
                assert again == (Got(200, body, whole=True), False)


class Http2Answer:
    """An upstream's side of one connection in HTTP/2, and the bytes of its answer."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.engine = open_engine(Role.SERVER, self.heard, BOUNDS, "ngh2")
        self.heard.engine = self.engine

    def read(self, origin: Origin) -> bytes | None:
        """Take what came; the answer, once a request has."""
        self.engine.receive(origin.wire.taken())
        if data := self.engine.take(1 << 16):  # settings, and that those of the peer are known
            origin.send(data)
        for stream in self.heard.over:
            fields = ((b":status", b"200"), (b"cache-control", b"max-age=600"))
            self.engine.answer(stream, fields, ended=False)
            self.engine.send(stream, b"who")
            part = self.engine.take(1 << 16)
            self.engine.send(stream, b"le")
            self.engine.trail(stream, ((b"x-one", b"1"),))
            return part + self.engine.take(1 << 16)
        return None


class TestInHttp2:
    def answered(self, bench: CutBench, client: Client, size: int, *, reset: bool) -> Got:
        """What a client gets, if the upstream sends so many bytes of its answer, or all."""
        speaking: dict[int, Http2Answer] = {}
        whole: list[int] = []

        def over() -> bool:
            for origin in bench.bench.origins:
                if origin.wire.connected and origin.wire.value():
                    raw = speaking.setdefault(id(origin), Http2Answer()).read(origin)
                    if raw is not None:
                        whole.append(len(raw))
                        bench.cut(origin, raw[: size or None], reset=reset)
            return bool(client.wire.ends) or bench.got(client).whole

        bench.bench.until(over)
        bench.forget()
        self.size = whole[0] if whole else 0
        return bench.got(client)

    @pytest.mark.parametrize("mode", ["auto", "cache"])
    @pytest.mark.parametrize("reset", [True, False])
    def test_at_every_byte(self, tmp_path: Path, mode: str, *, reset: bool) -> None:
        """Frames of the head, of the body, and of trailers."""
        with cut_bench(tmp_path, mode, upstream={"http2": "always"}) as bench:
            assert self.answered(bench, bench.asks("/"), 0, reset=False).body == b"whole"
            for size in range(1, self.size):
                target = f"/{size}"
                broken = self.answered(bench, bench.asks(target), size, reset=reset)
                assert not broken.whole or broken.status == 502
                assert b"whole".startswith(broken.body) or broken.whole
                again = self.answered(bench, bench.asks(target), 0, reset=False)
                assert again == Got(200, b"whole", whole=True)
                assert self.size, "the upstream was asked"
                assert self.answered(bench, bench.asks(target), 0, reset=False) == again
                assert not self.size, "it was replayed"


class TestClientsThatLeave:
    @pytest.mark.parametrize("mode", ["auto", "record", "passthrough"])
    @pytest.mark.parametrize("way", ["half_close", "leave"])
    @pytest.mark.parametrize(
        "raw",
        [
            b"GET /asked HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n",
            b"POST /asked HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nwhole",
            (
                b"POST /asked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nwho\r\n2\r\nle\r\n0\r\nX-T: 1\r\n\r\n"
            ),
        ],
        ids=["get", "length", "chunked"],
    )
    def test_inside_their_request(self, tmp_path: Path, mode: str, way: str, raw: bytes) -> None:
        """The upstream never gets a part of it as a whole request."""
        with cut_bench(tmp_path, mode) as bench:
            for size in range(len(raw)):
                client = bench.bench.client()
                client.send(raw[:size])
                bench.bench.until(lambda: True)
                getattr(client, way)()
                bench.bench.reactor.settle()
                for origin in bench.bench.origins:
                    received = origin.wire.value()
                    assert not received.endswith((b"whole", b"\r\n0\r\n\r\n", b"X-T: 1\r\n\r\n"))
                    assert b"GET" not in received
                bench.bench.idle(1)
                assert all(origin.wire.ends for origin in bench.bench.origins)
                bench.forget()

    @pytest.mark.parametrize("goes_on", [True, False], ids=["ends later", "never ends"])
    @pytest.mark.parametrize("mode", ["auto", "cache"])
    @pytest.mark.parametrize("name", ["length", "chunked", "trailers", "gzip"])
    def test_inside_their_answer(
        self, tmp_path: Path, mode: str, name: str, *, goes_on: bool
    ) -> None:
        """The next client gets all of it, whether or not the upstream ends it in time."""
        raw, body = SHAPES[name]
        with cut_bench(tmp_path, mode) as bench:
            for size in range(len(raw)):
                target = f"/{size}"
                client = bench.asks(target)
                origins: list[Origin] = []

                def asked(origins: list[Origin] = origins) -> bool:
                    if (origin := bench.asked()) is not None:
                        origins.append(origin)
                    return bool(origins)

                bench.bench.until(asked)
                (origin,) = origins
                if size:
                    origin.send(raw[:size])
                bench.bench.reactor.settle()
                client.leave()
                bench.bench.reactor.settle()
                if goes_on and origin.wire.connected:
                    origin.send(raw[size:])
                else:
                    bench.bench.idle(11)
                    assert origin.wire.ends == ["cut"]
                bench.forget()
                got, _ = bench.ask(target, raw)
                assert got == Got(200, body, whole=True), size
                assert bench.ask(target, b"") == (got, False)


class Pipelines:
    """Clients with several requests each, of which the upstreams answer some bytes at a time."""

    def __init__(self, bench: CutBench) -> None:
        self.bench = bench
        self.clients: list[Client] = []
        self.asked: list[list[int]] = []
        self.left: set[int] = set()
        self._unsent: dict[int, bytes] = {}
        self._numbers = 0

    def ask(self, which: int, count: int) -> None:
        """A client asks for so many things at once, each one nobody else's."""
        if which == len(self.clients):
            self.clients.append(self.bench.bench.client())
            self.asked.append([])
        if which in self.left:
            return
        numbers = list(range(self._numbers, self._numbers + count))
        self._numbers += count
        self.asked[which] += numbers
        heads = (b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in numbers)
        self.clients[which].send(b"".join(heads))

    def answer(self, size: int, *, last: bool = False) -> bool:
        """The oldest, or the latest, of the upstreams that are asked sends so much more."""
        origins = self.bench.bench.origins
        for origin in reversed(origins) if last else origins:
            if not origin.wire.connected:
                continue
            value = origin.wire.value()
            if value.endswith(b"\r\n\r\n"):
                number = value.split(b" ")[1].removeprefix(b"/")
                body = b"<%b>" % number * 3
                origin.wire.clear()
                self._unsent[id(origin)] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (
                    len(body),
                    body,
                )
            if unsent := self._unsent.get(id(origin)):
                self._unsent[id(origin)] = unsent[size:]
                origin.send(unsent[:size])
                return True
        return False

    def leave(self, which: int) -> None:
        if which not in self.left:
            self.left.add(which)
            self.clients[which].leave()

    def check(self) -> None:
        """Each client has the answers to its own requests, in order; if it stayed, all of them."""
        for which, client in enumerate(self.clients):
            data = client.wire.value()
            for number in self.asked[which]:
                head, _, rest = data.partition(b"\r\n\r\n")
                body = b"<%d>" % number * 3
                if which in self.left and not (head.endswith(b"%d" % len(body)) and rest):
                    break
                assert head.startswith(b"HTTP/1.1 200 OK")
                assert rest.startswith(body) or (which in self.left and body.startswith(rest))
                data = rest[len(body) :]
            else:
                assert data == b""


_CLIENTS = st.integers(0, 3)
_STEPS = st.one_of(
    st.tuples(st.just("ask"), _CLIENTS, st.integers(1, 4)),
    st.tuples(st.just("answer"), st.integers(1, 80), st.booleans()),
    st.tuples(st.just("leave"), _CLIENTS, st.none()),
)


@given(steps=st.lists(_STEPS, max_size=40), mode=st.sampled_from(["auto", "passthrough"]))
def test_answers_never_cross(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]], mode: str
) -> None:
    """Whatever is asked at once, however it is answered, and whoever leaves meanwhile."""
    with cut_bench(tmp_path_factory.mktemp("pipelines"), mode) as bench:
        pipelines = Pipelines(bench)
        for what, first, second in steps:
            if what == "answer":
                pipelines.answer(first, last=bool(second))
            elif what == "ask":
                pipelines.ask(min(first, len(pipelines.clients)), second)
            elif first < len(pipelines.clients):
                pipelines.leave(first)
            bench.bench.until(lambda: True)

        def all_answered() -> bool:
            return not pipelines.answer(1000)

        bench.bench.until(all_answered)
        pipelines.check()
