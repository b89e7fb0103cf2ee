"""Recordings in an SQLite file, as processes come and go."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from recordings import exchange_of, key, key_of, recording
from turns import Turns
from twisted.internet.task import Clock

from buffr.errors import StoreFailed
from buffr.stores.interactions import InteractionView, SetName, StoreAccess
from buffr.stores.sqlite.interactions import SQLiteInteractions
from buffr.transport.turn import Turn


@define
class Deck:
    """One set that is open, as one process has it."""

    path: Path
    access: StoreAccess = "append"
    name: str = "api"
    turns: Turns = field(factory=Turns)
    said: list[str] = field(factory=list)
    interactions: SQLiteInteractions = field(init=False)
    store: InteractionView = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.interactions = SQLiteInteractions(
            SetName(self.path, self.name),
            self.path,
            redact=lambda salt: lambda interaction: interaction,
            call_from_thread=self.turns.call,
            turn=Turn(Clock()),
            warn=self.said.append,
            access=self.access,
        )
        self.store = self.interactions.view(key_of)
        self.interactions.open()

    def append(self, *targets: bytes) -> None:
        for target in targets:
            self.turns.run(self.store.append(recording(target, target)))

    def bodies(self, target: bytes) -> list[bytes]:
        found = self.turns.run(self.store.find([key(target)]))
        places = [] if found is None else found.places
        return [exchange_of(self.turns.run(self.store.load(place))).body.data for place in places]

    def close(self) -> None:
        self.turns.run(self.store.close())


def rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT name, count(place) FROM recordings LEFT JOIN interactions "
            "ON recording = id GROUP BY name ORDER BY name"
        ).fetchall()


class TestSets:
    def test_the_next_run_finds_the_recordings(self, tmp_path: Path) -> None:
        one = Deck(tmp_path / "a.db")
        one.append(b"/a", b"/b", b"/a")
        one.close()
        other = Deck(tmp_path / "a.db", "replay")
        assert [other.bodies(target) for target in (b"/a", b"/b")] == [[b"/a"] * 2, [b"/b"]]
        other.close()

    def test_sets_of_one_file_stay_apart(self, tmp_path: Path) -> None:
        one, other = (Deck(tmp_path / "a.db", name=name) for name in ("one", "other"))
        one.append(b"/a")
        assert (one.bodies(b"/a"), other.bodies(b"/a")) == ([b"/a"], [])
        one.close()
        other.close()

    def test_a_later_view_knows_the_existing_recordings(self, tmp_path: Path) -> None:
        deck = Deck(tmp_path / "a.db")
        deck.append(*[b"/%d" % number for number in range(450)])
        late = deck.interactions.view(key_of)
        found = deck.turns.run(late.find([key(b"/449")]))
        assert found is not None
        deck.close()
        deck.turns.run(late.close())


class TestOthers:
    def test_appends_of_others_are_found_in_their_order(self, tmp_path: Path) -> None:
        one, other = Deck(tmp_path / "a.db"), Deck(tmp_path / "a.db")
        for number in range(3):
            (one, other)[number % 2].append(b"/a")
        assert len(one.bodies(b"/a")) == len(other.bodies(b"/a")) == 3
        one.close()
        other.close()

    def test_many_at_once_are_read_in_steps(self, tmp_path: Path) -> None:
        one, other = Deck(tmp_path / "a.db"), Deck(tmp_path / "a.db")
        one.append(*[b"/%d" % number for number in range(450)])
        assert other.bodies(b"/449") == [b"/449"]
        one.close()
        other.close()


class TestAnew:
    def test_the_first_recording_renames_the_old_set(self, tmp_path: Path) -> None:
        path = tmp_path / "a.db"
        for number in range(3):
            deck = Deck(path, "anew")
            assert not deck.bodies(b"/a"), "nothing from before is looked up"
            before = rows(path)
            assert number == 0 or ("api", 1) in before, "starting alone changes nothing"
            deck.append(b"/a")
            assert len(deck.bodies(b"/a")) == 1
            deck.close()
        assert rows(path) == [("api", 1), ("api.bak", 1)]
        assert any("recorded again" in line for line in deck.said)

    def test_another_process_goes_on_with_the_new_set(self, tmp_path: Path) -> None:
        one = Deck(tmp_path / "a.db")
        one.append(b"/a", b"/b")
        anew = Deck(tmp_path / "a.db", "anew")
        anew.append(b"/b")
        assert (one.bodies(b"/a"), one.bodies(b"/b")) == ([], [b"/b"])
        anew.close()
        one.close()


class TestReplay:
    def test_nothing_is_made_where_nothing_is(self, tmp_path: Path) -> None:
        deck = Deck(tmp_path / "none.db", "replay")
        assert deck.bodies(b"/a") == []
        with pytest.raises(StoreFailed, match="replay only"):
            deck.append(b"/a")
        deck.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_file_of_an_older_buffr_has_no_recordings(self, tmp_path: Path) -> None:
        """Its cache has no such tables; reading adds none."""
        path = tmp_path / "a.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE entries (place INTEGER)")
        before = path.read_bytes()
        deck = Deck(path, "replay")
        assert deck.bodies(b"/a") == []
        deck.close()
        assert path.read_bytes() == before


class TestTrouble:
    @pytest.mark.parametrize("content", [b'{"interactions": []}', b"no database\n" * 99])
    def test_a_file_that_is_not_a_database_is_left_as_it_is(
        self, content: bytes, tmp_path: Path
    ) -> None:
        """A cassette that was named by mistake, for example."""
        path = tmp_path / "api.json"
        path.write_bytes(content)
        with pytest.raises(StoreFailed, match="the file is left as it is"):
            Deck(path)
        assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [
            ("api.json", content)
        ]

    def test_a_recording_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        deck = Deck(tmp_path / "a.db")
        with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
            connection.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON interactions "
                "BEGIN SELECT RAISE(ABORT, 'no more'); END"
            )
        with pytest.raises(StoreFailed, match="GET /a was not recorded: no more"):
            deck.append(b"/a")
        assert deck.bodies(b"/a") == []
        deck.close()
