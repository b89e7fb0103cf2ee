"""Secrets in cassettes are found wherever they are, and shown nowhere."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
from attrs import evolve
from calls import DATA, body_file, call, write
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.json_text import pointers
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

GITHUB = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
JSON = ((b"Content-Type", b"application/json"),)


def recorded(
    target: bytes = b"/a",
    asked: Headers = (),
    question: bytes = b"",
    answered: Headers = JSON,
    answer: bytes = b"{}",
) -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"POST", target, asked, Body.of(question)),
        ResponseHead(200, b"OK", answered),
        Body.of(answer),
    )


SESSION = WebSocketInteraction(
    RecordedRequest(b"GET", b"/live"),
    frames=(
        Frame(Direction.SERVER, FrameKind.TEXT, Body.of(b'{"hi": 1}')),
        Frame(Direction.CLIENT, FrameKind.TEXT, Body.of(b'{"auth": ["x", "%b"]}' % GITHUB)),
    ),
)
GZIPPED = gzip.compress(b'{"a": [{"b/c": "%b"}]}' % GITHUB)
FORM = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
STREAM = ((b"Content-Type", b"text/event-stream"),)

PLANTED: dict[str, tuple[Interaction, str]] = {
    "a header": (
        recorded(asked=((b"Authorization", b"Bearer " + GITHUB),)),
        "request header Authorization",
    ),
    "another header": (recorded(answered=((b"X-Any", GITHUB),)), "response header X-Any"),
    "the query": (recorded(b"/a?api_key=" + GITHUB), "request query"),
    "JSON": (recorded(question=b'{"n": [1, {"a": "%b"}]}' % GITHUB), "request body /n/1/a"),
    "coded JSON": (
        recorded(answered=(*JSON, (b"Content-Encoding", b"gzip")), answer=GZIPPED),
        "response body /a/0/b~1c",
    ),
    "a form": (recorded(asked=FORM, question=b"a=b&password=" + GITHUB), "request body"),
    "a stream": (
        recorded(answered=STREAM, answer=b'data: {"a": "%b"}\n\n' % GITHUB),
        "response body",
    ),
    "a frame": (SESSION, "frame 1 /auth/1"),
}


@pytest.mark.parametrize("place", PLANTED)
def test_it_is_found(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interaction, where = PLANTED[place]
    cassette = write(tmp_path / "api.json", recorded(), interaction)
    said = call(capsys, "scan", cassette)
    assert said.code == 1
    assert said.out.startswith(f"{cassette}: interaction 1: {where}: ")
    assert said.out.endswith(": ghp_...\n")
    assert said.err == ""
    assert GITHUB[:5].decode() not in said.out
    (found,) = map(json.loads, call(capsys, "scan", "--json", cassette).out.splitlines())
    assert (found["interaction"], found["where"], found["start"]) == (1, where, "ghp_")


@pytest.mark.parametrize("place", PLANTED)
def test_nothing_is_found_in_what_was_redacted(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    redacted = Redactor(RedactionRules(), b"salt").interaction(PLANTED[place][0])
    cassette = write(tmp_path / "api.json", redacted)
    said = call(capsys, "scan", cassette)
    assert (said.code, said.out, said.err) == (0, "", "")


def test_the_go_programs_credentials_are_in_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It writes them as they are sent; here they are dummies."""
    shutil.copy(DATA / "go-reverse.json", tmp_path)
    said = call(capsys, "scan", tmp_path)
    assert said.code == 1
    assert "interaction 10: request header Authorization" in said.out
    assert call(capsys, "scan", "--allow", "dummy, test", tmp_path).code == 0


def test_an_allowed_value_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = b'[{"password": "test"}, {"password": "%b"}]' % GITHUB
    cassette = write(tmp_path / "api.json", recorded(answer=answer))
    assert "/1/password" in call(capsys, "scan", "--allow", "test", cassette).out


def test_names_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cassette = write(tmp_path / "api.json", recorded(b"/?ticket=7", ((b"X-Acme", b"seven"),)))
    assert call(capsys, "scan", cassette).code == 0
    said = call(capsys, "scan", "--headers", "x-acme", "--fields", "ticket", cassette)
    assert [line.split(": ")[2] for line in said.out.splitlines()] == [
        "request query",
        "request header X-Acme",
    ]
    assert "sev" not in said.out  # four characters of a short one would help to guess it


