"""``buffr cassette`` as a process, beside a buffr that has the cassette open."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml
from commands import BUFFR, run
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, answer

ROOT = Path(__file__).parents[2]


def test_beside_a_running_buffr(tmp_path: Path) -> None:
    with FakeUpstream(lambda received: answer(b"answer to " + received.target)) as upstream:
        flags = ("--target", upstream.url, "--port", "0", "--cassette", "api.json")
        with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
            port = running.ports[0]
            for target in (b"/a", b"/b", b"/c", b"/a"):
                assert ask(port, request(target)).status == 200
            listed = run("cassette", "ls", "--json", "api.json", cwd=tmp_path)
            assert [row["url"] for row in json.loads(listed.stdout)] == ["/a", "/b", "/c"]
            assert len(upstream.received) == 3
            removed = run("cassette", "rm", "api.json", "0", cwd=tmp_path)
            assert (removed.returncode, removed.stdout) == (0, "1 removed, 2 left\n")
            for target in (b"/b", b"/c", b"/a"):
                assert ask(port, request(target)).body == b"answer to " + target
            assert [received.target for received in upstream.received[3:]] == [b"/a"]
            shown = run("cassette", "show", "api.json", "2", "--body", cwd=tmp_path)
            assert shown.stdout == "answer to /a"
            running.stop()
    verified = run("cassette", "verify", "--json", ".", cwd=tmp_path)
    good = {"path": "api.json", "interactions": 3, "problems": []}
    assert (verified.returncode, json.loads(verified.stdout)) == (0, good)
    assert run("cassette", "scan", ".", cwd=tmp_path).stdout == ""


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    element = {
        "type": "http",
        "http": {"request": {"method": "GET", "path": "/"}, "response": {"status": 200}},
    }
    (tmp_path / "api.json").write_text(json.dumps({"interactions": [element] * 20_000}))
    with subprocess.Popen(
        [*BUFFR, "cassette", "ls", "api.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith(b"/\n")
        process.stdout.close()
        assert process.stderr.read() == b""


def test_wrong_calls_are_one_line(tmp_path: Path) -> None:
    for arguments in (["ls"], ["ls", "none.json"], ["ls", "--nope", "x"], ["lss"], ["rm", "x"]):
        done = run("cassette", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("buffr: ")
        assert len(done.stderr.splitlines()) == 1


def test_the_hooks_call_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")):
        command, *arguments = hook["entry"].split()
        assert command == "buffr"
        done = run(*arguments, "package.json", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_recorded_in_clear_replays_after_it_is_redacted(tmp_path: Path) -> None:
    real = b"q7XbP2mZ9sKd4LwT8vRc"
    settings = tmp_path / "clear.yaml"

    def conversations(key: bytes) -> list[bytes]:
        json_type = (b"Content-Type", b"application/json")
        return [
            request(b"/header", headers=[(b"Authorization", b"Bearer " + key)]),
            request(b"/query?page=2&api_key=" + key),
            request(b"/cookie", headers=[(b"Cookie", b"sid=%b; theme=dark" % key)]),
            request(
                b"/json",
                method=b"POST",
                headers=[json_type],
                body=b'{"client_secret": "%b", "n": 1}' % key,
            ),
        ]

    with FakeUpstream(
        lambda received: answer(b"%b %b" % (received.target.partition(b"?")[0], real))
    ) as upstream:
        route = {"mode": "auto", "target": upstream.url, "port": 0, "cassette": "api.json"}
        settings.write_text(yaml.safe_dump({"reverse": [route], "redact": {"enabled": False}}))
        with BuffrProcess.run("serve", "--config", str(settings), cwd=tmp_path) as clear:
            for raw in conversations(real):
                assert ask(clear.ports[0], raw).status == 200
    assert real in (tmp_path / "api.json").read_bytes()
    redacted = run("cassette", "redact", "api.json", cwd=tmp_path)
    assert (redacted.returncode, redacted.stderr) == (0, "")
    assert redacted.stdout.startswith("api.json: 4 interactions changed\n")
    assert all(
        real not in path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".yaml"
    )
    flags = ("--target", upstream.url, "--port", "0", "--cassette", "api.json")
    with BuffrProcess.run("replay", *flags, cwd=tmp_path) as replaying:
        for key in (real, b"dummy"):
            answers = [ask(replaying.ports[0], raw) for raw in conversations(key)]
            assert [one.status for one in answers] == [200] * 4
            assert [one.body.split()[0] for one in answers] == [
                b"/header",
                b"/query",
                b"/cookie",
                b"/json",
            ]
