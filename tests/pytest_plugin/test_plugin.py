"""The pytest plugin: a suite is recorded, and replayed from its cassettes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_suite import Run, numbered

from buffr.testing import FakeUpstream

SUITE = """
import os
import subprocess
import unittest

import httpx
import pytest
import requests

UP = os.environ["UPSTREAM"]


@pytest.mark.buffr
def test_one():
    assert requests.get(UP + "/one").text.endswith("GET /one")


class TestX:
    @pytest.mark.parametrize("kind", ["bin", "a/b"])
    def test_three(self, buffr, buffr_url, kind):
        assert httpx.get(UP + "/httpx").text.endswith("GET /httpx")
        assert httpx.get(buffr_url(UP + "/base") + "/url?x=1").text.endswith("GET /base/url?x=1")
        curl = subprocess.run(["curl", "-sS", UP + "/curl"], capture_output=True, check=True)
        assert curl.stdout.endswith(b"GET /curl")
        numbers = [int(requests.get(UP + "/poll").text.split()[0]) for _ in range(3)]
        assert len(set(numbers)) == 3
        assert buffr.told["hits"] + buffr.told["live"] == 6


class TestOfUnittest(unittest.TestCase):
    @pytest.mark.buffr
    def test_case(self):
        assert requests.get(UP + "/case").ok


def test_without():
    assert "buffr-pytest" not in os.environ.get("SSL_CERT_FILE", "")
