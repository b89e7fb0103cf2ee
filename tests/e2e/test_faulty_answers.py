"""Faults as clients meet them, on live and on replayed answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest
from admin_client import Admin
from raw_http import BrokenAnswer, RawClient, request
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

_BODY = b'{"a": [1, 2, 3]}'
_EVENTS = [b'data: {"n": %d}\n\n' % number for number in range(5)]
_JSON = ((b"Content-Type", b"application/json"),)


def script(received: Received) -> bytes | Iterator[Step]:
    if received.target == b"/events":
        return chunked(_EVENTS, ((b"Content-Type", b"text/event-stream"),))
    if received.target.endswith(b"/chat/completions"):
        said = {"role": "assistant", "content": "hello"}
        choice = {"index": 0, "finish_reason": "stop", "message": said}
        page = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        return answer(json.dumps({**page, "choices": [choice]}).encode(), headers=_JSON)
    return answer(_BODY, headers=_JSON)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(script) as running:
        yield running


@contextmanager
def faulty(
    directory: Path,
    upstream: FakeUpstream | str,
    *rules: dict[str, Any],
    admin: bool = False,
    **row: Any,
) -> Iterator[BuffrProcess]:
    url = upstream if isinstance(upstream, str) else upstream.url
    reverse = {"port": 0, "target": url, "mode": "passthrough", "faults": rules, **row}
    (directory / "buffr.yaml").write_text(json.dumps({"reverse": [reverse]}))
    env = {"BUFFR_ADMIN": "0", "BUFFR_DATA_DIR": str(directory)} if admin else {}
    with BuffrProcess.run("serve", cwd=directory, env=env) as running:
        yield running


def test_a_status_in_the_form_of_the_api(tmp_path: Path, upstream: FakeUpstream) -> None:
    rule = {"status": 429, "retry_after": "2s", "calls": 1}
    with faulty(tmp_path, upstream, rule) as running:
        first = httpx.get(f"{running.url}/a", headers={"Accept": "application/json"})
        assert (first.status_code, first.headers["retry-after"]) == (429, "2")
        assert first.headers["x-buffr-fault"] == "status-429"
        assert first.json()["error"]["code"] == "fault_injected"
        second = httpx.get(f"{running.url}/a")
        assert (second.status_code, second.content) == (200, _BODY)
        assert "x-buffr-fault" not in second.headers
        running.wait_for("status=429 .*src=fault")


def test_a_body_of_ones_own(tmp_path: Path, upstream: FakeUpstream) -> None:
    with faulty(tmp_path, upstream, {"status": 529, "body": '{"overloaded": true}'}) as running:
        got = httpx.get(f"{running.url}/a")
        assert (got.status_code, got.json()) == (529, {"overloaded": True})


def test_an_sdk_proves_that_it_asks_again(tmp_path: Path, upstream: FakeUpstream) -> None:
    rule = {"status": 503, "first": 2}
    with (
        faulty(tmp_path, upstream, rule) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=2) as client,
    ):
        # buffr's own errors ask clients not to try again; faults are to be tried.
        said = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )
        assert said.choices[0].message.content == "hello"


@pytest.mark.parametrize("mode", ["passthrough", "auto"])
class TestBodies:
    def test_cut_after_bytes(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with (
            faulty(tmp_path, upstream, {"cut_after": 5}, mode=mode) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/a"))
            with pytest.raises(BrokenAnswer) as broken:
                client.answer()
            assert broken.value.received.endswith(_BODY[:5])

    def test_cut_after_events(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with (
            faulty(tmp_path, upstream, {"cut_after_events": 2}, mode=mode) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/events"))
            with pytest.raises(BrokenAnswer) as broken:
                client.answer()
            assert broken.value.received.count(b"data:") == 2

    def test_malformed(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with faulty(tmp_path, upstream, {"malformed": True}, mode=mode) as running:
            got = httpx.get(f"{running.url}/a")
            assert got.content == _BODY[:-1] + b" "
            assert got.headers["x-buffr-fault"] == "malformed"

    def test_slow(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        rules = {"bytes_per_second": 100}, {"delay": "100ms"}
        with faulty(tmp_path, upstream, *rules, mode=mode) as running:
            began = time.monotonic()
            assert httpx.get(f"{running.url}/a", timeout=60).content == _BODY
            assert time.monotonic() - began > 0.2

    def test_pauses_between_events(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with faulty(tmp_path, upstream, {"event_delay": "50ms"}, mode=mode) as running:
            began = time.monotonic()
            assert httpx.get(f"{running.url}/events", timeout=60).content == b"".join(_EVENTS)
            assert time.monotonic() - began > 0.2

    def test_the_body_behind_the_head(
        self, tmp_path: Path, upstream: FakeUpstream, mode: str
    ) -> None:
        with (
            faulty(tmp_path, upstream, {"body_delay": "600s"}, mode=mode) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/a"))
            assert b"X-Buffr-Fault: slow" in client.until(b"\r\n\r\n")
            client.reset()  # a client that ends its side would be waited for

    def test_reset(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with (
            faulty(tmp_path, upstream, {"reset": True}, mode=mode) as running,
            pytest.raises(httpx.TransportError),
        ):
            httpx.get(f"{running.url}/a")


def test_a_quota_runs_out(tmp_path: Path, upstream: FakeUpstream) -> None:
    with faulty(tmp_path, upstream, {"quota": 2}) as running:
        got = [httpx.get(f"{running.url}/a") for _ in range(3)]
        assert [one.status_code for one in got] == [200, 200, 429]
        assert [one.headers["x-ratelimit-remaining"] for one in got] == ["1", "0", "0"]
        assert int(got[2].headers["retry-after"]) <= 60


def test_replays_have_faults_and_recordings_have_none(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    row: dict[str, Any] = {"cassette": "c.json"}
    with faulty(tmp_path, upstream, {"malformed": True}, mode="auto", **row) as running:
        httpx.get(f"{running.url}/a")
    assert (
        json.loads((tmp_path / "c.json").read_text())["interactions"][0]["http"]["response"]["body"]
        == _BODY.decode()
    )
    replay = {"status": 500, "calls": 2}
    with faulty(tmp_path, upstream, replay, mode="replay", **row) as running:
        got = [httpx.get(f"{running.url}/a") for _ in range(4)]
        assert [one.status_code for one in got] == [200, 500, 200, 200]
        assert [one.content for one in got if one.is_success] == [_BODY] * 3


def test_a_seed_gives_the_same_run(tmp_path: Path, upstream: FakeUpstream) -> None:
    runs = []
    for _ in range(2):
        with faulty(tmp_path, upstream, {"status": 500, "chance": "50%"}, fault_seed=7) as running:
            runs.append([httpx.get(f"{running.url}/a").status_code for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


def test_the_admin_listener_says_so(tmp_path: Path, upstream: FakeUpstream) -> None:
    rules = (
        {"malformed": True, "calls": [1, 2]},
        {"status": 503, "calls": 3},
        {"reset": True, "calls": 4},
    )
    with faulty(tmp_path, upstream, *rules, mode="auto", cassette="c.json", admin=True) as running:
        for _ in range(3):
            httpx.get(f"{running.url}/a")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{running.url}/a")
        items = Admin.of(running, tmp_path).get("/api/exchanges")["items"]
    assert {(one["source"], one["detail"].partition(";")[0]) for one in items} == {
        ("upstream", "fault: malformed"),
        ("cassette", "fault: malformed"),
        ("error", "a fault of the settings: status-503"),
        ("error", "fault: reset"),
    }


class TestInHttp2:
    """Over one connection: what a stream suffers leaves the others alone."""

    def test_each_stream_for_itself(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        rules = (
            {"cut_after": 5, "path": "/cut"},
            {"reset": True, "path": "/reset"},
            {"status": 503, "path": "/refused"},
            {"malformed": True, "path": "/malformed"},
        )
        with (
            faulty(tmp_path, upstream, *rules) as running,
            httpx.Client(base_url=running.url, http1=False, http2=True) as client,
        ):
            for path in ("/cut", "/reset"):  # with INTERNAL_ERROR
                with pytest.raises(httpx.RemoteProtocolError, match="error_code:2,"):
                    client.get(path)
            refused = client.get("/refused")
            assert (refused.status_code, refused.headers["x-buffr-fault"]) == (503, "status-503")
            assert client.get("/malformed").content == _BODY[:-1] + b" "
            whole = client.get("/a")
            assert (whole.http_version, whole.content) == ("HTTP/2", _BODY)


def _echo_server() -> Any:
    def echoed(sent: bytes, _: Any) -> bytes:
        return b"echo:" + sent

    method = grpc.unary_unary_rpc_method_handler(echoed)
    handler = grpc.method_handlers_generic_handler("a.B", {"Echo": method})
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    return server


def test_calls_of_grpc(tmp_path: Path) -> None:
    """A status is one of gRPC's; an answer that breaks off is none."""
    server = _echo_server()
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    rules = (
        {"status": 503, "calls": 1},
        {"status": 429, "calls": 2},
        {"cut_after": 3, "calls": 3},
    )
    with (
        faulty(tmp_path, f"http://127.0.0.1:{port}", *rules) as running,
        grpc.insecure_channel(running.url.removeprefix("http://")) as channel,
    ):
        echo = channel.unary_unary("/a.B/Echo")
        for code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"):
            with pytest.raises(grpc.RpcError) as raised:
                echo(b"hello", timeout=60)
            assert raised.value.code().name == code
        assert echo(b"hello", timeout=60) == b"echo:hello"
    server.stop(None)


