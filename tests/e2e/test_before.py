"""What an earlier build recorded replays as it did then."""

from __future__ import annotations

import json
import shutil
from base64 import b64decode
from pathlib import Path

import pytest
from attrs import frozen
from raw_http import Answer, RawClient, request

from buffr.testing import BuffrProcess, FakeUpstream, answer

BEFORE = Path(__file__).parents[1] / "stores" / "before"


@frozen
class Case:
    """A request of then, and what it got."""

    request: bytes
    head: bytes
    body: bytes

    def __str__(self) -> str:
        return self.request.partition(b" HTTP")[0].decode("latin-1")[:40]


CASES = [
    Case(*(b64decode(one[part]) for part in ("request", "head", "body")))
    for one in json.loads((BEFORE / "answers.json").read_text("utf-8"))
]


def ask(buffr: BuffrProcess, raw: bytes) -> Answer:
    with RawClient(buffr.ports[0]) as client:
        client.send(raw)
        return client.answer(raw.partition(b" ")[0])


@pytest.mark.parametrize("mode", ["replay", "auto"])
class TestRecordings:
    def test_each_request_gets_its_answer(self, tmp_path: Path, mode: str) -> None:
        """In auto, too, without a call to the upstream."""
        shutil.copy(BEFORE / "recorded.json", tmp_path)
        with FakeUpstream(lambda _: answer(b"live")) as upstream:
            arguments = ["--target", upstream.url] if mode == "auto" else []
            with BuffrProcess.run(
                mode, *arguments, "--port", "0", "--cassette", "recorded.json", cwd=tmp_path
            ) as buffr:
                for case in CASES:
                    got = ask(buffr, case.request)
                    assert (got.head, got.body) == (case.head, case.body), str(case)
            assert upstream.connections == 0

    def test_a_dummy_takes_the_place_of_a_credential(self, tmp_path: Path, mode: str) -> None:
        shutil.copy(BEFORE / "recorded.json", tmp_path)
        replaced = 0
        with FakeUpstream(lambda _: answer(b"live")) as upstream:
            arguments = ["--target", upstream.url] if mode == "auto" else []
            with BuffrProcess.run(
                mode, *arguments, "--port", "0", "--cassette", "recorded.json", cwd=tmp_path
            ) as buffr:
                for case in CASES:
                    raw = case.request.replace(SECRET, DUMMY)
                    replaced += raw != case.request
                    got = ask(buffr, raw)
                    assert (got.head, got.body) == (case.head, case.body), str(case)
            assert upstream.connections == 0
        assert replaced >= 4

    def test_repetitions_come_in_their_order(self, tmp_path: Path, mode: str) -> None:
        shutil.copy(BEFORE / "repeated.json", tmp_path)
        with FakeUpstream(lambda _: answer(b"live")) as upstream:
            arguments = ["--target", upstream.url] if mode == "auto" else []
            with BuffrProcess.run(
                mode, *arguments, "--port", "0", "--cassette", "repeated.json", cwd=tmp_path
            ) as buffr:
                bodies = [ask(buffr, request(b"/plain")).body for _ in range(6)]
            assert upstream.connections == 0
        assert len(set(bodies)) == 3
        assert bodies[:3] == bodies[3:]


SECRET = b"s3cr3t0123456789abcdefghijklmnopqrstuv"
DUMMY = b"dummy-of-the-very-same-length-0123456789"[: len(SECRET)]
