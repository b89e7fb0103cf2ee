"""A scan is wider than redaction, and leaves data alone."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen
from calls import call, write

from buffr.commands.cassette.candidates import Text, candidates
from buffr.commands.cassette.detectors import by_entropy, by_prefix
from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import Headers, ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

GITHUB = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
JSON = (b"Content-Type", b"application/json")
_CHANCE = random.Random(11)
_LETTERS = string.ascii_letters + string.digits


def made(size: int, alphabet: str = _LETTERS) -> str:
    return "".join(_CHANCE.choice(alphabet) for _ in range(size))


def hexed(size: int) -> str:
    return made(size, "0123456789abcdef")


def answer(document: object, headers: Headers = (), target: bytes = b"/") -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"GET", target),
        ResponseHead(200, b"OK", (JSON, *headers)),
        Body.of(json.dumps(document).encode()),
    )


@frozen
class Planted:
    value: str
    detector: str


KEYS = {
    "New Relic": Planted("NRAK-" + made(27, string.ascii_uppercase + string.digits), "prefix"),
    "Postman": Planted(f"PMAK-{hexed(24)}-{hexed(34)}", "prefix"),
    "Airtable": Planted(f"pat{made(14)}.{hexed(64)}", "prefix"),
    "Pulumi": Planted("pul-" + hexed(40), "prefix"),
    "RubyGems": Planted("rubygems_" + hexed(48), "prefix"),
    "nobody's": Planted(made(40), "entropy"),
    "base64": Planted("wJalrXUtnFEMIx7MDENG/bPxRfiCYq2Za1kLmP9s", "entropy"),
    "a variable": Planted("ACME_API_KEY=" + hexed(40), "entropy"),
}
LIBRARY_KEYS = {
    "Mailchimp": hexed(32) + "-us12",
    "Square": "sq0csp-" + made(43),
    "Artifactory": "AKC" + hexed(70),
}

DATA: dict[str, object] = {
    "id": "chatcmpl-" + made(29),
    "charge": "ch_" + made(24),
    "customer": "cus_" + made(24),
    "object_id": made(32),
    "userIds": [made(24), made(24)],
    "uuid": "6b1f6f3e-8d9b-4ac0-9b57-8ccf5cc77ac1",
    "sha": hexed(40),
    "content_md5": hexed(32),
    "any": hexed(64),
    "etag": f'"{made(32)}"',
    "next_page_token": made(60),
    "cursor": made(44),
    "nextCursor": made(44),
    "sync_token": made(30),
    "public_key": made(44),
    "idempotency_key": made(30),
    "cache_key": made(40),
    "text": "The quick brown fox jumps over the lazy dog again and again",
    "class": "com.example.ListObjectsV2OutputTransformerFactory2023",
    "file": "assets/app.d41d8cd98f00b204.min.js",
    "when": "2026-11-28T15:04:08.123456+00:00",
    "audio": made(5000),
    "image_url": f"data:image/png;base64,{made(80)}",
    "ReceiptHandle": "AQEB" + made(120),
    "any digest": "sha-256=" + made(43) + "=",
    "image": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
    "hidden": "REDACTED-api-key-fb515ed6",
    "counted": "REDACTED_session-id_fb515ed6",
    "url": "https://example.com/v1/projects/web-2023-alpha/files/index.html",
    "base64_of_text": "VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVy",
}
HEADERS: Headers = (
    (b"ETag", b'"%b"' % made(32).encode()),
    (b"X-Request-Id", made(32).encode()),
    (b"X-Amz-Cf-Id", made(56).encode()),
    (b"CF-Ray", b"8f1c2d3e4f5a6b7c-FRA"),
    (b"X-RateLimit-Remaining", b"4999"),
    (b"Report-To", b'{"url":"https://a.nel.test/report?s=%b"}' % made(60).encode()),
)


def scanned(capsys: pytest.CaptureFixture[str], path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in call(capsys, "scan", "--json", path).out.splitlines()]


class TestWider:
    @pytest.mark.parametrize("key", KEYS)
    def test_keys_under_a_name_that_tells_nothing(
        self, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        planted = KEYS[key]
        path = write(tmp_path / "a.json", answer({"a": [{"note": planted.value}]}))
        assert len(scanned(capsys, path)) == 1
        # Redaction may know them one day: each detector finds its own all the same.
        said = call(capsys, "scan", "--json", "--detectors", planted.detector, path)
        one = json.loads(said.out)
        assert one["where"] == "response body /a/0/note"
        assert one["detector"] == planted.detector
        assert planted.value.rpartition("=")[2][:5] not in json.dumps(one)

    @pytest.mark.parametrize("key", LIBRARY_KEYS)
    def test_the_rules_of_detect_secrets(
        self, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("detect_secrets")
        value = LIBRARY_KEYS[key]
        path = write(tmp_path / "a.json", answer({"note": value}))
        said = call(capsys, "scan", "--json", "--detectors", "detect-secrets", path)
        assert json.loads(said.out)["detector"] == "detect-secrets"

    def test_in_paths_and_headers(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What looks random in a path is an id, but for what begins as keys do."""
        key = KEYS["Pulumi"].value.encode()
        one = answer(
            {}, ((b"X-Any", made(40).encode()),), b"/docs/" + made(44).encode() + b"/" + key
        )
        found = scanned(capsys, write(tmp_path / "a.json", one))
        assert [each["where"] for each in found] == ["request path", "response header X-Any"]

    def test_each_place_is_told_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        value = made(40)
        one = answer({"api_key": value, "note": value})
        assert len(scanned(capsys, write(tmp_path / "a.json", one))) == 2

    def test_it_finds_all_that_redaction_would_replace(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whatever redaction learns, without a word here."""
        one = answer({}, target=b"/?session_token=" + made(30).encode())
        redacted = Redactor(RedactionRules(), b"x").interaction(one)
        assert redacted.request.target != one.request.target
        assert scanned(capsys, write(tmp_path / "a.json", one))


class TestData:
    @pytest.mark.parametrize("name", DATA)
    def test_is_no_secret(
        self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(tmp_path / "a.json", answer({name: DATA[name]}))
        assert scanned(capsys, path) == []

    def test_headers(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert scanned(capsys, write(tmp_path / "a.json", answer({}, HEADERS))) == []

    def test_ids_in_events_of_a_stream(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        event = json.dumps({"id": DATA["id"], "choices": [{"delta": {"content": "x"}}]})
        one = HTTPInteraction(
            RecordedRequest(b"GET", b"/"),
            ResponseHead(200, b"OK", ((b"Content-Type", b"text/event-stream"),)),
            Body.of(f"data: {event}\n\n".encode() * 3),
        )
        assert scanned(capsys, write(tmp_path / "a.json", one)) == []

    def test_few_random_looking_names_are_taken_for_secrets(self) -> None:
        """Identifiers as programs have them."""
        words = ["get", "User", "Account", "List", "HTTP2", "Response", "v1", "Config", "2024"]
        texts = ["".join(_CHANCE.choice(words) for _ in range(6)) for _ in range(2000)]
        found = [
            one
            for text in texts
            for one in candidates(Text("body", b"", text.encode()))
            if list(by_entropy(one)) or list(by_prefix(one))
        ]
        assert len(found) <= 2000 * 0.005


def test_names_before_values() -> None:
    token = made(24)
    texts = {
        f'{{"a": "{token}"}}': b"a",
        f"some-name={token}": b"some-name",
        f"  key_x: {token}": b"key_x",
        f"X-Any: Bearer {token}": b"X-Any",
        f"a word {token}": b"",
    }
    for text, name in texts.items():
        assert [one.name for one in candidates(Text("body", b"", text.encode()))] == [name]


class TestSecretNames:
    """Members and fields may be called by a secret."""

    @pytest.mark.parametrize(
        "one",
        [
            answer({KEYS["Pulumi"].value: {"password": "a long one"}}),
            answer({}, target=b"/?" + KEYS["Pulumi"].value.encode() + b"&api_key=ab12cd34ef56"),
            answer({}, target=b"/?a=1&" + GITHUB + b"&api_key=ab12cd34ef56"),
            answer({GITHUB.decode(): {"password": "a long one"}}),
        ],
    )
    @pytest.mark.parametrize("more", [(), ("--json",), ("--sarif",)])
    def test_are_not_told(
        self,
        one: HTTPInteraction,
        more: tuple[str, ...],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        said = call(capsys, "scan", *more, write(tmp_path / "a.json", one))
        assert said.code == 1
        assert KEYS["Pulumi"].value[4:12] not in said.out
        assert GITHUB[4:12].decode() not in said.out


def test_a_token_beside_credential_fields_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = answer({}, target=b"/?api_key=ab12cd34ef56&u=" + GITHUB)
    shapes = [each["shape"] for each in scanned(capsys, write(tmp_path / "a.json", one))]
    assert shapes == ["query", "github-token"]


_WITHOUT = """
import sys
sys.modules["detect_secrets"] = None
from buffr.commands.cli import run
sys.exit(run(["cassette", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(("more", "code"), [((), 0), (("--detectors", "detect-secrets"), 2)])
def test_without_the_library_it_says_what_to_install(
    more: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.json", answer({}))
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, "scan", *more, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install detect-secrets" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (done.returncode, done.stdout) == (code, "")
