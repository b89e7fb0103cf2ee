"""``buffr cassette check``: whether the live API would still answer as it was recorded."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from attrs import define
from commands import BUFFR
from commands import run as run_command
from drifting_api import TOKEN, DriftingAPI

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

KEY = {"API_KEY": TOKEN.decode().removeprefix("Bearer ")}
JSON = [(b"Content-Type", b"application/json")]
CREDENTIAL = ("--credential", "authorization=API_KEY")


@define
class Place:
    """A directory with the cassette of a session, and the API that answered it."""

    directory: Path
    api: DriftingAPI
    upstream: FakeUpstream

    @property
    def asked(self) -> list[bytes]:
        """The lines of the requests that the API got."""
        return [b"%b %b" % (one.method, one.target) for one in self.upstream.received]

    def check(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> tuple[int, list[dict[str, Any]]]:
        """The exit status, and what is said of each interaction."""
        code, text = self.run(*arguments, "--json", env=env)
        report = json.loads(text)
        assert report["exit_status"] == code
        (file,) = report["files"]
        return code, file["interactions"]

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        words = ("cassette", "check", "api.json", "--against", self.upstream.url, *CREDENTIAL)
        done = run_command(*words, *arguments, cwd=self.directory, env=KEY if env is None else env)
        assert "Traceback" not in done.stderr, done.stderr
        for secret in (*KEY.values(), "tok_"):
            assert secret not in done.stdout + done.stderr
        return done.returncode, done.stdout or done.stderr


def record(directory: Path, upstream: FakeUpstream, calls: Any) -> None:
    """Let buffr record what ``calls`` does with a client."""
    options = ("--target", upstream.url, "--port", "0", "--cassette", "api.json")
    with (
        BuffrProcess.run("record", *options, cwd=directory) as buffr,
        httpx.Client(base_url=buffr.url, headers={"Authorization": TOKEN.decode()}) as client,
    ):
        calls(client)


def _session(client: httpx.Client) -> None:
    for path in ("/v1/items", "/v1/packed", "/v1/events", "/v1/nothing"):
        client.get(path)
    thing = client.post("/v1/things", json={"name": "x"}).json()
    client.get(f"/v1/things/{thing['id']}")
    client.post("/v1/nothing", json={"of": thing["id"], "access_token": thing["access_token"]})
    client.delete(f"/v1/things/{thing['id']}")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cassette of the API's first version."""
    directory = tmp_path_factory.mktemp("recorded")
    with FakeUpstream(DriftingAPI()) as upstream:
        record(directory, upstream, _session)
    return directory / "api.json"


@pytest.fixture
def place(tmp_path: Path, recorded: Path) -> Iterator[Place]:
    """A copy of the cassette, and an API that knows nothing of the recorded session."""
    shutil.copy(recorded, tmp_path / "api.json")
    api = DriftingAPI()
    with FakeUpstream(api) as upstream:
        yield Place(tmp_path, api, upstream)


def found(rows: list[dict[str, Any]]) -> list[tuple[int, str, str, str]]:
    return [
        (
            row["number"],
            one["severity"],
            f"{one['part']} {one.get('path', '')}".strip(),
            one["what"],
        )
        for row in rows
        for one in row["findings"]
    ]


def many(path: Path, count: int, body: str = "{}") -> None:
    """A cassette with so many requests to different paths."""
    head = {"status": 200, "headers": {"Content-Type": ["application/json"]}, "body": body}
    listed = [
        {
            "type": "http",
            "http": {"request": {"method": "GET", "path": f"/{number}"}, "response": head},
        }
        for number in range(count)
    ]
    path.write_text(json.dumps({"version": 1, "interactions": listed}))


