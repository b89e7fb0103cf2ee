"""``buffr cassette push``, ``pull`` and ``sync``: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import calls
import pytest
from redis_servers import RedisServer

from buffr.interchange.shared_sets import SharedSet
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.snapshot import read_snapshot
from buffr.stores.redis.address import RedisAddress

SECRET = "sk-proj-1a2B3c4D5e6F7g8H9i0J1k2L3m4N"


def interaction(number: int, body: str = "") -> dict[str, object]:
    return {
        "type": "http",
        "http": {
            "request": {"method": "GET", "path": f"/{number}"},
            "response": {"status": 200, "body": body or f"answer {number}"},
        },
    }


def cassette(path: Path, *interactions: dict[str, object]) -> Path:
    text = {"version": 1, "salt": "0" * 32, "interactions": list(interactions)}
    path.write_text(json.dumps(text, indent=2) + "\n")
    return path


def paths(path: Path) -> list[str]:
    snapshot = read_snapshot(path, lambda line: None)
    return [snapshot.interaction(number).request.target.decode() for number in range(len(snapshot))]


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; the result is its exit code, and all that it said."""

    def running(*arguments: str) -> tuple[int, str]:
        said = calls.call(capsys, *arguments)
        return said.code, said.out + said.err

    return running


@pytest.fixture
def store(redis_server: RedisServer, tmp_path: Path) -> str:
    return f"{redis_server.url}?prefix={tmp_path.name}"


class TestPush:
    def test_what_is_pushed_comes_back_in_order(self, run: Run, store: str, tmp_path: Path) -> None:
        pushed = cassette(tmp_path / "api.json", *map(interaction, (3, 1, 2, 1)))
        assert run("push", str(pushed), store) == (0, f"{store}: api: 4 added, 4 interactions\n")
        pulled = tmp_path / "there.json"
        code, said = run("pull", str(pulled), store, "--name", "api")
        assert (code, said) == (0, f"{pulled}: 4 added, 4 interactions\n")
        assert paths(pulled) == ["/3", "/1", "/2", "/1"]

    def test_nothing_is_added_twice(self, run: Run, store: str, tmp_path: Path) -> None:
        """Equal recordings count as often as they occur; a hand's layout does not count."""
        pushed = cassette(tmp_path / "api.json", *map(interaction, (1, 1)))
        run("push", str(pushed), store)
        for word in ("push", "pull", "sync"):
            code, said = run(word, str(pushed), store)
            assert code == 0
            assert "1 added" not in said
            assert "2 interactions" in said
        before = pushed.read_bytes()
        cassette(pushed, *map(interaction, (1, 1, 1)))
        assert run("push", str(pushed), store)[1] == f"{store}: api: 1 added, 3 interactions\n"
        assert before != pushed.read_bytes()

    def test_two_pushes_at_once_lose_nothing(self, run: Run, store: str, tmp_path: Path) -> None:
        """And what both have is there once."""
        one = cassette(tmp_path / "one.json", *map(interaction, range(60)))
        two = cassette(tmp_path / "two.json", *map(interaction, range(30, 90)))
        address, rules = RedisAddress.parse(store), RedactionRules.with_extra()
        pushing = [
            threading.Thread(target=SharedSet(address, "api", rules, print).push, args=(path,))
            for path in (one, two)
        ]
        for each in pushing:
            each.start()
        for each in pushing:
            each.join()
        pulled = tmp_path / "all.json"
        run("pull", str(pulled), store, "--name", "api")
        there = paths(pulled)
        assert sorted(there) == sorted(f"/{number}" for number in range(90))
        assert [one for one in there if int(one[1:]) < 30] == [f"/{number}" for number in range(30)]

    def test_a_secret_does_not_reach_the_server(self, run: Run, store: str, tmp_path: Path) -> None:
        """Not from a cassette that a hand wrote, either."""
        pushed = cassette(tmp_path / "api.json", interaction(1, json.dumps({"api_key": SECRET})))
        run("push", str(pushed), store)
        pulled = tmp_path / "there.json"
        run("pull", str(pulled), store, "--name", "api")
        assert SECRET not in pulled.read_text()
        assert "REDACTED" in pulled.read_text()

    def test_a_large_body(self, run: Run, store: str, tmp_path: Path) -> None:
        pushed = cassette(tmp_path / "api.json", interaction(1, "x" * (2 << 20)))
        run("push", str(pushed), store)
        pulled = tmp_path / "there.json"
        for added in (1, 0):
            said = run("pull", str(pulled), store, "--name", "api")[1]
            assert said == f"{pulled}: {added} added, 1 interactions\n"
        assert len(list((tmp_path / "there.d").iterdir())) == 1


class TestPull:
    def test_the_text_that_is_there_stays(self, run: Run, store: str, tmp_path: Path) -> None:
        """A diff has what is new, and nothing else."""
        run("push", str(cassette(tmp_path / "api.json", *map(interaction, range(3)))), store)
        ours = cassette(tmp_path / "ours.json", interaction(7), interaction(1))
        before = ours.read_text().splitlines()
        run("pull", str(ours), store, "--name", "api")
        assert paths(ours) == ["/7", "/1", "/0", "/2"]
        kept = [line for line in before if line.strip() not in ("", "]", "}", "},", "{", "],")]
        after = ours.read_text()
        assert all(line.strip().rstrip(",") in after for line in kept)

    def test_a_dry_run_changes_nothing(self, run: Run, store: str, tmp_path: Path) -> None:
        pushed = cassette(tmp_path / "api.json", interaction(1))
        assert "1 would be added" in run("push", str(pushed), store, "--dry-run")[1]
        code, said = run("pull", str(tmp_path / "none.json"), store, "--name", "api")
        assert code == 1
        assert "has no recordings with the name api" in said
        assert not (tmp_path / "none.json").exists()

    def test_a_server_that_is_not_there(self, run: Run, tmp_path: Path) -> None:
        pushed = cassette(tmp_path / "api.json", interaction(1))
        code, said = run("push", str(pushed), f"redis+unix://{tmp_path}/none.sock")
        assert code == 1
        assert "No such file" in said
