"""Requests that are relayed again: on the wire, in the log and in counts as without the memo.

Each scene is played twice, with the memo and without. In the first one what the scene asks for
has been relayed before, so that it goes to the upstream by the short way.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from attrs import astuple, define, field
from service_bench import Client, Origin, ServiceBench, service
from test_hit_memo import Observed
from twisted.internet.error import ConnectionLost

from buffr.admin.recent import Recent
from buffr.admin.running import RouteIds
from buffr.exchanges.exchange import Exchange, Finished
from buffr.exchanges.route import Route
from buffr.listeners.hit_memo import HitMemo, RelayedHere, Repeated
from buffr.message import ResponseHead

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nok"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"l" * 2000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TARGET = "http://10.0.0.1:80/base"
KEY = "test-key_0123456789abcdefghijklmnop"
NEGOTIATE = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"
_TIMES = re.compile(r"time=\S+|dur=\S+")
_HOP = re.compile(rb"(?<=[: ])[0-9a-f]{16}(?=[,\r])")


class Counted(HitMemo):
    """Counts the requests that it sent to the upstream."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.sent = 0

    def put_relay(self, request: Repeated, known: RelayedHere) -> None:
        again = known.relay.call.again

        class Call:
            size_bytes = known.relay.call.size_bytes

            @staticmethod
            def again(client: Any, asker: Any, values: Any) -> Any:
                sent = again(client, asker, values)
                self.sent += sent is not None
                return sent

        known.relay.call = Call()  # type: ignore[assignment]
        super().put_relay(request, known)


class Heard(Observed):
    """Also the route of the last one."""

    route: Route | None = None

    def finished(self, exchange: Finished) -> None:
        super().finished(exchange)
        self.route = exchange.route


@define(eq=False)
class Play:
    """A client and an upstream that do what a scene says, and all that can be seen of it."""

    bench: ServiceBench
    memo: Counted
    observed: Heard = field(factory=Heard)
    client: Client = field(init=False)
    seen: list[object] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        engine = self.bench._service.engine
        engine.observer = self.observed
        engine.watch = Recent(self.bench.reactor, lambda: 1e9, RouteIds(), 1 << 20, 1 << 16)
        self.bench.factory.hits = self.memo
        self.bench.held = True
        self.connect()

    def connect(self) -> None:
        self.client = self.bench.client()
        self.client.wire.protocol = self.client.protocol

    def settle(self) -> None:
        """Let all that is due happen, and note what came of it."""
        for _ in range(3):
            self.bench.until(lambda: True)
        self.seen.append(
            [
                (_HOP.sub(b"HOP", origin.wire.taken()), [*origin.wire.ends], origin.wire.paused)
                for origin in self.bench.origins
            ]
        )
        wire = self.client.wire
        self.seen.append((wire.taken(), [*wire.ends], wire.paused))

    @property
    def origins(self) -> list[Origin]:
        """The upstream's connections, at most one: the last of those that are left."""
        return [one for one in self.bench.origins if one.wire.connected][-1:]

    def ask(self, *data: bytes) -> None:
        for each in data:
            self.client.send(each)
        self.settle()

    def answer(self, *data: bytes) -> None:
        for origin in self.origins:
            for each in data:
                origin.send(each)
        self.settle()

    def warm(self, asked: bytes = GET, answer: bytes = OK, times: int = 3) -> None:
        for _ in range(times):
            self.ask(asked)
            self.answer(answer)

    def end(self, *, reset: bool = False) -> None:
        """The upstream closes its connection."""
        for origin in self.origins:
            origin.wire.hang_up(ConnectionLost() if reset else None)
        self.settle()

    def note_uses(self) -> None:
        """How many exchanges are under way on the route."""
        assert self.observed.route is not None
        self.seen.append(self.observed.route.uses.under_way)

    def later(self, seconds: float) -> None:
        self.bench.idle(seconds)
        self.settle()

    def full(self) -> None:
        """The client takes no more once the next bytes are written."""
        wire, protocol = self.client.wire, self.client.protocol
        write: Callable[[bytes], None] = wire.write

        def once(data: bytes) -> None:
            del wire.write
            write(data)
            protocol.pauseProducing()  # type: ignore[attr-defined]

        wire.write = once  # type: ignore[method-assign]

    def drained(self) -> None:
        self.client.protocol.resumeProducing()  # type: ignore[attr-defined]
        self.settle()

    def outcome(self) -> tuple[object, ...]:
        engine = self.bench._service.engine
        watch = engine.watch
        assert isinstance(watch, Recent)
        watch.catch_up()
        stories = [
            (
                (one.words, one.status, one.level, one.source, one.detail, one.scope, one.body),
                one.request and (one.request.method, one.request.target, one.request.headers),
                one.head and (one.head.status, one.head.reason, one.head.headers),
                one.answer and (one.answer.body, one.answer.size_bytes, one.answer.whole),
                (one.dur_s > 0, one.beside.miss, one.beside.usage),
                (one.response_bytes, one.route_id, one.recorded, one.age_s, one.pieces),
            )
            for one in (record.story for record in watch.forwards(0, 1000))
        ]
        return (
            *self.seen,
            _TIMES.sub("", self.bench.log()),
            astuple(engine.counters),
            [*self.observed.told],
            stories,
            sorted(
                (*key, tally.count, tally.response_bytes)
                for key, tally in watch.figures.tallies.items()
            ),
        )


