"""``buffr run``: a command of the user's goes through a proxy of its own, and nobody notices."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from attrs import frozen
from bench import interactions
from commands import BUFFR
from commands import run as run_command
from forward_bench import NO_PARENTS, named, origin_tls, secure_origin, trust_file
from forward_clients import CLIENTS, HOST, OriginOfAll, variables
from ports import free_port
from websockets.sync.server import ServerConnection, serve

from buffr.commands.run.environment import VARIABLES
from buffr.testing import FakeUpstream, answer

HERE = Path(__file__).parent
PYTHON = (sys.executable, "-c")
NOTHING = (*PYTHON, "")
Done = subprocess.CompletedProcess[str]


@frozen
class Place:
    """A directory to run in, with a ``buffr.yaml`` that trusts the origin of these tests."""

    directory: Path
    origin: FakeUpstream
    temporary: Path

    @property
    def env(self) -> dict[str, str]:
        return {**NO_PARENTS, "BUFFR_CONFIG": "buffr.yaml", "TMPDIR": str(self.temporary)}

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
        """``buffr run`` to its end, which leaves nothing behind."""
        done = run_command("run", *arguments, cwd=self.directory, env={**self.env, **(env or {})})
        assert "Traceback" not in done.stderr, done.stderr
        assert list(self.temporary.iterdir()) == []
        return done

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """``buffr run`` with its standard output in a pipe."""
        return subprocess.Popen(
            [*BUFFR, "run", *arguments],
            cwd=self.directory,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def get(
        self,
        *options: str,
        paths: tuple[str, ...] = ("/a",),
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """curl gets these paths of the origin."""
        urls = [self.origin.url + path for path in paths]
        return self.run(*options, "--", "curl", "--silent", "--show-error", *urls, env=env)

    def report(self, *options: str, **given: Any) -> tuple[Done, Any]:
        """The same with a report, as JSON."""
        done = self.get("--report", "report.json", *options, **given)
        return done, json.loads((self.directory / "report.json").read_text())


@pytest.fixture(scope="module")
def origin() -> Iterator[FakeUpstream]:
    with secure_origin(named) as origin:
        yield origin


@pytest.fixture
def place(tmp_path: Path, origin: FakeUpstream) -> Place:
    directory, temporary = tmp_path / "work", tmp_path / "tmp"
    directory.mkdir()
    temporary.mkdir()
    settings = {"forward": {"ca_file": str(trust_file(tmp_path))}}
    (directory / "buffr.yaml").write_text(json.dumps(settings))
    return Place(directory, origin, temporary)


_ASK_ALL = """
import base64, json, os, pathlib, sys
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, sys.argv[1])
from forward_clients import CLIENTS, Around

def take(name):
    own = directory / name
    own.mkdir(parents=True)
    around = Around(int(sys.argv[2]), pathlib.Path(), own, os.environ)
    try:
        return {"said": base64.b64encode(CLIENTS[name].run(around)).decode()}
    except Exception as error:
        return {"error": repr(error)}

directory, names = pathlib.Path(sys.argv[3]), sys.argv[4:]
with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1) as threads:
    print(json.dumps(dict(zip(names, threads.map(take, names)))))
