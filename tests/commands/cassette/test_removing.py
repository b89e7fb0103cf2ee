"""What is taken out is gone; all else is as it was, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from attrs import evolve
from calls import DATA, age, body_file, call, laid_out, targets, write
from hypothesis import given
from hypothesis import strategies as st

from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.removal import take_out

LARGE = b"x" * (1 << 20) + b"y"


def recorded(target: bytes, recorded_at: str | None = "2026-11-21T22:02:42Z") -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"GET", target),
        ResponseHead(200, b"OK", ((b"Content-Type", b"text/plain"),)),
        Body.of(b"answer to " + target),
        recorded_at=recorded_at,
    )


FIVE = [recorded(b"/%d" % number) for number in range(5)]


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return write(tmp_path / "api.json", *FIVE)


class TestRm:
    @pytest.mark.parametrize(
        ("numbers", "left"),
        [
            (["0"], "1234"),
            (["4"], "0123"),
            (["1-2"], "034"),
            (["3-"], "012"),
            (["2", "0", "2"], "134"),
            (["0-"], ""),
            (["--match", "/[13]"], "024"),
            (["--match", "/1*", "4"], "023"),
        ],
    )
    def test_these_are_gone(
        self, cassette: Path, capsys: pytest.CaptureFixture[str], numbers: list[str], left: str
    ) -> None:
        said = call(capsys, "rm", cassette, *numbers)
        assert said.code == 0, said
        assert said.out == f"{5 - len(left)} removed, {len(left)} left\n"
        assert targets(cassette) == [f"/{name}" for name in left]
        assert cassette.read_bytes() == laid_out(encode(FIVE[int(name)]) for name in left)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["5"], "there is no interaction 5: they are 0 to 4"),
            (["2-7"], "there is no interaction 7"),
            (["x"], "'x' must be the number"),
            (["3-1"], "ends before it begins"),
            ([], "name the interactions"),
        ],
    )
    def test_others_are_refused(
        self, cassette: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
    ) -> None:
        before = cassette.read_bytes()
        said = call(capsys, "rm", cassette, *arguments)
        assert (said.code, said.out) == (1, "")
        assert says in said.err
        assert cassette.read_bytes() == before

    def test_a_dry_run_leaves_the_file(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = cassette.read_bytes()
        said = call(capsys, "rm", "--dry-run", cassette, "1")
        assert said.out == "would remove 1  GET /1\n1 would be removed, 4 would be left\n"
        assert cassette.read_bytes() == before

    def test_nothing_to_remove_does_not_touch_the_file(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = cassette.stat()
        call(capsys, "rm", cassette, "--match", "/none")
        after = cassette.stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)

    def test_mode_and_link_stay(
        self, cassette: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        cassette.chmod(0o640)
        link = tmp_path / "link.json"
        link.symlink_to(cassette)
        call(capsys, "rm", link, "0")
        assert link.is_symlink()
        assert cassette.stat().st_mode & 0o777 == 0o640
        assert len(targets(cassette)) == 4

    def test_the_go_programs_layout_stays(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        cassette = Path(shutil.copy(DATA / "go-reverse.json", tmp_path))
        age(cassette)
        before = json.loads(cassette.read_bytes())
        call(capsys, "rm", cassette, "0", "4", "10")
        text = cassette.read_bytes()
        del before["interactions"][10], before["interactions"][4], before["interactions"][0]
        assert json.loads(text) == before
        assert text.endswith(b"  ]\n}")  # without a line end, as it was


LAYOUTS = [
    json.dumps,
    lambda value: json.dumps(value, indent=4),
    lambda value: json.dumps(value, indent="\t").replace("\n", "\r\n"),
    lambda value: "\ufeff" + json.dumps({**value, "note": [1, {"interactions": []}]}, indent=0),
]


@given(count=st.integers(1, 5), chosen=st.sets(st.integers(0, 4)), layout=st.sampled_from(LAYOUTS))
def test_any_layout_keeps_all_other_bytes(
    tmp_path_factory: pytest.TempPathFactory, count: int, chosen: set[int], layout: object
) -> None:
    assert callable(layout)
    cassette = tmp_path_factory.mktemp("layout") / "api.json"
    values = [json.loads(encode(one)) for one in FIVE[:count]]
    cassette.write_text(layout({"version": 1, "interactions": values}), "utf-8", newline="")
    age(cassette)
    chosen = {number for number in chosen if number < count}
    take_out(cassette, lambda _: chosen, print)
    left = [value for number, value in enumerate(values) if number not in chosen]
    text = cassette.read_bytes().decode()
    expected = layout({"version": 1, "interactions": left})
    assert json.loads(text.lstrip("\ufeff")) == json.loads(expected.lstrip("\ufeff"))
    if left:
        assert text == expected


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class TestBodyFiles:
    def made(self, tmp_path: Path) -> tuple[Path, str, str]:
        """A cassette in which 0 and 1 share one body file, and 2 has another."""
        cassette = tmp_path / "api.json"
        one, other = body_file(cassette, LARGE), body_file(cassette, LARGE + b"z")
        directory = cassette.with_suffix(".d")
        shared = Body(size_bytes=len(LARGE), file=directory / one)
        alone = Body(size_bytes=len(LARGE) + 1, file=directory / other)
        write(
            cassette,
            evolve(FIVE[0], body=shared),
            evolve(FIVE[1], body=shared),
            evolve(FIVE[2], body=alone),
        )
        return cassette, one, other

    def test_they_go_with_the_last_that_names_them(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cassette, one, other = self.made(tmp_path)
        directory = cassette.with_suffix(".d")
        assert "body files" not in call(capsys, "rm", cassette, "0").out
        assert names_in(directory) == sorted([one, other])
        assert "1 body files removed" in call(capsys, "rm", cassette, "0").out
        assert names_in(directory) == [other]
        age(cassette)
        call(capsys, "rm", cassette, "0")
        assert not directory.exists()

    def test_older_states_of_the_cassette_keep_theirs(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cassette, one, other = self.made(tmp_path)
        shutil.copy(cassette, tmp_path / "api.json.bak")
        assert "body files" not in call(capsys, "rm", cassette, "0-1").out
        assert names_in(cassette.with_suffix(".d")) == sorted([one, other])

    def test_others_are_left(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Also one that nothing names: a buffr may be about to."""
        cassette, _, other = self.made(tmp_path)
        extra = body_file(cassette, b"about to be named")
        call(capsys, "rm", cassette, "0-1")
        assert names_in(cassette.with_suffix(".d")) == sorted([other, extra])