Scene = Callable[[Play], None]
SCENES: dict[str, tuple[Scene, Mapping[str, Any]]] = {}


def scene(**row: Any) -> Callable[[Scene], Scene]:
    def added(function: Scene) -> Scene:
        SCENES[function.__name__] = function, row
        return function

    return added


def whole(name: str, answer: bytes, asked: bytes = GET, then: bytes = OK) -> None:
    """A scene in which one more answer comes, in a piece, in two and bytewise; and one more."""

    def played(play: Play) -> None:
        play.warm(asked)
        for pieces in ([answer], [answer[:9], answer[9:]], [*map(bytes, zip(answer))]):
            play.ask(asked)
            play.answer(*pieces)
        play.ask(asked)
        play.answer(then)

    SCENES[name] = played, {}


whole("ok", OK)
whole("another_head", OK.replace(b"z", b"zz"))
whole("long", LONG)
whole("empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
whole("head", OK[:-2], HEAD, OK[:-2])
whole("post", OK, POST)
whole("may_cost", OK, POST.replace(b"/p", b"/chat/completions"))
whole("no_content", b"HTTP/1.1 204 No Content\r\n\r\n")
whole("not_modified", b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\n\r\n")
whole("error", b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno")
whole("chunked", CHUNKED + b"2\r\nok\r\n3\r\nyes\r\n0\r\n\r\n")
whole("trailers", CHUNKED + b"2\r\nok\r\n0\r\nA: b\r\n\r\n")
whole("interim", b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + OK)
whole("keep_alive", OK.replace(b"X-Y: z", b"Keep-Alive: timeout=9\r\nConnection: keep-alive"))
whole("hop_by_hop", OK.replace(b"X-Y: z", b"Connection: X-Y\r\nX-Y: z"))
whole("last", OK.replace(b"X-Y: z", b"Connection: close"))
whole("http_1_0", OK.replace(b"1.1", b"1.0"))
whole("http_1_0_kept", OK.replace(b"1.1", b"1.0").replace(b"X-Y: z", b"Connection: keep-alive"))
whole("line_feeds", OK.replace(b"\r\n", b"\n"))
whole("repaired", OK.replace(b"X-Y: z", b"Content-Length: 2"))
whole("no_http", b"nonsense\r\n\r\n")
whole("switched", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
whole("more_than_asked", OK + b"more")
whole("negotiate", NEGOTIATE)
whole("proxy_negotiate", NEGOTIATE.replace(b"401", b"407").replace(b"WWW", b"Proxy"))
whole("unauthorized", NEGOTIATE.replace(b"Negotiate", b"Basic"))


@scene()
def kept_for_as_long_as_the_upstream_says(play: Play) -> None:
    play.warm()
    play.warm(answer=OK.replace(b"X-Y: z", b"Keep-Alive: timeout=9"), times=1)
    play.later(10)
    play.warm(times=2)


@scene()
def until_closed(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.answer(b"HTTP/1.1 200 OK\r\n\r\nall")
    play.answer(b" of it")
    play.end()
    play.warm(times=1)


@scene()
def closed_before_the_answer(play: Play) -> None:
    """It is sent once more, on a new connection, if that does no harm."""
    for asked in (GET, POST):
        play.warm(asked)
        play.ask(asked)
        play.end()
        play.answer(OK)
        play.warm(asked, times=1)


@scene()
def reset_before_the_answer(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.end(reset=True)
    play.end(reset=True)
    play.warm(times=1)


@scene()
def closed_in_the_head(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.answer(OK[:20])
    play.end()


@scene()
def closed_in_the_body(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.answer(OK[:-1])
    play.end()
    play.connect()
    play.warm(times=1)


@scene()
def closed_behind_the_answer(play: Play) -> None:
    play.warm()
    play.end()
    play.warm(times=2)


@scene()
def bytes_that_nobody_asked_for(play: Play) -> None:
    play.warm()
    play.answer(b"x")
    play.warm(times=2)


@scene()
def pipelined(play: Play) -> None:
    play.warm()
    play.ask(GET, OTHER + GET)
    for _ in range(3):
        play.answer(OK)
    play.ask(GET[:10], GET[10:])
    play.answer(OK)
    play.ask(GET + GET)
    play.answer(OK)
    play.answer(OK)
    play.warm(times=2)


@scene()
def half_closed(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.client.half_close()
    play.settle()
    play.answer(OK)


@scene()
def half_closed_for_long(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.client.half_close()
    play.later(2)


@scene()
def left(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.client.leave()
    play.settle()
    play.connect()
    play.warm(times=2)


@scene()
def cut(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.client.protocol.cut()  # type: ignore[attr-defined]
    play.settle()


@scene()
def parted(play: Play) -> None:
    """The connection closes after this answer."""
    play.warm()
    play.ask(GET)
    play.client.protocol.part()  # type: ignore[attr-defined]
    play.answer(OK)


@scene()
def stopping(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.bench.factory.stopping = True
    play.answer(OK)


@scene()
def stopped(play: Play) -> None:
    play.warm()
    play.bench.factory.stopping = True
    play.ask(GET)
    play.answer(OK)


@scene()
def a_client_that_reads_late(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.full()
    play.answer(LONG)
    play.ask(GET)
    play.later(2)
    play.drained()
    play.answer(OK)
    play.warm(times=1)


@scene()
def a_client_that_never_reads(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.full()
    play.answer(LONG)
    play.later(100)
    play.connect()
    play.warm(times=1)


@scene()
def a_client_that_leaves_instead_of_reading(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.full()
    play.answer(LONG)
    play.client.leave()
    play.settle()


@scene()
def a_client_that_waits(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.note_uses()
    play.later(100)
    play.answer(OK)
    play.later(100)


@scene()
def an_upstream_that_is_silent(play: Play) -> None:
    play.warm()
    play.ask(GET)
    play.later(400)
    play.connect()
    play.warm(times=1)


@scene()
def a_connection_that_was_kept_long(play: Play) -> None:
    play.warm()
    play.later(61)
    play.connect()
    play.warm(times=2)


@scene()
def two_clients(play: Play) -> None:
    play.warm()
    play.ask(GET)
    first = play.client
    play.connect()
    play.ask(GET)
    play.answer(OK.replace(b"ok", b"2."))
    play.client = first
    play.bench.origins[0].send(OK.replace(b"ok", b"1."))
    play.settle()
    play.warm(times=2)


@scene()
def requests_of_other_kinds(play: Play) -> None:
    for more in (b"Connection: close", b"Upgrade: x\r\nConnection: upgrade", b"Expect: x"):
        asked = GET[:-2] + more + b"\r\n\r\n"
        for _ in range(3):
            play.connect()
            play.ask(asked)
            if b"Expect" not in more:
                play.answer(OK)
    for asked in (GET.replace(b"1.1", b"1.0"), GET.replace(b"GET", b"CONNECT")):
        for _ in range(3):
            play.connect()
            play.ask(asked)
            if b"CONNECT" not in asked:
                play.answer(OK)


@scene()
def fields_for_buffr(play: Play) -> None:
    trace = b"traceparent: 00-%032x-0000000000000001-01" % 1
    for more in (b"X-Buffr-Scope: s", b"X-Buffr-Via: 0123456789abcdef", trace):
        play.warm(GET[:-2] + more + b"\r\n\r\n", times=4)


TRACE = b"traceparent: 00-%032x-0000000000000001-01\r\n"


def traced(number: int, asked: bytes = GET, more: bytes = b"") -> bytes:
    """A request with a trace id of its own, and more fields."""
    line, _, rest = asked.partition(b"\r\n")
    return line + b"\r\n" + TRACE % number + more + rest


@scene()
def traces(play: Play) -> None:
    """Each request has its own, on the wire, in the log and on the live page."""
    percent = GET.replace(b"/a", b"/a%20%s")
    for asked in (GET, percent, POST.replace(b"hello", b"\0*\0%b")):
        for number in range(1, 5):
            play.warm(traced(number, asked), times=1)
    for number in range(1, 5):
        ids = b"X-Request-Id: %d\r\nX-Percent: %%s\r\nIdempotency-Key: k%d\r\n" % (number, number)
        play.warm(traced(5 - number, GET, ids), times=1)
    for more in (b"7", b"not a trace id", b"x" * 99, b"%s"):
        play.warm(GET[:-2] + b"traceparent: " + more + b"\r\n\r\n", times=1)
    play.ask(traced(6))
    play.answer(CHUNKED)
    play.answer(b"0\r\n\r\n")
    play.ask(traced(7))
    play.end()
    play.answer(OK)
    play.ask(traced(8))
    play.client.leave()
    play.settle()


@scene()
def bound(play: Play) -> None:
    """A client whose connection to the upstream is its own."""
    play.warm()
    login = GET[:-2] + b"Authorization: Negotiate YQ==\r\n\r\n"
    play.warm(login, times=3)
    play.warm(times=2)


@scene(limits={"per_hour": 2, "max_delay": 0})
def limits(play: Play) -> None:
    play.warm(times=4)


@scene(faults=[{"status": 503, "first": 5}])
def faults(play: Play) -> None:
    play.warm(times=8)


@scene(rewrite=True)
def addresses_of_the_upstream(play: Play) -> None:
    location = b"Location: http://10.0.0.1/base/b"
    play.warm(times=4)
    play.warm(answer=OK.replace(b"X-Y: z", location), times=2)
    play.ask(GET)
    play.answer(OK.replace(b"X-Y: z", location)[:-1])
    play.answer(b"k")


@scene(access={"key": KEY, "required": True})
def access(play: Play) -> None:
    right = GET[:-2] + b"X-Buffr-Key: %b\r\n\r\n"
    for _ in range(3):
        play.warm(right % KEY.encode(), times=1)
        play.ask(right % b"wrong", GET)


@scene(whole={"gateway": {"port": 0, "routes": {"x": {"target": TARGET, "mode": "passthrough"}}}})
def a_gateway(play: Play) -> None:
    asked = GET.replace(b"/a", b"/x/a")
    play.warm(asked)
    play.warm(asked, OK.replace(b"X-Y: z", b"Location: /base/b"), times=2)
    play.ask(asked)
    play.client.half_close()
    play.answer(OK.replace(b"X-Y: z", b"Location: /base/b"))


SECRET = b"Vq3dk8ZlPw0sRt5uYx7aBc9e"


@scene(
    whole={
        "reverse": [{"port": 0, "target": TARGET, "mode": "passthrough"}],
        "redact": {"headers": ["X-Request-Id"]},
    }
)
def an_id_that_is_hidden(play: Play) -> None:
    """The log hides it in the target, too, where that has it."""
    asked = GET.replace(b"/a", b"/" + SECRET)
    play.warm()
    for value in (SECRET, SECRET, b"2" * 24, b"3" * 24, SECRET):
        play.warm(asked[:-2] + b"X-Request-Id: %b\r\n\r\n" % value, times=1)


FORWARD = {"forward": {"port": 0, "mode": "passthrough"}, "limits": {"host_idle_s": 100}}
PROXIED = GET.replace(b"/a", b"http://10.0.0.1/a")


@scene(whole=FORWARD)
def a_forward_proxy(play: Play) -> None:
    """Its routes are released when they are idle, and not while a request is under way."""
    play.warm(PROXIED)
    for answer in (NEGOTIATE, NEGOTIATE.replace(b"401", b"407"), OK):
        play.warm(PROXIED, answer, times=1)
    play.ask(PROXIED)
    play.note_uses()
    play.later(150)
    play.answer(OK)
    play.note_uses()
    play.ask(PROXIED)
    play.answer(CHUNKED)
    play.answer(b"0\r\n\r\n")
    play.note_uses()
    play.warm(PROXIED, times=1)
    play.later(150)
    play.connect()
    play.warm(PROXIED)
    play.later(150)


_NOT_SENT = {"requests_of_other_kinds", "limits", "faults"}


@contextmanager
def played(directory: Path, row: Mapping[str, Any], size_bytes: int) -> Iterator[Play]:
    directory.mkdir()
    reverse = {"port": 0, "target": TARGET, "mode": "passthrough", **row}
    settings = row.get("whole") or {"reverse": [reverse]}
    with service(directory, settings) as bench:
        yield Play(bench, Counted(size_bytes))


def test_no_client_and_no_answer_is_kept(tmp_path: Path) -> None:
    """They would count for nothing in the memo's size, and stay for as long as its entries."""
    with played(tmp_path / "memo", {}, 1 << 20) as play:
        play.warm(answer=LONG)
        play.client.leave()
        play.outcome()
        gc.collect()
        kept: list[Any] = [one for one in gc.get_objects() if isinstance(one, Exchange)]
        assert play.memo.sent == 1
        assert [(one.sink, one.passed and one.passed[1]) for one in kept] == [(None, b"")]


@pytest.mark.parametrize("name", SCENES)
def test_is_as_without_the_memo(name: str, tmp_path: Path) -> None:
    script, row = SCENES[name]
    outcomes = []
    for size_bytes in (0, 1 << 20):
        with played(tmp_path / str(size_bytes), row, size_bytes) as play:
            script(play)
            outcomes.append(play.outcome())
            sent = play.memo.sent
        assert bool(sent) == (bool(size_bytes) and name not in _NOT_SENT)
    assert outcomes[0] == outcomes[1]


def test_nothing_of_a_client_is_remembered(tmp_path: Path) -> None:
    with played(tmp_path / "here", {}, 1 << 20) as play:
        play.warm()
        assert play.memo.sent
        left = ref(play.client.protocol)
        play.client.leave()
        play.connect()
        play.outcome()
        gc.collect()
        assert left() is None


def test_no_client_hangs_for_a_defect(tmp_path: Path) -> None:
    """While it is relayed to, nothing else would end its wait."""
    with played(tmp_path / "here", {}, 1 << 20) as play:
        play.warm()
        ((known, _),) = play.memo._known._young.values()
        assert isinstance(known, RelayedHere)
        heads: dict[ResponseHead, ResponseHead] = {}
        known.relay.way_back = heads.__getitem__
        play.ask(GET)
        with pytest.raises(KeyError):
            play.answer(OK)
        play.end()  # as the reactor does then
        assert b"502 Bad Gateway" in play.client.wire.value() + repr(play.seen[-1]).encode()
