"""Files that nobody vouches for: refused or read, within bounds, with the reason."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import BuffrError, CassetteError
from buffr.interaction import HTTPInteraction
from buffr.interchange.formats import FORMATS, Format, format_of
from buffr.interchange.imported import Imported, NotImported
from buffr.interchange.importing import Importing
from buffr.interchange.source import ImportLimits, Source, SourceError
from buffr.interchange.talkback import json_of_json5
from buffr.redaction.rules import RedactionRules

SAMPLES = Path(__file__).parent / "samples"


def entry(**changes: object) -> dict[str, object]:
    request = {"method": "GET", "url": "http://a.example/x", "headers": []}
    return {"request": request, "response": {"status": 200}, **changes}


def har(path: Path, *entries: object) -> Source:
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": list(entries)}}))
    return Source(path)


def read(source: Source, kind: Format = Format.HAR) -> list[Imported | NotImported]:
    return list(FORMATS[kind].read(source))


class TestBounds:
    def test_a_deep_element_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.har"
        path.write_bytes(b'{"log": {"entries": [{"a": ' + b"[" * 100_000)
        with pytest.raises(SourceError, match="too deep"):
            read(Source(path))

    def test_a_large_element_is_refused(self, tmp_path: Path) -> None:
        source = har(tmp_path / "x.har", entry(comment="x" * 10_000))
        with pytest.raises(SourceError, match="does not end"):
            list(FORMATS[Format.HAR].read(Source(source.path, ImportLimits(element_bytes=1000))))

    def test_a_file_that_ends_too_early_is_refused(self, tmp_path: Path) -> None:
        source = har(tmp_path / "x.har", entry())
        source.path.write_bytes(source.path.read_bytes()[:-20])
        with pytest.raises(SourceError):
            read(source)

    def test_yaml_with_too_many_aliases_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yaml"
        path.write_text("interactions: &a []\nb: [" + "*a, " * 50 + "]\n")
        with pytest.raises(SourceError, match="aliases"):
            list(FORMATS[Format.VCR].read(Source(path, ImportLimits(aliases=10, depth=3))))

    def test_deep_yaml_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yaml"
        path.write_text("interactions: " + "[" * 5000)
        with pytest.raises(SourceError):
            read(Source(path), Format.VCR)

    def test_yaml_makes_no_objects(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yaml"
        path.write_text("interactions: !!python/object/apply:os.getcwd []\n")
        with pytest.raises(SourceError, match="could not determine a constructor"):
            read(Source(path), Format.VCR)

    @pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret"])
    def test_files_outside_are_not_read(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        inner = tmp_path / "inner"
        inner.mkdir()
        answer = {"status": 200, "content": {"_file": name}}
        (found,) = read(har(inner / "x.har", entry(response=answer)))
        assert isinstance(found, NotImported)
        assert "outside" in found.message

    def test_a_member_that_unpacks_to_too_much_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.zip"
        answer = {"status": 200, "content": {"_file": "big.bin"}}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("har.har", json.dumps({"log": {"entries": [entry(response=answer)]}}))
            archive.writestr("big.bin", b"\0" * 100_000)
        limits = ImportLimits(file_bytes=10_000)
        (found,) = list(FORMATS[Format.HAR].read(Source(path, limits)))
        assert isinstance(found, NotImported)
        assert "too large" in found.message


class TestFaults:
    def test_one_faulty_element_does_not_take_the_others_along(self, tmp_path: Path) -> None:
        found = read(har(tmp_path / "x.har", entry(), entry(response={"status": "no"}), entry()))
        assert [type(each) for each in found] == [Imported, NotImported, Imported]

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"a": "\ud800"}, rb'{"a":"\ud800"}'),
            ("\udc80", b"\x80"),
            ([2**70], b"[1180591620717411303424]"),
        ],
    )
    def test_halves_of_characters(self, body: object, expected: bytes, tmp_path: Path) -> None:
        path = tmp_path / "x.json"
        recorded = {"scope": "http://a.example:80", "path": "/", "response": body, "status": 200}
        path.write_text(json.dumps([recorded]))
        (imported,) = read(Source(path), Format.NOCK)
        assert isinstance(imported, Imported)
        assert isinstance(imported.interaction, HTTPInteraction)
        assert imported.interaction.body.data == expected

    def test_halves_of_characters_in_a_form(self, tmp_path: Path) -> None:
        form = {"mimeType": "x/y", "params": [{"name": "\ud800", "value": "\udfff"}]}
        request = {"method": "POST", "url": "http://a.example/x", "headers": [], "postData": form}
        (imported,) = read(har(tmp_path / "x.har", entry(request=request)))
        assert isinstance(imported, Imported)
        assert imported.interaction.request.body.data == b"%ED%A0%80=%ED%BF%BF"

    def test_a_charset_that_is_none(self, tmp_path: Path) -> None:
        content = {"mimeType": "text/plain; charset=utf\0", "text": "caf\u00e9"}
        answer = {"status": 200, "content": content}
        (imported,) = read(har(tmp_path / "x.har", entry(response=answer)))
        assert isinstance(imported, Imported)
        assert isinstance(imported.interaction, HTTPInteraction)
        assert imported.interaction.body.data == "caf\u00e9".encode()

    def test_an_own_cassette_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "own.json"
        importing = Importing(RedactionRules(), print)
        importing.run([SAMPLES / "nock/sample.json"], path)
        with pytest.raises(SourceError, match="cassette of buffr already"):
            format_of(Source(path))

    def test_a_cassette_is_not_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "own.json"
        path.write_text("mine")
        with pytest.raises(CassetteError, match="not overwritten"):
            Importing(RedactionRules(), print).run([SAMPLES / "nock/sample.json"], path)
        assert path.read_text() == "mine"

    def test_nothing_is_left_of_an_import_that_fails(self, tmp_path: Path) -> None:
        broken = tmp_path / "x.har"
        broken.write_text('{"log": {"entries": [' + json.dumps(entry()) + ", {")
        with pytest.raises(SourceError):
            Importing(RedactionRules(), print).run([broken], tmp_path / "out.json")
        assert [path.name for path in tmp_path.iterdir()] == ["x.har"]

    def test_secrets_are_redacted_on_the_way_in(self, tmp_path: Path) -> None:
        secret = "sk-proj-Zx8Qw3Er5Ty7Ui9Op1As2Df4Gh6Jk8L0"
        fields = [{"name": "Authorization", "value": f"Bearer {secret}"}]
        request = {"method": "GET", "url": f"http://a.example/x?key={secret}", "headers": fields}
        source = har(tmp_path / "x.har", entry(request=request))
        Importing(RedactionRules(), print).run([source.path], tmp_path / "out.json")
        assert secret not in (tmp_path / "out.json").read_text()

    @given(data=st.binary(max_size=300), kind=st.sampled_from(sorted(FORMATS)))
    def test_whatever_comes_is_read_or_refused(
        self, data: bytes, kind: Format, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "bytes"
        path.write_bytes(data)
        with suppress(BuffrError):
            read(Source(path), kind)
            format_of(Source(path))

    @given(at=st.integers(0, 5000), byte=st.integers(0, 255))
    @pytest.mark.parametrize(
        "name", ["mitmproxy/flows.mitm", "polly/sample_2531492519/recording.har"]
    )
    def test_a_changed_byte_is_read_or_refused(
        self, name: str, at: int, byte: int, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        data = bytearray((SAMPLES / name).read_bytes())
        data[at % len(data)] = byte
        path = tmp_path_factory.getbasetemp() / "changed"
        path.write_bytes(data)
        kind = Format.MITMPROXY if name.endswith("mitm") else Format.HAR
        with suppress(BuffrError):
            read(Source(path), kind)


class TestJSON5:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{a: 'b', }", {"a": "b"}),
            ("// c\n[1, /* x */ -2.5e3,]", [1, -2500.0]),
            (
                r"{'a': 'it\'s\n\u00e9\x41\
'}",
                {"a": "it's\néA"},
            ),
            (r"'\ud83d\ude00'", "\N{GRINNING FACE}"),
            (r"['\ud83d']", ["\ud83d"]),
        ],
    )
    def test_it_is_read_as_json5(self, text: str, expected: object) -> None:
        assert json.loads(json_of_json5(text)) == expected

    @pytest.mark.parametrize("text", ["{a: 0x10}", "'open", "{a: b}"])
    def test_what_is_not_known_is_refused(self, text: str) -> None:
        with pytest.raises(NotImported):
            json_of_json5(text)
