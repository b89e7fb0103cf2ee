"""What mode cache asks of a store, of every store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cache_entries import KEY, entry, key, shape
from hypothesis import given
from hypothesis import strategies as st
from reactors import ReactorTurns
from redis_servers import RedisServer
from turns import Turns

from buffr.errors import StoreFailed
from buffr.interaction import Body
from buffr.message import ResponseHead
from buffr.stores.cache import MOST_VARIANTS, CacheStats, CacheStore, StoredEntry
from buffr.stores.memory_cache import MemoryCache
from buffr.stores.redis.cache import RedisCache, RedisCacheView
from buffr.stores.redis.client import Patience, RedisClient
from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.store import SQLiteStore

Make = Callable[..., CacheStore]
GERMAN = ((b"accept-language", b"de"),)
FRENCH = ((b"accept-language", b"fr"),)


@pytest.fixture(params=["memory", "sqlite", "sqlite held", "redis", "redis held"])
def which(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def turns(which: str) -> Iterator[Turns]:
    turns = ReactorTurns() if "redis" in which else Turns()
    turns.seconds = 1000.0
    yield turns
    if isinstance(turns, ReactorTurns):
        turns.close()


@pytest.fixture
def made(
    request: pytest.FixtureRequest, which: str, tmp_path: Path, turns: Turns
) -> Iterator[Make]:
    """Makes an empty store with these bounds."""
    stores: list[CacheStore] = []
    clients: list[RedisClient] = []

    def make(size: int = 1 << 30, entries: int = 1000, body: int = 1 << 20) -> CacheStore:
        store: CacheStore
        if which == "memory":
            store = MemoryCache(size, entries, body, turns.now)
        elif isinstance(turns, ReactorTurns):
            server: RedisServer = request.getfixturevalue("redis_server")
            address = evolve(server.address, prefix=f"{tmp_path.name}:{len(stores)}")
            client = RedisClient(address, turns.reactor, Patience(5.0, 5.0))
            clients.append(client)
            memory_bytes = (1 << 20) * (which == "redis held")
            cache = RedisCache(
                client, Bounds(size, entries, body), memory_bytes, turns.reactor, turns.now
            )
            cache.open()
            store = RedisCacheView(cache, "refuse")
        else:
            store = SQLiteStore(
                tmp_path / f"{len(stores)}.db",
                Bounds(size, entries, body),
                call_from_thread=turns.call,
                wall=turns.now,
                warn=lambda line: None,
                sweep_every_s=1e9,
                memory_bytes=(1 << 20) * (which == "sqlite held"),
            )
            store.open()
        stores.append(store)
        return store

    yield make
    for store in stores:
        turns.run(store.close())
    for client in clients:
        turns.run(client.close())


@pytest.fixture
def store(made: Make) -> CacheStore:
    return made()


def bodies(store: CacheStore, turns: Turns, which: bytes = KEY) -> list[bytes]:
    return [cached.entry.body.data for cached in turns.run(store.find(which))]


class TestKeeping:
    def test_an_entry_comes_back_as_it_was(self, store: CacheStore, turns: Turns) -> None:
        kept = entry(vary=GERMAN, tags=("a", "b"))
        turns.run(store.put(kept))
        assert [shape(each.entry) for each in turns.run(store.find(KEY))] == [shape(kept)]

    def test_nothing_is_found_under_another_key(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.put(entry()))
        assert list(turns.run(store.find(key(1)))) == []

    def test_a_body_in_a_file_is_kept_with_its_bytes(
        self, store: CacheStore, turns: Turns, tmp_path: Path
    ) -> None:
        """The file is gone after ``put``."""
        path = tmp_path / "body"
        path.write_bytes(b"\x00\xff" * 1000)
        turns.run(store.put(entry(body=Body(size_bytes=2000, file=path))))
        path.unlink()
        assert bodies(store, turns) == [b"\x00\xff" * 1000]

    def test_a_body_over_the_bound_is_left_out(self, made: Make, turns: Turns) -> None:
        store = made(body=10)
        turns.run(store.put(entry(body=b"x" * 11)))
        turns.run(store.put(entry(key(1), body=b"x" * 10)))
        assert (bodies(store, turns), bodies(store, turns, key(1))) == ([], [b"x" * 10])

    def test_the_salt_stays(self, store: CacheStore) -> None:
        assert len(store.salt) >= 16
        assert store.salt == store.salt


class TestVariants:
    def test_the_last_stored_comes_first(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.put(entry(body=b"de", vary=GERMAN)))
        turns.run(store.put(entry(body=b"fr", vary=FRENCH, responded_at=1001)))
        assert bodies(store, turns) == [b"fr", b"de"]

    def test_the_same_variant_is_replaced(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.put(entry(body=b"old", vary=GERMAN)))
        turns.run(store.put(entry(body=b"new", vary=GERMAN, responded_at=1001)))
        assert bodies(store, turns) == [b"new"]

    def test_methods_are_variants(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.put(entry(body=b"whole")))
        turns.run(store.put(entry(body=b"", method=b"HEAD")))
        assert sorted(bodies(store, turns)) == [b"", b"whole"]

    def test_their_number_is_bounded(self, store: CacheStore, turns: Turns) -> None:
        """Whoever invents values of a selecting field makes no look-up slow."""
        for number in range(MOST_VARIANTS + 6):
            vary = ((b"x", b"%d" % number),)
            turns.run(store.put(entry(body=b"%d" % number, vary=vary, responded_at=1000 + number)))
        found = bodies(store, turns)
        assert (len(found), found[0]) == (MOST_VARIANTS, b"%d" % (MOST_VARIANTS + 5))
        assert turns.run(_stats(store)).evicted == 6


class TestUnchanged:
    """Whether a look-up would find the same; a store that cannot tell without a wait denies it."""

    @pytest.fixture
    def found(
        self, made: Make, turns: Turns, request: pytest.FixtureRequest
    ) -> tuple[CacheStore, Sequence[StoredEntry]]:
        if request.node.callspec.params["which"] in ("sqlite", "redis"):
            pytest.skip("it holds nothing in memory")
        store = made()
        turns.run(store.put(entry()))
        found = turns.run(store.find(KEY))
        assert store.unchanged(KEY, found)
        return store, found

    def test_what_was_found_elsewhere(
        self, found: tuple[CacheStore, Sequence[StoredEntry]], turns: Turns
    ) -> None:
        store, entries = found
        assert not store.unchanged(key(1), entries)
        assert not store.unchanged(KEY, list(entries))
        assert store.unchanged(KEY, turns.run(store.find(KEY)))

    @pytest.mark.parametrize("change", ["replaced", "varied", "refreshed", "removed", "cleared"])
    def test_a_change(
        self, found: tuple[CacheStore, Sequence[StoredEntry]], turns: Turns, change: str
    ) -> None:
        store, entries = found
        place = entries[0].place
        changes: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "replaced": lambda: store.put(entry(responded_at=1001)),
            "varied": lambda: store.put(entry(vary=GERMAN)),
            "refreshed": lambda: store.refresh(place, evolve(entries[0].entry, born_at=1.0)),
            "removed": lambda: store.remove(place),
            "cleared": store.clear,
        }
        turns.run(changes[change]())
        assert not store.unchanged(KEY, entries)

    def test_another_entry_changes_nothing(
        self, found: tuple[CacheStore, Sequence[StoredEntry]], turns: Turns
    ) -> None:
        store, entries = found
        turns.run(store.put(entry(key(1))))
        assert store.unchanged(KEY, entries)

    def test_it_counts_as_use(self, made: Make, turns: Turns) -> None:
        store = made(entries=2)
        found = []
        for number in (1, 2):
            turns.seconds += 1
            turns.run(store.put(entry(key(number))))
            found.append(turns.run(store.find(key(number))))
        turns.seconds += 1
        used = store.unchanged(key(1), found[0])
        turns.run(store.put(entry(key(3))))
        assert bool(bodies(store, turns, key(1))) == used


class TestRefreshing:
    def test_all_but_the_body_is_new(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.put(entry(body=b"kept")))
        (found,) = turns.run(store.find(KEY))
        head = ResponseHead(200, b"OK", ((b"X-New", b"2"),), 1)
        later = evolve(found.entry, head=head, responded_at=2000.0, fresh_until=3000.0)
        turns.run(store.refresh(found.place, later))
        (again,) = turns.run(store.find(KEY))
        assert shape(again.entry) == shape(later)
        assert again.entry.body.data == b"kept"

    def test_a_removed_entry_does_not_come_back(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.put(entry()))
        (found,) = turns.run(store.find(KEY))
        turns.run(store.remove(found.place))
        turns.run(store.refresh(found.place, found.entry))
        assert bodies(store, turns) == []


class TestBounds:
    def test_the_least_recently_used_goes_first(self, made: Make, turns: Turns) -> None:
        store = made(entries=2)
        for number in (1, 2):
            turns.seconds += 1
            turns.run(store.put(entry(key(number))))
        turns.seconds += 1
        turns.run(store.find(key(1)))
        turns.seconds += 1
        turns.run(store.put(entry(key(3))))
        found = [bool(bodies(store, turns, key(number))) for number in (1, 2, 3)]
        assert found == [True, False, True]
        assert turns.run(_stats(store)).evicted == 1

    def test_bytes_are_bounded(self, made: Make, turns: Turns) -> None:
        store = made(size=200_000)
        for number in range(20):
            turns.seconds += 1
            turns.run(store.put(entry(key(number), body=bytes([number]) * 50_000)))
        assert turns.run(_stats(store)).bytes <= 200_000

    def test_a_closed_store_takes_nothing(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.close())
        with pytest.raises(StoreFailed):
            turns.run(store.put(entry()))


class TestClearing:
    @pytest.mark.parametrize(
        ("criteria", "left"),
        [
            ({"route": "a"}, {3}),
            ({"url": "https://u/1"}, {2}),
            ({"tag": "t"}, {1, 3}),
            ({"stored_before": 1500.0}, {2, 3}),
            ({"route": "a", "url": "https://u/1"}, {2, 3}),
            ({}, set()),
        ],
    )
    def test_entries_that_match_all_criteria_are_removed(
        self, store: CacheStore, turns: Turns, criteria: dict[str, object], left: set[int]
    ) -> None:
        turns.run(store.put(entry(key(1), route="a", url="https://u/1")))
        turns.run(
            store.put(entry(key(2), route="a", url="https://u/2", tags=("t",), responded_at=2000))
        )
        turns.run(store.put(entry(key(3), route="b", url="https://u/1", responded_at=1600)))
        gone = turns.run(store.clear(**criteria))  # type: ignore[arg-type]
        assert {number for number in (1, 2, 3) if bodies(store, turns, key(number))} == left
        assert gone == 3 - len(left)


class TestStats:
    def test_the_entries_are_counted(self, store: CacheStore, turns: Turns) -> None:
        turns.run(store.put(entry(key(1), route="a", responded_at=1000)))
        turns.run(store.put(entry(key(2), route="b", responded_at=1100)))
        stats = turns.run(store.stats(1061.0))
        assert (stats.entries, stats.expired) == (2, 1)
        assert (stats.oldest_at, stats.newest_at) == (1000, 1100)
        assert stats.bytes > 12
        one = turns.run(store.stats(1061.0, "b"))
        assert (one.entries, one.expired, one.oldest_at) == (1, 0, 1100)

    def test_an_empty_store(self, store: CacheStore, turns: Turns) -> None:
        stats = turns.run(store.stats(0.0))
        assert (stats.entries, stats.bytes, stats.oldest_at, stats.newest_at) == (0, 0, None, None)


async def _stats(store: CacheStore) -> CacheStats:
    return await store.stats(2000.0)


_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "find", "remove", "refresh", "clear"]),
        st.integers(0, 4),
        st.sampled_from([(), GERMAN, FRENCH]),
        st.integers(0, 4000),
    ),
    max_size=60,
)


class TestMemory:
    @given(actions=_ACTIONS)
    def test_counts_stay_true(self, actions: list[tuple[str, int, tuple[()], int]]) -> None:
        """After any calls, the reported counts match the entries, and the limits are kept."""
        turns = Turns()
        store = MemoryCache(20_000, 6, 3000, turns.now)
        for action, number, vary, size in actions:
            turns.seconds += 1
            which = key(number)
            found = turns.run(store.find(which))
            if action == "put":
                made = entry(which, b"x" * size, vary=vary, responded_at=turns.seconds)
                turns.run(store.put(made))
            elif action == "remove" and found:
                turns.run(store.remove(found[0].place))
            elif action == "refresh" and found:
                later = evolve(found[0].entry, vary=vary, fresh_until=turns.seconds + size)
                turns.run(store.refresh(found[0].place, later))
            elif action == "clear":
                turns.run(store.clear(url="https://api.example/x", stored_before=float(size)))
        held = [one.entry for each in range(5) for one in turns.run(store.find(key(each)))]
        stats = turns.run(store.stats(turns.seconds))
        assert stats.entries == len(held) <= 6
        assert sum(one.body.size_bytes for one in held) <= stats.bytes <= 20_000
        assert stats.expired == sum(one.fresh_until <= turns.seconds for one in held)
        assert len({(one.key, one.method, one.vary) for one in held}) == len(held)
