"""One cache file, many processes, some of which are killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cache_entries import key
from kills import MANY_KILLS
from turns import Turns

from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.store import SQLiteStore

_WRITER = Path(__file__).with_name("cache_writer.py")


def writer(path: Path, number: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(_WRITER), str(path), str(number), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def sound(path: Path) -> None:
    """The file is valid, and the counts match the entries."""
    with closing(sqlite3.connect(path)) as look:
        assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = look.execute("SELECT count(*), total(size_bytes) FROM entries").fetchone()
        assert look.execute("SELECT total(entries), total(bytes) FROM totals").fetchone() == rows
        assert look.execute("SELECT count(*) FROM uses").fetchone()[0] == rows[0]


class TestKills:
    @pytest.mark.parametrize("kills", [3, pytest.param(MANY_KILLS, marks=pytest.mark.slow)])
    def test_a_kill_corrupts_and_loses_nothing(self, tmp_path: Path, kills: int) -> None:
        """What ``put`` returned for is there; the next process opens the file as it is."""
        path = tmp_path / "cache.db"
        for number in range(1, kills + 1):
            process = writer(path, number, 100_000)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            told = [process.stdout.readline() for _ in range(20 + number % 60 * 7)]
            process.send_signal(signal.SIGKILL)
            told += process.stdout.read().splitlines()
            process.wait()
            last = [line for line in told if line.strip().isdigit()][-20:]
            turns = Turns()
            store = SQLiteStore(
                path,
                Bounds(4 << 20, 400, 1 << 20),
                call_from_thread=turns.call,
                wall=turns.now,
                warn=pytest.fail,
            )
            store.open()
            for line in last:
                assert turns.run(store.find(key(int(line)))) != []
            turns.run(store.close())
            sound(path)


class TestSharing:
    def test_processes_write_one_file(self, tmp_path: Path) -> None:
        """All that start at once make one file; nothing fails, nothing is counted twice."""
        path = tmp_path / "cache.db"
        processes = [writer(path, number, 60) for number in range(1, 5)]
        for process in processes:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            assert len(out.splitlines()) == 61
        sound(path)
        with closing(sqlite3.connect(path)) as look:
            assert look.execute("SELECT count(*) FROM entries").fetchone() == (240,)
        assert [found.name for found in tmp_path.iterdir()] == ["cache.db"]
