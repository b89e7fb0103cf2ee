"""Secrets go out of old cassettes, and what matched before matches then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from calls import age, body_file, call, elements, laid_out, write

from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules
from buffr.message import Headers, ResponseHead
from buffr.stores.cassette.format import decode, encode

REAL = b"q7XbP2mZ9sKd4LwT8vRc"
JSON = (b"Content-Type", b"application/json")


def asked(
    target: bytes, headers: Headers = (), body: bytes = b"", answer: bytes = b"{}"
) -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"POST", target, (JSON, *headers), Body.of(body)),
        ResponseHead(200, b"OK", (JSON,)),
        Body.of(answer),
        recorded_at="2026-01-02T03:04:05Z",
    )


def exchanges(secret: bytes) -> dict[str, HTTPInteraction]:
    """Requests with a secret in places where a dummy always worked."""
    bearer = ((b"Authorization", b"Bearer " + secret),)
    return {
        "a header": asked(b"/header", bearer),
        "the query": asked(b"/query?page=2&api_key=" + secret),
        "JSON": asked(b"/json", body=b'{"client_secret": "%b", "n": 1}' % secret),
        "an echo": asked(b"/echo", bearer, answer=b'{"you sent": "%b"}' % secret),
    }


SESSION = WebSocketInteraction(
    RecordedRequest(b"GET", b"/live"),
    frames=(
        Frame(Direction.CLIENT, FrameKind.TEXT, Body.of(b'{"api_key": "%b"}' % REAL)),
        Frame(Direction.SERVER, FrameKind.TEXT, Body.of(b'{"ok": 1}')),
    ),
)


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return write(tmp_path / "api.json", *exchanges(REAL).values(), SESSION)


def key(request: RecordedRequest, salt: bytes) -> bytes:
    return Matcher(MatchRules(), with_origin=False, salt=lambda: salt).recorded(request).digest


def salt_of(path: Path) -> bytes:
    return str(json.loads(path.read_bytes())["salt"]).encode()


def requests(path: Path) -> list[RecordedRequest]:
    bodies = path.with_suffix(".d")
    return [decode(json.dumps(one).encode(), bodies).request for one in elements(path)]


class TestRedact:
    def test_no_secret_is_left_in_the_file_nor_beside_it(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert REAL in cassette.read_bytes()
        said = call(capsys, "redact", cassette)
        assert (said.code, said.err) == (0, "")
        assert REAL not in cassette.read_bytes()
        assert list(cassette.parent.iterdir()) == [cassette]
        assert call(capsys, "scan", cassette).code == 0
        assert call(capsys, "verify", cassette).code == 0

    def test_it_says_what_it_replaced_by_place(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = call(capsys, "redact", cassette)
        assert said.out.splitlines() == [
            f"{cassette}: 5 interactions changed",
            "  1 in frames",
            "  1 in request body",
            "  2 in request header Authorization",
            "  1 in request query",
            "  1 in response body",
        ]
        assert REAL[:5].decode() not in said.out

    @pytest.mark.parametrize("sent", [REAL, b"dummy"])
    def test_requests_match_as_before(
        self, sent: bytes, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        salt = salt_of(cassette)
        live = [key(one.request, salt) for one in exchanges(sent).values()]
        assert [key(one, salt) for one in requests(cassette)][:4] == live
        call(capsys, "redact", cassette)
        assert salt_of(cassette) == salt
        assert [key(one, salt) for one in requests(cassette)][:4] == live

    def test_values_that_count_keep_two_requests_two(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def tenants() -> list[HTTPInteraction]:
            return [asked(b"/t", ((b"X-Session-Id", b"s" + bytes([n]) + REAL),)) for n in b"ab"]

        cassette = write(tmp_path / "api.json", *tenants())
        salt = salt_of(cassette)
        live = [key(one.request, salt) for one in tenants()]
        call(capsys, "redact", cassette)
        assert REAL not in cassette.read_bytes()
        assert [key(one, salt) for one in requests(cassette)] == live

    def test_twice_is_once(self, cassette: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call(capsys, "redact", cassette)
        before = cassette.read_bytes(), cassette.stat().st_ino
        said = call(capsys, "redact", cassette)
        assert (said.code, said.out) == (0, f"{cassette}: 0 interactions changed\n")
        assert (cassette.read_bytes(), cassette.stat().st_ino) == before

    def test_a_dry_run_changes_nothing(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = cassette.read_bytes()
        said = call(capsys, "redact", "--dry-run", cassette)
        assert "5 interactions would be changed" in said.out
        assert "1 in request query" in said.out
        assert cassette.read_bytes() == before

    def test_the_others_keep_their_bytes(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plain = encode(asked(b"/plain")).replace(b'"POST"', b'"\\u0050OST"')
        cassette = tmp_path / "api.json"
        cassette.write_bytes(laid_out([plain, encode(exchanges(REAL)["JSON"]), plain]))
        age(cassette)
        call(capsys, "redact", cassette)
        text = cassette.read_bytes()
        assert text.count(plain) == 2
        assert REAL not in text

    def test_a_cassette_without_a_salt_gets_one(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As the Go program writes them."""
        cassette = tmp_path / "api.json"
        listed: list[Any] = [json.loads(encode(one)) for one in exchanges(REAL).values()]
        cassette.write_text(json.dumps({"version": 1, "interactions": listed}))
        age(cassette)
        assert call(capsys, "redact", cassette).code == 0
        assert len(salt_of(cassette)) == 32
        assert REAL not in cassette.read_bytes()
        salt = salt_of(cassette)
        live = [key(one.request, salt) for one in exchanges(b"dummy").values()]
        assert [key(one, salt) for one in requests(cassette)] == live

    def test_body_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cassette = tmp_path / "api.json"
        data = b'{"a": "%b", "client_secret": "%b"}' % (b"x " * 600_000, REAL)
        old = cassette.with_suffix(".d") / body_file(cassette, data)
        body = Body(size_bytes=len(data), file=old)
        write(cassette, evolve(asked(b"/a"), body=body))
        said = call(capsys, "redact", cassette)
        assert "1 body file replaced" in said.out
        assert not old.exists()
        (new,) = cassette.with_suffix(".d").iterdir()
        assert REAL not in new.read_bytes()
        assert call(capsys, "verify", cassette).code == 0

    def test_an_older_state_beside_it_is_named(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (cassette.parent / "api.json.bak").write_bytes(cassette.read_bytes())
        assert "api.json.bak is an older state" in call(capsys, "redact", cassette).err

    def test_a_torn_cassette_is_left_as_it_is(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cassette.write_bytes(cassette.read_bytes()[:-300])
        before = cassette.read_bytes()
        assert call(capsys, "redact", cassette).code == 2
        assert cassette.read_bytes() == before

    def test_what_is_not_understood_and_holds_secrets_is_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cassette = tmp_path / "api.json"
        cassette.write_bytes(laid_out([b'{"type": "new", "client_secret": "%b"}' % REAL]))
        age(cassette)
        said = call(capsys, "redact", cassette)
        assert said.code == 2
        assert "it holds secrets, and is left as it is" in said.err
        assert REAL[:5].decode() not in said.err

    def test_other_kinds_of_files_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        har = tmp_path / "a.har"
        har.write_text('{"log": {"entries": []}}')
        said = call(capsys, "redact", har)
        assert said.code == 2
        assert "it is a HAR file" in said.err