class TestDrift:
    def test_the_same_version_has_not_drifted(self, place: Place) -> None:
        """Identifiers, times and counters are new in every answer, and no finding."""
        code, rows = place.check()
        assert (code, found(rows)) == (0, [])
        assert [row["result"] for row in rows] == ["same"] * 4 + ["skipped"] * 4
        assert rows[5]["why"] == "it needs a value of the answer to 4"

    def test_additions(self, place: Place) -> None:
        place.api.version = "additive"
        code, rows = place.check("--only", "/v1/[ipe]*")
        assert code == 1
        assert found(rows) == [
            (0, "addition", "body $.items[*].status", "has a new value"),
            (0, "addition", "body $.items[*].colour", "is new"),
            (1, "addition", "body $.items[*].status", "has a new value"),
            (1, "addition", "body $.items[*].colour", "is new"),
            (2, "addition", "event ping", "is new"),
        ]

    def test_breaking_changes(self, place: Place) -> None:
        place.api.version = "breaking"
        code, rows = place.check("--only", "/v1/[ipe]*")
        assert code == 2
        assert found(rows) == [
            (0, "breaking", "body $.items[*].name", "is gone"),
            (0, "breaking", "body $.items[*].reads", "type changed"),
            (1, "breaking", "body $.items[*].name", "is gone"),
            (1, "breaking", "body $.items[*].reads", "type changed"),
            (2, "breaking", "event stop", "is gone"),
        ]

    def test_without_a_second_answer_no_noise_is_learnt(self, place: Place) -> None:
        code, rows = place.check("--only", "/v1/items", "--once")
        assert code == 1
        assert found(rows) == [
            (0, "value", "body $.items[*].reads", "differs"),
            (0, "value", "body $.took", "differs"),
        ]
        assert len(place.asked) == 1

    def test_learnt_noise_becomes_rules(self, place: Place) -> None:
        """In the settings, which keep their comments; then one answer is enough."""
        settings = place.directory / "buffr.yaml"
        settings.write_text("# ours\ndrift:\n  volatile:\n    - path: /other  # theirs\n")
        code, _ = place.run("--only", "/v1/items", "--write-rules")
        assert code == 0
        text = settings.read_text()
        assert text.startswith("# ours\ndrift:\n  volatile:\n    - path: /other  # theirs\n")
        assert "'$.items[*].reads'" in text
        place.upstream.received.clear()
        code, _ = place.run("--only", "/v1/items", "--once")
        assert (code, len(place.asked)) == (0, 1)

    def test_rules_are_written_where_there_were_no_settings(self, place: Place) -> None:
        done = run_command(
            *("cassette", "check", "api.json", "--against", place.upstream.url, *CREDENTIAL),
            *("--only", "/v1/packed", "--write-rules", "--config", "new.yaml"),
            cwd=place.directory,
            env=KEY,
        )
        assert done.returncode == 3  # a file that is named has to be there
        (place.directory / "new.yaml").touch()
        assert place.run("--only", "/v1/packed", "--write-rules", "--config", "new.yaml")[0] == 0
        assert (place.directory / "new.yaml").read_text().startswith("drift:\n  volatile:\n")


class TestChains:
    def test_values_of_live_answers_are_carried_on(self, place: Place) -> None:
        """Create, get, use, delete: with the new identifier, and the new secret."""
        place.api.skip(500)
        code, rows = place.check("--unsafe")
        assert (code, found(rows)) == (0, [])
        assert [row["result"] for row in rows] == ["same"] * 8
        assert place.asked[-4:] == [
            b"POST /v1/things",
            b"GET /v1/things/thing-1500",
            b"POST /v1/nothing",
            b"DELETE /v1/things/thing-1500",
        ]
        used = json.loads(place.upstream.received[-2].body)
        assert used["of"] == "thing-1500"
        assert used["access_token"].startswith("tok_")


