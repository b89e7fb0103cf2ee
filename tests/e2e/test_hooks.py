"""Functions of the user's, called before matching, recording and replaying."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bench import interactions

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

HOOKS = """
import json
from buffr.hooks import (
    Body, HTTPInteraction, Interaction, RecordedRequest, evolve, header, with_answer, with_header,
)


def before_match(request: RecordedRequest) -> RecordedRequest:
    if request.target == b"/boom":
        raise ValueError("no such thing")
    headers = with_header(request.headers, "X-Signed", None)
    if not request.body.data:
        return evolve(request, target=request.target.partition(b"?")[0], headers=headers)
    asked = json.loads(request.body.data)
    asked["messages"] = [m for m in asked["messages"] if not m.startswith("today is")]
    return evolve(request, headers=headers, body=Body.of(json.dumps(asked).encode()))


def before_record(interaction: Interaction) -> Interaction | None:
    assert isinstance(interaction, HTTPInteraction)
    if interaction.request.target == b"/health":
        return None
    if interaction.request.target == b"/lost":
        raise RuntimeError
    said = interaction.body.data.replace(b"internal.corp", b"example.test")
    return with_answer(interaction, said)


def before_replay(interaction: Interaction, request: RecordedRequest) -> Interaction:
    assert isinstance(interaction, HTTPInteraction)
    if request.target == b"/slow":
        while True:
            pass
    if request.target == b"/wrong":
        return interaction.response
    told = header(request.headers, "X-Now") or b"never"
    return with_answer(interaction, interaction.body.data.replace(b"NOW", told))
"""


def _answered(received: Received) -> bytes:
    return answer(b"at NOW from internal.corp", headers=[(b"X-Got", received.body[:60] or b"-")])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hooks")
    (place / "my_hooks.py").write_text(HOOKS)
    return place


@pytest.fixture(scope="module")
def buffr(place: Path) -> Iterator[tuple[BuffrProcess, FakeUpstream]]:
    with FakeUpstream(_answered) as upstream:
        settings = {
            "limits": {"hook": "300ms"},
            "reverse": [
                {"target": upstream.url, "port": 0, "cassette": "c.json", "hooks": "my_hooks.py"}
            ],
        }
        (place / "s.yaml").write_text(json.dumps(settings))
        with BuffrProcess.run("serve", "--config", "s.yaml", cwd=place) as process:
            yield process, upstream


def targets(place: Path) -> list[str]:
    return [str(each["http"]["request"]["path"]) for each in interactions(place / "c.json")]


class TestHooks:
    def test_a_request_is_looked_up_and_recorded_as_changed(
        self, place: Path, buffr: tuple[BuffrProcess, FakeUpstream]
    ) -> None:
        """The upstream gets what the client sent."""
        process, upstream = buffr
        for day in ("monday", "friday"):
            body = {"messages": ["hello", f"today is {day}"]}
            headers = {"X-Signed": day, "X-Now": day}
            got = httpx.post(f"{process.url}/chat", json=body, headers=headers)
            assert got.status_code == 200
        assert got.headers["X-Got"] == json.dumps(
            {"messages": ["hello", "today is monday"]}, separators=(",", ":")
        )
        assert got.text == "at friday from example.test"
        (asked,) = [each for each in upstream.received if each.target == b"/chat"]
        assert b"today is monday" in asked.body
        (found,) = [
            each["http"]
            for each in interactions(place / "c.json")
            if each["http"]["request"]["path"] == "/chat"
        ]
        assert json.loads(found["request"]["body"]) == {"messages": ["hello"]}
        assert "X-Signed" not in found["request"]["headers"]
        assert found["response"]["body"] == "at NOW from example.test"

    def test_the_first_client_gets_what_the_upstream_sent(
        self, buffr: tuple[BuffrProcess, FakeUpstream]
    ) -> None:
        process, _ = buffr
        assert httpx.get(f"{process.url}/raw?x=1").text == "at NOW from internal.corp"
        assert httpx.get(f"{process.url}/raw?x=2").text == "at never from example.test"

    def test_nothing_is_recorded_for_none(
        self, place: Path, buffr: tuple[BuffrProcess, FakeUpstream]
    ) -> None:
        process, upstream = buffr
        for _ in range(2):
            assert httpx.get(f"{process.url}/health").status_code == 200
        assert len([each for each in upstream.received if each.target == b"/health"]) == 2
        assert "/health" not in targets(place)


class TestFailures:
    def test_an_error_names_the_hook_and_the_line(
        self, buffr: tuple[BuffrProcess, FakeUpstream]
    ) -> None:
        process, upstream = buffr
        got = httpx.get(f"{process.url}/boom")
        assert got.status_code == 500
        words = "the hook before_match of my_hooks.py raised ValueError: no such thing"
        assert words in got.text
        assert "(my_hooks.py:" in got.text
        process.wait_for("status=500.*before_match")
        assert not [each for each in upstream.received if each.target == b"/boom"]

    def test_what_could_not_be_recorded_is_no_whole_answer(
        self, place: Path, buffr: tuple[BuffrProcess, FakeUpstream]
    ) -> None:
        process, _ = buffr
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{process.url}/lost")
        process.wait_for("the hook before_record of my_hooks.py raised RuntimeError")
        assert "/lost" not in targets(place)

    def test_one_that_takes_too_long_stops_nobody_else(
        self, buffr: tuple[BuffrProcess, FakeUpstream]
    ) -> None:
        process, _ = buffr
        assert httpx.get(f"{process.url}/slow").status_code == 200  # recorded
        got = httpx.get(f"{process.url}/slow")
        assert got.status_code == 500
        assert "the hook before_replay of my_hooks.py took longer than 0.3s" in got.text
        assert httpx.get(f"{process.url}/raw").status_code == 200

    def test_something_else_than_an_interaction(
        self, buffr: tuple[BuffrProcess, FakeUpstream]
    ) -> None:
        process, _ = buffr
        assert httpx.get(f"{process.url}/wrong").status_code == 200
        got = httpx.get(f"{process.url}/wrong")
        assert got.status_code == 500
        assert (
            "before_replay of my_hooks.py returned ResponseHead; must be HTTPInteraction"
            in got.text
        )


class TestFiles:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (None, "there is no file h.py"),
            ("def before_match(request)\n", "h.py:1: SyntaxError"),
            ("\nimport no_such_module\n", "h.py:2: ModuleNotFoundError: No module named"),
            ("def before_replays(a): ...\n", "h.py has an unknown hook 'before_replays'"),
            ("async def before_match(r): ...\n", "must be a function, and not async"),
            ("def before_replay(i): ...\n", "before_replay of h.py must take 2 arguments"),
            ("x = 1\n", "h.py has none of before_match, before_record, before_replay"),
        ],
    )
    def test_what_is_wrong_is_said_at_the_start(
        self, tmp_path: Path, text: str | None, words: str
    ) -> None:
        if text is not None:
            (tmp_path / "h.py").write_text(text)
        row: dict[str, Any] = {"target": "http://a.test", "port": 0, "hooks": "h.py"}
        (tmp_path / "s.yaml").write_text(json.dumps({"reverse": [row]}))
        with (
            pytest.raises(RuntimeError) as caught,
            BuffrProcess.run("serve", "--config", "s.yaml", cwd=tmp_path),
        ):
            pass
        assert words in str(caught.value)
        assert "Traceback" not in str(caught.value)
