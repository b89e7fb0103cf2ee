"""What of a cache file is held in memory: quicker, never older than the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from cache_entries import KEY, entry, key
from turns import Turns

from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.store import SQLiteStore

LONG = b"long " * 1000
"""A body that is kept compressed, so that each reading of it is counted."""

Open = Callable[..., SQLiteStore]


@pytest.fixture
def turns() -> Turns:
    turns = Turns()
    turns.seconds = 1000.0
    return turns


@pytest.fixture
def opened(tmp_path: Path, turns: Turns) -> Iterator[Open]:
    stores = []

    def open_store(memory_bytes: int = 1 << 20, **options: object) -> SQLiteStore:
        store = SQLiteStore(
            tmp_path / "cache.db",
            Bounds(1 << 30, 10_000, 16 << 20),
            call_from_thread=turns.call,
            wall=turns.now,
            warn=pytest.fail,
            sweep_every_s=1e9,
            memory_bytes=memory_bytes,
            **options,  # type: ignore[arg-type]
        )
        store.open()
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        turns.run(store.close())


class Reader:
    """A store that has found an entry, and whether it reads the file for it again."""

    def __init__(self, store: SQLiteStore, turns: Turns) -> None:
        self.store = store
        self._turns = turns
        self._readings = 0

    def bodies(self, which: bytes = KEY) -> list[bytes]:
        return [one.entry.body.data for one in self._turns.run(self.store.find(which))]

    def reads(self, which: bytes = KEY) -> bool:
        """Whether a look-up takes a body from the file."""
        before = self.store.counters.inflated
        self.bodies(which)
        return self.store.counters.inflated > before


@pytest.fixture
def reader(opened: Open, turns: Turns) -> Reader:
    reader = Reader(opened(), turns)
    turns.run(reader.store.put(entry(body=LONG)))
    assert reader.bodies() == [LONG]
    turns.seconds += 1
    return reader


class TestHeld:
    def test_a_body_is_read_once(self, reader: Reader) -> None:
        assert not reader.reads()

    def test_other_processes_entries_do_not_evict_it_from_memory(
        self, reader: Reader, opened: Open, turns: Turns
    ) -> None:
        turns.run(opened().put(entry(key(7))))
        assert not reader.reads()

    def test_without_memory_it_is_read_each_time(self, opened: Open, turns: Turns) -> None:
        reader = Reader(opened(0), turns)
        turns.run(reader.store.put(entry(body=LONG)))
        assert reader.reads()
        assert reader.reads()

    def test_memory_is_bounded(self, opened: Open, turns: Turns) -> None:
        reader = Reader(opened(80_000), turns)
        for number in range(20):
            turns.run(reader.store.put(entry(key(number), LONG[:2000])))
        for number in range(20):
            reader.bodies(key(number))
        held = [number for number in reversed(range(20)) if not reader.reads(key(number))]
        assert 0 < len(held) <= 80_000 // 2000

    def test_the_most_recently_used_stays(self, opened: Open, turns: Turns) -> None:
        reader = Reader(opened(80_000), turns)
        for number in range(40):
            turns.run(reader.store.put(entry(key(number), LONG[:2000])))
            reader.bodies(key(number))
            reader.bodies(key(0))
        assert not reader.reads(key(0))
        assert reader.reads(key(1))

    def test_a_large_one_displaces_nothing(self, opened: Open, turns: Turns) -> None:
        reader = Reader(opened(80_000), turns)
        turns.run(reader.store.put(entry(key(1), LONG[:2000])))
        turns.run(reader.store.put(entry(key(2), LONG * 4)))
        reader.bodies(key(1))
        reader.bodies(key(2))
        assert not reader.reads(key(1))
        assert reader.reads(key(2))

    def test_a_lower_limit_applies_from_the_next_one_on(self, reader: Reader, turns: Turns) -> None:
        reader.store.change(reader.store.bounds, 0)
        turns.run(reader.store.put(entry(key(1), LONG)))
        assert reader.reads(key(1))
        assert reader.reads(key(1))


class TestTrue:
    """Nothing in memory outlives the content of the file."""

    @pytest.fixture(params=["own", "another"])
    def writer(self, request: pytest.FixtureRequest, reader: Reader, opened: Open) -> SQLiteStore:
        return reader.store if request.param == "own" else opened()

    def test_a_replaced_entry(self, reader: Reader, writer: SQLiteStore, turns: Turns) -> None:
        turns.run(writer.put(entry(body=b"new")))
        assert reader.bodies() == [b"new"]

    def test_one_more_variant(self, reader: Reader, writer: SQLiteStore, turns: Turns) -> None:
        turns.run(writer.put(entry(body=b"new", vary=((b"accept", b"*/*"),))))
        assert reader.bodies() == [b"new", LONG]

    def test_a_removed_entry(self, reader: Reader, writer: SQLiteStore, turns: Turns) -> None:
        turns.run(writer.remove(turns.run(writer.find(KEY))[0].place))
        assert reader.bodies() == []

    def test_a_cleared_route(self, reader: Reader, writer: SQLiteStore, turns: Turns) -> None:
        turns.run(writer.clear(route="wikidata"))
        assert reader.bodies() == []

    def test_a_refreshed_entry(self, reader: Reader, writer: SQLiteStore, turns: Turns) -> None:
        [found] = turns.run(writer.find(KEY))
        later = evolve(found.entry, responded_at=1010.0, fresh_until=2000.0)
        turns.run(writer.refresh(found.place, later))
        [now] = turns.run(reader.store.find(KEY))
        assert now.entry.fresh_until == 2000.0
        assert now.entry.body.data == LONG

    def test_an_expired_entry(self, reader: Reader, writer: SQLiteStore, turns: Turns) -> None:
        turns.seconds = 1e6
        assert turns.run(writer.sweep()) == 1
        assert reader.bodies() == []

    def test_while_it_is_on_its_way_to_the_file(self, reader: Reader, turns: Turns) -> None:
        turns.start(reader.store.put(entry(body=b"new")))
        assert reader.bodies() == [b"new"]


class TestTurns:
    def test_the_file_is_asked_once_a_turn(self, opened: Open, turns: Turns) -> None:
        """Another process's change is seen in the next turn; this one's own change at once."""
        ahead: list[Callable[[], None]] = []
        reader = Reader(opened(soon=ahead.append), turns)
        other = opened()
        turns.run(other.put(entry(body=b"old")))
        assert reader.bodies() == [b"old"]
        turns.run(other.put(entry(body=b"new")))
        assert reader.bodies() == [b"old"]
        assert len(ahead) == 1
        ahead.pop()()
        assert reader.bodies() == [b"new"]
        turns.run(reader.store.put(entry(body=b"own")))
        assert reader.bodies() == [b"own"]
