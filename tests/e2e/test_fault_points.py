"""A kill between the steps in which a long body becomes a recording."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench import interactions
from raw_http import BrokenAnswer, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

BODY = b"what is longer than memory is to hold \n" * 80_000
FAULTY = str(Path(__file__).with_name("fault_point.py"))


def script(received: Received) -> bytes:
    return answer(received.target + BODY)


def recorded(directory: Path) -> list[str]:
    return [one["http"]["request"]["path"] for one in interactions(directory / "c.json")]


@pytest.mark.parametrize(
    ("call", "when"), [("name", "before"), ("write", "before"), ("write", "after")]
)
def test_a_kill_there_loses_nothing_and_leaves_no_stray_file(
    tmp_path: Path, call: str, when: str
) -> None:
    """A body gets its name, then its recording is appended, then its client gets the last bytes."""
    with FakeUpstream(script) as upstream:
        data = ("--data-dir", str(tmp_path / "data"))  # on the same file system
        flags = ("auto", "--target", upstream.url, "--port", "0", "--cassette", "c.json", *data)
        command = (sys.executable, FAULTY, call, when)
        with BuffrProcess.run(*flags, cwd=tmp_path, command=command) as buffr:
            assert ask(buffr.ports[0], request(b"/first")).body == b"/first" + BODY
            (tmp_path / "armed").touch()
            with pytest.raises((BrokenAnswer, OSError)):
                ask(buffr.ports[0], request(b"/second"))
            assert buffr.process.wait(60) == -9
        (tmp_path / "armed").unlink()
        with BuffrProcess.run(*flags, cwd=tmp_path) as buffr:
            there = recorded(tmp_path)
            assert there[:1] == ["/first"]
            for target in (b"/first", b"/second", b"/second"):
                assert ask(buffr.ports[0], request(target)).body == target + BODY
            assert sorted(recorded(tmp_path)) == ["/first", "/second"]
        asked = [one.target for one in upstream.received]
        assert asked.count(b"/first") == 1
    answers = [one["http"]["response"] for one in interactions(tmp_path / "c.json")]
    assert {path.name for path in (tmp_path / "c.d").iterdir()} == {
        Path(one["body_file"]).name for one in answers
    }
    assert {path.name for path in tmp_path.iterdir()} == {"c.json", "c.d", "data"}
    assert not list((tmp_path / "data").iterdir())