"""

ASKED = ("java", "pip", "git", "requests", "httpx", "curl", "wget", "node fetch")


@frozen
class Story:
    """What each client saw while it was recorded, and in a replay, and the reports of the two."""

    takes: tuple[dict[str, dict[str, str]], ...]
    reports: tuple[dict[str, Any], ...]
    contacts_in_replay: int


def _ask_all(directory: Path, port: int, phase: str) -> tuple[Any, Any]:
    names = [name for name in ASKED if not CLIENTS[name].missing()]
    own = directory / phase
    row = {"host": f"*.{HOST}", "resolve": "127.0.0.1", "cassette": "all.json"}
    settings = {"forward": {"ca_file": str(trust_file(directory)), "hosts": [row]}}
    (directory / "buffr.yaml").write_text(json.dumps(settings))
    env = variables(1, directory, directory)
    for one in VARIABLES:
        env.pop(one.name, None)
    done = run_command(
        *("run", f"--{phase}", "--config", "buffr.yaml", "--report", f"{phase}.json", "--"),
        *(*PYTHON, _ASK_ALL, str(HERE), str(port), str(own), *names),
        cwd=directory,
        env={**env, **NO_PARENTS},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), json.loads((directory / f"{phase}.json").read_text())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    directory = tmp_path_factory.mktemp("run")
    script = OriginOfAll(directory)
    with secure_origin(script, f"*.{HOST}") as origin:
        live, recorded = _ask_all(directory, origin.port, "record")
    with FakeUpstream(script, port=origin.port) as nobody:
        again, replayed = _ask_all(directory, origin.port, "replay")
    return Story((live, again), (recorded, replayed), nobody.connections)


class TestClients:
    """Each knows the proxy and its CA from the environment that ``buffr run`` gives it."""

    @pytest.mark.parametrize("name", ASKED)
    def test_it_records_and_then_sees_the_same_from_nobody(self, story: Story, name: str) -> None:
        if reason := CLIENTS[name].missing():
            pytest.skip(reason)
        live, again = (take[name] for take in story.takes)
        assert "said" in live, live
        assert again == live

    def test_the_replay_used_all_of_it_and_contacted_nobody(self, story: Story) -> None:
        recorded, replayed = story.reports
        assert story.contacts_in_replay == 0
        assert replayed["counts"]["misses"] == replayed["counts"]["unused"] == 0
        assert replayed["counts"]["hits"] == recorded["counts"]["recorded"] > 10

    def test_an_older_node_with_undici(self, place: Place) -> None:
        """Its fetch has no proxy of its own, but one that a program can give it."""
        node = shutil.which("node")
        if node is None:
            pytest.skip("node is not on this machine")
        program = """
        import { createRequire } from "node:module";
        import path from "node:path";
        const root = path.join(process.execPath, "../../lib/node_modules/npm/package.json");
        let undici;
        try { undici = createRequire(root)("undici"); } catch { process.exit(77); }
        if (!undici.EnvHttpProxyAgent) process.exit(77);
        undici.setGlobalDispatcher(new undici.EnvHttpProxyAgent());
        console.log(await (await fetch(process.argv[1])).text());
        """
        command = (node, "--input-type=module", "--eval", program, "--", f"{place.origin.url}/n")
        done = place.run("--", *command)
        if done.returncode == 77:
            pytest.skip("there is no undici with an EnvHttpProxyAgent")
        assert done.stdout == f"GET localhost:{place.origin.port}/n\n"
        assert "1 recorded" in done.stderr


class TestStreams:
    def test_standard_input_and_output_are_the_commands_own(self, place: Place) -> None:
        """Byte for byte, and not a byte of buffr's between them."""
        data = bytes(range(256)) * 1000
        done = subprocess.run(
            [*BUFFR, "run", "--", "cat"],
            cwd=place.directory,
            env={**os.environ, **place.env},
            input=data,
            capture_output=True,
            check=True,
        )
        assert done.stdout == data

    def test_other_files_are_passed_on(self, place: Place) -> None:
        """make's job server, systemd's sockets."""
        reading, writing = os.pipe()
        program = f"import os; os.write({writing}, b'here')"
        running = place.start("--", *PYTHON, program, pass_fds=(writing,))
        os.close(writing)
        assert os.read(reading, 10) == b"here"
        os.close(reading)
        running.communicate(timeout=120)
        assert running.returncode == 0

    def test_the_log_is_kept_out_of_the_terminal_but_for_warnings(self, place: Place) -> None:
        """All of it goes to a file that is named."""
        done = place.get()
        assert done.stdout == f"GET localhost:{place.origin.port}/a"
        assert done.stderr.splitlines() == [
            "buffr: made the CA buffr-ca.pem; its key, buffr-ca.key, is for nobody else",
            "buffr: 0 hits, 1 recorded, 0 misses",
        ]
        done = place.get("--replay", paths=("/missed",))
        assert "level=WARN" in done.stderr
        assert "level=INFO" not in done.stderr
        done = place.get("--replay", "--log", "buffr.log", paths=("/a", "/missed"))
        assert "level=" not in done.stderr
        text = (place.directory / "buffr.log").read_text()
        for words in ("msg=listening", "level=WARN", "src=miss", "src=cassette"):
            assert words in text


