"""Files that the tools themselves wrote, all of one small server's answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from buffr.formats.codings import decoded
from buffr.interaction import FrameKind, HTTPInteraction, WebSocketInteraction
from buffr.interchange.formats import FORMATS, Format, format_of
from buffr.interchange.imported import Imported, NotImported
from buffr.interchange.source import Source
from buffr.message import first_value

SAMPLES = Path(__file__).parent / "samples"
FILES = {
    "betamax/sample.json": Format.VCR,
    "cassetter/httpx.toml": Format.VCR,
    "cassetter/requests.yaml": Format.VCR,
    "go-vcr/sample.yaml": Format.GO_VCR,
    "hoverfly/simulation.json": Format.HOVERFLY,
    "mitmproxy/dump.har": Format.HAR,
    "mitmproxy/flows.mitm": Format.MITMPROXY,
    "nock/sample.json": Format.NOCK,
    "playwright/h1-attach.zip": Format.HAR,
    "playwright/h1-embed.har": Format.HAR,
    "playwright/h1-minimal.har": Format.HAR,
    "playwright/h2-embed.har": Format.HAR,
    "polly/sample_2531492519/recording.har": Format.HAR,
    "pytest-recording/cassettes/test_a/TestX.test_three[-bin].yaml": Format.VCR,
    "pytest-recording/cassettes/test_a/TestX.test_three[-sse].yaml": Format.VCR,
    "pytest-recording/cassettes/test_a/named.yaml": Format.VCR,
    "pytest-recording/cassettes/test_a/test_one.yaml": Format.VCR,
    "pytest-recording/cassettes/test_a/test_two.yaml": Format.VCR,
    "talkback": Format.TALKBACK,
    "vcrpy/aiohttp.yaml": Format.VCR,
    "vcrpy/decoded.yaml": Format.VCR,
    "vcrpy/httpx.yaml": Format.VCR,
    "vcrpy/requests.yaml": Format.VCR,
    "vcrpy/textonly.json": Format.VCR,
    "vcrpy/v8.2.1-gzip.yaml": Format.VCR,
    "wiremock": Format.WIREMOCK,
}
LOSSES = Path(__file__).parent / "losses.txt"
"""What of each sample is not as the server and the client had it, a line each."""

JSON = '{"hello": "wörld", "n": 1}'.encode()
SSE = b"".join([b'id: %d\ndata: {"i": %d}\n\n' % (i, i) for i in range(5)])
BODIES = {
    b"/json": {JSON, JSON.replace(b": ", b":").replace(b", ", b",")},
    b"/gzip": {b'{"compressed": true}', b'{"compressed":true}'},
    b"/br": {b'{"brotli": true}'},
    b"/bin": {bytes(range(256))},
    b"/latin1": {b"caf\xe9"},
    b"/sse": {SSE},
    b"/empty": {b""},
    b"/redirect": {b""},
    b"/trailer": {b"body"},
}
"""What the server sent, decoded; tools that parse JSON write it without spaces."""

NOT_WRITTEN = ("mitmproxy/dump.har", b"/trailer")
"""mitmproxy lost this body, and its HAR does not show it."""


def read(name: str) -> list[Imported | NotImported]:
    source = Source(SAMPLES / name)
    return list(FORMATS[FILES[name]].read(source))


def interactions(name: str) -> list[Imported]:
    return [each for each in read(name) if isinstance(each, Imported)]


def told(name: str) -> list[str]:
    lines = []
    for number, each in enumerate(read(name)):
        if isinstance(each, NotImported):
            lines.append(f"{name} {number}: not imported: {each.message}")
        else:
            lines += [f"{name} {number}: {loss}" for loss in each.losses]
    return lines


class TestSamples:
    @pytest.mark.parametrize("name", FILES)
    def test_the_format_is_found_by_content(self, name: str, tmp_path: Path) -> None:
        path = SAMPLES / name
        assert format_of(Source(path)) is FILES[name]
        if path.is_file() and path.suffix not in (".zip", ".toml"):
            renamed = tmp_path / "recording"
            renamed.write_bytes(path.read_bytes())
            assert format_of(Source(renamed)) is FILES[name]

    def test_each_loss_is_told(self) -> None:
        expected = LOSSES.read_text("utf-8").splitlines()
        assert [line for name in FILES for line in told(name)] == expected

    @pytest.mark.parametrize("name", FILES)
    def test_bodies_are_those_of_the_server(self, name: str) -> None:
        """Except for those with a reported loss."""
        seen = 0
        for each in interactions(name):
            interaction = each.interaction
            if not isinstance(interaction, HTTPInteraction):
                continue
            body = plain(interaction)
            path = interaction.request.target.partition(b"?")[0]
            if (name, path) == NOT_WRITTEN:
                continue
            if path in BODIES and not any("the body of the answer" in one for one in each.losses):
                assert body in BODIES[path]
                seen += 1
        assert seen

    @pytest.mark.parametrize("name", FILES)
    def test_requests_have_the_target_that_was_asked_for(self, name: str) -> None:
        for each in interactions(name):
            request = each.interaction.request
            assert request.target.startswith(b"/")
            hosts = ("127.0.0.1", "localhost")
            assert request.host in ((None,) if name == "wiremock" else hosts)

    def test_repeated_fields_stay_apart(self) -> None:
        for name in ("vcrpy/requests.yaml", "mitmproxy/flows.mitm", "hoverfly/simulation.json"):
            headers = next(
                each.interaction.response.headers
                for each in interactions(name)
                if each.interaction.request.target.startswith(b"/json")
            )
            cookies = [value for key, value in headers if key.lower() == b"set-cookie"]
            assert cookies == [b"a=1; Path=/; HttpOnly", b"b=2; Path=/"]

    def test_trailers_are_kept_where_the_source_has_them(self) -> None:
        for name in ("go-vcr/sample.yaml", "hoverfly/simulation.json", "mitmproxy/flows.mitm"):
            trailers = [
                each.interaction.trailers
                for each in interactions(name)
                if isinstance(each.interaction, HTTPInteraction) and each.interaction.trailers
            ]
            assert [fields[0][1] for fields in trailers] == [b"42"]

    @pytest.mark.parametrize(
        "name", ["mitmproxy/flows.mitm", "mitmproxy/dump.har", "playwright/h1-attach.zip"]
    )
    def test_web_socket_messages_are_kept(self, name: str) -> None:
        (session,) = [
            each.interaction
            for each in interactions(name)
            if isinstance(each.interaction, WebSocketInteraction)
        ]
        messages = [
            (frame.direction.value.partition("_")[0], frame.data.data)
            for frame in session.frames
            if frame.kind is not FrameKind.CLOSE
        ]
        binary = b"\x00\xff\x07"
        assert messages == [
            ("client", b"hi"),
            ("client", binary),
            ("server", b"hi"),
            ("server", binary),
        ]

    def test_a_close_is_kept_where_the_source_has_it(self) -> None:
        session = interactions("mitmproxy/flows.mitm")[-1].interaction
        assert isinstance(session, WebSocketInteraction)
        assert [(f.close_code, f.reason) for f in session.frames[-2:]] == [(4001, "bye")] * 2

    def test_scenarios_become_order(self) -> None:
        targets = [each.interaction.request.target for each in interactions("wiremock")]
        assert targets.count(b"/json?q=1") == 7

    def test_files_sorted_by_their_tool_are_in_the_order_of_their_times(self) -> None:
        """cassetter sorts by URL."""
        times = [each.interaction.recorded_at for each in interactions("cassetter/requests.yaml")]
        assert times == sorted(times, key=str)


def plain(interaction: HTTPInteraction) -> bytes:
    """A body without its content coding."""
    codings = first_value(interaction.response.headers, b"content-encoding") or b""
    body = decoded(codings, interaction.body.data, limit_bytes=1 << 20)
    assert body is not None
    return body
