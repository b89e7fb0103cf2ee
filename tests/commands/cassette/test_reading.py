"""What ls, show, stats, verify and diff say."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import brotli
import pytest
from attrs import evolve
from calls import DATA, age, body_file, call, elements, write

from buffr.commands.cassette.bodies import pretty
from buffr.commands.cassette.ls import age as age_of
from buffr.commands.terminal import Paint
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead
from buffr.stores.cassette.format import encode

JSON = ((b"Content-Type", b"application/json"),)


def recorded(
    target: bytes = b"/a", body: bytes = b'{"ok": true}', headers: Headers = JSON, status: int = 200
) -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"GET", target, scheme="https", host="api.test", port=443),
        ResponseHead(status, b"OK", headers),
        Body.of(body),
        recorded_at="2026-11-21T22:02:42.120Z",
    )


SESSION = WebSocketInteraction(
    RecordedRequest(b"GET", b"/live"),
    frames=(
        Frame(Direction.CLIENT, FrameKind.TEXT, Body.of(b'{"hi": 1}')),
        Frame(Direction.SERVER, FrameKind.BINARY, Body.of(b"\x00\x01"), delay_ms=7),
        Frame(Direction.SERVER, FrameKind.CLOSE, close_code=1001, reason="going"),
    ),
    end=SessionEnd("the server went away", Direction.SERVER, truncated=True),
)

MIXED: tuple[Interaction, ...] = (
    recorded(b"/a?api_key=hunter2"),
    SESSION,
    evolve(recorded(b"/b", status=500), truncated="time-out"),
)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return write(tmp_path / "api.json", *MIXED)


class TestLs:
    def test_a_line_an_interaction(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = call(capsys, "ls", mixed).out.splitlines()
        when, first = lines[0][:27], lines[0][27:]
        assert re.fullmatch(r"0  2026-11-21T22:02:42 +[0-9]+[smhdy]", when)
        assert first == "  GET    200       12 B  https://api.test/a?api_key=REDACTED"
        assert re.search(r"  WS +101 +frames=3  \S*/live", lines[1])
        assert lines[2].endswith("https://api.test/b  truncated: time-out")

    @pytest.mark.parametrize(
        ("later_s", "shown"),
        [(0, "0s"), (59.9, "59s"), (60, "1m"), (7300, "2h"), (86400 * 300, "300d"), (1e8, "3y")],
    )
    def test_age(self, later_s: float, shown: str) -> None:
        made_s = datetime(2026, 11, 21, 22, 2, 42, tzinfo=UTC).timestamp()
        assert age_of("2026-11-21T22:02:42Z", made_s + later_s) == shown
        assert age_of("2026-11-21T22:02:42Z", made_s - 5) == "0s"
        assert age_of("soon", made_s) == age_of(None, made_s) == ""

    def test_json(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = json.loads(call(capsys, "ls", mixed, "--json").out)
        assert [row["type"] for row in rows] == ["http", "websocket", "http"]
        assert rows[0] == {
            "index": 0,
            "type": "http",
            "method": "GET",
            "url": "https://api.test/a?api_key=REDACTED",
            "status": 200,
            "content_type": "application/json",
            "request_bytes": 0,
            "response_bytes": 12,
            "recorded_at": "2026-11-21T22:02:42.120Z",
        }
        assert rows[1]["frames"] == 3
        assert rows[1]["truncated"] == "the server went away"

    def test_requests_to_one_url_are_told_apart(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """By operation, model and stream, and by what is asked; without credentials."""
        prompt = "You are a helpful assistant. " * 20
        chat = {"model": "gpt-5", "messages": [{"role": "user", "content": "Say hello"}]}
        parts = [{"type": "input_text", "text": prompt + "Question 2?"}]
        form = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
        secret = {"model": "m", "api_key": "sk-proj-1a2B3c4D5e6F7g8H9i0J", "n": 1}
        texts = [
            (JSON, json.dumps(chat)),
            (JSON, json.dumps({**chat, "stream": True})),
            (JSON, json.dumps({"model": "o3", "input": [{"role": "user", "content": parts}]})),
            (((b"X-Amz-Target", b"AmazonSQS.ListQueues"),), "{}"),
            (form, "Action=ListTopics&Version=2010&NextToken=a%20b&password=hunter2"),
            (JSON, json.dumps({"jsonrpc": "2.0", "method": "tools/list", "id": 7})),
            (JSON, json.dumps(secret)),
            ((), "plain words"),
            ((), "\udcff\udcfe"),
        ]
        made = [
            evolve(one, request=evolve(one.request, method=b"POST", headers=h, body=Body.of(b)))
            for one, h, b in (
                (recorded(b"/v1"), h, text.encode("utf-8", "surrogateescape")) for h, text in texts
            )
        ]
        lines = call(capsys, "ls", write(tmp_path / "api.json", *made)).out.splitlines()
        assert [line.partition("https://api.test/v1")[2].strip() for line in lines] == [
            'gpt-5 "Say hello"',
            'gpt-5 stream "Say hello"',
            'o3 "You are a helpful assistant. You are…ant. Question 2?"',
            "AmazonSQS.ListQueues",
            'ListTopics "NextToken=a b&password=REDACTED"',
            'tools/list "{"jsonrpc":"2.0","id":7}"',
            'm "{"api_key":"REDACTED","n":1}"',
            '"plain words"',
            "",
        ]
        rows = json.loads(call(capsys, "ls", tmp_path / "api.json", "--json").out)
        assert (rows[1]["model"], rows[1]["stream"], rows[1]["about"]) == (
            "gpt-5",
            True,
            "Say hello",
        )
        assert "stream" not in rows[0]

    def test_an_empty_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cassette = write(tmp_path / "api.json")
        assert call(capsys, "ls", cassette).out == ""
        assert json.loads(call(capsys, "ls", "--json", cassette).out) == []

    def test_what_is_unknown_or_wrong_has_its_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cassette = tmp_path / "api.json"
        faulty = {"type": "http", "http": {"request": {"method": "GET", "path": "/"}}}
        cassette.write_text(json.dumps({"interactions": [{"type": "grpc"}, faulty]}))
        said = call(capsys, "ls", cassette)
        assert said.code == 0
        assert "interaction 1: Object missing required field `response`" in said.out

    def test_nothing_steers_the_terminal(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        evil = b"\x1b]0;evil\x07\xc2\x9b31m"
        cassette = write(
            tmp_path / "api.json",
            evolve(recorded(b"/a", evil, ((b"X", b"\x1b[31m"),)), truncated="\x1b[2J"),
        )
        for arguments in (("ls",), ("show", "0"), ("stats",), ("verify",)):
            name, *more = arguments
            said = call(capsys, name, cassette, *more)
            assert not set("\x1b\x07\x9b") & set(said.out + said.err), arguments


class TestShow:
    def test_heads_and_bodies(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call(capsys, "show", mixed, "2").out == (
            "recorded at 2026-11-21T22:02:42.120Z\n\n"
            "GET https://api.test:443/b\n\n"
            "500 OK\nContent-Type: application/json\n\n"
            '{\n  "ok": true\n}\n\n'
            "truncated: time-out\n"
        )

    def test_frames(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = call(capsys, "show", mixed, "1").out
        assert '--> text  +0ms\n    {\n      "hi": 1\n    }\n' in out
        assert "<-- binary  +7ms\n    (2 B of application/octet-stream)\n" in out
        assert "<-- close 1001 going  +0ms\n" in out
        assert out.endswith("truncated: the server went away\n")

    @pytest.mark.parametrize(
        ("coding", "coded"),
        [("gzip", gzip.compress(b'{"n": 1}')), ("br", brotli.compress(b'{"n": 1}'))],
    )
    def test_codings_are_undone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], coding: str, coded: bytes
    ) -> None:
        headers = (*JSON, (b"Content-Encoding", coding.encode()))
        cassette = write(tmp_path / "api.json", recorded(body=coded, headers=headers))
        said = call(capsys, "show", cassette, "0").out
        assert said.endswith(f'({coding} undone)\n{{\n  "n": 1\n}}\n')
        assert call(capsys, "show", "--body", cassette, "0").out == '{"n": 1}'

    def test_raw_is_what_stands_there(
        self, mixed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        raw = call(capsys, "show", mixed, "1", "--raw").out
        assert raw == encode(SESSION).decode() + "\n"

    def test_a_large_body_is_in_its_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cassette = tmp_path / "api.json"
        name = body_file(cassette, b"[" + b"1," * 600_000 + b"1]")
        body = Body(size_bytes=1_200_003, file=cassette.with_suffix(".d") / name)
        write(cassette, evolve(recorded(), body=body))
        assert "(1.1 MiB in all" in call(capsys, "show", cassette, "0").out.replace("... ", "")
        assert len(call(capsys, "show", "--body", cassette, "0").out) == 1_200_003
        (cassette.with_suffix(".d") / name).unlink()
        said = call(capsys, "show", cassette, "0")
        assert said.code == 1
        assert f"{name}: No such file" in said.err

    @pytest.mark.parametrize("number", ["3", "-1", "x", "0-1"])
    def test_a_number_must_be_one(
        self, mixed: Path, capsys: pytest.CaptureFixture[str], number: str
    ) -> None:
        said = call(capsys, "show", mixed, number)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("buffr: ")

    def test_event_streams(self) -> None:
        text = b'event: a\ndata: {"n": 1}\n\ndata: [DONE]\n\n'
        assert pretty(text, "text/event-stream", Paint(on=False)) == (
            'event: a\ndata: {\n        "n": 1\n      }\n\ndata: [DONE]\n\n'
        )

    def test_colours(self) -> None:
        assert pretty(b'{"n": [1, "a"]}', "", Paint(on=True)).splitlines() == [
            "{",
            '  \x1b[36m"n"\x1b[0m: [',
            "    \x1b[33m1\x1b[0m,",
            '    \x1b[32m"a"\x1b[0m',
            "  ]",
            "}",
        ]

    def test_digits_and_duplicate_names_stay(self) -> None:
        text = b'{"id": 12345678901234567890123, "a": 1, "a": 1.50}'
        shown = pretty(text, "application/json", Paint(on=False))
        assert "12345678901234567890123" in shown
        assert shown.count('"a"') == 2
        assert "1.50" in shown

    def test_endless_lines_are_cut(self) -> None:
        shown = pretty(b'{"audio": "' + b"A" * 100_000 + b'"}', "", Paint(on=False))
        assert len(shown) < 3000
        assert "98" in shown


class TestStats:
    def test_json(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        stats = json.loads(call(capsys, "stats", mixed, "--json").out)
        assert stats["interactions"] == 3
        assert (stats["sessions"], stats["frames"], stats["truncated"]) == (1, 3, 2)
        assert stats["hosts"] == {"api.test": 2, "(no host)": 1}
        assert stats["statuses"] == {"200": 1, "101": 1, "500": 1}
        assert stats["file_bytes"] == mixed.stat().st_size
        assert stats["largest"][0]["index"] == 0

    def test_text(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "interactions  3\n" in call(capsys, "stats", mixed).out


class TestVerify:
    def test_good_ones(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("go-reverse.json", "go-forward.json"):
            shutil.copy(DATA / name, tmp_path)
        (tmp_path / "package.json").write_text('{"name": "x"}')
        said = call(capsys, "verify", tmp_path)
        assert said.code == 0
        assert len(said.out.splitlines()) == 2
        assert call(capsys, "verify", "-q", tmp_path).out == ""

    def test_truncated_ones(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        said = call(capsys, "verify", mixed)
        assert said.code == 1
        assert said.out.splitlines() == [
            f"{mixed}: interaction 1: truncated: the server went away; it is never replayed",
            f"{mixed}: interaction 2: truncated: time-out; it is never replayed",
        ]

    def test_body_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cassette = tmp_path / "api.json"
        directory = cassette.with_suffix(".d")
        names = [body_file(cassette, b"%d" % n) for n in range(4)]
        bodies = [Body(size_bytes=1, file=directory / name) for name in names]
        write(cassette, *[evolve(recorded(), body=body) for body in bodies])
        (directory / names[1]).write_bytes(b"x")
        (directory / names[2]).write_bytes(b"longer")
        (directory / names[3]).unlink()
        lines = call(capsys, "verify", cassette).out.splitlines()
        assert [line.rpartition(": ")[2] for line in lines] == [
            "its bytes are others than those recorded",
            "it has 6 bytes, not 1",
            "No such file or directory",
        ]
        assert "interaction 1: " in lines[0]

    def test_a_torn_one(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        mixed.write_bytes(mixed.read_bytes()[:-100])
        said = call(capsys, "verify", mixed)
        assert said.code == 1
        assert f"{mixed}: it ends in the middle of interaction 2" in said.out
        assert call(capsys, "ls", mixed).err.count("it ends in the middle") == 1
        refused = call(capsys, "rm", mixed, "0")
        assert refused.code == 1
        assert "it ends in the middle of interaction 2" in refused.err


FAULTS = {
    "merge": ('{"interactions": [\n<<<<<<< HEAD\n{}\n=======\n]}', ":2:1: it contains a merge"),
    "typo": ('{"interactions": [{"type" "http"}, {}]}', ":1:27: "),
    "newer": ('{"version": 9, "interactions": []}', "version 9 is newer"),
    "other": ('{"name": "x"}', "there is no list of interactions"),
    "list": ("[]", "the top level must be an object"),
    "binary": ("\x00\x01", ":1:1: "),
}


UNREADABLE = {"scan": 2, "redact": 2}
"""Exit codes of those for which 1 means something else."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "command", ["ls", "show", "stats", "scan", "redact", "verify", "rm", "expire"]
)
def test_what_is_no_cassette(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, fault: str
) -> None:
    text, says = FAULTS[fault]
    path = tmp_path / "api.json"
    path.write_text(text)
    more = {"show": ["0"], "rm": ["0"], "expire": ["--older-than", "1d"]}.get(command, [])
    said = call(capsys, command, path, *more)
    assert (said.code, said.out) == (UNREADABLE.get(command, 1), "")
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert path.read_text() == text