class TestExpire:
    def test_by_age(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        times = ["2020-01-01T00:00:00Z", None, "2999-01-01T00:00:00.5Z", "yesterday"]
        interactions = [recorded(b"/%d" % n, time) for n, time in enumerate(times)]
        cassette = write(tmp_path / "api.json", *interactions)
        dry = call(capsys, "expire", cassette, "--older-than", "30d", "--dry-run")
        assert dry.out.startswith("would remove 0  GET /0\n1 would be removed")
        said = call(capsys, "expire", cassette, "--older-than", "30d")
        assert (said.code, said.out) == (0, "1 removed, 3 left\n")
        assert "2 interactions without a date: kept" in said.err
        assert targets(cassette) == ["/1", "/2", "/3"]

    @pytest.mark.parametrize("age", ["3", "", "soon", "-3d", "0"])
    def test_an_age_must_be_one(
        self, cassette: Path, capsys: pytest.CaptureFixture[str], age: str
    ) -> None:
        said = call(capsys, "expire", cassette, f"--older-than={age}")
        assert said.code == 1
        assert "--older-than" in said.err

    def test_it_must_be_given(self, cassette: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--older-than is missing" in call(capsys, "expire", cassette).err


class TestMoments:
    def test_the_last_recordings_are_not_brought_back(self, cassette: Path) -> None:
        """A running buffr takes them for lost by accident, unless they are seconds old."""
        os.utime(cassette)
        slept: list[float] = []
        take_out(cassette, lambda _: [4], print, slept.append)
        assert 1.5 < sum(slept) < 2.5
        slept.clear()
        os.utime(cassette)
        take_out(cassette, lambda _: [0], print, slept.append)
        assert slept == []
