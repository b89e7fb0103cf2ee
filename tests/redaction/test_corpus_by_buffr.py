"""A sample of the planted secrets through a buffr process: its cassette, its log and its misses."""

from __future__ import annotations

from contextlib import AbstractContextManager
from http.client import HTTPConnection
from pathlib import Path

from planted import Planted, planted

from buffr.interaction import HTTPInteraction
from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

NUMBER = "X-Request-Id"


def sampled(variety: str = "") -> dict[int, Planted]:
    """More than forty of them, of every kind of place except WebSocket sessions."""
    every = [one for one in planted(variety) if isinstance(one.exchange, HTTPInteraction)]
    places: dict[str, int] = {}
    chosen = {}
    for one in every:
        places[one.place] = places.get(one.place, 0) + 1
        if places[one.place] <= 2:
            chosen[one.number] = one
    return chosen


def run(directory: Path, mode: str, *flags: str) -> AbstractContextManager[BuffrProcess]:
    return BuffrProcess.run(
        mode, "--port", "0", "--cassette", "api.json", *flags, cwd=directory, listeners=1
    )


def ask(port: int, one: Planted) -> tuple[int, bytes]:
    sent = one.exchange.request
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {name.decode(): value.decode() for name, value in sent.headers}
    headers[NUMBER] = str(one.number)
    connection.request(sent.method.decode(), sent.target.decode(), sent.body.data, headers)
    got = connection.getresponse()
    body = got.read()
    connection.close()
    return got.status, body


class TestSample:
    def test_none_is_left(self, tmp_path: Path) -> None:
        """Recorded, replayed, and missed with other values: nothing reveals one."""
        chosen, others = sampled(), sampled("other")
        assert len(chosen) >= 40

        def script(received: Received) -> bytes:
            told = chosen[int(received.header(NUMBER.lower().encode()) or b"0")].exchange
            assert isinstance(told, HTTPInteraction)
            return answer(told.body.data, headers=list(told.response.headers))

        with (
            FakeUpstream(script) as upstream,
            run(tmp_path, "record", "--target", upstream.url) as running,
        ):
            for one in chosen.values():
                told = one.exchange
                assert isinstance(told, HTTPInteraction)
                assert ask(running.ports[0], one) == (200, told.body.data)
        log = running.log().encode()
        with run(tmp_path, "replay") as running:
            for one in chosen.values():
                status, _ = ask(running.ports[0], one)
                assert status == 200, one
            texts = [ask(running.ports[0], other)[1] for other in others.values()]
        log += running.log().encode()
        kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        for one in (*chosen.values(), *others.values()):
            assert not [text for text in (*kept, log, *texts) if one.leaks(text)], one
