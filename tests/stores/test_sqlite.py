"""The cache in an SQLite file: what it keeps, finds, counts and evicts."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cache_entries import KEY, entry, key, shape
from turns import Turns
from twisted.python.failure import Failure

from buffr.errors import StoreFailed
from buffr.interaction import Body
from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.store import SQLiteStore

Open = Callable[..., SQLiteStore]


@pytest.fixture
def turns() -> Turns:
    turns = Turns()
    turns.seconds = 1000.0
    return turns


@pytest.fixture
def opened(tmp_path: Path, turns: Turns) -> Iterator[Open]:
    """Opens stores over one file, and closes them."""
    stores = []

    def open_store(bounds: Bounds | None = None) -> SQLiteStore:
        store = SQLiteStore(
            tmp_path / "cache.db",
            bounds or Bounds(1 << 30, 10_000, 16 << 20),
            call_from_thread=turns.call,
            wall=turns.now,
            warn=lambda line: None,
            sweep_every_s=1e9,
        )
        store.open()
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        turns.run(store.close())


def bodies(store: SQLiteStore, turns: Turns, which: bytes = KEY) -> list[bytes]:
    return [cached.entry.body.data for cached in turns.run(store.find(which))]


class TestExactness:
    def test_all_of_an_entry_comes_back_from_the_file(self, opened: Open, turns: Turns) -> None:
        kept = entry(vary=((b"accept", b"*/*"),), tags=("a", "b"))
        turns.run(opened().put(kept))
        found = turns.run(opened().find(KEY))
        assert [shape(cached.entry) for cached in found] == [shape(kept)]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"x" * 1024,
            b"x" * 1025,
            random.Random(1).randbytes(5000),
            b"y" * (256 << 10),
            b"z" * ((256 << 10) + 1),
            random.Random(2).randbytes(1 << 20),
        ],
        ids=len,
    )
    def test_bodies_are_exact(self, opened: Open, turns: Turns, body: bytes) -> None:
        turns.run(opened().put(entry(body=body)))
        assert bodies(opened(), turns) == [body]

    def test_a_body_is_compressed_only_when_that_makes_it_smaller(
        self, opened: Open, turns: Turns, tmp_path: Path
    ) -> None:
        store = opened()
        noise = random.Random(3).randbytes(4096)
        for number, body in enumerate((b"x" * 1024, b"x" * 4096, noise)):
            turns.run(store.put(entry(key(number), body)))
        with sqlite3.connect(tmp_path / "cache.db") as look:
            sizes = look.execute("SELECT length(body) FROM entries ORDER BY place").fetchall()
        assert sizes[0] == (1024,)
        assert sizes[1][0] < 100
        assert sizes[2] == (4096,)
        for number in range(3):
            turns.run(store.find(key(number)))
        counters = store.counters
        assert (counters.puts, counters.compressed, counters.inflated) == (3, 1, 1)

    def test_a_body_in_a_file_is_read(self, opened: Open, turns: Turns, tmp_path: Path) -> None:
        spool = tmp_path / "spool"
        spool.write_bytes(b"s" * 3000)
        store = opened()
        turns.run(store.put(entry(body=Body(size_bytes=3000, file=spool))))
        spool.unlink()
        assert bodies(store, turns) == [b"s" * 3000]

    def test_a_missing_spool_is_reported(self, opened: Open, turns: Turns, tmp_path: Path) -> None:
        """It spoils no other entry of its group."""
        store = opened()
        lost = turns.start(store.put(entry(body=Body(size_bytes=9, file=tmp_path / "gone"))))
        turns.run(store.put(entry(key(1))))
        assert isinstance(lost[0], Failure)
        assert "No such file" in str(lost[0].value)
        assert bodies(store, turns, key(1)) == [b"answer"]


class TestReadingOwnWrites:
    def test_an_entry_is_found_before_it_is_committed(self, opened: Open, turns: Turns) -> None:
        store = opened()
        turns.run(store.put(entry(body=b"old")))
        done = turns.start(store.put(entry(body=b"new")))
        other = turns.start(store.put(entry(body=b"other", vary=((b"a", b"b"),))))
        assert bodies(store, turns) == [b"other", b"new"]
        assert done == other == []
        assert len(turns.run(store.find(KEY))) == 2

    def test_a_removal_and_a_refresh_count_at_once(self, opened: Open, turns: Turns) -> None:
        store = opened()
        turns.run(store.put(entry(body=b"one")))
        turns.run(store.put(entry(key(1), b"two")))
        place = turns.run(store.find(KEY))[0].place
        gone = turns.start(store.remove(turns.run(store.find(key(1)))[0].place))
        turns.start(store.refresh(place, entry(headers=((b"New", b"1"),), responded_at=1500.0)))
        assert bodies(store, turns, key(1)) == []
        (refreshed,) = turns.run(store.find(KEY))
        assert refreshed.entry.head.headers == ((b"New", b"1"),)
        assert refreshed.entry.body.data == b"one"
        assert gone == []

    def test_a_body_in_a_spool_is_found_once_it_is_kept(
        self, opened: Open, turns: Turns, tmp_path: Path
    ) -> None:
        """Nobody gets the name of a file that its owner removes when ``put`` returns."""
        spool = tmp_path / "spool"
        spool.write_bytes(b"s" * 30)
        store = opened()
        turns.start(store.put(entry(body=Body(size_bytes=30, file=spool))))
        (found,) = turns.run(store.find(KEY))
        assert found.entry.body == Body.of(b"s" * 30)

    def test_a_hit_never_suspends(self, opened: Open, turns: Turns) -> None:
        store = opened()
        turns.run(store.put(entry(body=b"x" * 10_000)))
        with pytest.raises(StopIteration) as found:
            store.find(KEY).send(None)
        assert len(found.value.value) == 1


class TestVariants:
    def test_the_one_stored_last_comes_first(self, opened: Open, turns: Turns) -> None:
        store = opened()
        for number in range(3):
            turns.run(store.put(entry(body=b"%d" % number, vary=((b"a", b"%d" % number),))))
        assert bodies(store, turns) == [b"2", b"1", b"0"]

    def test_the_same_variant_is_replaced(self, opened: Open, turns: Turns) -> None:
        store = opened()
        for method in (b"GET", b"HEAD", b"GET"):
            turns.run(store.put(entry(body=method, method=method)))
        assert bodies(store, turns) == [b"GET", b"HEAD"]
        assert turns.run(store.stats(1000.0)).entries == 2

    def test_their_number_is_bounded(self, opened: Open, turns: Turns) -> None:
        store = opened()
        for number in range(70):
            turns.run(store.put(entry(vary=((b"user-agent", b"%d" % number),))))
        assert len(turns.run(store.find(KEY))) == 64

    def test_a_refresh_that_becomes_another_variant_replaces_it(
        self, opened: Open, turns: Turns
    ) -> None:
        store = opened()
        turns.run(store.put(entry(body=b"one", vary=((b"a", b"1"),))))
        turns.run(store.put(entry(body=b"two", vary=((b"a", b"2"),))))
        place = turns.run(store.find(KEY))[1].place
        turns.run(store.refresh(place, entry(vary=((b"a", b"2"),))))
        assert bodies(store, turns) == [b"one"]

    def test_refreshing_a_removed_entry_does_nothing(self, opened: Open, turns: Turns) -> None:
        store = opened()
        turns.run(store.refresh(7, entry()))
        turns.run(store.remove(7))
        assert bodies(store, turns) == []


class TestBounds:
    def test_the_least_recently_used_go_first(self, opened: Open, turns: Turns) -> None:
        """By their last look-up, not by when they were stored."""
        store = opened(Bounds(1 << 30, 3, 1 << 20))
        for number in range(3):
            turns.seconds += 1
            turns.run(store.put(entry(key(number))))
        turns.seconds += 1
        turns.run(store.find(key(0)))
        turns.seconds += 1
        turns.run(store.put(entry(key(3))))
        left = [number for number in range(4) if bodies(store, turns, key(number))]
        assert left == [0, 2, 3]
        assert turns.run(store.stats(1000.0)).evicted == 1

    def test_bytes_are_bounded(self, opened: Open, turns: Turns) -> None:
        store = opened(Bounds(10_000, 1000, 1 << 20))
        for number in range(50):
            turns.run(store.put(entry(key(number), b"x" * 900)))
            assert turns.run(store.stats(1000.0)).bytes <= 10_000
        assert 8 <= turns.run(store.stats(1000.0)).entries <= 10

    def test_a_large_body_is_left_out(self, opened: Open, turns: Turns) -> None:
        store = opened(Bounds(1 << 30, 1000, 100))
        turns.run(store.put(entry(body=b"x" * 101)))
        assert bodies(store, turns) == []
        turns.run(store.put(entry(body=b"x" * 100)))
        assert bodies(store, turns) == [b"x" * 100]

    def test_an_entry_over_all_bytes_empties_the_store(self, opened: Open, turns: Turns) -> None:
        store = opened(Bounds(200, 1000, 10_000))
        turns.run(store.put(entry(body=random.Random(4).randbytes(500))))
        assert turns.run(store.stats(1000.0)).entries == 0

    def test_uses_survive_a_restart(self, opened: Open, turns: Turns) -> None:
        first = opened()
        for number in range(2):
            turns.seconds += 1
            turns.run(first.put(entry(key(number))))
        turns.seconds += 1
        turns.run(first.find(key(0)))
        turns.run(first.close())
        second = opened(Bounds(1 << 30, 2, 1 << 20))
        turns.run(second.put(entry(key(2))))
        assert bodies(second, turns, key(1)) == []
        assert bodies(second, turns, key(0)) == [b"answer"]

    def test_useless_entries_are_swept(self, opened: Open, turns: Turns) -> None:
        store = opened()
        for number in range(600):
            turns.start(store.put(entry(key(number), keep_for_s=10.0)))
        turns.run(store.put(entry(keep_for_s=11.0)))
        turns.seconds = 1010.0
        assert turns.run(store.sweep()) == 600
        assert turns.run(store.stats(1010.0)).entries == 1

    def test_too_many_waiting_entries_are_refused(self, opened: Open, turns: Turns) -> None:
        """The queue to the disk is bounded, and a refused entry leaves no trace."""
        store = opened(Bounds(1 << 40, 10_000, 1 << 40))
        waiting = [
            turns.start(store.put(entry(key(n), Body(size_bytes=100 << 20, file=Path("/gone")))))
            for n in range(3)
        ]
        assert isinstance(waiting[2][0], Failure)
        assert "too many answers wait" in str(waiting[2][0].value)
        assert bodies(store, turns, key(2)) == []


class TestClearing:
    @pytest.fixture
    def store(self, opened: Open, turns: Turns) -> SQLiteStore:
        store = opened()
        for number, (route, url, tags) in enumerate(
            (("a", "http://a/1", ("t",)), ("a", "http://a/2", ()), ("b", "http://b/1", ("t", "u")))
        ):
            cached = entry(
                key(number), route=route, url=url, tags=tags, responded_at=1000.0 + number
            )
            turns.run(store.put(cached))
        return store

    @pytest.mark.parametrize(
        ("criteria", "left"),
        [
            ({}, []),
            ({"route": "a"}, [2]),
            ({"route": "none"}, [0, 1, 2]),
            ({"url": "http://a/2"}, [0, 2]),
            ({"tag": "t"}, [1]),
            ({"tag": "t", "route": "a"}, [1, 2]),
            ({"stored_before": 1001.0}, [1, 2]),
        ],
    )
    def test_matching_entries_are_removed(
        self, store: SQLiteStore, turns: Turns, criteria: dict[str, object], left: list[int]
    ) -> None:
        removed = turns.run(store.clear(**criteria))  # type: ignore[arg-type]
        assert removed == 3 - len(left)
        assert [n for n in range(3) if bodies(store, turns, key(n))] == left
        assert turns.run(store.stats(1000.0)).entries == len(left)

    def test_a_refresh_changes_the_tags(self, store: SQLiteStore, turns: Turns) -> None:
        place = turns.run(store.find(key(0)))[0].place
        turns.run(store.refresh(place, entry(key(0), tags=("new",))))
        assert turns.run(store.clear(tag="t")) == 1
        assert turns.run(store.clear(tag="new")) == 1

    def test_entries_stored_later_stay(self, store: SQLiteStore, turns: Turns) -> None:
        cleared = turns.start(store.clear())
        turns.run(store.put(entry()))
        assert turns.run(store.sweep()) == 0
        assert cleared == [3]
        assert bodies(store, turns) == [b"answer"]


class TestStats:
    def test_they_are_true_after_every_change(self, opened: Open, turns: Turns) -> None:
        """Counted as it goes; held against a count of the rows, and after a restart."""
        chance = random.Random(5)
        store = opened(Bounds(40_000, 50, 1 << 20))
        for _ in range(300):
            turns.seconds += chance.uniform(0, 5)
            made = entry(
                key(chance.randrange(80)),
                chance.randbytes(chance.randrange(2000)),
                route=chance.choice("ab"),
                responded_at=turns.seconds,
                fresh_for_s=chance.uniform(-50, 200),
                keep_for_s=300,
            )
            match chance.randrange(8):
                case 0:
                    for found in turns.run(store.find(made.key)):
                        turns.run(store.refresh(found.place, made))
                case 1:
                    for found in turns.run(store.find(made.key)):
                        turns.run(store.remove(found.place))
                case 2:
                    turns.run(store.sweep())
                case 3:
                    turns.run(store.clear(stored_before=turns.seconds - 400))
                case _:
                    turns.run(store.put(made))
            for at in (turns.seconds, turns.seconds + 20, turns.seconds - 100):
                self.check(store, turns, at)
        assert turns.run(store.stats(0)).evicted > 0
        turns.run(store.close())
        self.check(opened(), turns, turns.seconds)

    def check(self, store: SQLiteStore, turns: Turns, now: float) -> None:
        with sqlite3.connect(store.path) as look:
            for route in (None, "a", "b", "none"):
                counted = look.execute(
                    "SELECT count(*), total(length(body) + length(head)), total(fresh_until <= ?1),"
                    " min(responded_at), max(responded_at) FROM entries"
                    " WHERE ?2 IS NULL OR route = ?2",
                    (now, route),
                ).fetchone()
                stats = turns.run(store.stats(now, route))
                (left_s,) = look.execute(
                    "SELECT avg(fresh_until - ?1) FROM entries"
                    " WHERE fresh_until > ?1 AND (?2 IS NULL OR route = ?2)",
                    (now, route),
                ).fetchone()
                assert stats.fresh_left_s == pytest.approx(left_s or 0.0, abs=0.01)
                told = (stats.entries, stats.bytes, stats.expired, stats.oldest_at, stats.newest_at)
                assert told == counted

    def test_two_stores_over_one_file_agree(self, opened: Open, turns: Turns) -> None:
        one, other = opened(), opened()
        turns.run(one.put(entry(key(1))))
        turns.run(other.put(entry(key(2))))
        assert bodies(one, turns, key(2)) == bodies(other, turns, key(1)) == [b"answer"]
        assert turns.run(one.stats(1000.0)) == turns.run(other.stats(1000.0))
        assert one.salt == other.salt
        assert len(one.salt) >= 16


class TestSharing:
    def test_another_process_s_entries_are_found_at_once(self, opened: Open, turns: Turns) -> None:
        """Also in place of what was found here before."""
        one, other = opened(), opened()
        turns.run(one.put(entry(body=b"old")))
        assert bodies(one, turns) == bodies(one, turns) == [b"old"]
        turns.run(other.put(entry(body=b"new")))
        assert bodies(one, turns) == [b"new"]
        turns.run(other.clear())
        assert bodies(one, turns) == []


class TestClosing:
    def test_waiting_entries_are_stored(self, opened: Open, turns: Turns) -> None:
        store = opened()
        puts = [turns.start(store.put(entry(key(n)))) for n in range(20)]
        turns.run(store.close())
        assert all(put == [None] for put in puts)
        assert turns.run(opened().stats(1000.0)).entries == 20

    def test_a_closed_store_takes_nothing(self, opened: Open, turns: Turns) -> None:
        store = opened()
        turns.run(store.close())
        for attempt in (store.put(entry()), store.find(KEY), store.clear(), store.sweep()):
            with pytest.raises(StoreFailed, match="closed"):
                turns.run(attempt)
        turns.run(store.close())
