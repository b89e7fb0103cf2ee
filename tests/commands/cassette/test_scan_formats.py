"""Recordings of other programs, and caches, are searched as cassettes are: the content decides."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml
import zstandard
from calls import call

from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.stores.cache import CacheEntry
from buffr.stores.cassette.format import encode
from buffr.stores.disk import Disk
from buffr.stores.sqlite.elements import TABLES, coded
from buffr.stores.sqlite.file import CacheFile
from buffr.stores.sqlite.rows import row_of

KEY = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
CODED = base64.b64encode(gzip.compress(json.dumps({"note": KEY}).encode())).decode()


def har_entry(**changed: object) -> dict[str, object]:
    entry: dict[str, object] = {
        "request": {
            "method": "GET",
            "url": "https://api.test/a",
            "headers": [],
            "cookies": [],
            "queryString": [],
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "headers": [{"name": "Content-Type", "value": "application/json"}],
            "content": {"text": "{}", "mimeType": "application/json"},
        },
    }
    for name, value in changed.items():
        part, _, member = name.partition("_")
        held = entry[part]
        assert isinstance(held, dict)
        held[member] = value
    return entry


HARS = {
    "request header Authorization": har_entry(
        request_headers=[{"name": "Authorization", "value": f"Bearer {KEY}"}]
    ),
    "request query": har_entry(request_url=f"https://api.test/a?api_key={KEY}"),
    "request url": har_entry(request_url=f"https://me:{KEY}@api.test/a"),
    "request body /note": har_entry(
        request_postData={"mimeType": "application/json", "text": json.dumps({"note": KEY})}
    ),
    "response header X-Any": har_entry(response_headers=[{"name": "X-Any", "value": KEY}]),
    "response body": har_entry(
        response_content={"text": base64.b64encode(KEY.encode()).decode(), "encoding": "base64"}
    ),
    "entry /request/comment": har_entry(request_comment=KEY),
}


def vcr(**changed: object) -> dict[str, object]:
    request: dict[str, object] = {
        "method": "GET",
        "uri": "https://api.test/a",
        "body": None,
        "headers": {"Accept": ["*/*"]},
    }
    response: dict[str, object] = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-type": ["application/json"]},
        "body": {"string": "{}"},
    }
    for name, value in changed.items():
        part, _, member = name.partition("_")
        (request if part == "request" else response)[member] = value
    return {"version": 1, "interactions": [{"request": request, "response": response}]}


VCRS = {
    "request header Authorization": vcr(request_headers={"Authorization": [f"Bearer {KEY}"]}),
    "request query": vcr(request_uri=f"https://api.test/a?api_key={KEY}"),
    "request body": vcr(request_body=f"note={KEY}"),
    "response header X-Any": vcr(response_headers={"X-Any": [KEY]}),
    "response body": vcr(response_body={"string": KEY}),
    "interaction /response/url": vcr(response_url=f"https://api.test/{KEY}"),
}


def told(capsys: pytest.CaptureFixture[str], path: Path) -> list[dict[str, object]]:
    said = call(capsys, "scan", "--json", path)
    assert said.code == 1
    assert KEY[:8] not in said.out + said.err
    return [json.loads(line) for line in said.out.splitlines()]


class TestHAR:
    @pytest.mark.parametrize("where", HARS)
    def test_places(self, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "a.har"
        log = {"log": {"version": "1.2", "entries": [har_entry(), HARS[where]]}}
        path.write_text(json.dumps(log, indent=1))
        (found,) = told(capsys, path)
        assert (found["interaction"], found["where"]) == (1, where)
        line = found["line"]
        assert isinstance(line, int)
        assert path.read_text().splitlines()[line - 1].strip() == "{"
        assert line > 10

    def test_a_name_without_an_ending(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "recording"
        path.write_text(json.dumps({"log": {"entries": [HARS["request query"]]}}))
        assert len(told(capsys, path)) == 1


class TestVCR:
    @pytest.mark.parametrize("where", VCRS)
    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_places(
        self, kind: str, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / f"a.{kind}"
        dump = yaml.safe_dump if kind == "yaml" else json.dumps
        path.write_text(dump(VCRS[where]))
        (found,) = told(capsys, path)
        assert (found["interaction"], found["where"]) == (0, where)

    @pytest.mark.parametrize("body", ["!!binary", "base64_string"])
    def test_bytes_that_are_still_compressed(
        self, body: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        held: dict[str, object] = {"base64_string": CODED}
        if body == "!!binary":
            held = {"string": base64.b64decode(CODED)}
        coded = {"content-type": ["application/json"], "content-encoding": ["gzip"]}
        path = tmp_path / "a.yaml"
        path.write_text(yaml.safe_dump(vcr(response_body=held, response_headers=coded)))
        (found,) = told(capsys, path)
        assert found["where"] == "response body /note"

    def test_a_field_that_lies_about_a_plain_body(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """VCR.py keeps ``Content-Encoding`` with bodies that it has decoded."""
        coded = {"content-type": ["application/json"], "content-encoding": ["gzip"]}
        path = tmp_path / "a.yaml"
        plain = {"string": json.dumps({"note": KEY})}
        path.write_text(yaml.safe_dump(vcr(response_body=plain, response_headers=coded)))
        (found,) = told(capsys, path)
        assert found["where"] == "response body /note"


class TestCache:
    @pytest.mark.parametrize("padding", ["", "x " * 2000], ids=["small", "compressed"])
    def test_recordings(
        self, padding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Those of modes auto and record, which may stand beside a cache's answers."""
        path = tmp_path / "recorded.db"
        CacheFile(path, print, Disk()).prepare()
        body = json.dumps({"pad": padding, "note": KEY}).encode()
        interaction = HTTPInteraction(
            RecordedRequest(b"GET", b"/a"),
            ResponseHead(200, b"OK", ((b"Content-Type", b"application/json"),)),
            Body.of(body),
        )
        element = encode(interaction)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(TABLES)
            connection.execute(
                "INSERT INTO interactions (recording, coding, element, element_bytes) "
                "VALUES (1, ?, ?, ?)",
                (*coded(element), len(element)),
            )
            connection.commit()
        said = call(capsys, "scan", path)
        assert said.code == 1
        assert "/note" in said.out
        assert call(capsys, "verify", path).out == f"{path}: 1 interaction, all good\n"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE interactions SET coding = 0, element = ?", (element[:-9],))
            connection.commit()
        verified = call(capsys, "verify", path)
        assert verified.code == 1
        assert "interaction 0: it cannot be read" in verified.out

    def test_entries(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "cache.db"
        file = CacheFile(path, print, Disk())
        file.prepare()
        json_type = ((b"content-type", b"application/json"),)
        entry = CacheEntry(
            b"k" * 16,
            "api",
            b"GET",
            "https://api.test/a",
            (),
            ResponseHead(200, b"OK", json_type),
            Body.of(json.dumps({"pad": "x " * 2000, "note": KEY}).encode()),
            (),
            1.0,
            1.0,
            2e9,
            3e9,
            (),
        )
        writer = file.writer()
        row = row_of(entry, 1, zstandard.ZstdCompressor())
        marks = ",".join("?" * len(row.values))
        writer.execute(f"INSERT INTO entries VALUES ({marks})", row.values)
        writer.close()
        (found,) = told(capsys, path)
        assert (found["interaction"], found["where"]) == (0, "response body /note")

    def test_another_database_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "a.db"
        path.write_bytes(b"SQLite format 3\0" + bytes(200))
        assert call(capsys, "scan", path).code == 2
        assert call(capsys, "scan", "--only-cassettes", path).code == 0


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

HOSTILE = {
    "bomb.yaml": BOMB + "interactions:\n- *i\n",
    "deep.yaml": "interactions:\n- " + "[" * 50_000,
    "merge.yaml": "interactions:\n- &a {x: 1}\n- {<<: *a}\n- {<<: [*a, *a, *a\n",
    "tag.yaml": "interactions:\n- !!python/object/apply:os.system [x\n",
    "deep.har": '{"log": {"entries": [' + "[" * 50_000,
    "deep2.har": '{"log": {"entries": [' + "[" * 500 + "]" * 500 + "]}}",
    "cut.har": '{"log": {"entries": [{"request": ' + f'"{KEY}',
    "list.har": '{"log": {"entries": 1}}',
    "cut.yaml": f'interactions:\n- request: "{KEY}\n',
    "list.yaml": "interactions:\n  a: 1\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_is_told_in_a_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(HOSTILE[name])
    said = call(capsys, "scan", path)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith(f"buffr: {path}")
    assert KEY[:5] not in said.err


ODD = {
    "a.har": '{"log": {"entries": [1, null, {"request": 5, "response": []}, {"request": {}}]}}',
    "b.har": '{"log": {"entries": [{"request": {"url": "http://[", "headers": {"a": 1}}}]}}',
    "a.yaml": "interactions:\n- 1\n-\n- {request: [], response: {status: x, body: [1]}}\n",
    "b.yaml": "interactions: []\n",
    "c.yaml": "interactions:\n- request: &r {uri: /a, method: GET}\n- request: *r\n",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_shapes_are_searched_as_far_as_they_go(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(ODD[name])
    said = call(capsys, "scan", path)
    assert (said.code, said.out, said.err) == (0, "", "")


def test_a_directory_of_all_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": [HARS["request query"]]}}))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(VCRS["request query"]))
    (tmp_path / "c.json").write_text(json.dumps(VCRS["request query"]))
    (tmp_path / "docker-compose.yaml").write_text("services: {}\n")
    (tmp_path / "package.json").write_text("{}")
    said = call(capsys, "scan", tmp_path)
    assert said.err == ""
    assert [Path(line.split(": ")[0]).name for line in said.out.splitlines()] == [
        "a.har",
        "b.yaml",
        "c.json",
    ]
