"""Cassettes in other tools' formats: read back by the importers, and by the tools' own rules."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from buffr.interaction import Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.interchange.exporting import ExportReport, ExportTo, exported
from buffr.interchange.formats import FORMATS, Format, format_of
from buffr.interchange.imported import Imported
from buffr.interchange.importing import Importing
from buffr.interchange.source import Source
from buffr.message import ResponseHead
from buffr.origin import Origin
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.snapshot import Snapshot, read_snapshot
from buffr.stores.cassette.writing import write_new

SAMPLES = Path(__file__).parent / "samples"
SOURCES = ("mitmproxy/flows.mitm", "vcrpy/requests.yaml", "go-vcr/sample.yaml")
READ_BACK = {
    ExportTo.HAR: Format.HAR,
    ExportTo.VCR: Format.VCR,
    ExportTo.WIREMOCK: Format.WIREMOCK,
    ExportTo.MITMPROXY: Format.MITMPROXY,
}


def unexpected(warning: str) -> None:
    raise AssertionError(warning)


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    path = tmp_path / "cassette.json"
    Importing(RedactionRules(), unexpected).run([SAMPLES / each for each in SOURCES], path)
    return read_snapshot(path, unexpected)


def written(snapshot: Snapshot, to: ExportTo, report: ExportReport | None = None) -> bytes:
    return b"".join(exported(snapshot, to, report or ExportReport()))


def read_back(text: bytes, to: ExportTo, path: Path) -> list[Imported]:
    path.write_bytes(text)
    source = Source(path)
    assert format_of(source) is READ_BACK[to]
    found = list(FORMATS[READ_BACK[to]].read(source))
    assert all(isinstance(each, Imported) for each in found)
    return [each for each in found if isinstance(each, Imported)]


class TestExporting:
    def test_nothing_is_lost_in_a_har(self, snapshot: Snapshot, tmp_path: Path) -> None:
        found = read_back(written(snapshot, ExportTo.HAR), ExportTo.HAR, tmp_path / "x")
        assert [encode(each.interaction) for each in found] == [
            encode(snapshot.interaction(number)) for number in range(len(snapshot))
        ]

    @pytest.mark.parametrize("to", [ExportTo.VCR, ExportTo.MITMPROXY, ExportTo.WIREMOCK])
    def test_requests_and_answers_come_back(
        self, to: ExportTo, snapshot: Snapshot, tmp_path: Path
    ) -> None:
        report = ExportReport()
        found = read_back(written(snapshot, to, report), to, tmp_path / "x")
        left_out = {number for number, _ in report.left_out}
        kept = [
            snapshot.interaction(number)
            for number in range(len(snapshot))
            if number not in left_out
        ]
        # WireMock has no order but that of a scenario's steps.
        order = sorted if to is ExportTo.WIREMOCK else list
        assert order(told(each.interaction) for each in found) == order(map(told, kept))

    def test_what_is_left_out_is_told(self, snapshot: Snapshot) -> None:
        report = ExportReport()
        written(snapshot, ExportTo.VCR, report)
        assert report.left_out == [(12, "VCR.py has no WebSocket sessions")]
        assert report.counted()["trailers"] == 2
        assert report.written == len(snapshot) - 1

    def test_chunks_are_told_where_a_format_has_none(self, tmp_path: Path) -> None:
        report = ExportReport()
        origin = Origin("https", "api.example.com", 443)
        list(exported(streamed(tmp_path), ExportTo.MITMPROXY, report, origin))
        assert report.losses == [(0, "where the body was cut, and when its pieces came")]

    def test_an_interaction_without_a_host_takes_the_one_that_is_given(
        self, tmp_path: Path
    ) -> None:
        snapshot, report = streamed(tmp_path), ExportReport()
        written(snapshot, ExportTo.VCR, report)
        assert "--target" in report.left_out[0][1]
        origin = Origin("https", "api.example.com", 443)
        text = b"".join(exported(snapshot, ExportTo.VCR, ExportReport(), origin))
        assert b"uri: https://api.example.com/stream?a=%20b" in text

    def test_curl_sends_the_recorded_requests(self, snapshot: Snapshot) -> None:
        lines = written(snapshot, ExportTo.CURL).decode().splitlines()[1:]
        words = [shlex.split(line) for line in lines]
        urls = [each[-1] for each in words]
        assert urls[:2] == ["http://127.0.0.1:23001/empty", "http://127.0.0.1:23001/json?q=a%20b"]
        (binary,) = [each for each in words if each[0] == "printf" and each[-1].endswith("/echo")][
            :1
        ]
        assert binary[1] == "\\000\\377\\001"


def told(interaction: object) -> tuple[object, ...]:
    """What every format has."""
    request, response = interaction.request, interaction.response  # type: ignore[attr-defined]
    body = interaction.body.data if isinstance(interaction, HTTPInteraction) else None
    return request.method, request.target, request.body.data, response.status, body


def streamed(directory: Path) -> Snapshot:
    """One exchange whose body came in two pieces, recorded behind a reverse port."""
    path = directory / "streamed.json"
    interaction = HTTPInteraction(
        RecordedRequest(b"GET", b"/stream?a=%20b", ((b"Accept", b"*/*"),)),
        ResponseHead(200, b"OK", ((b"Content-Type", b"text/event-stream"),)),
        Body.of(b"data: 1\n\ndata: 2\n\n"),
        (Chunk(9, 5), Chunk(9, 20)),
    )
    write_new(path, "0" * 32, [interaction], unexpected)
    return read_snapshot(path, unexpected)
