"""What each mode does with a request, what is worth recording, and what follows the last one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bench import Bench, Place, eventually, interactions
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, steps


class TestAuto:
    def test_the_first_is_fetched_and_recorded_and_the_next_replays(self, place: Place) -> None:
        place.counts()
        assert [place.ask("auto").body for _ in range(3)] == 3 * [b"1"]
        assert len(place.recorded()) == 1
        lines = eventually(lambda: place.log()[2:] and place.log())
        sources = [line.rpartition(" src=")[2].strip() for line in lines]
        assert sources == ["upstream", "cassette", "cassette"]

    def test_a_name_that_means_data_or_a_credential(self, place: Place) -> None:
        """``?key=en`` was answered by what ``?key=de`` had recorded."""
        place.counts()
        real = b"key=sk-proj-1a2B3c4D5e6F7g8H9i0J"

        def asked(route: str, query: bytes) -> bytes:
            return place.ask(route, request(place.path + b"?" + query)).body

        queries = [b"key=en", b"key=de", b"page=1&" + real, b"token=x&" + real]
        assert [asked("auto", query) for query in queries] == [b"1", b"2", b"3", b"4"]
        assert [asked("replay", query) for query in queries] == [b"1", b"2", b"3", b"4"]
        assert asked("replay", b"page=1&key=test") == b"3"
        assert asked("replay", b"token=x&key=test") == b"4"
        paths = [one["request"].get("query") for one in place.recorded()]
        assert paths[:2] == ["key=en", "key=de"]
        assert "1a2B3c4D5e6F7g8H9i0J" not in repr(place.recorded())
        assert place.ask("replay", request(place.path + b"?key=fr")).status == 599
        assert len(place.received()) == 4

    @pytest.mark.parametrize("status", [600, 777, 999])
    def test_statuses_beyond_the_standard_are_recorded(self, place: Place, status: int) -> None:
        """An API may use them as its own: relayed, recorded and replayed with their reason."""
        place.answers(answer(b"denied", b"%d Request denied" % status))
        for route in ("auto", "auto", "replay"):
            got = place.ask(route)
            assert (got.line, got.body) == (b"HTTP/1.1 %d Request denied" % status, b"denied")
        assert len(place.received()) == 1

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 599])
    def test_a_passing_trouble_passes_through_and_is_not_recorded(
        self, place: Place, status: int
    ) -> None:
        """Seed defect 17: errors were recorded like answers, and replayed for ever."""

        def script(_: Received) -> bytes:
            if len(place.received()) == 1:
                return answer(b"busy", b"%d Trouble" % status, [(b"Retry-After", b"3")])
            return answer(b"fine")

        place.answers(script)
        troubled = place.ask("auto")
        assert troubled.line == b"HTTP/1.1 %d Trouble" % status
        assert troubled.body == b"busy"
        assert troubled.header(b"Retry-After") == b"3"
        assert place.ask("replay").status == 599
        assert [place.ask("auto").body for _ in range(2)] == 2 * [b"fine"]
        assert len(place.received()) == 2

    @pytest.mark.parametrize("status", [301, 400, 403, 404, 422])
    def test_other_answers_are_answers(self, place: Place, status: int) -> None:
        place.answers(lambda _: answer(b"no", b"%d Told" % status))
        assert {place.ask(route).status for route in ("auto", "auto", "replay")} == {status}
        assert len(place.received()) == 1


class TestRecord:
    def test_everything_is_fetched_and_recorded_errors_too(self, place: Place) -> None:
        statuses = [b"200 OK", b"429 Slow", b"500 Oh"]
        place.answers(lambda _: answer(b"x", statuses[len(place.received()) - 1]))
        assert [place.ask("record").status for _ in range(3)] == [200, 429, 500]
        kept = [one["response"]["status"] for one in place.recorded("record")]
        assert kept == [200, 429, 500]

    def test_an_existing_cassette_is_set_aside_at_the_first_recording(self, tmp_path: Path) -> None:
        """Seed defect 3: it was wiped. Starting alone, or a request that fails, changes nothing."""
        cassette, aside = tmp_path / "api.json", tmp_path / "api.json.bak"
        old = b'{"version": 1, "interactions": [\n]}'
        cassette.write_bytes(old)

        def script(received: Received) -> bytes | Iterator[Step]:
            return steps(None) if received.target == b"/broken" else answer(received.target)

        with FakeUpstream(script) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--cassette", "api.json")
            with BuffrProcess.run("record", *flags, cwd=tmp_path) as running:
                port = running.ports[0]
                assert ask(port, request(b"/broken", method=b"POST", body=b"x")).status == 502
                assert cassette.read_bytes() == old
                assert not aside.exists()
                assert ask(port, request(b"/1")).body == b"/1"
                assert aside.read_bytes() == old
                assert len(interactions(cassette)) == 1
                assert ask(port, request(b"/2")).body == b"/2"
                assert len(interactions(cassette)) == 2
                assert aside.read_bytes() == old
            first = cassette.read_bytes()
            with BuffrProcess.run("record", *flags, cwd=tmp_path) as running:
                assert ask(running.ports[0], request(b"/3")).body == b"/3"
        assert aside.read_bytes() == old, "what was set aside before is not overwritten"
        kept = [path for path in tmp_path.iterdir() if path.read_bytes() == first]
        assert len(kept) == 1, "the first recording is set aside too"
        assert len(interactions(cassette)) == 1


class TestReplay:
    def test_a_miss_is_599_and_says_so(self, bench: Bench, place: Place) -> None:
        """Nothing is asked for; the log has it as a warning."""
        got = place.ask("replay", request(place.path + b"?x=1", method=b"POST", body=b"{}"))
        assert got.status == 599
        assert b"POST %b?x=1" % place.path in got.body
        line = bench.replayer.wait_for(place.mark.decode()).string
        assert " level=WARN " in line
        assert " status=599 " in line
        assert " src=miss" in line

    def test_the_network_is_never_touched(self, tmp_path: Path) -> None:
        """Not even when there is a target that would answer."""
        with FakeUpstream(lambda _: answer(b"ok")) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--cassette", "none.json")
            with BuffrProcess.run("replay", *flags, cwd=tmp_path) as running:
                assert ask(running.ports[0], request(b"/")).status == 599
            assert upstream.connections == 0
        assert not list(tmp_path.iterdir()), "and nothing is written"


class TestPassthrough:
    def test_it_relays_and_keeps_nothing(self, bench: Bench, place: Place) -> None:
        place.counts()
        assert [place.ask("passthrough").body for _ in range(2)] == [b"1", b"2"]
        assert not bench.cassette("passthrough").exists()


class TestRecordStatuses:
    def test_only_the_statuses_that_it_names_are_recorded(self, place: Place) -> None:
        place.answers(lambda received: answer(b"x", received.target[-3:] + b" Told"))
        for status in (200, 206, 301, 404, 410, 500):
            raw = request(b"%b/%d" % (place.path, status))
            assert {place.ask("picky", raw).status for _ in range(2)} == {status}
        asked = [int(received.target[-3:]) for received in place.received()]
        assert asked == [200, 206, 301, 301, 404, 410, 410, 500, 500]

    def test_what_a_cassette_holds_always_replays(self, tmp_path: Path) -> None:
        """Recorded on purpose, an error is part of the test that it was recorded for."""
        cassette = tmp_path / "api.json"
        with FakeUpstream(lambda _: answer(b"x", b"500 Oh")) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--cassette", str(cassette))
            with BuffrProcess.run("record", *flags, cwd=tmp_path) as running:
                assert ask(running.ports[0], request(b"/")).status == 500
            with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
                assert ask(running.ports[0], request(b"/")).status == 500
            assert len(upstream.received) == 1


class TestRepeat:
    """Recordings of one key replay in recorded order; ``repeat`` says what follows the last."""

    ROUTES: tuple[tuple[str, str, list[bytes | None]], ...] = (
        ("replay", "cycle", [b"1", b"2", b"3", b"1", b"2"]),
        ("replay", "last", [b"1", b"2", b"3", b"3", b"3"]),
        ("replay", "once", [b"1", b"2", b"3", None, None]),
        ("auto", "cycle", [b"1", b"2", b"3", b"1", b"2"]),
        ("auto", "last", [b"1", b"2", b"3", b"3", b"3"]),
        ("auto", "once", [b"1", b"2", b"3", b"4", b"5"]),
    )

    def test_the_recorded_order_and_what_follows(self, tmp_path: Path) -> None:
        """Once exhausted: a miss in replay, a fetch in auto. Each route has its own playhead."""
        with FakeUpstream(lambda _: answer(b"%d" % len(upstream.received))) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--cassette", "0.json")
            with BuffrProcess.run("record", *flags, cwd=tmp_path) as running:
                for _ in range(3):
                    ask(running.ports[0], request(b"/x"))
            rows = []
            for number, (mode, repeat, _) in enumerate(self.ROUTES):
                if number:
                    shutil.copy(tmp_path / "0.json", tmp_path / f"{number}.json")
                rows.append({"mode": mode, "repeat": repeat, "cassette": f"{number}.json"})
            common = {"target": upstream.url, "port": 0}
            settings = {"reverse": [{**common, **row} for row in rows]}
            (tmp_path / "buffr.yaml").write_text(yaml.safe_dump(settings))
            with BuffrProcess.run("serve", cwd=tmp_path, listeners=len(rows)) as running:
                for port, (_, _, expected) in zip(running.ports, self.ROUTES, strict=True):
                    got = [ask(port, request(b"/x")) for _ in expected]
                    assert [one.body if one.status == 200 else None for one in got] == expected

    def test_a_header_names_a_scope_with_a_playhead_of_its_own(self, place: Place) -> None:
        """It goes to no upstream and into no recording, and makes no request another one."""
        place.counts()
        assert place.ask("once").body == b"1"

        def scoped(scope: bytes) -> bytes:
            return request(place.path, headers=[(b"x-buffr-scope", scope)])

        got = [place.ask("once", scoped(scope)).body for scope in (b"a", b"b", b"a", b"b", b"b")]
        assert got == [b"1", b"1", b"2", b"2", b"3"]
        assert all(one.header(b"X-Buffr-Scope") is None for one in place.received())
        assert "buffr-scope" not in json.dumps(place.recorded("once")).lower()

    def test_a_header_that_names_no_scope_is_refused(self, place: Place) -> None:
        got = place.ask("auto", request(place.path, headers=[(b"X-Buffr-Scope", b"a b")]))
        assert got.status == 400
        assert b"X-Buffr-Scope" in got.body
        assert b"64" in got.body
        assert not place.received()

    def test_with_once_a_recording_of_this_run_is_an_answer_already_given(
        self, place: Place
    ) -> None:
        place.counts()
        assert [place.ask("once").body for _ in range(3)] == [b"1", b"2", b"3"]

    def test_with_last_a_recording_of_this_run_is_the_last(self, place: Place) -> None:
        place.counts()
        assert [place.ask("last").body for _ in range(3)] == 3 * [b"1"]
