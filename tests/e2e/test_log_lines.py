"""The log: one line a request in the format that the first buffr had, or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench import Bench, Place, eventually
from raw_http import RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, steps

TIME = r"time=([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}"


def fields(line: str) -> dict[str, str]:
    """The pairs of a line in logfmt, as its readers take it apart."""
    pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]+)', line)
    return {name: value.strip('"') for name, value in pairs}


class TestText:
    def test_a_request_is_one_line(self, bench: Bench, place: Place) -> None:
        """``time=12:34:57.045 level=INFO msg="POST /v1/chat/completions" status=200 …``."""
        place.answers(answer(b"ok"))
        raw = request(place.path, method=b"POST", body=b"{}")
        assert place.ask("auto", raw).status == 200
        assert place.ask("auto", raw).status == 200
        live, replayed = eventually(lambda: place.log()[1:] and place.log())
        path = place.path.decode()
        start = rf'{TIME} level=INFO msg="POST {path}" status=200 dur=\d+ms src='
        assert re.fullmatch(start + r"upstream\n", live)
        assert re.fullmatch(start + r"cassette\n", replayed)

    def test_a_long_one_says_seconds(self, place: Place) -> None:
        place.answers(lambda _: steps(1.05, answer(b"ok")))
        place.ask("passthrough")
        assert re.search(r" dur=[1-9]\.\ds ", eventually(place.log)[0])

    def test_a_miss_is_a_warning(self, bench: Bench, place: Place) -> None:
        place.ask("replay")
        line = bench.replayer.wait_for(place.path.decode()).string
        assert re.match(rf'{TIME} level=WARN msg="GET {place.path.decode()}" status=599 ', line)
        assert fields(line)["src"] == "miss"

    def test_each_listener_says_where_it_listens(self, bench: Bench) -> None:
        lines = [line for line in bench.process.output if "msg=listening" in line]
        assert len(lines) == len(bench.process.ports)
        for line, port in zip(lines, bench.process.ports, strict=True):
            said = fields(line)
            assert said["addr"] == f"127.0.0.1:{port}"
            assert said["mode"] in ("auto", "record", "passthrough")
            assert ("cassette" in said) == (said["mode"] != "passthrough")
            assert said["level"] == "INFO"

    def test_every_line_has_the_format(self, bench: Bench) -> None:
        for line in bench.process.output + bench.replayer.output:
            assert re.match(rf'{TIME} level=[A-Z]+ msg=("|\w)', line), line

    def test_quotes_are_escaped(self, place: Place) -> None:
        place.answers(answer(b"ok"))
        target = place.path + b'?"a"=\\x'
        assert place.ask("auto", request(target)).status == 200
        line = eventually(place.log)[0]
        assert f'msg="GET {place.path.decode()}?\\"a\\"=\\\\x" status=200' in line

    def test_a_target_that_is_endless_is_cut(self, place: Place) -> None:
        place.answers(answer(b"ok"))
        place.ask("auto", request(place.path + b"?" + b"x" * 50_000))
        assert len(eventually(place.log)[0]) < 1500


class TestControlCharacters:
    """Nothing that a peer sends can write to a terminal, or start a line of its own."""

    def test_they_are_escaped_or_refused(self, tmp_path: Path) -> None:
        def script(received: Received) -> bytes:
            if received.target == b"/reason":
                return b"HTTP/1.1 200 \x1b[31m\r\nContent-Length: 0\r\n\r\n"
            return answer(b"ok", headers=[(b"X", b"\x07")])

        with FakeUpstream(script) as upstream:
            flags = ("--mode", "auto", "--target", upstream.url, "--port", "0")
            cassette = ("--cassette", "evil\x1b[31m\nlevel=INFO name.json")
            with BuffrProcess.run("serve", *flags, *cassette, cwd=tmp_path) as running:
                port = running.ports[0]
                for target in (b"/reason", b"/header", b"/\x1b[31m", b"/\x00", b"/\xff", b"/\x7f"):
                    with RawClient(port) as client:
                        client.send(request(target))
                        assert client.answer().status in (400, 502)
                client = RawClient(port)
                client.send(b"\x1b]0;evil\x07 / HTTP/1.1\r\n\r\n")
                assert client.answer().status == 400
                client.close()
                running.stop()
        log = running.log()
        assert not re.search(r"[^\n\x20-\x7e]", log)
        assert r"evil\x1b[31m\nlevel=INFO name.json" in log
        assert all(line.startswith("time=") for line in log.splitlines())


class TestJSON:
    def test_every_line_is_an_object(self, tmp_path: Path) -> None:
        def script(received: Received) -> bytes | Iterator[Step]:
            return steps(None) if received.target == b"/none" else answer(b"ok")

        with FakeUpstream(script) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--log-format", "json")
            env = {"TZ": "Asia/Kathmandu"}
            with BuffrProcess.run("auto", *flags, cwd=tmp_path, env=env) as running:
                port = running.ports[0]
                assert ask(port, request(b'/a?"x"')).status == 200
                assert ask(port, request(b"/none", method=b"POST", body=b"x")).status == 502
                running.stop()
        lines = [json.loads(line) for line in running.output]
        listening, fetched, failed = lines
        assert listening["msg"] == "listening"
        assert listening["addr"] == f"127.0.0.1:{port}"
        assert fetched == {
            "time": fetched["time"],
            "level": "INFO",
            "msg": 'GET /a?"x"',
            "status": fetched["status"],
            "dur": fetched["dur"],
            "src": "upstream",
        }
        assert str(fetched["status"]) == "200"
        assert failed["level"] == "ERROR"
        assert failed["err"]
        now = datetime.now(UTC)
        for line in lines:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}[+-]\d\d:\d\d", line["time"])
            assert abs((now - datetime.fromisoformat(line["time"])).total_seconds()) < 60