def test_a_body_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cassette = tmp_path / "api.json"
    data = b'{"a": "%b", "b": "%b"}' % (b"x " * 600_000, GITHUB)
    name = body_file(cassette, data)
    body = Body(size_bytes=len(data), file=cassette.with_suffix(".d") / name)
    write(cassette, evolve(recorded(), body=body))
    said = call(capsys, "scan", cassette)
    assert "interaction 0: response body: github-token" in said.out
    (cassette.with_suffix(".d") / name).unlink()
    said = call(capsys, "scan", cassette)
    assert (said.code, said.out) == (2, "")
    assert f"{name}: No such file" in said.err


def test_elements_of_other_types(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cassette = tmp_path / "api.json"
    grpc = {"type": "grpc", "grpc": {"token": GITHUB.decode()}}
    cassette.write_text(json.dumps({"interactions": [grpc]}))
    assert "interaction 0: element /grpc/token: " in call(capsys, "scan", cassette).out


def test_a_torn_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = recorded(answer=b'{"a": "%b"}' % GITHUB)
    cassette = write(tmp_path / "api.json", recorded(), secret)
    cassette.write_bytes(cassette.read_bytes()[:-20])
    said = call(capsys, "scan", cassette)
    assert said.code == 2
    assert "interaction 1: torn end: " in said.out
    assert "it ends in the middle of interaction 1" in said.err


class TestManyFiles:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """Two cassettes with a secret, one without, and files that are none."""
        secret = recorded(answer=b'{"a": "%b"}' % GITHUB)
        for name in ("b", "a/x", ".hidden"):
            (tmp_path / name).mkdir(parents=True)
        write(tmp_path / "b" / "two.json", secret)
        write(tmp_path / "a" / "x" / "one.json.bak", secret)
        write(tmp_path / ".hidden" / "api.json", secret)
        write(tmp_path / "clean.json", recorded())
        (tmp_path / "package.json").write_text('{"name": "x"}')
        (tmp_path / "faulty.json").write_text('{"interactions": [\n<<<<<<< HEAD\n]}')
        return tmp_path

    def test_a_directory(self, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
        said = call(capsys, "scan", tree)
        assert said.code == 2
        assert [Path(line.split(": ")[0]).name for line in said.out.splitlines()] == [
            "one.json.bak",
            "two.json",
        ]
        assert said.err == (
            f"buffr: {tree}/faulty.json:2:1: it contains a merge conflict;"
            " fix the file; buffr has not changed it\n"
        )

    def test_files_as_a_hook_gives_them(
        self, tree: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        named = [tree / "package.json", tree / "clean.json"]
        said = call(capsys, "scan", "--only-cassettes", *named)
        assert (said.code, said.out, said.err) == (0, "", "")
        assert call(capsys, "scan", *named).code == 2
        assert call(capsys, "scan", "--only-cassettes", *named, tree / "b/two.json").code == 1
        assert call(capsys, "verify", "-q", "--only-cassettes", *named).code == 0


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=15,
)


@given(DOCUMENTS, st.booleans(), st.integers(0, 2))
def test_a_pointer_leads_to_what_stands_there(
    document: object, ascii_only: bool, indent: int
) -> None:
    marks: dict[str, str] = {}
    text = json.dumps(marked(document, "", marks), ensure_ascii=ascii_only, indent=indent).encode()
    offsets = {text.index(mark.encode()): pointer for pointer, mark in marks.items()}
    assert list(pointers(text, sorted(offsets))) == [offsets[at] for at in sorted(offsets)]


def marked(value: object, pointer: str, marks: dict[str, str]) -> object:
    """A document with a text of its own in each leaf."""
    if isinstance(value, dict):
        return {
            name: marked(inner, f"{pointer}/{escaped(name)}", marks)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [marked(inner, f"{pointer}/{at}", marks) for at, inner in enumerate(value)]
    marks[pointer] = f"<mark {len(marks)}>"
    return marks[pointer]


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


@pytest.mark.parametrize("text", [b"", b"plain", b'{"a": ', b"a=b", b"\xff"])
def test_what_is_no_json_has_no_pointers(text: bytes) -> None:
    assert list(pointers(text, [0, 3])) == ["", ""]