class TestExitCodes:
    @pytest.mark.parametrize(
        ("program", "code"),
        [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
    )
    def test_that_of_the_command(self, place: Place, program: str, code: int) -> None:
        done = place.run("--", *PYTHON, program)
        assert done.returncode == code
        assert "nothing came through the proxy" in done.stderr

    @pytest.mark.parametrize(
        ("command", "code", "words"),
        [
            ("no-such-command", 127, "command not found"),
            ("./buffr.yaml", 126, "Permission denied"),
        ],
    )
    def test_a_command_that_cannot_be_run(
        self, place: Place, command: str, code: int, words: str
    ) -> None:
        done = place.run("--", command)
        assert done.returncode == code
        *before, line = done.stderr.splitlines()
        assert line == f"buffr: {command}: {words}"
        assert all("made the CA" in each for each in before)

    def test_no_command(self, place: Place) -> None:
        done = place.run("--replay", "--")
        assert done.returncode == 2
        assert done.stderr == "Usage: buffr run [options] -- COMMAND [ARGUMENT ...]\n"

    def test_what_is_wrong_is_said_and_nothing_is_run(self, place: Place) -> None:
        done = place.run("--config", "none.yaml", "--", *PYTHON, "print('run')")
        assert done.returncode == 2
        assert "none.yaml" in done.stderr
        assert not done.stdout

    def test_a_taken_port(self, place: Place) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = place.run("--port", port, "--", *PYTHON, "print('run')")
        assert done.returncode == 2
        assert f"127.0.0.1:{port}" in done.stderr
        assert not done.stdout


_COUNTS = """
import signal, sys, time
came = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, lambda number, _: came.append(signal.Signals(number).name))
print("ready", flush=True)
while not came:
    signal.sigtimedwait([], 0.02)
signal.sigtimedwait([], 0.2)  # a second one would come by now
print(*came, flush=True)
raise SystemExit(7)
"""


PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")


class TestSignals:
    def test_each_is_passed_on_once_and_the_command_decides(self, place: Place) -> None:
        place.run("--", *NOTHING)  # makes the CA
        running = {name: place.start("--", *PYTHON, _COUNTS) for name in PASSED_ON}
        for name, one in running.items():
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
            one.send_signal(signal.Signals[name])
        for name, one in running.items():
            out, err = one.communicate(timeout=120)
            assert out == f"{name}\n"
            assert one.returncode == 7
            assert "buffr: " in err
        assert list(place.temporary.iterdir()) == []

    def test_a_command_that_dies_of_it(self, place: Place) -> None:
        running = place.start("--", *PYTHON, "print('ready', flush=True); input()", stdin=-1)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        running.wait(120)
        running.communicate()
        assert running.returncode == 128 + signal.SIGTERM

    def test_the_terminals_own_is_not_sent_twice(self, place: Place) -> None:
        """Ctrl-C reaches the whole foreground, the command too; and colours are for terminals."""
        terminal, far_end = pty.openpty()
        running = subprocess.Popen(
            [*BUFFR, "run", "--", *PYTHON, _COUNTS],
            cwd=place.directory,
            env={**os.environ, **place.env, "TERM": "xterm"},
            stdin=far_end,
            stdout=far_end,
            stderr=far_end,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(far_end)
        seen = b""
        while b"ready" not in seen:
            seen += os.read(terminal, 1000)
        os.write(terminal, b"\x03")
        while more := _read(terminal):
            seen += more
        os.close(terminal)
        assert running.wait(120) == 7
        assert seen.count(b"SIGINT") == 1
        assert b"\x1b[1mbuffr:\x1b[0m" in seen

    def test_a_command_that_does_not_end_is_killed(self, place: Place) -> None:
        """After SIGTERM alone: with Ctrl-C a program does as it likes."""
        program = "import signal, time; signal.signal(15, signal.SIG_IGN)\n"
        program += "print('ready', flush=True); time.sleep(600)"
        running = place.start("--grace", "0.2", "--", *PYTHON, program)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=120)
        assert running.returncode == 128 + signal.SIGKILL

    def test_what_is_ignored_stays_so(self, place: Place) -> None:
        """``nohup buffr run``."""
        program = "import signal; print(signal.getsignal(1).name)"
        program += "; assert not signal.pthread_sigmask(0, ())"
        done = place.start(
            *("--", *PYTHON, program),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
        assert done.communicate(timeout=120)[0] == "SIG_IGN\n"
        assert done.returncode == 0


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # so ends a terminal, on Linux
        return b""


_SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


class TestEnvironment:
    def test_what_the_command_finds(self, place: Place) -> None:
        """Files that are there while it runs, a proxy with a scope, and NO_PROXY as it was."""
        program = f"{_SHOW}; assert len(open(os.environ['SSL_CERT_FILE']).read()) > 1000"
        program += "; os.kill(os.getpid(), 9)"
        env = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "internal.test"}
        done = place.run("--", *PYTHON, program, env=env)
        assert done.returncode == 128 + 9, done.stderr
        seen = json.loads(done.stdout)
        assert seen["HTTPS_PROXY"].startswith("http://run-")
        assert seen["NO_PROXY"] == "internal.test"
        assert seen["SSL_CERT_FILE"].startswith(str(place.temporary))

    def test_the_users_own_proxy_is_buffrs_parent(self, place: Place) -> None:
        with FakeUpstream(lambda _: answer(b"", b"403 Forbidden")) as parent:
            env = {"HTTPS_PROXY": parent.url}
            place.run("--", "curl", "-sS", "https://outside.test/", env=env)
            assert parent.received[0].line == b"CONNECT outside.test:443 HTTP/1.1"

    @pytest.mark.parametrize("key", ["a/key:with@signs%41", None])
    def test_a_required_key_is_given_to_the_command(self, place: Place, key: str | None) -> None:
        """One of the settings, or the one that is made for this run."""
        settings = json.loads((place.directory / "buffr.yaml").read_text())
        settings["access"] = {"required": True} | ({} if key is None else {"key": key})
        (place.directory / "buffr.yaml").write_text(json.dumps(settings))
        done = place.get()
        assert (done.returncode, "1 recorded" in done.stderr) == (0, True), done.stderr

    def test_variables_of_buffr_and_a_name_for_the_scope(self, place: Place) -> None:
        """``scope_cassettes`` with a name that a later run can say again."""
        settings = json.loads((place.directory / "buffr.yaml").read_text())
        settings["forward"]["scope_cassettes"] = True
        (place.directory / "buffr.yaml").write_text(json.dumps(settings))
        command = ("--", "curl", "-sS", f"{place.origin.url}/scoped")
        for mode, count in (("auto", "1 recorded"), ("replay", "1 hit")):
            env = {"BUFFR_DATA_DIR": "kept", "BUFFR_MODE": mode}
            assert count in place.run("--scope", "test-1", *command, env=env).stderr
        (cassette,) = (place.directory / "kept").glob("*.json")
        assert "test-1" in cassette.name


class TestReports:
    def test_what_was_recorded_and_what_a_replay_left(self, place: Place) -> None:
        """Counted, listed, and without secrets."""
        done, report = place.report(
            "--fail-on-record", paths=("/a", "/b?api_key=secret-of-the-user", "/a")
        )
        assert done.returncode == report["exit_code"] == 1
        assert "--fail-on-record: 2 answers were recorded; exit code 1" in done.stderr
        assert f"recorded  GET {place.origin.url}/a\n" in done.stderr
        assert report["command"] == "curl"
        counts = report["counts"]
        assert (counts["hits"], counts["fetched"], counts["recorded"]) == (1, 2, 2)
        assert (counts["misses"], counts["errors"], counts["unused"]) == (0, 0, 0)
        assert len(report["recorded"]) == 2
        everything = done.stderr + json.dumps(report)
        done, report = place.report("--fail-on-record", "--fail-on-unused", paths=("/a",))
        assert done.returncode == 1
        assert "1 hit, 0 recorded, 0 misses, 1 unused" in done.stderr
        assert "--fail-on-unused: 1 recording was never replayed; exit code 1" in done.stderr
        assert "--fail-on-record:" not in done.stderr
        (unused,) = report["unused"]
        assert unused["method"] == "GET"
        assert unused["url"].startswith(f"{place.origin.url}/b?api_key=")
        assert "secret-of-the-user" not in everything + done.stderr + json.dumps(report)

    def test_a_miss_says_what_came_nearest(self, place: Place) -> None:
        """In the words that the client got."""
        place.get("--cassette", "one.json", paths=("/a?x=1",))
        assert len(interactions(place.directory / "one.json")) == 1
        replay = ("--replay", "--cassette", "one.json", "--fail-on-miss")
        done, report = place.report(*replay, paths=("/a?x=2",))
        assert done.returncode == report["exit_code"] == 1
        assert report["command_exit_code"] == 0
        assert "--fail-on-miss: 1 request found no recording; exit code 1" in done.stderr
        (row,) = report["requests"]
        assert (row["url"], row["status"]) == (f"{place.origin.url}/a?x=2", 599)
        assert row["detail"] == done.stdout.removeprefix("buffr: ").rstrip()
        assert "query" in row["detail"]
        assert f"miss      GET {place.origin.url}/a?x=2\n" in done.stderr
        url = f"{place.origin.url}/a?x=3"
        done = place.run(*replay, "--report", "report.xml", "--", "curl", "-sSf", url)
        assert done.returncode == 22, "a command that failed has the say"
        assert "--fail-on-miss: 1 request found no recording\n" in done.stderr
        suite = ET.parse(place.directory / "report.xml").getroot()[0]
        assert (suite.attrib["failures"], suite.attrib["skipped"]) == ("3", "1")

    def test_the_rules_of_misses_are_accepted(self, place: Place) -> None:
        """Recorded once, missed once for an id; then the settings say that it does not count."""
        settings = place.directory / "own.yaml"
        trusted = json.loads((place.directory / "buffr.yaml").read_text())["forward"]["ca_file"]
        text = f"# ours\nforward:\n  ca_file: {trusted} # of these tests\n# the end\n"
        settings.write_text(text)
        settings.chmod(0o640)

        def post(number: int, *options: str) -> Done:
            body = json.dumps({"id": f"7c1de7a2-51b4-4f0e-8a43-d21fb3ee6b{number:02}", "a": 1})
            url = f"{place.origin.url}/a?ts={1795878219000 + number}"
            curl = ("curl", "-sSf", "-H", "Content-Type: application/json", "-d", body, url)
            return place.run("--config", "own.yaml", *options, "--", *curl)

        assert post(1).returncode == 0
        assert post(2, "--replay").returncode == 22
        assert settings.read_text() == text
        done = post(2, "--replay", "--accept-rules")
        assert done.returncode == 22, "this time it was still a miss"
        assert "buffr: --accept-rules: 2 rules for localhost added to own.yaml;" in done.stderr
        lines = settings.read_text().splitlines()
        assert [line for line in lines if line in text.splitlines()] == text.splitlines()
        assert "    - host: 'localhost'" in lines
        assert settings.stat().st_mode & 0o777 == 0o640
        assert [path.name for path in place.directory.glob(".own*")] == []
        done = post(3, "--replay", "--accept-rules")
        assert done.returncode == 0, done.stderr
        assert "--accept-rules: no miss has a rule that would be enough" in done.stderr

    def test_flags_do_the_same_for_one_run(self, place: Place) -> None:
        place.get("--cassette", "one.json", paths=("/a?x=1&y=1",))
        flags = ("--match-ignore-query", "x", "--match-ignore-query=y")
        done = place.get("--replay", "--cassette", "one.json", *flags, paths=("/a?x=2&y=3",))
        assert "1 hit" in done.stderr

    @pytest.mark.parametrize(
        ("options", "env", "words"),
        [
            (("--replay",), {"BUFFR_CONFIG": ""}, "there is no settings file"),
            (("--replay",), {"BUFFR_PROXY": "{}"}, "BUFFR_PROXY describes the forward proxy"),
            ((), {}, "only mode replay has misses"),
        ],
    )
    def test_rules_that_nobody_could_accept(
        self, place: Place, options: tuple[str, ...], env: dict[str, str], words: str
    ) -> None:
        done = place.run("--accept-rules", *options, "--", *NOTHING, env=env)
        assert done.returncode == 2
        assert f"--accept-rules: {words}" in done.stderr

    def test_bypassed_hosts_are_named(self, place: Place) -> None:
        """What buffr does not look into is verified by the client, with what it trusts itself."""
        env = {"CURL_CA_BUNDLE": str(trust_file(place.directory))}
        done, report = place.report("--bypass", "localhost", env=env)
        assert done.stdout == f"GET localhost:{place.origin.port}/a", done.stderr
        assert report["bypassed"] == [{"host": f"localhost:{place.origin.port}", "count": 1}]
        assert "1 host bypassed" in done.stderr

    def test_an_upstream_that_fails_is_told(self, place: Place) -> None:
        url = f"http://127.0.0.1:{free_port()}/"
        done = place.run("--", "curl", "-sS", url)
        assert "1 failed" in done.stderr
        assert f"failed    GET {url}\n" in done.stderr


_CONNECTS = """
import os, socket
port = os.environ["HTTP_PROXY"].rpartition(":")[2]
socket.create_connection(("127.0.0.1", int(port))).close()
"""
_NODE_TRUSTS_NOBODY = """
import http from "node:http";
import tls from "node:tls";
const port = new URL(process.env.HTTPS_PROXY).port;
http.request({port, method: "CONNECT", path: process.argv[1]}).on("connect", (_, socket) => {
  const name = {socket, servername: "localhost", ca: []};
  tls.connect(name).on("error", (error) => console.log(error.code));
}).end();
"""


_TALK = """
import asyncio, sys, aiohttp

async def talk():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.ws_connect(sys.argv[1]) as socket:
            await socket.send_str("hello")
            print((await socket.receive()).data)

asyncio.run(talk())
"""


def _echo(socket: ServerConnection) -> None:
    for message in socket:
        socket.send(message)


class TestWebSocket:
    @pytest.mark.parametrize("secure", [False, True])
    def test_aiohttp_goes_through_the_proxy(self, place: Place, secure: bool) -> None:
        """It reads ``WS_PROXY`` and ``WSS_PROXY``; the second run has no upstream."""
        context = origin_tls("localhost") if secure else None
        with serve(_echo, "127.0.0.1", 0, ssl=context) as server:
            url = f"ws{'s' * secure}://localhost:{server.socket.getsockname()[1]}/"
            talking = threading.Thread(target=server.serve_forever)
            talking.start()
            done = place.run("--", *PYTHON, _TALK, url)
            server.shutdown()
            talking.join()
        assert done.stdout == "hello\n"
        assert "1 recorded" in done.stderr
        done = place.run("--replay", "--", *PYTHON, _TALK, url)
        assert (done.stdout, done.returncode) == ("hello\n", 0)
        assert "1 hit" in done.stderr


class TestClientsWithoutTrust:
    def test_a_host_whose_certificate_was_not_taken_is_named(self, place: Place) -> None:
        """Node ends the handshake as if all were well, and leaves then."""
        authority = place.origin.url.removeprefix("https://")
        node = ("node", "--input-type=module", "--eval", _NODE_TRUSTS_NOBODY, "--", authority)
        env = {"NODE_EXTRA_CA_CERTS": ""}
        done = place.run("--", "env", "-u", "NODE_EXTRA_CA_CERTS", *node, env=env)
        assert "UNABLE_TO_VERIFY" in done.stdout
        assert "1 host without TLS" in done.stderr
        assert "no TLS    localhost\n" in done.stderr
        assert "it may not trust buffr's CA" in done.stderr
        assert "nothing came" not in done.stderr

    def test_a_connection_in_which_nothing_was_asked(self, place: Place) -> None:
        done = place.run("--", *PYTHON, _CONNECTS)
        assert "1 connection came to the proxy, and no request" in done.stderr