class TestRequests:
    def test_they_are_sent_as_they_were_recorded(self, tmp_path: Path) -> None:
        """Fields in their order and case, and duplicates; the target's bytes."""
        request = {
            "method": "GET",
            "path": "/a%2Fb//c",
            "query": "x=%zz&y",
            "headers": {"X-B": ["1", "2"], "a": ["3"]},
            "raw_headers": ["X-B", "a", "X-B"],
        }
        element = {"request": request, "response": {"status": 200, "headers": {}, "body": ""}}
        cassette = {"version": 1, "interactions": [{"type": "http", "http": element}]}
        (tmp_path / "api.json").write_text(json.dumps(cassette))
        with FakeUpstream(lambda _: answer(b"")) as upstream:
            words = ("cassette", "check", "api.json", "--against", f"{upstream.url}/base")
            assert run_command(*words, cwd=tmp_path).returncode == 0
            (got,) = upstream.received
        assert got.target == b"/base/a%2Fb//c?x=%zz&y"
        assert got.headers[1:] == ((b"X-B", b"1"), (b"a", b"3"), (b"X-B", b"2"))


class TestSafety:
    def test_what_may_change_something_is_only_sent_when_told(self, place: Place) -> None:
        place.check()
        assert {line.partition(b" ")[0] for line in place.asked} == {b"GET"}

    def test_it_is_listed_before_it_is_sent(self, place: Place) -> None:
        words = ("cassette", "check", "api.json", "--against", place.upstream.url, *CREDENTIAL)
        done = run_command(*words, "--unsafe", "--only", "POST *", cwd=place.directory, env=KEY)
        assert done.stderr.splitlines()[:2] == [
            "buffr: will be sent: 4  POST /v1/things",
            "buffr: will be sent: 6  POST /v1/nothing",
        ]

    def test_no_other_host_than_the_recorded_one_is_asked(self, place: Place) -> None:
        """Not where a redirect leads, and not where nobody said that it may."""
        done = run_command("cassette", "check", "api.json", cwd=place.directory, env=KEY)
        assert done.returncode == 3
        assert "its recording names no host" in done.stdout
        with FakeUpstream(lambda _: answer(b"")) as other:
            place.upstream.script = lambda _: answer(
                b"", b"302 Found", [(b"Location", other.url.encode() + b"/v1/items")]
            )
            code, rows = place.check("--only", "/v1/items")
            assert (code, found(rows)[0][3]) == (2, "changed")
            assert other.received == []

    def test_each_recording_goes_to_its_own_host(self, tmp_path: Path) -> None:
        """Behind the forward proxy, recordings name their hosts."""
        with (
            FakeUpstream(lambda _: answer(b"{}", headers=JSON)) as one,
            FakeUpstream(lambda _: answer(b"{}", headers=JSON)) as other,
        ):
            many(tmp_path / "api.json", 4)
            document = json.loads((tmp_path / "api.json").read_text())
            for number, element in enumerate(document["interactions"]):
                port = (one, other)[number % 2].port
                where = {"scheme": "http", "host": "127.0.0.1", "port": port}
                element["http"]["request"] |= where
            (tmp_path / "api.json").write_text(json.dumps(document))
            assert run_command("cassette", "check", "api.json", cwd=tmp_path).returncode == 0
            assert sorted(line.target for line in one.received) == [b"/0", b"/2"]
            assert sorted(line.target for line in other.received) == [b"/1", b"/3"]
            document["interactions"][1]["http"]["request"]["host"] = "localhost"
            (tmp_path / "api.json").write_text(json.dumps(document))
            words = ("cassette", "check", "api.json", "--against", one.url)
            done = run_command(*words, cwd=tmp_path)
            assert done.returncode == 3
            assert "recordings of several hosts (127.0.0.1, localhost)" in done.stderr
            assert len(one.received) == 2

    def test_secrets_are_not_shown_even_if_they_are_recorded(self, tmp_path: Path) -> None:
        """Of a cassette without redaction, and with redaction off."""
        (tmp_path / "buffr.yaml").write_text("redact: {enabled: false}\n")
        many(tmp_path / "api.json", 1, '{"access_token": "tok_recorded_0123456789"}')
        live = b'{"access_token": ["tok_live_0123456789abc"], "password": "hunter2hunter2"}'
        with FakeUpstream(lambda _: answer(live, headers=JSON)) as upstream:
            words = ("cassette", "check", "api.json", "--against", upstream.url)
            done = run_command(*words, cwd=tmp_path)
        assert done.returncode == 2
        for secret in ("tok_recorded", "tok_live", "hunter2"):
            assert secret not in done.stdout

    def test_without_the_credential_nothing_is_sent(self, place: Place) -> None:
        code, rows = place.check("--only", "/v1/items", env={})
        assert code == 3
        assert rows[0]["why"] == "it needs the credential authorization"
        assert "API_KEY" in rows[0]["hint"]
        assert place.asked == []

    def test_a_wrong_credential_is_explained(self, place: Place) -> None:
        code, rows = place.check("--only", "/v1/items", env={"API_KEY": "sk-another-that-is-new"})
        assert code == 2
        assert rows[0]["note"] == "401: are the credentials those of the recording?"

    def test_the_settings_name_credentials_and_the_host(self, place: Place) -> None:
        settings = {
            "reverse": [{"target": place.upstream.url, "cassette": "api.json"}],
            "credentials": {"authorization": "API_KEY"},
        }
        (place.directory / "buffr.yaml").write_text(json.dumps(settings))
        words = ("cassette", "check", "api.json", "--only", "/v1/items")
        done = run_command(*words, cwd=place.directory, env=KEY)
        assert done.returncode == 0, done.stdout + done.stderr


