"""Recordings of other tools, imported and replayed under the rules of those tools."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import requests

from buffr.formats.codings import decoded
from buffr.interaction import HTTPInteraction
from buffr.interchange.formats import FORMATS, format_of
from buffr.interchange.imported import Imported
from buffr.interchange.source import Source
from buffr.message import first_value
from buffr.testing import BuffrProcess

SAMPLES = Path(__file__).parents[1] / "interchange" / "samples"
FILES = (
    ("vcr", "vcrpy/requests.yaml"),
    ("vcr", "vcrpy/httpx.yaml"),
    ("vcr", "vcrpy/aiohttp.yaml"),
    ("vcr", "vcrpy/v8.2.1-gzip.yaml"),
    ("vcr", "vcrpy/textonly.json"),
    ("vcr", "cassetter/httpx.toml"),
    ("vcr", "pytest-recording/cassettes/test_a/test_two.yaml"),
    ("har", "mitmproxy/dump.har"),
    ("har", "playwright/h1-attach.zip"),
    ("har", "playwright/h1-embed.har"),
    ("har", "playwright/h2-embed.har"),
    ("har", "polly/sample_2531492519/recording.har"),
)
SETTINGS = """
forward:
  repeat: {repeat}
  hosts: [{{host: "*", cassette: imported.json, match: {preset}}}]
"""


def recorded(path: Path) -> list[HTTPInteraction]:
    """What the importer reads, in order."""
    source = Source(path)
    kind = format_of(source)
    assert kind is not None
    return [
        each.interaction
        for each in FORMATS[kind].read(source)
        if isinstance(each, Imported) and isinstance(each.interaction, HTTPInteraction)
    ]


def content(interaction: HTTPInteraction) -> bytes:
    codings = first_value(interaction.response.headers, b"content-encoding") or b""
    body = decoded(codings, interaction.body.data, limit_bytes=1 << 20)
    assert body is not None
    return body


def imported(path: Path, directory: Path) -> None:
    """Import into ``imported.json``; the exit code is 1 where a file has half an exchange."""
    words = ["cassette", "import", str(path), "-o", "imported.json"]
    command = [sys.executable, "-m", "buffr", *words]
    subprocess.run(command, cwd=directory, check=False, capture_output=True)
    assert (directory / "imported.json").exists()


class Client:
    """Asks as another client than the recorded one would."""

    def __init__(self, running: BuffrProcess) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = False
        self._session.proxies = {"http": running.url, "https": running.url}

    def ask(self, one: HTTPInteraction, body: bytes | None) -> tuple[int, bytes]:
        request = one.request
        url = f"{request.scheme}://{request.host}:{request.port}{request.target.decode()}"
        kind = first_value(request.headers, b"content-type")
        headers = {} if kind is None else {"Content-Type": kind.decode()}
        given = self._session.request(
            request.method.decode(),
            url,
            data=body,
            headers={**headers, "User-Agent": "another/1", "Range": "bytes=0-"},
            allow_redirects=False,
        )
        return given.status_code, given.content


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize(("preset", "name"), FILES)
def test_imported_recordings_answer(tmp_path: Path, preset: str, name: str) -> None:
    """Each request gets the answers that its server gave, in order, then what the tool gives.

    That is none for VCR.py, and the last one for a HAR.
    """
    imported(SAMPLES / name, tmp_path)
    (tmp_path / "buffr.yaml").write_text(SETTINGS.format(preset=preset, repeat=""))
    ours = recorded(SAMPLES / name)
    assert ours
    with BuffrProcess.run("proxy", "--replay", "--port=0", "-c", "buffr.yaml", cwd=tmp_path) as up:
        client = Client(up)
        for one in ours:
            # VCR.py's rules do not look at the body; a HAR's do where it has one.
            body = b"another body" if preset == "vcr" else one.request.body.data
            assert client.ask(one, body) == (one.response.status, content(one))
        asked = Counter((one.request.method, one.request.target) for one in ours)
        last = next(one for one in ours if asked[one.request.method, one.request.target] == 1)
        again = client.ask(last, last.request.body.data)
        if preset == "vcr":
            assert again[0] == 599
        else:
            assert again == (last.response.status, content(last))


def test_settings_win_over_the_preset(tmp_path: Path) -> None:
    """``repeat`` and the parts that count may be set beside it."""
    name = "vcrpy/requests.yaml"
    imported(SAMPLES / name, tmp_path)
    match = "{preset: vcr, on: [method, path, query]}"
    (tmp_path / "buffr.yaml").write_text(SETTINGS.format(preset=match, repeat="last"))
    (one, *_) = recorded(SAMPLES / name)
    with BuffrProcess.run("proxy", "--replay", "--port=0", "-c", "buffr.yaml", cwd=tmp_path) as up:
        for host in ("elsewhere.example", "a.example", "b.example") * 4:
            url = f"http://{host}{one.request.target.decode()}"
            given = requests.get(url, proxies={"http": up.url}, timeout=60)
            assert given.status_code == one.response.status
