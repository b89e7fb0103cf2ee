"""Among many recordings the index finds those that come nearest."""

from __future__ import annotations

import json
import time
import uuid
from random import Random

from buffr.matching.key import MatchKey
from buffr.matching.nearest import NearIndex


def key(path: bytes, query: bytes = b"", body: bytes = b"", method: bytes = b"POST") -> MatchKey:
    return MatchKey((("method", method), ("path", path), ("query", query), ("body", body)))


def index_of(*keys: MatchKey) -> NearIndex:
    index = NearIndex()
    for place, each in enumerate(keys):
        index.add(place, each)
    return index


def prompt(number: int) -> str:
    random = Random(number)
    return " ".join(random.choices(["tea", "sun", "bird", "stone", "river", "cloud"], k=80))


def chat(number: int, run: object) -> bytes:
    document = {
        "messages": [{"content": "You are kind. " * 40}, {"content": prompt(number)}],
        "metadata": {"run_id": str(run)},
        "tools": [{"name": "look_up", "description": "Looks things up. " * 20}],
    }
    return json.dumps(document).encode()


class TestNearest:
    def test_path_first(self) -> None:
        """The same path outweighs the same body, query and method elsewhere."""
        index = index_of(
            key(b"/a", b"?x=1", b"[1]"),
            key(b"/b", b"?x=2", b"[2]", b"PUT"),
            key(b"/c", b"", b"[1]"),
        )
        assert index.nearest(key(b"/b", b"?x=1", b"[1]"), 1) == [1]

    def test_then_equal_parts(self) -> None:
        """Under the same path, the one with more in common comes first."""
        index = index_of(key(b"/a", b"?x=1"), key(b"/a", b"?x=2", b"1"), key(b"/a", b"?y=2"))
        assert index.nearest(key(b"/a", b"?x=2"))[:2] in ([1, 0], [0, 1])
        assert index.nearest(key(b"/a", b"?y=3"))[0] == 2

    def test_each_of_many(self) -> None:
        """Among thousands, one that has nothing in common with the others but the path."""
        keys = [key(b"/a", b"?n=%d" % n, b"%d" % n * 400) for n in range(3000)]
        index = index_of(*keys)
        assert all(index.nearest(keys[place], 1) == [place] for place in range(0, 3000, 37))

    def test_similar_paths(self) -> None:
        """Without the same path one that differs by an identifier, then a neighbour."""
        index = index_of(key(b"/x/y"), key(b"/users/7/items"), key(b"/users/8/cards"))
        assert index.nearest(key(b"/users/8/items"))[:2] == [1, 2]

    def test_many_alike(self) -> None:
        """Among thousands that share path, beginning and end, the one with the same prompt."""
        index = NearIndex()
        for number in range(3000):
            run = uuid.UUID(int=number)
            index.add(number * 10, key(b"/chat", b"", chat(number, run)))
        for number in (0, 1234, 2999):
            live = key(b"/chat", b"", chat(number, uuid.UUID(int=1 << 100)))
            assert index.nearest(live)[0] == number * 10
            longer = key(b"/chat", b"", chat(number, "another kind of run"))
            assert index.nearest(longer)[0] == number * 10

    def test_empty(self) -> None:
        """Where there is nothing, nothing is near; and never more than asked for."""
        assert NearIndex().nearest(key(b"/")) == []
        index = index_of(*[key(b"/a")] * 20)
        assert len(index) == 20
        assert len(index.nearest(key(b"/a"), 3)) == 3

    def test_time(self) -> None:
        """In 50,000 recordings it takes milliseconds."""
        index = NearIndex()
        for number in range(50_000):
            index.add(number, key(b"/chat", b"", b"%d" % number))
        live = key(b"/chat", b"", b"x")
        took = []
        for _ in range(10):
            start = time.process_time()
            index.nearest(live)
            took.append(time.process_time() - start)
        assert min(took) < 0.1
