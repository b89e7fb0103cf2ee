"""NTLM and Negotiate authenticate a connection: nobody else is ever served on it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from attrs import frozen
from bench import eventually
from forward_bench import NO_PARENTS, Proxy, origin_tls, trust_file
from ntlm_upstream import NTLMOrigin, first, third
from raw_http import Answer, RawClient, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step

LISTENERS = ("reverse", "gateway", "forward", "tunnel")


@frozen
class Way:
    """A running buffr, and how a client of one of its listeners asks the upstream behind it."""

    listener: str
    process: BuffrProcess
    directory: Path
    upstream: FakeUpstream

    def connect(self) -> RawClient:
        if self.listener == "tunnel":
            return Proxy(self.process, self.directory).tunnel(self.upstream.url)
        return RawClient(self.process.ports[0])

    def target(self, path: bytes) -> bytes:
        before = {"gateway": b"/up", "forward": self.upstream.url.encode()}
        return before.get(self.listener, b"") + path

    def ask(self, client: RawClient, path: bytes = b"/me", *fields: tuple[bytes, bytes]) -> Answer:
        client.send(request(self.target(path), headers=fields))
        return client.answer()

    def log_in(self, client: RawClient, user: str, scheme: bytes = b"NTLM") -> Answer:
        """The three legs of a handshake."""
        assert self.ask(client).status == 401
        assert b"TlRM" in (
            self.ask(client, b"/me", first(scheme)).header(b"www-authenticate") or b""
        )
        return self.ask(client, b"/me", third(user, scheme))


@contextmanager
def way(
    directory: Path,
    origin: Callable[[Received], bytes | Iterator[Step]],
    listener: str = "reverse",
    mode: str = "passthrough",
    **settings: Any,
) -> Iterator[Way]:
    with ExitStack() as stack:
        tls = origin_tls("localhost") if listener == "tunnel" else None
        upstream = stack.enter_context(FakeUpstream(origin, tls=tls))
        row = {"target": upstream.url, "mode": mode}
        listening: dict[str, Any] = {
            "forward": {"port": 0, "mode": mode, "ca_file": str(trust_file(directory))}
        }
        if listener == "reverse":
            listening = {"reverse": [{**row, "port": 0}]}
        elif listener == "gateway":
            listening = {"gateway": {"port": 0, "routes": {"up": row}}}
        (directory / "buffr.yaml").write_text(json.dumps({**listening, **settings}))
        process = stack.enter_context(BuffrProcess.run("serve", cwd=directory, env=NO_PARENTS))
        yield Way(listener, process, directory, upstream)
        assert "Traceback" not in process.log()


def is_closed(client: RawClient) -> bool:
    """Whether buffr has closed the connection; waits for it."""
    try:
        return client.rest() == b""
    except TimeoutError:
        return False


class TestNobodyElse:
    @pytest.mark.parametrize("mode", ["passthrough", "record", "auto", "cache"])
    @pytest.mark.parametrize("listener", LISTENERS)
    def test_is_served_on_an_authenticated_connection(
        self, tmp_path: Path, listener: str, mode: str
    ) -> None:
        """In each mode, behind each listener; not while its client is there, and not after."""
        origin = NTLMOrigin()
        with way(tmp_path, origin, listener, mode) as served:
            alice, bob = served.connect(), served.connect()
            assert served.log_in(alice, "alice").body == b"/me for alice"
            assert served.ask(alice, b"/alone").body == b"/alone for alice"
            for path in (b"/a", b"/b", b"/c"):
                assert served.ask(bob, path).status == 401
            assert served.ask(bob, b"/d", third("mallory")).status == 401
            alice.close()
            with served.connect() as carol:
                for path in (b"/e", b"/f"):
                    assert served.ask(carol, path).status == 401
            bob.close()
            assert set(origin.users.values()) == {b"alice"}

    @pytest.mark.parametrize("scheme", [b"NTLM", b"Negotiate", b"negotiate", b"Nego2", b"CredSSP"])
    def test_whatever_the_scheme(self, tmp_path: Path, scheme: bytes) -> None:
        with way(tmp_path, NTLMOrigin()) as served, served.connect() as alice:
            assert served.log_in(alice, "alice", scheme).status == 200
            with served.connect() as bob:
                assert served.ask(bob).status == 401
            assert served.ask(alice).body == b"/me for alice"

    def test_joins_the_call_of_a_request_that_is_authenticated(self, tmp_path: Path) -> None:
        """By its own credentials, or by what came before on its connection."""
        go_on, origin = Event(), NTLMOrigin()

        def held(received: Received) -> Iterator[Step]:
            if received.target == b"/slow":
                go_on.wait(120)
            return origin(received)

        with way(tmp_path, held, mode="auto") as served, ThreadPoolExecutor() as threads:
            alice, bob, carol = (served.connect() for _ in range(3))
            served.log_in(alice, "alice")
            asked = [threads.submit(served.ask, one, b"/slow") for one in (alice, bob)]
            asked.append(threads.submit(served.ask, carol, b"/slow", first()))
            eventually(
                lambda: [one.target for one in served.upstream.received].count(b"/slow") == 3, 20
            )
            go_on.set()
            answers = [one.result(20) for one in asked]
            assert [one.status for one in answers] == [200, 401, 401]
            assert answers[0].body == b"/slow for alice"

    def test_gets_what_a_cache_kept_of_it(self, tmp_path: Path) -> None:
        """No field of such a request says for whom it is, and the answer calls itself public."""
        origin = NTLMOrigin(fields=((b"Cache-Control", b"public, max-age=60"),))
        with way(tmp_path, origin, mode="cache") as served:
            with served.connect() as alice:
                served.log_in(alice, "alice")
                found = served.ask(alice, b"/page")
                assert found.header(b"cache-status") == (
                    b'buffr; fwd=bypass; fwd-status=200; detail="method"'
                )
                assert served.ask(alice, b"/page").body == b"/page for alice"
            with served.connect() as bob:
                assert served.ask(bob, b"/page").status == 401
                # What was stored without credentials is not for her.
                with served.connect() as alice:
                    served.log_in(alice, "alice")
                    assert served.ask(alice, b"/page").body == b"/page for alice"


class TestTheHandshake:
    @pytest.mark.parametrize("listener", LISTENERS)
    def test_has_one_connection_for_all_its_legs(self, tmp_path: Path, listener: str) -> None:
        """Those of several clients at once too, and whatever else passes meanwhile."""
        origin = NTLMOrigin()
        with way(tmp_path, origin, listener) as served:
            clients = {user: served.connect() for user in ("alice", "bob", "carol")}
            for client in clients.values():
                assert served.ask(client).status == 401
            for client in clients.values():
                assert served.ask(client, b"/me", first()).status == 401
                with served.connect() as other:
                    served.ask(other)
            for user, client in clients.items():
                assert served.ask(client, b"/me", third(user)).body == b"/me for %b" % user.encode()
            for user, client in clients.items():
                assert served.ask(client, b"/x").body == b"/x for %b" % user.encode()
            for client in clients.values():
                client.close()
            assert origin.astray == 0
            assert len(origin.users) == 3

    def test_may_begin_without_being_asked_for(self, tmp_path: Path) -> None:
        with way(tmp_path, NTLMOrigin()) as served, served.connect() as other:
            served.ask(other)
            with served.connect() as alice:
                assert served.ask(alice, b"/me", first()).status == 401
                assert served.ask(alice, b"/me", third("alice")).body == b"/me for alice"

    def test_pipelined_requests_follow_it_in_order(self, tmp_path: Path) -> None:
        with way(tmp_path, NTLMOrigin()) as served, served.connect() as alice:
            legs = [(b"/1", first()), (b"/2", third("alice")), (b"/3", (b"X", b"1"))]
            alice.send(b"".join(request(path, headers=[field]) for path, field in legs))
            assert [alice.answer().body for _ in legs] == [b"", b"/2 for alice", b"/3 for alice"]

    def test_a_connection_that_is_asked_to_close_is_none_to_bind(self, tmp_path: Path) -> None:
        """A server may end the one on which it asked, and expect the handshake on the next."""
        origin = NTLMOrigin(closes_at=b"401 Unauthorized")
        with way(tmp_path, origin) as served, served.connect() as alice:
            found = served.ask(alice)
            assert (found.status, found.header(b"connection")) == (401, None)
            assert served.ask(alice, b"/me", first()).status == 401
            assert served.ask(alice, b"/me", third("alice")).body == b"/me for alice"

    @pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
    @pytest.mark.parametrize("listener", LISTENERS)
    def test_is_done_by_curl(self, tmp_path: Path, listener: str) -> None:
        origin = NTLMOrigin()
        with way(tmp_path, origin, listener) as served:
            assert _curl(served, "alice", "/a", "/b") == "/a for alice/b for alice"
            assert _curl(served, "bob", "/c", "--data", "hello") == "/c for bob"
            assert origin.astray == 0
            bodies = [one.body for one in served.upstream.received if one.method == b"POST"]
            # In a tunnel curl may ask in HTTP/2 first, which cannot do it.
            assert bodies in ([b"", b"hello"], [b"", b"", b"hello"])

    def test_a_client_of_the_forward_proxy_is_told_that_it_can(self, tmp_path: Path) -> None:
        """RFC 4559 6: without ``Proxy-Support`` it must not use Negotiate through a proxy.

        Inside a tunnel, and where buffr is no proxy to it, there is no such field.
        """
        for listener in LISTENERS:
            directory = tmp_path / listener
            directory.mkdir()
            with way(directory, NTLMOrigin(), listener, "record") as served:
                with served.connect() as client:
                    found = served.ask(client)
                told = found.header(b"proxy-support"), found.header(b"connection")
                proxied = listener == "forward"
                assert told == ((_SUPPORT, b"Proxy-Support") if proxied else (None, None))
                files = list(directory.glob("*.json"))
                assert files
                assert not any("Proxy-Support" in path.read_text() for path in files)


_SUPPORT = b"Session-Based-Authentication"


def _curl(served: Way, user: str, *arguments: str) -> str:
    """curl's own NTLM, on one connection for all paths."""
    paths = [one for one in arguments if one.startswith("/")]
    options = [one for one in arguments if not one.startswith("/")]
    base, more = f"http://127.0.0.1:{served.process.ports[0]}", []
    if served.listener in ("forward", "tunnel"):
        more = [
            "--proxy",
            base,
            "--noproxy",
            "",
            "--cacert",
            str(served.directory / "buffr-ca.pem"),
        ]
        base = served.upstream.url
    elif served.listener == "gateway":
        base += "/up"
    command = ["curl", "-sS", "--max-time", "20", "--ntlm", "-u", f"{user}:pw", *more, *options]
    done = subprocess.run(
        [*command, *(base + path for path in paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestItsEnd:
    def test_comes_with_the_clients_connection(self, tmp_path: Path) -> None:
        with way(tmp_path, NTLMOrigin()) as served:
            alice = served.connect()
            served.log_in(alice, "alice")
            alice.close()
            eventually(lambda: not served.upstream.open_connections)

    @pytest.mark.parametrize("listener", LISTENERS)
    def test_takes_the_clients_connection_with_it(self, tmp_path: Path, listener: str) -> None:
        """The client takes itself for authenticated as long as that is open."""
        with way(tmp_path, NTLMOrigin(), listener) as served, served.connect() as alice:
            served.log_in(alice, "alice")
            served.upstream.close()
            assert is_closed(alice)

    @pytest.mark.parametrize("status", [b"200 OK", b"401 Challenge"])
    def test_is_told_with_the_answer_that_it_comes_with(
        self, tmp_path: Path, status: bytes
    ) -> None:
        with way(tmp_path, NTLMOrigin(closes_at=status)) as served, served.connect() as alice:
            found = served.ask(alice, b"/me", first())
            if status == b"200 OK":
                found = served.ask(alice, b"/me", third("alice"))
            assert b"%d" % found.status in status
            assert found.header(b"connection") == b"close"
            assert is_closed(alice)

    def test_within_a_handshake_is_no_wrong_password(self, tmp_path: Path) -> None:
        """The third message goes to nobody who did not send the second."""
        origin = NTLMOrigin()

        def drops(received: Received) -> Iterator[Step]:
            if received.header(b"authorization") and received.connection in origin.challenged:
                return iter((None,))
            return origin(received)

        with way(tmp_path, drops) as served, served.connect() as alice:
            served.ask(alice, b"/me", first())
            found = served.ask(alice, b"/me", third("alice"))
            assert (found.status, found.header(b"connection")) == (502, b"close")
            assert served.upstream.connections == 1

    def test_before_a_request_without_credentials_makes_it_ask_anew(self, tmp_path: Path) -> None:
        """As it would without buffr: the request is repeated, as nobody's, on a new connection."""
        origin = NTLMOrigin()

        def drops(received: Received) -> Iterator[Step]:
            if received.target == b"/dropped" and received.connection in origin.users:
                return iter((None,))
            return origin(received)

        with way(tmp_path, drops) as served, served.connect() as alice:
            served.log_in(alice, "alice")
            found = served.ask(alice, b"/dropped")
            assert (found.status, found.header(b"connection")) == (401, b"close")
            with served.connect() as again:
                assert served.log_in(again, "alice").status == 200

    def test_a_long_answer_ends_before_it_does(self, tmp_path: Path) -> None:
        """A client that left while its answer is recorded loses nothing of the recording."""
        origin, go_on = NTLMOrigin(), Event()

        def slow(received: Received) -> Iterator[Step]:
            if received.target != b"/long":
                yield from origin(received)
                return
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"
            go_on.wait(120)
            yield b"cd"

        with way(tmp_path, slow, mode="record", limits={"linger_s": 30}) as served:
            alice = served.connect()
            served.log_in(alice, "alice")
            alice.send(request(b"/long"))
            alice.until(b"ab")
            alice.close()
            go_on.set()
            eventually(lambda: not served.upstream.open_connections)
            (cassette,) = tmp_path.glob("*.json")
            eventually(lambda: '"abcd"' in cassette.read_text())


class TestBounds:
    def test_how_many(self, tmp_path: Path) -> None:
        """For one more, the one unused for longest goes, and its client's connection with it."""
        with way(tmp_path, NTLMOrigin(), limits={"bound_per_host": 2}) as served:
            alice, bob = served.connect(), served.connect()
            served.log_in(alice, "alice")
            served.log_in(bob, "bob")
            served.ask(alice)
            with served.connect() as carol:
                assert served.log_in(carol, "carol").status == 200
                assert is_closed(bob)
                assert served.ask(alice).body == b"/me for alice"
                assert served.ask(carol).body == b"/me for carol"
                eventually(lambda: served.upstream.open_connections == 2)

    def test_for_how_long(self, tmp_path: Path) -> None:
        with way(tmp_path, NTLMOrigin(), limits={"bound_idle_s": 3}) as served:
            alice = served.connect()
            served.log_in(alice, "alice")
            assert is_closed(alice)
            eventually(lambda: not served.upstream.open_connections)


class TestRecordings:
    def test_auto_keeps_the_answer_and_asks_for_no_handshake_again(self, tmp_path: Path) -> None:
        """Its legs are 401s, which auto does not record; credentials are one constant."""
        origin = NTLMOrigin()
        with way(tmp_path, origin, mode="auto") as served:
            with served.connect() as alice:
                assert served.log_in(alice, "alice").status == 200
            count = len(served.upstream.received)
            for fields in ((), (first(),), (third("bob"),)):
                with served.connect() as other:
                    assert served.ask(other, b"/me", *fields).body == b"/me for alice"
            assert len(served.upstream.received) == count

    @pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
    def test_record_keeps_the_handshake_too_for_clients_that_insist_on_it(
        self, tmp_path: Path
    ) -> None:
        """curl sends a body only with the third message; a replay plays the origin's part."""
        with way(tmp_path, NTLMOrigin(), mode="record") as served:
            assert _curl(served, "alice", "/c", "--data", "hello") == "/c for alice"
            (cassette,) = tmp_path.glob("*.json")
        target = ("replay", "--target", "http://127.0.0.1:9", "--cassette", str(cassette))
        with BuffrProcess.run(*target, "--port", "0") as process:
            replayed = Way("reverse", process, tmp_path, served.upstream)
            assert _curl(replayed, "bob", "/c", "--data", "hello") == "/c for alice"


class TestWebSocket:
    def test_goes_on_in_the_connection_that_is_authenticated(self, tmp_path: Path) -> None:
        """And ends there; the client's connection is the session's then."""
        origin = NTLMOrigin()

        def script(received: Received) -> Iterator[Step]:
            if received.header(b"upgrade") and received.connection in origin.users:
                yield SWITCHED
                yield b"\x81\x02hi\x88\x02\x03\xe8"
                yield 0.2
                yield None
            yield from origin(received)

        with way(tmp_path, script) as served, served.connect() as alice:
            upgrade = [
                (b"Connection", b"Upgrade"),
                (b"Upgrade", b"websocket"),
                (b"Sec-WebSocket-Version", b"13"),
                (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            ]
            for field in ((b"X", b"1"), first()):
                alice.send(request(b"/ws", headers=[*upgrade, field]))
                assert alice.answer().status == 401
            alice.send(request(b"/ws", headers=[*upgrade, third("alice")]))
            assert alice.answer().status == 200  # this origin switches with the next
            alice.send(request(b"/ws", headers=upgrade))
            assert alice.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            assert alice.take(4) == b"\x81\x02hi"
            assert served.upstream.received[-1].connection in origin.users


SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
