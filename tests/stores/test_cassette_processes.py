"""Several processes, and processes that are killed."""

from __future__ import annotations

import errno
import random
import subprocess
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest
from cassettes import Deck, paths
from go_schema import interactions
from kills import MANY_KILLS
from recordings import exchange_of, key, recording

from buffr.errors import StoreFailed
from buffr.stores.file_lock import LocksMissing

APPENDER = Path(__file__).with_name("appender.py")


def appender(path: Path, prefix: str, count: int, large: int = 100) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(APPENDER), str(path), prefix, str(count), str(large)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


class TestTwoProcesses:
    def test_all_recordings_of_both_are_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "api.json"
        both = [appender(path, prefix, 20) for prefix in "ab"]
        for process in both:
            go(process)
        for process in both:
            process.communicate(timeout=120)
        recorded = paths(path)
        assert len(recorded) == 40
        for prefix in "ab":
            assert [one for one in recorded if one[1] == prefix] == [
                f"/{prefix}{number}" for number in range(20)
            ]
        interactions(path.read_bytes())

    def test_one_finds_what_the_other_recorded(self, tmp_path: Path) -> None:
        one, other = Deck(tmp_path / "api.json"), Deck(tmp_path / "api.json")
        for number in range(5):
            one.append(recording(b"/one%d" % number, b"%d" % number))
            assert other.bodies(b"/one%d" % number) == [b"%d" % number]
            other.append(recording(b"/other%d" % number))
            assert one.count(b"/other%d" % number) == 1
            assert one.count(b"/one%d" % number) == 1
        one.close()
        other.close()
        assert len(paths(tmp_path / "api.json")) == 10

    def test_what_another_appends_is_read_without_the_rest(self, tmp_path: Path) -> None:
        """Places of known recordings do not change."""
        path = tmp_path / "api.json"
        one = Deck(path)
        one.append(*[recording(b"/a", b"%d" % number) for number in range(50)])
        other = Deck(path)
        loaded = other.turns.run(other.store.load(49))
        one.append(recording(b"/b"))
        assert other.count(b"/b") == 1
        assert other.turns.run(other.store.load(49)) is loaded


class TestLocks:
    def test_a_lock_that_is_never_given_back_is_not_waited_for_for_ever(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "api.json"
        deck = Deck(path)
        deck.append(recording(b"/0"))
        deck.cassette._file.patience_s = 0.05
        with path.open("rb") as holder:
            flock(holder, LOCK_EX)
            with pytest.raises(StoreFailed, match="another process has held its lock for"):
                deck.append(recording(b"/lost"))
            assert Deck(path, access="replay", patience_s=0.05).count(b"/0") == 1
        deck.append(recording(b"/1"))
        deck.close()
        assert paths(path) == ["/0", "/1"]

    def test_a_file_system_without_locks_is_reported_once(self, tmp_path: Path) -> None:
        path = tmp_path / "api.json"
        deck = Deck(path)
        deck.cassette._file.lock = no_locks
        deck.append(recording(b"/0"), recording(b"/1"))
        deck.close()
        assert paths(path) == ["/0", "/1"]
        assert len(deck.said) == 1
        assert "its file system has no locks; let only one process record" in deck.said[0]


def no_locks(fd: int, *, exclusive: bool, patience_s: float) -> None:
    raise LocksMissing(errno.EOPNOTSUPP, "as some network file systems")


class TestKills:
    def test_nothing_acknowledged_is_lost(self, tmp_path: Path) -> None:
        kill_and_check(tmp_path, runs=10)

    @pytest.mark.slow
    def test_nothing_acknowledged_is_lost_in_many_runs(self, tmp_path: Path) -> None:
        kill_and_check(tmp_path, runs=MANY_KILLS)


def kill_and_check(tmp_path: Path, runs: int) -> None:
    """Kill -9 at a random moment; each run goes on with the file of the runs before it."""
    chance = random.Random(20261121)
    path = tmp_path / "api.json"
    acknowledged: list[str] = []
    for run in range(runs):
        if run % 5 == 0:  # a fresh file now and then, so that its making is hit too
            path.unlink(missing_ok=True)
            acknowledged = []
        large = chance.choice((100, 400_000, 3 << 20))
        victim = appender(path, f"run{run}-", 10_000, large)
        assert victim.stdout is not None
        go(victim)
        for _ in range(chance.randrange(12)):
            acknowledged.append(victim.stdout.readline().rstrip())
        # Now it is somewhere in its next append; where depends on the machine.
        for _ in range(chance.randrange(20_000)):
            pass
        victim.kill()
        acknowledged += victim.stdout.read().split()
        victim.wait()
        after = Deck(path)
        assert not path.exists() or set(acknowledged) <= set(paths(path))
        for target in [one for one in acknowledged if "-" in one][-20:]:
            body = body_of(after, target.encode())
            assert body.startswith(target.rpartition("-")[2].encode() + b":")
        after.append(recording(f"/mark{run}".encode()))
        after.close()
        acknowledged.append(f"/mark{run}")
        kept = paths(path)
        assert [one for one in kept if one in set(acknowledged)] == acknowledged


def body_of(deck: Deck, target: bytes) -> bytes:
    found = deck.turns.run(deck.store.find([key(target)]))
    assert found is not None, target
    (place,) = found.places
    body = exchange_of(deck.turns.run(deck.store.load(place))).body
    data = body.file.read_bytes() if body.file else body.data
    assert len(data) == body.size_bytes
    return data