"""
CASSETTES = [
    "TestOfUnittest.test_case.json",
    "TestX.test_three[a-b].json",
    "TestX.test_three[bin].json",
    "test_one.json",
]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with numbered() as running:
        yield running


@pytest.fixture
def run(tmp_path: Path, upstream: FakeUpstream) -> Run:
    return Run(tmp_path, upstream)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_a.py").write_text(SUITE)
    return tmp_path


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


class TestRecordAndReplay:
    def test_recorded_once_then_replayed(
        self, suite: Path, run: Run, upstream: FakeUpstream
    ) -> None:
        """Clients in the process and children of it, without and with workers, have one proxy."""
        assert "14 requests went to their upstreams and were recorded" in run()
        assert names(suite / "cassettes" / "test_a") == CASSETTES
        asked = len(upstream.received)
        assert asked == 14
        for workers in ((), ("-n", "2")):
            assert "5 passed" in run("--buffr-mode=replay", *workers)
        assert "5 passed" in run(CI="true")
        assert "5 passed" in run(BUFFR_MODE="replay")
        assert len(upstream.received) == asked

    def test_workers_record(self, suite: Path, run: Run, upstream: FakeUpstream) -> None:
        """By the proxy of the controller, each test into its own cassette."""
        run("-n", "2")
        assert names(suite / "cassettes" / "test_a") == CASSETTES
        asked = len(upstream.received)
        run("--buffr-mode=replay")
        assert len(upstream.received) == asked

    def test_record_starts_anew(self, suite: Path, run: Run, upstream: FakeUpstream) -> None:
        run("-k", "test_one")
        run("-k", "test_one", "--buffr-mode=record")
        run("-k", "test_one")
        assert len(upstream.received) == 2
        recorded = json.loads((suite / "cassettes" / "test_a" / "test_one.json").read_text())
        assert len(recorded["interactions"]) == 1

    def test_directory(self, suite: Path, run: Run) -> None:
        run("-k", "test_one", "--buffr-dir=kept")
        assert names(suite / "kept" / "test_a") == ["test_one.json"]

    def test_ci_wins_over_a_mark_that_records(
        self, tmp_path: Path, run: Run, upstream: FakeUpstream
    ) -> None:
        """And a mark that replays over an option that records."""
        (tmp_path / "test_a.py").write_text(
            SUITE.replace("@pytest.mark.buffr\ndef", '@pytest.mark.buffr(mode="record")\ndef')
        )
        run("-k", "test_one", code=1, CI="true")
        (tmp_path / "test_a.py").write_text(
            SUITE.replace("@pytest.mark.buffr\ndef", '@pytest.mark.buffr(mode="replay")\ndef')
        )
        run("-k", "test_one", "--buffr-mode=record", code=1)
        assert upstream.received == []


class TestMisses:
    def test_a_failing_test_says_what_differs(self, suite: Path, run: Run) -> None:
        run("-k", "test_one")
        (suite / "test_a.py").write_text(SUITE.replace('UP + "/one"', 'UP + "/one?page=2"'))
        report = run("-k", "test_one", "--buffr-mode=replay", code=1)
        section = report.partition("- buffr -")[2]
        assert "miss: GET http://127.0.0.1:" in section
        assert "differs" in section or "comes near" in section
        assert "page=2" in section

    def test_report_for_programs(self, suite: Path, run: Run, tmp_path: Path) -> None:
        """Misses, unused recordings and orphaned cassettes, by the whole suite, workers too."""
        run()
        stray = suite / "cassettes" / "test_a" / "test_gone.json"
        stray.write_text('{"version": 1, "interactions": []}')
        (suite / "test_a.py").write_text(
            SUITE.replace("range(3)", "range(2)").replace("== 3", "== 2").replace("== 6", "== 5")
        )
        report = run("--buffr-mode=replay", "-n", "2", "--buffr-report=r.json")
        assert "unused recording" in report
        assert f"orphaned cassette, which no test has: {stray}" in report
        told = json.loads((tmp_path / "r.json").read_text())
        assert told["orphaned"] == [str(stray)]
        tests = {one["test"]: one for one in told["tests"]}
        assert [
            one.partition("/poll")[1]
            for one in tests["test_a.py::TestX::test_three[bin]"]["unused"]
        ] == ["/poll"]
        assert tests["test_a.py::test_one"]["hits"] == 1

    def test_orphans_only_by_the_whole_suite(self, suite: Path, run: Run) -> None:
        run()
        for narrow in (
            ("-k", "test_one"),
            ("test_a.py::test_one",),
            ("--deselect", "test_a.py::test_one"),
        ):
            run(*narrow, "--buffr-report=r.json")
            assert json.loads((suite / "r.json").read_text())["orphaned"] is None

    def test_an_unreadable_cassette_is_told(self, suite: Path, run: Run) -> None:
        run("-k", "test_one")
        (suite / "cassettes" / "test_a" / "test_one.json").write_text("no cassette")
        assert "- buffr -" in run("-k", "test_one", "--buffr-mode=replay", code=1)


class TestMark:
    def test_settings_of_a_test(self, tmp_path: Path, run: Run, upstream: FakeUpstream) -> None:
        """How requests match, and which cassette."""
        (tmp_path / "test_a.py").write_text(
            "import os, pytest, requests\n"
            '@pytest.mark.buffr(match={"query": ["now"]}, cassette="shared.json")\n'
            "def test_it():\n"
            '    url = os.environ["UPSTREAM"] + "/one?now=" + os.environ["NOW"]\n'
            "    assert requests.get(url).ok\n"
        )
        run(NOW="1")
        run(NOW="2")
        assert len(upstream.received) == 1
        assert names(tmp_path / "cassettes" / "test_a") == ["shared.json"]

    def test_faults_of_a_test(self, tmp_path: Path, run: Run) -> None:
        (tmp_path / "test_a.py").write_text(
            "import os, pytest, requests\n"
            '@pytest.mark.buffr(faults=[{"status": 503, "first": 1}])\n'
            "def test_it():\n"
            '    url = os.environ["UPSTREAM"] + "/one"\n'
            "    assert [requests.get(url).status_code for _ in range(2)] == [503, 200]\n"
        )
        run()

    @pytest.mark.parametrize(
        ("mark", "told"),
        [
            ("casette='x'", "pytest.mark.buffr does not take casette"),
            ("match={'qurey': ['a']}", "match.qurey: unknown key"),
            ("mode='once'", "mode 'once' must be one of"),
        ],
    )
    def test_a_wrong_mark_is_told(self, tmp_path: Path, run: Run, mark: str, told: str) -> None:
        (tmp_path / "test_a.py").write_text(
            SUITE.replace("@pytest.mark.buffr\ndef", f"@pytest.mark.buffr({mark})\ndef")
        )
        assert told in run("-k", "test_one", code=1)


class TestNetwork:
    def test_blocked_outside_the_proxy(self, suite: Path, run: Run) -> None:
        """Connections of the test's own process; those of the proxy go on."""
        (suite / "test_b.py").write_text(
            "import os, socket\n"
            "import pytest\n"
            "import requests\n"
            "def test_direct():\n"
            "    host, port = os.environ['UPSTREAM'].removeprefix('http://').split(':')\n"
            "    with pytest.raises(RuntimeError, match='buffr blocks the network'):\n"
            "        socket.create_connection((host, int(port)))\n"
            "    with pytest.raises(RuntimeError, match='buffr blocks the network'):\n"
            "        requests.get(os.environ['UPSTREAM'])\n"
        )
        for workers in ((), ("-n", "2")):
            run("--buffr-block-network", *workers)