class TestLimits:
    def limited(self, a_second: int, *, told: bool) -> FakeUpstream:
        """An API that allows so many requests a second, and says so or not."""
        moments: list[float] = []
        lock = threading.Lock()

        def script(_: Received) -> bytes:
            with lock:
                now = time.monotonic()
                moments[:] = [one for one in moments if one > now - 1]
                if len(moments) >= a_second:
                    return answer(b"{}", b"429 Too Many Requests", [(b"Retry-After", b"1")])
                moments.append(now)
                left = b"%d" % (a_second - len(moments))
            rest = ((b"RateLimit", b'"s";r=%b;t=1' % left),) if told else ()
            return answer(b"{}", headers=[(b"Content-Type", b"application/json"), *rest])

        return FakeUpstream(script)

    @pytest.mark.parametrize(("count", "a_second", "told"), [(1000, 400, True), (60, 25, False)])
    def test_the_apis_own_limit_is_kept(
        self, tmp_path: Path, count: int, a_second: int, told: bool
    ) -> None:
        """If it tells what remains, no request is refused; if not, refused ones are asked again."""
        many(tmp_path / "api.json", count)
        with self.limited(a_second, told=told) as upstream:
            words = ("cassette", "check", "api.json", "--against", upstream.url)
            done = run_command(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stdout
            assert done.stdout.endswith(f"{count} same\n")
            if told:
                assert len(upstream.received) == count

    def test_a_pause_that_is_too_long(self, tmp_path: Path) -> None:
        many(tmp_path / "api.json", 3)
        busy = answer(b"", b"503 Service Unavailable", [(b"Retry-After", b"3600")])
        with FakeUpstream(lambda _: busy) as upstream:
            words = ("cassette", "check", "api.json", "--against", upstream.url, "--json")
            done = run_command(*words, "--max-wait", "60", cwd=tmp_path)
        assert done.returncode == 3
        (file,) = json.loads(done.stdout)["files"]
        assert "a pause of 3600 s, which is too long" in file["interactions"][0]["why"]
        assert len(upstream.received) == 1

    def test_a_rate(self, tmp_path: Path) -> None:
        many(tmp_path / "api.json", 6)
        with FakeUpstream(lambda _: answer(b"{}")) as upstream:
            started = time.monotonic()
            words = ("cassette", "check", "api.json", "--against", upstream.url, "--rate", "2/s")
            run_command(*words, cwd=tmp_path)
            assert time.monotonic() - started > 2


class TestCost:
    def test_it_is_cheap_and_needs_no_more_memory_for_more(self, tmp_path: Path) -> None:
        """Over 300 requests for each second of processor time; nothing is kept of an answer."""
        body = b'{"items": [%b]}' % b", ".join([b'{"id": "x", "price": 1.5}'] * 40)
        many(tmp_path / "api.json", 1200, body.decode())

        def script(_: Received) -> bytes:
            return answer(body, headers=[(b"Content-Type", b"application/json")])

        with FakeUpstream(script) as upstream:
            few, many_more = (
                _usage("--against", upstream.url, "--sample", str(count), cwd=tmp_path)
                for count in (200, 1200)
            )
        cpu_s = few.ru_utime + few.ru_stime, many_more.ru_utime + many_more.ru_stime
        assert (cpu_s[1] - cpu_s[0]) / 1000 < 1 / 300
        assert many_more.ru_maxrss - few.ru_maxrss < 8 * 1024


def _usage(*arguments: str, cwd: Path) -> resource.struct_rusage:
    """What a check that finds nothing took."""
    command = [*BUFFR, "cassette", "check", "api.json", *arguments]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage


class TestReports:
    def test_lines_and_a_tree(self, place: Place) -> None:
        place.api.version = "breaking"
        code, text = place.run("--only", "/v1/items")
        assert code == 2
        assert text.splitlines() == [
            "0  breaking   GET /v1/items",
            "   `- body",
            "      |- $.items[*].name is gone: string",
            "      `- $.items[*].reads type changed: number -> string",
            "1 breaking",
        ]

    def test_junit(self, place: Place) -> None:
        place.api.version = "additive"
        _, text = place.run("--junit")
        suite = ET.fromstring(text).find("testsuite")
        assert suite is not None
        counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
        assert counts == {"tests": "8", "failures": "0", "errors": "0", "skipped": "4"}
        assert "is new" in (suite[0].findtext("system-out") or "")
        place.api.version = "breaking"
        _, text = place.run("--junit")
        suite = ET.fromstring(text).find("testsuite")
        assert suite is not None
        assert suite.get("failures") == "3"

    def test_a_sample(self, place: Place) -> None:
        _, rows = place.check("--sample", "2")
        assert [row["number"] for row in rows] == [0, 4]

    def test_an_api_that_is_gone(self, place: Place) -> None:
        place.upstream.close()
        code, rows = place.check("--only", "/v1/items")
        assert code == 3
        assert "refused" in rows[0]["why"]

    def test_misuse(self, place: Place) -> None:
        for words, told in (
            (("--rate", "fast"), "must be a rate like"),
            (("--json", "--junit"), "are alternatives"),
            (("--credential", "key"), "must be NAME=VARIABLE"),
            (("--against", "host"), "--against: 'host'"),
        ):
            done = run_command("cassette", "check", "api.json", *words, cwd=place.directory)
            assert done.returncode == 3
            assert told in done.stderr
            assert "Traceback" not in done.stderr

    def test_a_terminal_sees_how_far_it_is(self, tmp_path: Path) -> None:
        """While standard output is a file; on a terminal, the lines show it."""
        many(tmp_path / "api.json", 6)
        ours, theirs = pty.openpty()
        with FakeUpstream(lambda _: answer(b"{}")) as upstream:
            words = ("--against", upstream.url, "--rate", "4/s")
            command = [*BUFFR, "cassette", "check", "api.json", *words]
            with subprocess.Popen(
                command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs
            ) as process:
                os.close(theirs)
                shown = b""
                while b"/6" not in shown:
                    shown += os.read(ours, 1000)  # raises once the process has ended
                process.wait(60)
        os.close(ours)
        assert b"interactions" in shown
