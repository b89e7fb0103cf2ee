"""What every store promises, held against each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recordings import exchange_of, key, key_of, recording, rough_of
from redis_processes import Process
from redis_servers import RedisServer
from turns import Turns
from twisted.internet.task import Clock

from buffr.errors import CassetteError, StoreFailed
from buffr.interaction import (
    Body,
    BrokenInteraction,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    IndexEntry,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import ResponseHead
from buffr.stores.base import Store
from buffr.stores.cassette.store import Cassette
from buffr.stores.interactions import SetName
from buffr.stores.memory import MemoryInteractions
from buffr.stores.sqlite.interactions import SQLiteInteractions
from buffr.transport.turn import Turn

MakeStore = Callable[[Path, Turns], Store]


def cassette_store(path: Path, turns: Turns) -> Store:
    reactor: Any = turns
    cassette = Cassette(
        path / "api.json",
        redact=lambda salt: lambda interaction: interaction,
        call_from_thread=turns.call,
        turn=Turn(reactor),
        warn=lambda line: None,
    )
    view = cassette.view(key_of, rough_of)
    cassette.open()
    return view


def memory_store(path: Path, turns: Turns) -> Store:
    return MemoryInteractions().view(key_of)


def sqlite_store(path: Path, turns: Turns) -> Store:
    file = path / "api.db"
    recordings = SQLiteInteractions(
        SetName(file, "api"),
        file,
        redact=lambda salt: lambda interaction: interaction,
        call_from_thread=turns.call,
        turn=Turn(Clock()),
        warn=lambda line: None,
    )
    view = recordings.view(key_of)
    recordings.open()
    return view


@pytest.fixture(params=[cassette_store, memory_store, sqlite_store, "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Turns]]:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        with Process(server.address, tmp_path.name) as process:
            yield process.view, process.turns
        return
    turns = Turns()
    made: Store = request.param(tmp_path, turns)
    yield made, turns
    turns.run(made.close())


@pytest.fixture
def store(place: tuple[Store, Turns]) -> Store:
    return place[0]


@pytest.fixture
def turns(place: tuple[Store, Turns]) -> Turns:
    return place[1]


class TestFinding:
    def test_an_empty_store_finds_nothing(self, store: Store, turns: Turns) -> None:
        assert turns.run(store.find([key(b"/a")])) is None

    def test_appended_interactions_are_found_in_order(self, store: Store, turns: Turns) -> None:
        for number in range(3):
            turns.run(store.append(recording(b"/a", b"%d" % number)))
            turns.run(store.append(recording(b"/b")))
        found = turns.run(store.find([key(b"/a")]))
        assert found is not None
        assert found.name == key(b"/a").digest
        bodies = [exchange_of(turns.run(store.load(place))).body.data for place in found.places]
        assert bodies == [b"0", b"1", b"2"]

    def test_the_first_key_that_has_any_wins(self, store: Store, turns: Turns) -> None:
        turns.run(store.append(recording(b"/a")))
        turns.run(store.append(recording(b"/b")))
        found = turns.run(store.find([key(b"/none"), key(b"/b"), key(b"/a")]))
        assert found is not None
        assert found.name == key(b"/b").digest

    def test_a_truncated_interaction_is_kept_and_not_found(
        self, store: Store, turns: Turns
    ) -> None:
        turns.run(store.append(recording(b"/a", truncated="the upstream left")))
        assert turns.run(store.find([key(b"/a")])) is None
        (place,) = turns.run(store.places())
        (broken,) = turns.run(store.entries((place,)))
        assert isinstance(broken, BrokenInteraction)
        assert broken.request.target == b"/a"
        assert broken.why == "it was not recorded whole: the upstream left"
        turns.run(store.append(recording(b"/a", b"whole")))
        (entry,) = turns.run(store.entries((place + 1,)))
        assert isinstance(entry, IndexEntry)
        found = turns.run(store.find([key(b"/a")]))
        assert found is not None
        assert len(found.places) == 1
        assert exchange_of(turns.run(store.load(found.places[0]))).body.data == b"whole"

    def test_a_target_is_found_in_the_form_that_is_valid_on_the_wire(
        self, store: Store, turns: Turns
    ) -> None:
        turns.run(store.append(recording("/grüße?q=ä b".encode())))
        assert turns.run(store.find([key(b"/gr%C3%BC%C3%9Fe?q=%C3%A4%20b")])) is not None


class TestHits:
    def test_a_hit_never_suspends(self, store: Store, turns: Turns) -> None:
        """A hit costs no Deferred: the engine's coroutine runs through in one step.

        Only a store on a server is asked once whether there is more.
        """
        turns.run(store.append(recording(b"/a")))
        turns.run(store.find([key(b"/a")]))
        with pytest.raises(StopIteration) as found:
            store.find([key(b"/a")]).send(None)
        for _ in range(2):
            with pytest.raises(StopIteration) as loaded:
                store.load(found.value.value.places[0]).send(None)
            assert loaded.value.value.request.target == b"/a"


class TestLoading:
    def test_all_of_an_interaction_comes_back(self, store: Store, turns: Turns) -> None:
        kept = HTTPInteraction(
            RecordedRequest(
                b"POST", b"/x?", ((b"b", b"1"), (b"A", b"2"), (b"b", b"\xff")), Body.of(b"\0\xff"),
                "https", "example.org", 8443,
            ),
            ResponseHead(299, b"Fine", ((b"X", b""),)),
            Body.of(b"answer"),
            trailers=((b"T", b"v"),),
            recorded_at="2026-11-21T22:02:42Z",
            captures=(("run-[0-9]+", "run-7"),),
            turns=(0, 2),
        )  # fmt: skip
        turns.run(store.append(kept))
        found = turns.run(store.find([key(b"/x?")]))
        assert found is not None
        loaded = exchange_of(turns.run(store.load(found.places[0])))
        assert shape(loaded) == shape(kept)
        (entry,) = turns.run(store.entries(found.places))
        assert isinstance(entry, IndexEntry)
        assert entry.begins_after == 0

    def test_a_large_body_comes_back(self, store: Store, turns: Turns, tmp_path: Path) -> None:
        spool = tmp_path / "spool"
        spool.write_bytes(bytes(range(256)) * 8192)
        large = recording(b"/large", b"x" * (3 << 20))
        turns.run(store.append(large))
        from_file = HTTPInteraction(
            recording(b"/file").request, large.response, Body(size_bytes=2 << 20, file=spool)
        )
        turns.run(store.append(from_file))
        spool.unlink()
        for target, expected in (
            (b"/large", b"x" * (3 << 20)),
            (b"/file", bytes(range(256)) * 8192),
        ):
            found = turns.run(store.find([key(target)]))
            assert found is not None
            body = exchange_of(turns.run(store.load(found.places[0]))).body
            assert body.size_bytes == len(expected)
            assert (body.file.read_bytes() if body.file else body.data) == expected

    def test_a_session_comes_back(self, store: Store, turns: Turns) -> None:
        """Small payloads as they are, a large one in a file or not, and truncated ones never."""
        asked = RecordedRequest(b"GET", b"/live", ((b"Upgrade", b"websocket"),))
        sizes = (5, 3 << 20)
        frames = tuple(
            Frame(Direction.SERVER, FrameKind.TEXT, Body.of(b"x" * size)) for size in sizes
        )
        broken = SessionEnd("it broke", truncated=True)
        turns.run(store.append(WebSocketInteraction(asked, frames=frames, end=broken)))
        assert turns.run(store.find([key(b"/live")])) is None
        turns.run(store.append(WebSocketInteraction(asked, frames=frames)))
        found = turns.run(store.find([key(b"/live")]))
        assert found is not None
        (place,) = found.places
        loaded = turns.run(store.load(place))
        assert isinstance(loaded, WebSocketInteraction)
        assert [frame.data.size_bytes for frame in loaded.frames] == list(sizes)
        large = loaded.frames[1].data
        assert (large.file.read_bytes() if large.file else large.data) == b"x" * (3 << 20)

    def test_an_unknown_place_is_an_error(self, store: Store, turns: Turns) -> None:
        with pytest.raises(CassetteError):
            turns.run(store.load(7))


class TestAppending:
    def test_a_missing_spool_is_reported(self, store: Store, turns: Turns, tmp_path: Path) -> None:
        lost = HTTPInteraction(
            recording(b"/a").request,
            recording().response,
            Body(size_bytes=2 << 20, file=tmp_path / "gone"),
        )
        with pytest.raises(StoreFailed, match="gone: No such file"):
            turns.run(store.append(lost))
        assert turns.run(store.find([key(b"/a")])) is None

    def test_a_closed_store_takes_nothing(self, store: Store, turns: Turns) -> None:
        turns.run(store.append(recording()))
        turns.run(store.close())
        with pytest.raises(StoreFailed, match="closed"):
            turns.run(store.append(recording()))


def shape(interaction: HTTPInteraction) -> tuple[object, ...]:
    request, response = interaction.request, interaction.response
    return (
        (request.method, request.target, request.headers, request.body),
        (request.scheme, request.host, request.port),
        (response.status, response.reason, response.headers),
        (interaction.body, interaction.chunks, interaction.trailers, interaction.turns),
        (interaction.truncated, interaction.recorded_at, interaction.captures),
    )
