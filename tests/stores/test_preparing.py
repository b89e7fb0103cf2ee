"""A large recording is searched aside: no other waits for it, except for one of its requests."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest
from cassettes import Deck, paths
from recordings import recording
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buffr.errors import StoreFailed
from buffr.interaction import Body, Interaction
from buffr.message import Headers
from buffr.stores.cassette.preparing import takes_long

LARGE = b"x" * (300 * 1024)


class Searching:
    """A search that takes until it is let go on, for bodies that begin with ``x``."""

    def __init__(self) -> None:
        self.begun, self.may_end = Event(), Event()
        self.error: Exception | None = None

    def __call__(self, interaction: Interaction) -> Interaction:
        if interaction.bodies[-1].data.startswith(b"x"):
            self.begun.set()
            assert self.may_end.wait(60)
            if self.error is not None:
                raise self.error
        return interaction


@pytest.fixture
def searching() -> Searching:
    return Searching()


@pytest.fixture
def deck(tmp_path: Path, searching: Searching) -> Deck:
    return Deck(tmp_path / "api.json", redacted=searching)


class TestWaiting:
    def test_a_small_one_does_not_wait_for_a_large_one(
        self, deck: Deck, searching: Searching
    ) -> None:
        large = deck.turns.start(deck.store.append(recording(b"/large", LARGE)))
        deck.turns.step()
        assert searching.begun.wait(60)
        deck.append(recording(b"/small"))
        assert not large
        assert paths(deck.path) == ["/small"]
        searching.may_end.set()
        while not large:
            deck.turns.step()
        assert paths(deck.path) == ["/small", "/large"]
        deck.close()

    def test_nor_does_a_large_one_wait_for_another(self, deck: Deck, searching: Searching) -> None:
        deck.turns.start(deck.store.append(recording(b"/1", LARGE)))
        deck.turns.step()
        assert searching.begun.wait(60)
        deck.append(recording(b"/2", b"y" * len(LARGE)))
        assert paths(deck.path) == ["/2"]
        searching.may_end.set()
        deck.close()
        assert paths(deck.path) == ["/2", "/1"]

    def test_equal_requests_keep_their_order(self, deck: Deck, searching: Searching) -> None:
        """Whatever their queries are: settings may say that these do not count."""
        deck.turns.start(deck.store.append(recording(b"/a?large", LARGE)))
        deck.turns.step()
        assert searching.begun.wait(60)
        behind = deck.turns.start(deck.store.append(recording(b"/a?small")))
        deck.append(recording(b"/b"))
        assert not behind
        searching.may_end.set()
        deck.close()
        assert paths(deck.path) == ["/b", "/a", "/a"]
        assert deck.bodies(b"/a?large") == [LARGE]
        found = [deck.cassette.request(place) for place in (1, 2)]
        assert [each and each.target for each in found] == [b"/a?large", b"/a?small"]


class TestTheEnd:
    def test_a_cassette_that_is_closed_keeps_what_is_being_searched(
        self, deck: Deck, searching: Searching
    ) -> None:
        deck.turns.start(deck.store.append(recording(b"/large", LARGE)))
        closing = deck.turns.start(deck.store.close())
        deck.turns.step()
        assert searching.begun.wait(60)
        assert not closing
        searching.may_end.set()
        while not closing:
            deck.turns.step()
        assert paths(deck.path) == ["/large"]

    def test_an_error_concerns_its_own_recording_only(
        self, deck: Deck, searching: Searching
    ) -> None:
        searching.error = OSError(28, "No space left on device")
        searching.may_end.set()
        lost: Deferred[None] = Deferred.fromCoroutine(deck.store.append(recording(b"/a", LARGE)))
        failures: list[Failure | None] = []
        lost.addBoth(failures.append)
        deck.append(recording(b"/b"))
        deck.close()
        (failure,) = failures
        assert failure is not None
        assert failure.check(StoreFailed)
        assert "GET /a was not recorded: No space left" in failure.getErrorMessage()
        assert paths(deck.path) == ["/b"]


class TestWhatTakesLong:
    GZIP = ((b"Content-Encoding", b"gzip"),)

    @pytest.mark.parametrize(
        ("size_bytes", "headers", "long"),
        [
            (256 * 1024, (), False),
            (256 * 1024 + 1, (), True),
            (16 * 1024, GZIP, False),
            (16 * 1024 + 1, GZIP, True),
        ],
    )
    def test_long_bodies_and_those_that_may_decode_to_more(
        self, size_bytes: int, headers: Headers, *, long: bool
    ) -> None:
        assert takes_long(recording(body=b"z" * size_bytes, headers=headers)) is long

    def test_bodies_in_files(self, tmp_path: Path) -> None:
        body = Body(size_bytes=1 << 20, file=tmp_path / "any")
        interaction = recording().with_bodies(lambda one: body if one.size_bytes else one)
        assert takes_long(interaction)