class TestNoProxy:
    @pytest.mark.parametrize("direct", ["*", "example.test,10.0.0.0/8"])
    def test_its_hosts_are_recorded_and_replayed(
        self, tmp_path: Path, run: Run, upstream: FakeUpstream, direct: str
    ) -> None:
        """Else a replay would ask the network, as whoever has no ``NO_PROXY`` would not."""
        row = {"host": "api.example.test", "resolve": "127.0.0.1"}
        (tmp_path / "buffr.yaml").write_text(json.dumps({"forward": {"hosts": [row]}}))
        (tmp_path / "pytest.ini").write_text("[pytest]\nbuffr_config = buffr.yaml\n")
        (tmp_path / "test_a.py").write_text(
            "import os, subprocess, requests\n"
            "def test_it(buffr):\n"
            "    url = 'http://api.example.test:' + os.environ['UPSTREAM'].rpartition(':')[2]\n"
            "    assert requests.get(url + '/a').text.endswith('GET /a')\n"
            "    subprocess.run(['curl', '-sSf', url + '/b'], check=True)\n"
            "    assert buffr.told['hits'] + buffr.told['live'] == 2\n"
        )
        run(NO_PROXY=direct, no_proxy=direct)
        run("--buffr-mode=replay", NO_PROXY=direct, no_proxy=direct)
        assert len(upstream.received) == 2

    def test_this_machine_is_reached_directly(self, tmp_path: Path, run: Run) -> None:
        (tmp_path / "test_a.py").write_text(
            "import os, requests\n"
            "def test_it(buffr):\n"
            "    assert os.environ['NO_PROXY'] == '127.0.0.1'\n"
            "    assert requests.get(os.environ['UPSTREAM'] + '/a').text.endswith('GET /a')\n"
            "    assert buffr.told['hits'] + buffr.told['live'] == 0\n"
        )
        run("--buffr-mode=replay", NO_PROXY="corp.test,127.0.0.1")


class TestAsync:
    def test_aiohttp(self, tmp_path: Path, run: Run, upstream: FakeUpstream) -> None:
        """It is told to use the proxy, whether it is imported before or within the test."""
        for head, inner in (("import aiohttp", "pass"), ("", "import aiohttp")):
            (tmp_path / "test_a.py").write_text(
                f"import asyncio, os\n{head}\n"
                "def test_it(buffr):\n"
                f"    {inner}\n"
                "    async def main():\n"
                "        async with aiohttp.ClientSession() as session:\n"
                "            async with session.get(os.environ['UPSTREAM'] + '/a') as got:\n"
                "                return await got.text()\n"
                "    assert asyncio.run(main()).endswith('GET /a')\n"
                "    assert buffr.told['hits'] + buffr.told['live'] == 1\n"
            )
            run()
        assert len(upstream.received) == 1


