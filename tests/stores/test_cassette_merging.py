"""Two cassettes become one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import CassetteError
from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.stores.cassette.merging import Merged, merge
from buffr.stores.cassette.snapshot import Snapshot, read_snapshot
from buffr.stores.cassette.writing import write_new


def unexpected(warning: str) -> None:
    raise AssertionError(warning)


def cassette(path: Path, names: list[str]) -> Snapshot:
    """One interaction for each name."""
    interactions = [
        HTTPInteraction(
            RecordedRequest(b"GET", f"/{name}".encode()),
            ResponseHead(200, b"OK", ()),
            Body.of(name.encode()),
        )
        for name in names
    ]
    path.unlink(missing_ok=True)
    write_new(path, "ab" * 16, interactions, unexpected)
    return read_snapshot(path, unexpected)


def names(path: Path) -> list[str]:
    document = json.loads(path.read_text())
    return [each["http"]["request"]["path"][1:] for each in document["interactions"]]


def merged(
    directory: Path, ours: str, theirs: str, base: str | None = None
) -> tuple[Merged, list[str]]:
    path = directory / "ours.json"
    given_ours = cassette(path, list(ours))
    given_theirs = cassette(directory / "theirs.json", list(theirs))
    given_base = None if base is None else cassette(directory / "base.json", list(base))
    result = merge(given_ours, given_theirs, given_base, path, unexpected)
    return result, names(path)


class TestMerging:
    @pytest.mark.parametrize(
        ("ours", "theirs", "base", "expected"),
        [
            ("abc", "abd", None, "abcd"),
            ("abc", "abd", "ab", "abcd"),
            ("abc", "a", "ab", "ac"),  # theirs took b out
            ("ac", "abd", "ab", "acd"),  # ours took b out
            ("ax", "ax", "a", "ax"),  # both recorded the same
            ("aa", "aaa", "aa", "aaa"),  # a repetition is a recording of its own
            ("", "ab", None, "ab"),
            ("ab", "", "ab", ""),
        ],
    )
    def test_the_changes_of_both_are_there(
        self, ours: str, theirs: str, base: str | None, expected: str, tmp_path: Path
    ) -> None:
        assert merged(tmp_path, ours, theirs, base)[1] == list(expected)

    def test_it_reports_additions_and_removals(self, tmp_path: Path) -> None:
        assert merged(tmp_path, "abc", "ad", "ab")[0] == Merged(3, added=1, removed=1)

    @given(texts=st.tuples(*[st.text("abcd", max_size=5)] * 2))
    def test_without_a_base_nothing_is_lost(
        self, texts: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        ours, theirs = texts
        _, result = merged(tmp_path_factory.getbasetemp(), ours, theirs)
        assert result[: len(ours)] == list(ours)
        assert all(result.count(name) >= theirs.count(name) for name in theirs)

    def test_layout_makes_no_difference(self, tmp_path: Path) -> None:
        cassette(tmp_path / "theirs.json", ["a", "b"])
        document = json.loads((tmp_path / "theirs.json").read_text())
        (tmp_path / "theirs.json").write_text(json.dumps(document))
        theirs = read_snapshot(tmp_path / "theirs.json", unexpected)
        ours = cassette(tmp_path / "ours.json", ["a"])
        merge(ours, theirs, None, tmp_path / "ours.json", unexpected)
        assert names(tmp_path / "ours.json") == ["a", "b"]

    def test_files_of_large_bodies_come_along(self, tmp_path: Path) -> None:
        large = "x" * (1 << 20) + "y"
        theirs = cassette(tmp_path / "theirs.json", [large])
        ours = cassette(tmp_path / "ours.json", ["a"])
        merge(ours, theirs, None, tmp_path / "both.json", unexpected)
        both = read_snapshot(tmp_path / "both.json", unexpected)
        (body,) = both.interaction(1).bodies[1:]
        assert body.file is not None
        assert body.file.read_bytes() == large.encode()

    def test_what_is_recorded_meanwhile_is_not_overwritten(self, tmp_path: Path) -> None:
        ours = cassette(tmp_path / "ours.json", ["a"])
        theirs = cassette(tmp_path / "theirs.json", ["b"])
        cassette(tmp_path / "ours.json", ["a", "recorded"])
        with pytest.raises(CassetteError, match="other programs write to it"):
            merge(ours, theirs, None, tmp_path / "ours.json", unexpected)
        assert names(tmp_path / "ours.json") == ["a", "recorded"]

    def test_a_torn_cassette_is_refused_and_left(self, tmp_path: Path) -> None:
        cassette(tmp_path / "ours.json", ["a", "b"])
        torn = (tmp_path / "ours.json").read_bytes()[:-30]
        (tmp_path / "ours.json").write_bytes(torn)
        ours = read_snapshot(tmp_path / "ours.json", unexpected)
        theirs = cassette(tmp_path / "theirs.json", ["c"])
        with pytest.raises(CassetteError):
            merge(ours, theirs, None, tmp_path / "ours.json", unexpected)
        assert (tmp_path / "ours.json").read_bytes() == torn
