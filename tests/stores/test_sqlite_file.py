"""The file of a cache: its owner, its version, and the handling of a damaged one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from cache_entries import KEY, entry
from turns import Turns

from buffr.errors import StoreFailed
from buffr.stores.disk import Disk
from buffr.stores.sqlite.file import CacheFile
from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS
from buffr.stores.sqlite.store import SQLiteStore


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def store(path: Path, turns: Turns, lines: list[str]) -> Iterator[SQLiteStore]:
    made = SQLiteStore(
        path,
        Bounds(1 << 30, 1000, 1 << 20),
        call_from_thread=turns.call,
        wall=turns.now,
        warn=lines.append,
        sweep_every_s=0.05,
    )
    yield made
    turns.run(made.close())


def names(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.iterdir())


class TestBeginning:
    def test_no_other_user_may_read_it(
        self, store: SQLiteStore, turns: Turns, path: Path, tmp_path: Path
    ) -> None:
        """Answers are stored exact, so that the files are their owner's alone."""
        old = os.umask(0)
        try:
            store.open()
            turns.run(store.put(entry()))
            assert {found.stat().st_mode & 0o777 for found in tmp_path.iterdir()} == {0o600}
            assert path.with_name("cache.db-wal").exists()
        finally:
            os.umask(old)

    def test_an_empty_file_and_a_missing_directory_will_do(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.db"
        empty.touch()
        for path in (empty, tmp_path / "a" / "b" / "cache ?#%.db"):
            CacheFile(path, pytest.fail, Disk()).prepare()
            with sqlite3.connect(path) as look:
                assert look.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
                assert look.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_stored_entries_are_found_again(
        self, store: SQLiteStore, turns: Turns, path: Path, lines: list[str]
    ) -> None:
        store.open()
        turns.run(store.put(entry()))
        turns.run(store.close())
        CacheFile(path, lines.append, Disk()).prepare()
        with sqlite3.connect(path) as look:
            assert look.execute("SELECT count(*) FROM entries").fetchone() == (1,)
        assert lines == []


class TestBrokenFiles:
    @pytest.mark.parametrize(
        "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4080, b"x"]
    )
    def test_a_broken_one_is_set_aside(
        self, store: SQLiteStore, turns: Turns, path: Path, lines: list[str], content: bytes
    ) -> None:
        path.write_bytes(content)
        store.open()
        turns.run(store.put(entry()))
        assert len(turns.run(store.find(KEY))) == 1
        (aside,) = [found for found in path.parent.iterdir() if ".corrupt-" in found.name]
        assert aside.read_bytes() == content
        (line,) = lines
        assert str(path) in line
        assert aside.name in line

    def test_another_program_s_database_is_set_aside(
        self, store: SQLiteStore, path: Path, lines: list[str]
    ) -> None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE cache (a)")
            other.execute("INSERT INTO cache VALUES (7)")
        other.close()
        store.open()
        (aside,) = [found for found in path.parent.iterdir() if ".corrupt-" in found.name]
        with sqlite3.connect(aside) as look:
            assert look.execute("SELECT a FROM cache").fetchone() == (7,)
        assert "not a cache of buffr" in lines[0]

    def test_one_that_breaks_while_it_is_used_is_set_aside(
        self, store: SQLiteStore, turns: Turns, path: Path, lines: list[str]
    ) -> None:
        """The lookup fails, and later ones continue with a new file."""
        store.open()
        turns.run(store.put(entry()))
        turns.run(store.close())
        again = SQLiteStore(
            path,
            Bounds(1 << 30, 1000, 1 << 20),
            call_from_thread=turns.call,
            wall=turns.now,
            warn=lines.append,
        )
        again.open()
        salt = again.salt
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        with pytest.raises(StoreFailed, match="malformed"):
            turns.run(again.find(KEY))
        turns.run(again.put(entry(body=b"later")))
        assert [found.entry.body.data for found in turns.run(again.find(KEY))] == [b"later"]
        assert "malformed" in lines[0]
        assert any(".corrupt-" in name for name in names(path))
        assert again.salt != salt
        turns.run(again.close())

    def test_a_removed_file_is_created_again(
        self, store: SQLiteStore, turns: Turns, path: Path, lines: list[str]
    ) -> None:
        store.open()
        turns.run(store.put(entry()))
        for found in list(path.parent.iterdir()):
            found.unlink()
        turns.seconds += 1
        while turns.run(store.find(KEY)):
            turns.run(store.sweep())
        turns.run(store.put(entry(body=b"later")))
        with sqlite3.connect(path) as look:
            assert look.execute("SELECT body FROM entries").fetchall() == [(b"later",)]
        assert "replaced" in lines[0]


class TestVersions:
    def test_a_newer_one_is_refused_and_left_alone(
        self, store: SQLiteStore, path: Path, lines: list[str]
    ) -> None:
        CacheFile(path, lines.append, Disk(), (*MIGRATIONS, "CREATE TABLE later (a)")).prepare()
        before = path.read_bytes()
        with pytest.raises(StoreFailed, match=r"version is 2.*left as it is.*newer buffr"):
            store.open()
        assert path.read_bytes() == before
        assert not any(".corrupt-" in name or "bak-v2" in name for name in names(path))
        assert lines == []

    def test_an_older_one_is_backed_up_then_changed(
        self, store: SQLiteStore, turns: Turns, path: Path, lines: list[str]
    ) -> None:
        """Each migration begins with a full copy, including the write-ahead log."""
        store.open()
        turns.run(store.put(entry()))
        later = ("ALTER TABLE entries ADD COLUMN extra", "CREATE TABLE more (a)")
        CacheFile(path, lines.append, Disk(), (*MIGRATIONS, *later)).prepare()
        for name, version in (("cache.db.bak-v1", 1), ("cache.db.bak-v2", 2), ("cache.db", 3)):
            with sqlite3.connect(path.with_name(name)) as look:
                assert look.execute("PRAGMA user_version").fetchone() == (version,)
                assert look.execute("SELECT count(*) FROM entries").fetchone() == (1,)
        assert path.with_name("cache.db.bak-v1").stat().st_mode & 0o777 == 0o600

    def test_a_migration_that_fails_changes_nothing(
        self, store: SQLiteStore, turns: Turns, path: Path, lines: list[str]
    ) -> None:
        store.open()
        turns.run(store.put(entry()))
        turns.run(store.close())
        bad = "CREATE TABLE half (a); CREATE TABLE entries (a)"
        with pytest.raises(StoreFailed, match="already exists"):
            CacheFile(path, lines.append, Disk(), (*MIGRATIONS, bad)).prepare()
        with sqlite3.connect(path) as look:
            assert look.execute("PRAGMA user_version").fetchone() == (1,)
            assert look.execute(
                "SELECT count(*) FROM sqlite_master WHERE name = 'half'"
            ).fetchone() == (0,)


class TestTrouble:
    def test_a_read_only_directory_is_reported(self, tmp_path: Path, turns: Turns) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreFailed, match=r"cache.db: (File exists|Not a directory)"):
            CacheFile(tmp_path / "file" / "cache.db", pytest.fail, Disk()).prepare()

    def test_a_full_disk_fails_the_put_and_nothing_else(
        self, store: SQLiteStore, turns: Turns, path: Path
    ) -> None:
        store.open()
        turns.run(store.put(entry(body=b"small")))
        writer = store._thread._ledger().connection
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")
        large = os.urandom(100_000)
        with pytest.raises(StoreFailed, match=r"cache\.db: .*full"):
            turns.run(store.put(entry(b"2" * 16, large)))
        assert len(turns.run(store.find(KEY))) == 1
        assert turns.run(store.find(b"2" * 16)) == []
        writer.execute("PRAGMA max_page_count = 1000000")
        turns.run(store.put(entry(b"2" * 16, large)))
        assert len(turns.run(store.find(b"2" * 16))) == 1

    def test_another_writer_is_waited_for(
        self, store: SQLiteStore, turns: Turns, path: Path
    ) -> None:
        store.open()
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = turns.start(store.put(entry()))
            assert len(turns.run(store.find(KEY))) == 1
            assert waiting == []
            other.execute("COMMIT")
        turns.run(store.put(entry(b"2" * 16)))
        assert waiting == [None]