class TestPage:
    def test_snippets(self, tmp_path: Path, run: Run, upstream: FakeUpstream) -> None:
        """The tests of the page pass as they stand there, and replay."""
        page = Path(__file__).parents[2] / "docs" / "how-to" / "pytest.md"
        blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        ours = [block for block in blocks if "tests/conftest.py" not in block]
        assert len(ours) == 4
        (tmp_path / "test_users.py").write_text("\n".join(ours))
        run(API_URL=upstream.url)
        asked = len(upstream.received)
        assert "4 passed" in run("--buffr-mode=replay", API_URL=upstream.url)
        assert len(upstream.received) == asked


class TestFirstRequest:
    """What serves is put together when the first test asks, in the middle of that test."""

    def test_it_meets_the_clock_of_the_machine(self, tmp_path: Path, run: Run) -> None:
        (tmp_path / "test_a.py").write_text(
            "import os, time, urllib.request\n"
            "def test_it(buffr, monkeypatch):\n"
            "    monkeypatch.setattr(time, 'time', lambda: 0.0)\n"
            "    urllib.request.urlopen(os.environ['UPSTREAM'] + '/a').read()\n"
            "def test_later(buffr):\n"
            "    from twisted.internet import reactor\n"
            "    assert reactor.seconds() > 1e9\n"
        )
        run()
        recorded = json.loads((tmp_path / "cassettes" / "test_a" / "test_it.json").read_text())
        assert recorded["interactions"][0]["http"]["recorded_at"] > "2026"

    def test_what_cannot_be_served_is_told(self, tmp_path: Path, run: Run) -> None:
        """By the test that asked, and by those after it: no client waits for ever."""
        (tmp_path / "test_a.py").write_text(
            "import os, pathlib, urllib.request\n"
            "def test_it(buffr):\n"
            "    path = pathlib.Path(os.environ['SSL_CERT_FILE'])\n"
            "    path.with_name('buffr-ca.key').chmod(0o644)\n"
            "    urllib.request.urlopen(os.environ['UPSTREAM'] + '/a').read()\n"
            "def test_next(buffr):\n"
            "    pass\n"
        )
        told = run(code=1)
        assert "1 failed, 1 error" in told
        assert told.count("can be read by others") >= 2


class TestCost:
    def test_a_suite_without_it_loads_nothing_of_it(self, tmp_path: Path, run: Run) -> None:
        (tmp_path / "test_a.py").write_text(
            "import sys\n"
            "def test_it():\n"
            "    ours = {name for name in sys.modules if name.startswith(('buffr', 'twisted'))}\n"
            "    assert ours == {'buffr', 'buffr.pytest_plugin'}\n"
        )
        run()

    def test_a_suite_that_asks_nothing_loads_nothing_that_serves(
        self, tmp_path: Path, run: Run
    ) -> None:
        """A port and a CA are all that a test needs before its first request."""
        (tmp_path / "test_a.py").write_text(
            "import sys\n"
            "def test_it(buffr):\n"
            "    assert buffr.told['live'] == 0\n"
            "    assert {'twisted.internet', 'yaml', 'OpenSSL'} & set(sys.modules) == set()\n"
            "    ours = [name for name in sys.modules if name.partition('.')[0] == 'buffr']\n"
            "    assert len(ours) < 30\n"
        )
        run()
        run("--buffr-mode=replay")

    def test_a_suite_that_uses_it_loads_what_serves_its_tests_alone(
        self, tmp_path: Path, run: Run
    ) -> None:
        """Imports are most of what it costs a session: no admin listener, no database, no gateway.

        By count, since a busy machine takes its time; each of buffr's own takes 0.4 ms or so.
        """
        (tmp_path / "test_a.py").write_text(
            "import os, sys, urllib.request\n"
            "def test_it(buffr):\n"
            "    urllib.request.urlopen(os.environ['UPSTREAM'] + '/a').read()\n"
            "    heavy = {'automat', 'sqlite3', 'buffr.admin.server', 'buffr.interchange.har',\n"
            "        'buffr.listeners.gateway', 'buffr.stores.sqlite.store', 'buffr.wiring.live'}\n"
            "    assert heavy & set(sys.modules) == set()\n"
            "    ours = [name for name in sys.modules if name.partition('.')[0] == 'buffr']\n"
            "    assert len(ours) < 370\n"
        )
        run()
        run("--buffr-mode=replay")