@pytest.mark.parametrize(
    "command", ["ls", "show", "stats", "scan", "redact", "verify", "rm", "expire"]
)
def test_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = tmp_path / "api.json"
    more = {"show": ["0"], "rm": ["0"], "expire": ["--older-than", "1d"]}.get(command, [])
    said = call(capsys, command, path, *more)
    code = UNREADABLE.get(command, 1)
    assert (said.code, said.err) == (code, f"buffr: {path}: there is no such file\n")
    assert list(tmp_path.iterdir()) == []


class TestDiff:
    def test_the_same(self, mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
        said = call(capsys, "diff", mixed, mixed)
        assert (said.code, said.out, said.err) == (0, "", "")

    def test_layout_order_and_dates_make_no_difference(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one, two = recorded(b"/1", headers=(*JSON, (b"Date", b"then"))), recorded(b"/2")
        old = write(tmp_path / "old.json", one, two)
        new = write(tmp_path / "new.json", two, recorded(b"/1", headers=(*JSON, (b"date", b"now"))))
        new.write_text(json.dumps(json.loads(new.read_bytes())))
        assert call(capsys, "diff", old, new).code == 0

    def test_what_is_new_gone_and_changed(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        old = write(tmp_path / "old.json", recorded(b"/gone"), recorded(b"/a"), recorded(b"/same"))
        changed = recorded(b"/a", b'{"ok": false, "n": [1]}', (*JSON, (b"X-Id", b"7")), 201)
        new = write(tmp_path / "new.json", changed, recorded(b"/same"), recorded(b"/new"))
        said = call(capsys, "diff", old, new)
        assert said.code == 1
        assert said.out.splitlines() == [
            "- 0  GET https://api.test/gone",
            "+ 2  GET https://api.test/new",
            "~ 1 -> 0  GET https://api.test/a",
            "    status: '200' -> '201'",
            "    header x-id: nothing -> '7'",
            "    body /ok: 'true' -> 'false'",
            "    body /n: nothing -> '[1]'",
            "1 removed, 1 added, 1 changed, 1 the same",
        ]
        found = json.loads(call(capsys, "diff", "--json", old, new).out)
        assert found["changed"][0]["differences"][2]["pointer"] == "/ok"
        ignoring = call(capsys, "diff", "--ignore-header", "X-Id", old, new).out
        assert "x-id" not in ignoring

    def test_of_several_answers_the_first_belongs_to_the_first(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        old = write(tmp_path / "old.json", recorded(), recorded(body=b"2"), recorded(body=b"3"))
        new = write(tmp_path / "new.json", recorded(), recorded(body=b"two"))
        lines = call(capsys, "diff", old, new).out.splitlines()
        assert lines[0].startswith("- 2 ")
        assert lines[1].startswith("~ 1 ")
        assert lines[-1] == "1 removed, 0 added, 1 changed, 1 the same"

    def test_frames(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        frames = (*SESSION.frames[:2], evolve(SESSION.frames[2], close_code=1000))
        old = write(tmp_path / "old.json", SESSION)
        new = write(tmp_path / "new.json", evolve(SESSION, frames=frames))
        out = call(capsys, "diff", old, new).out
        assert "    frame 2: 'server_to_client close 1001: going' -> 'server_to_client" in out

    def test_bytes_of_the_go_program(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cassette = Path(shutil.copy(DATA / "go-reverse.json", tmp_path))
        age(cassette)
        assert call(capsys, "diff", DATA / "go-reverse.json", cassette).code == 0
        call(capsys, "rm", cassette, "10")
        assert len(elements(cassette)) == 10
        out = call(capsys, "diff", DATA / "go-reverse.json", cassette).out
        assert out.splitlines()[-1] == "1 removed, 0 added, 0 changed, 10 the same"


def test_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--help").code == 0
    assert call(capsys).code == 1
    assert "no command 'cassette lss'" in call(capsys, "lss").err
