"""A long body is followed by its search while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from threading import Thread
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from buffr.exchanges.arriving import ArrivingBodies, ArrivingBody
from buffr.interaction import Searched
from buffr.transport.spool import Spool

MB = 1 << 20


class Reactor:
    """Makes the calls of other threads when it is asked to."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:
        self._calls.put((call, arguments))

    def step(self) -> None:
        call, arguments = self._calls.get(timeout=60)
        call(*arguments)


class Follower:
    """A search that keeps what it was given."""

    def __init__(self) -> None:
        self.pieces: SimpleQueue[bytes] = SimpleQueue()

    def __call__(self, pieces: Iterator[bytes]) -> Searched | None:
        size_bytes = 0
        for piece in pieces:
            size_bytes += len(piece)
            self.pieces.put(piece)
        return Searched("", size_bytes, None)

    def take(self, size_bytes: int) -> bytes:
        """So many of its bytes, as soon as it has them."""
        taken = bytearray()
        while len(taken) < size_bytes:
            taken += self.pieces.get(timeout=60)
        return bytes(taken)


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def bodies(reactor: Reactor) -> ArrivingBodies:
    return ArrivingBodies(reactor)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(MB, tmp_path)
    yield spool
    spool.close()


def write(spool: Spool, body: ArrivingBody, data: bytes) -> None:
    spool.write(data)
    body.grown(spool)


def known(body: ArrivingBody, size_bytes: int) -> Deferred[Searched | None]:
    return Deferred.fromCoroutine(body.searched(size_bytes))


def test_it_is_searched_before_it_is_whole(
    reactor: Reactor, bodies: ArrivingBodies, spool: Spool
) -> None:
    follower = Follower()
    body = bodies.arriving(lambda: follower)
    write(spool, body, b"a" * 5 * MB)
    assert follower.take(5 * MB) == b"a" * 5 * MB
    write(spool, body, b"b" * MB)
    assert follower.take(MB) == b"b" * MB
    write(spool, body, b"c")
    found = known(body, 6 * MB + 1)
    reactor.step()
    assert follower.take(1) == b"c"
    results: list[Searched | None] = []
    found.addCallback(results.append)
    (result,) = results
    assert result is not None
    assert result.size_bytes == 6 * MB + 1
    assert bodies.searching == 0


def test_a_short_one_is_left_alone(bodies: ArrivingBodies, spool: Spool) -> None:
    body = bodies.arriving(Follower)
    write(spool, body, b"a" * 4 * MB)
    assert bodies.searching == 1
    other = bodies.arriving(Follower)
    short = Spool(MB, None)
    write(short, other, b"a" * (4 * MB - 1))
    assert bodies.searching == 1
    results: list[Searched | None] = []
    known(other, 4 * MB - 1).addCallback(results.append)
    assert results == [None]
    short.close()
    body.drop()


def test_one_that_nobody_wants_any_more_ends(
    reactor: Reactor, bodies: ArrivingBodies, spool: Spool
) -> None:
    body = bodies.arriving(Follower)
    write(spool, body, b"a" * 5 * MB)
    body.drop()
    reactor.step()
    assert bodies.searching == 0


def test_nothing_is_known_after_a_failure(
    reactor: Reactor, bodies: ArrivingBodies, spool: Spool
) -> None:
    def search(_: Iterator[bytes]) -> Searched | None:
        raise OSError(28, "No space left on device")

    body = bodies.arriving(lambda: search)
    write(spool, body, b"a" * 5 * MB)
    results: list[Searched | None] = []
    known(body, 5 * MB).addCallback(results.append)
    reactor.step()
    assert results == [None]


def test_without_a_free_descriptor_it_is_left_alone(bodies: ArrivingBodies, spool: Spool) -> None:
    body = bodies.arriving(Follower)
    spool.write(b"a" * 5 * MB)
    limits = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (3, limits[1]))
    try:
        body.grown(spool)
    finally:
        setrlimit(RLIMIT_NOFILE, limits)
    write(spool, body, b"b" * MB)
    assert bodies.searching == 0
    results: list[Searched | None] = []
    known(body, 6 * MB).addCallback(results.append)
    assert results == [None]


def test_nobody_waits_for_a_thread_that_never_ran(
    bodies: ArrivingBodies, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)
    body = bodies.arriving(Follower)
    write(spool, body, b"a" * 5 * MB)
    assert bodies.searching == 0
    results: list[Searched | None] = []
    known(body, 5 * MB).addCallback(results.append)
    assert results == [None]


def test_only_some_are_searched_at_once(bodies: ArrivingBodies, spool: Spool) -> None:
    spool.write(b"a" * 5 * MB)
    begun = [bodies.arriving(Follower) for _ in range(20)]
    for each in begun:
        each.grown(spool)
    assert bodies.searching == 8
    for each in begun:
        each.drop()