class TestSessions:
    @pytest.fixture
    def talking(self) -> Iterator[str]:
        def talk(connection: ServerConnection) -> None:
            for number in range(3):
                connection.send(str(number))

        with serve(talk, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
            server.shutdown()
            thread.join(120)

    @staticmethod
    def heard(running: BuffrProcess) -> tuple[list[str | bytes], int | None, str | None]:
        """The messages of a session, the code that it ended with, and its mark."""
        url = running.url.replace("http", "ws", 1)
        with connect(url, proxy=None) as client:
            messages = []
            with suppress(ConnectionClosed):
                while True:
                    messages.append(client.recv(60))
            assert client.response is not None
            mark = client.response.headers.get("X-Buffr-Fault")
            return messages, client.close_code, mark

    @pytest.mark.parametrize("code", [1011, 4000, 1006])
    def test_closed_with_a_code(self, tmp_path: Path, talking: str, code: int) -> None:
        """Live, and replayed; what a fault cut short is not replayed as whole."""
        rule = {"close_code": code, "close_after": 2, "calls": [1, 3]}
        whole = (["0", "1", "2"], 1000, None)
        cut = (["0", "1"], code, f"close-{code}")
        with faulty(tmp_path, talking, rule, mode="auto", cassette="c.json") as running:
            assert self.heard(running) == cut
            running.wait_for(f"fault: close-{code}")
            assert self.heard(running) == whole
            assert self.heard(running) == cut
            assert self.heard(running) == whole
        kept = json.loads((tmp_path / "c.json").read_text())["interactions"]
        assert [("end" in one["websocket"]) for one in kept] == [True, False]

    def test_late_and_refused(self, tmp_path: Path, talking: str) -> None:
        with faulty(tmp_path, talking, {"status": 503, "calls": 1}) as running:
            with pytest.raises(InvalidStatus) as refused:
                self.heard(running)
            assert refused.value.response.status_code == 503
            assert self.heard(running)[0] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"status": 200}, r"faults\[0\].status"),
        ({"path": "("}, "not a pattern"),
        ({"statsu": 500}, "did you mean 'status'"),
        ({"close_code": 1005}, r"faults\[0\].close_code"),
        ({"delay_p99": "1s"}, "delay_p99: must be more than delay"),
        ({"delay": "1s", "delay_p99": "2s", "jitter": "1s"}, "together with jitter"),
    ],
)
def test_a_wrong_rule_is_refused(
    tmp_path: Path, upstream: FakeUpstream, rule: dict[str, Any], words: str
) -> None:
    with pytest.raises(RuntimeError, match=words), faulty(tmp_path, upstream, rule):
        raise AssertionError
