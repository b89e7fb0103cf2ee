"""gRPC's own client and server, with buffr between them: relayed, recorded and replayed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import grpc
import pytest
from attrs import define, field
from forward_bench import NO_PARENTS
from grpc_clients import CLIENTS, SEEN
from trustme import CA

from buffr.message import Headers
from buffr.testing import BuffrProcess
from buffr.wire.http2.engines import ENGINES, open_engine
from buffr.wire.http2.interface import Bounds, Code, Role

_LIMIT_S = 60
_LARGE = 300_000

Outcome = object


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no annotations
    """Methods of each kind, on bytes. ``asked`` counts the calls."""

    def __init__(self) -> None:
        self.asked = 0

    def service(self, details: Any) -> Any:
        if "reflection" in details.method:
            return None
        self.asked += 1
        make, method = {
            "Echo": (grpc.unary_unary_rpc_method_handler, self._echo),
            "Fail": (grpc.unary_unary_rpc_method_handler, self._fail),
            "Collect": (grpc.stream_unary_rpc_method_handler, self._collect),
            "Repeat": (grpc.unary_stream_rpc_method_handler, self._repeat),
            "Talk": (grpc.stream_stream_rpc_method_handler, self._talk),
            "Refuse": (grpc.stream_stream_rpc_method_handler, self._refuse),
        }.get(details.method.rpartition("/")[2], (None, None))
        return None if make is None else make(method)

    def _echo(self, sent: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"), ("x-bytes-bin", b"\x00\xff")))
        return b"echo:" + sent

    def _fail(self, _: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much of it: 100 %")
        raise AssertionError

    def _collect(self, sent: Iterator[bytes], _: Any) -> bytes:
        return b"|".join(sent)

    def _repeat(self, sent: bytes, _: Any) -> Iterator[bytes]:
        for number in range(3):
            yield b"%d:%b" % (number, sent)

    def _talk(self, sent: Iterator[bytes], _: Any) -> Iterator[bytes]:
        for one in sent:
            yield b"heard " + one

    def _refuse(self, _: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        raise AssertionError


@define
class Server:
    """A server of ``Service`` on a port."""

    service: Service = field(factory=Service)
    port: int = 0
    _server: Any = None

    @contextmanager
    def running(self, credentials: Any = None) -> Iterator[Server]:
        server = grpc.server(ThreadPoolExecutor(8))
        server.add_generic_rpc_handlers((self.service,))
        if credentials is None:
            self.port = server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield self
        finally:
            server.stop(None)


def _echo(channel: Any) -> Outcome:
    method = channel.unary_unary("/a.B/Echo")
    got, call = method.with_call(b"hello", metadata=(("x-meta", "m"),), timeout=_LIMIT_S)
    return got, tuple(call.initial_metadata()), tuple(call.trailing_metadata())


def _echo_much(channel: Any) -> Outcome:
    return channel.unary_unary("/a.B/Echo")(b"x" * _LARGE, timeout=_LIMIT_S)


def _echo_compressed(channel: Any) -> Outcome:
    method = channel.unary_unary("/a.B/Echo")
    return method(b"again " * 500, timeout=_LIMIT_S, compression=grpc.Compression.Gzip)


def _collect(channel: Any) -> Outcome:
    return channel.stream_unary("/a.B/Collect")(iter([b"a", b"b", b"c"]), timeout=_LIMIT_S)


def _repeat(channel: Any) -> Outcome:
    return list(channel.unary_stream("/a.B/Repeat")(b"r", timeout=_LIMIT_S))


def _fails(name: str) -> Callable[[Any], Outcome]:
    def call(channel: Any) -> Outcome:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/a.B/{name}")(b"x", timeout=_LIMIT_S)
        return raised.value.code(), raised.value.details()

    return call


CALLS: dict[str, Callable[[Any], Outcome]] = {
    "unary": _echo,
    "large": _echo_much,
    "compressed": _echo_compressed,
    "client's stream": _collect,
    "server's stream": _repeat,
    "a status": _fails("Fail"),
    "no such method": _fails("Unknown"),
}


def _talk(channel: Any) -> Outcome:
    """In turns: each message is an answer to the one before."""
    messages: Queue[bytes | None] = Queue()
    heard = channel.stream_stream("/a.B/Talk")(iter(messages.get, None), timeout=_LIMIT_S)
    said = []
    for number in range(5):
        messages.put(b"%d" % number)
        said.append(next(heard))
    messages.put(None)
    return said + list(heard)


@contextmanager
def channel_to(port: int) -> Iterator[Any]:
    options = (("grpc.enable_http_proxy", 0),)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield channel


def outcomes(port: int) -> dict[str, Outcome]:
    with channel_to(port) as channel:
        return {name: call(channel) for name, call in CALLS.items()}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


@pytest.fixture(params=ENGINES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    (tmp_path / "buffr.yaml").write_text(f"http2_engine: {request.param}\n")
    return tmp_path


class TestPlain:
    def test_recorded_and_replayed_it_is_what_the_server_says(
        self, server: Server, settings: Path
    ) -> None:
        wanted = outcomes(server.port)
        target = f"http://127.0.0.1:{server.port}"
        options = ("--cassette", "c.json", "--port", "0")
        with BuffrProcess.run("auto", "--target", target, *options, cwd=settings) as running:
            assert outcomes(running.ports[0]) == wanted
        asked = server.service.asked
        with BuffrProcess.run("replay", *options, cwd=settings) as running:
            assert outcomes(running.ports[0]) == wanted
            assert outcomes(running.ports[0]) == wanted
        assert server.service.asked == asked

    @pytest.mark.parametrize("mode", ["passthrough", "record", "auto"])
    def test_both_sides_talk_in_turns(self, server: Server, settings: Path, mode: str) -> None:
        target = f"http://127.0.0.1:{server.port}"
        options = ("--target", target, "--port", "0")
        cassette = () if mode == "passthrough" else ("--cassette", "c.json")
        with (
            BuffrProcess.run("serve", "--mode", mode, *options, *cassette, cwd=settings) as running,
            channel_to(running.ports[0]) as channel,
        ):
            assert _talk(channel) == [b"heard %d" % number for number in range(5)]
        if not cassette:
            return
        asked = server.service.asked
        with (
            BuffrProcess.run("replay", *cassette, "--port", "0", cwd=settings) as running,
            channel_to(running.ports[0]) as channel,
        ):
            assert _talk(channel) == [b"heard %d" % number for number in range(5)]
        assert server.service.asked == asked

    @pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
    def test_other_clients_see_the_same(
        self, server: Server, settings: Path, client: Callable[[int], Any]
    ) -> None:
        assert client(server.port) == SEEN
        target = f"http://127.0.0.1:{server.port}"
        options = ("--cassette", "c.json", "--port", "0")
        with BuffrProcess.run("auto", "--target", target, *options, cwd=settings) as running:
            assert client(running.ports[0]) == SEEN
        asked = server.service.asked
        with BuffrProcess.run("replay", *options, cwd=settings) as running:
            assert client(running.ports[0]) == SEEN
        assert server.service.asked == asked

    def test_a_miss_is_a_status_that_says_why(self, server: Server, settings: Path) -> None:
        options = ("--cassette", "c.json", "--port", "0")
        target = f"http://127.0.0.1:{server.port}"
        with BuffrProcess.run("auto", "--target", target, *options, cwd=settings) as running:
            outcomes(running.ports[0])
        with (
            BuffrProcess.run("replay", *options, cwd=settings) as running,
            channel_to(running.ports[0]) as channel,
            pytest.raises(grpc.RpcError) as raised,
        ):
            channel.unary_unary("/a.B/Echo")(b"hallo", timeout=_LIMIT_S)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "hallo" in raised.value.details()
        assert "hello" in raised.value.details()

    @pytest.mark.parametrize("code", [Code.CANCEL, Code.INTERNAL_ERROR, Code.ENHANCE_YOUR_CALM])
    def test_a_stream_that_is_reset_before_its_answer_is_unavailable(
        self, settings: Path, code: Code
    ) -> None:
        """The code was meant for buffr: it is in the message."""
        with _Resetting(code) as port:
            target = f"http://127.0.0.1:{port}"
            options = ("--mode", "passthrough", "--target", target, "--port", "0")
            with (
                BuffrProcess.run("serve", *options, cwd=settings) as running,
                channel_to(running.ports[0]) as channel,
                pytest.raises(grpc.RpcError) as raised,
            ):
                channel.unary_unary("/a.B/Echo")(b"x", timeout=_LIMIT_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert f"the upstream reset the stream: {code.name}" in raised.value.details()

    def test_an_upstream_that_is_gone_is_unavailable(self, settings: Path) -> None:
        with Server().running() as gone:
            port = gone.port
        options = ("--mode", "passthrough", "--target", f"http://127.0.0.1:{port}", "--port", "0")
        with (
            BuffrProcess.run("serve", *options, cwd=settings) as running,
            channel_to(running.ports[0]) as channel,
            pytest.raises(grpc.RpcError) as raised,
        ):
            channel.unary_unary("/a.B/Echo")(b"x", timeout=_LIMIT_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


class _Resetting:
    """A server in HTTP/2 that resets every stream, with a code, before it has answered."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self.engine = open_engine(Role.SERVER, self, Bounds())
        self.listening = socket.create_server(("127.0.0.1", 0))
        self._thread = Thread(target=self._serve)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self.listening.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.listening.close()
        self._thread.join()

    def _serve(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            while True:
                while data := self.engine.take(65536):
                    connection.sendall(data)
                came = connection.recv(65536)
                if not came:
                    return
                self.engine.receive(came)

    def head(self, stream: int, fields: Headers, *, ended: bool) -> None:
        self.engine.reset(stream, self._code)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None  # what else it hears does not matter


class TestTurns:
    """Calls in which the client waits for an answer before it goes on."""

    OPTIONS = ("--cassette", "c.json", "--port", "0")

    @contextmanager
    def replaying(self, settings: Path, *said: list[bytes]) -> Iterator[Any]:
        """A channel to a replay of talks that were recorded."""
        with Server().running() as server:
            target = f"http://127.0.0.1:{server.port}"
            with (
                BuffrProcess.run(
                    "record", "--target", target, *self.OPTIONS, cwd=settings
                ) as running,
                channel_to(running.ports[0]) as channel,
            ):
                for each in said:
                    assert list(self.talk(channel, each)) == [b"heard " + one for one in each]
        with (
            BuffrProcess.run("replay", *self.OPTIONS, cwd=settings) as running,
            channel_to(running.ports[0]) as channel,
        ):
            yield channel

    def talk(self, channel: Any, said: list[bytes]) -> Iterator[bytes]:
        messages: Queue[bytes | None] = Queue()
        heard = channel.stream_stream("/a.B/Talk")(iter(messages.get, None), timeout=_LIMIT_S)
        for one in said:
            messages.put(one)
            try:
                yield next(heard)
            except BaseException:
                messages.put(None)
                raise
        messages.put(None)
        yield from heard

    def test_what_deviates_is_told_and_only_what_is_true_was_sent(self, settings: Path) -> None:
        with self.replaying(settings, [b"a", b"b", b"c"]) as channel:
            talk = self.talk(channel, [b"a", b"eve", b"c"])
            assert next(talk) == b"heard a"
            with pytest.raises(grpc.RpcError) as raised:
                next(talk)
            assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            details = raised.value.details()
            assert "message 1: expected a message of 6 bytes, got a message of 8" in details
            assert "eve" in details

    def test_a_request_that_ends_early_or_goes_on_deviates(self, settings: Path) -> None:
        with self.replaying(settings, [b"a", b"b"]) as channel:
            for said, told in (
                ([b"a"], "expected a message of 6 bytes, got the end of the request"),
                ([b"a", b"b", b"c"], "expected the end of the request, got a message of 6"),
            ):
                with pytest.raises(grpc.RpcError) as raised:
                    list(self.talk(channel, said))
                assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                assert told in raised.value.details()

    def test_a_first_message_like_none_is_a_miss_at_once(self, settings: Path) -> None:
        with self.replaying(settings, [b"a", b"b"]) as channel:
            with pytest.raises(grpc.RpcError) as raised:
                next(self.talk(channel, [b"x"]))
            assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "no recorded interaction matches" in raised.value.details()

    def test_recordings_that_begin_alike_part_where_they_differ(self, settings: Path) -> None:
        talks = [[b"a", b"b"], [b"a", b"c", b"d"], [b"a", b"c", b"e"]]
        with self.replaying(settings, *talks) as channel:
            for said in reversed(talks):
                assert list(self.talk(channel, said)) == [b"heard " + one for one in said]

    def test_a_client_that_does_not_wait_gets_the_same(self, settings: Path) -> None:
        said = [b"a", b"b", b"c"]
        with self.replaying(settings, said) as channel:
            heard = channel.stream_stream("/a.B/Talk")(iter(said), timeout=_LIMIT_S)
            assert list(heard) == [b"heard " + one for one in said]

    def test_a_client_may_leave_at_any_time(self, settings: Path) -> None:
        with self.replaying(settings, [b"a", b"b"]) as channel:
            method = channel.stream_stream("/a.B/Talk")
            first: Queue[bytes | None] = Queue()
            heard = method(iter(first.get, None), timeout=_LIMIT_S)
            first.put(b"a")
            assert next(heard) == b"heard a"
            heard.cancel()
            assert heard.code() is grpc.StatusCode.CANCELLED
            second: Queue[bytes | None] = Queue()
            second.put(b"a")
            with pytest.raises(grpc.RpcError) as raised:
                list(method(iter(second.get, None), timeout=0.5))
            assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            first.put(None)
            second.put(None)
            assert list(self.talk(channel, [b"a", b"b"])) == [b"heard a", b"heard b"]

    def test_an_answer_that_ended_before_its_request_does_so_again(self, settings: Path) -> None:
        def refused(channel: Any) -> object:
            messages: Queue[bytes | None] = Queue()
            messages.put(b"a")
            heard = channel.stream_stream("/a.B/Refuse")(iter(messages.get, None), timeout=_LIMIT_S)
            with pytest.raises(grpc.RpcError) as raised:
                next(heard)
            messages.put(None)
            return raised.value.code(), raised.value.details()

        with Server().running() as server:
            target = f"http://127.0.0.1:{server.port}"
            with (
                BuffrProcess.run(
                    "auto", "--target", target, *self.OPTIONS, cwd=settings
                ) as running,
                channel_to(running.ports[0]) as channel,
            ):
                wanted = refused(channel)
        with (
            BuffrProcess.run("replay", *self.OPTIONS, cwd=settings) as running,
            channel_to(running.ports[0]) as channel,
        ):
            assert refused(channel) == wanted
        assert wanted == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")


class TestTunnels:
    def test_with_nothing_but_a_proxy_and_its_certificate(self, settings: Path) -> None:
        """The upstream has TLS, and speaks nothing but HTTP/2."""
        authority = CA()
        leaf = authority.issue_cert("localhost")
        credentials = grpc.ssl_server_credentials(
            ((leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes()),)
        )
        roots = settings / "roots.pem"
        authority.cert_pem.write_to_path(str(roots))
        options = ("--port", "0", "--data-dir", str(settings))

        def outcomes_by(proxy: str, port: int) -> dict[str, Outcome]:
            trust = grpc.ssl_channel_credentials((settings / "buffr-ca.pem").read_bytes())
            with grpc.secure_channel(
                f"localhost:{port}", trust, options=(("grpc.http_proxy", proxy),)
            ) as channel:
                return {name: call(channel) for name, call in CALLS.items()}

        with Server().running(credentials) as server:
            trust = ("--ca-file", str(roots))
            with BuffrProcess.run(
                "proxy", *trust, *options, cwd=settings, env=NO_PARENTS
            ) as running:
                wanted = outcomes_by(running.url, server.port)
            asked = server.service.asked
            with BuffrProcess.run(
                "proxy", "--mode", "replay", *options, cwd=settings, env=NO_PARENTS
            ) as running:
                assert outcomes_by(running.url, server.port) == wanted
        assert server.service.asked == asked == len(CALLS) - 1 + 1
        assert wanted["client's stream"] == b"a|b|c"
