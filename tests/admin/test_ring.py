"""What the ring of finished exchanges keeps, and how much it thinks that this takes."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.admin.ring import Ring
from buffr.admin.stories import Story, Told, kept_tunnel, size_of

MOST = 64 << 10
SIZE = size_of(kept_tunnel(""))


def told(number: int) -> Told:
    return float(number), 0.001, kept_tunnel(f"CONNECT {number}"), ()


def words_of(some: Sequence[Told]) -> list[str]:
    return [Story.of(one, dur_s).words for _, dur_s, one, _ in some]


def every(ring: Ring) -> list[Told]:
    return ring.forwards(ring.start, len(ring))


class TestKept:
    @given(st.lists(st.integers(0, 600), max_size=8))
    def test_the_latest_in_their_order(self, counts: list[int]) -> None:
        """Whatever comes at once, nothing is lost but the oldest."""
        ring, number = Ring(MOST), 0
        for count in counts:
            ring.extend([told(one) for one in range(number, number + count)])
            number += count
            assert ring.end == number
            assert words_of(every(ring)) == [f"CONNECT {at}" for at in range(ring.start, ring.end)]
            assert [at for at, _ in ring.backwards(ring.end)] == [*range(ring.start, ring.end)][
                ::-1
            ]
            assert ring.size_bytes <= MOST
        assert ring.start == 0 or len(ring) * SIZE > MOST * 0.9

    def test_one_that_is_too_large_alone(self) -> None:
        ring, large = Ring(SIZE), told(2)
        ring.extend([told(1), large])
        assert every(ring) == [large]

    def test_a_reader_that_is_slower_than_what_comes(self) -> None:
        ring = Ring(MOST)
        ring.extend([told(one) for one in range(10)])
        reader = ring.backwards(ring.end)
        assert next(reader)[0] == 9
        ring.extend([told(one) for one in range(10, 1000)])
        assert list(reader) == []


class TestRepeatedHits:
    def test_what_they_share_takes_its_room_once(self) -> None:
        one = kept_tunnel("x")
        first, repeated = (0.0, 0.001, one, ()), (0.0, None, one, ())
        ring = Ring(MOST)
        ring.extend([first, *[repeated] * 400])
        assert len(ring) == 401
        assert ring.size_bytes < 2 * SIZE + 401 * 130

    def test_it_is_counted_as_long_as_one_of_them_is_kept(self) -> None:
        """Each of these repeats what came long ago: the memory is theirs now."""
        ring = Ring(MOST)
        for number in range(1000):
            ring.extend([(0.0, None, kept_tunnel(str(number)), ())])
        assert len(ring) * SIZE <= MOST

    def test_their_volatile_values_take_room(self) -> None:
        ring, one = Ring(MOST), kept_tunnel("x")
        ring.extend([(0.0, None, one, (b"%064d" % number,)) for number in range(5000)])
        assert len(ring) * 2 * 64 <= MOST

    def test_nothing_is_counted_when_all_of_them_are_gone(self) -> None:
        ring = Ring(MOST)
        ring.extend([(0.0, None, kept_tunnel(str(number)), ()) for number in range(500)])
        ring.extend([told(number) for number in range(500)])
        alone = Ring(MOST)
        alone.extend([told(number) for number in range(500)])
        assert abs(len(ring) - len(alone)) <= MOST / 16 / SIZE + 1


class TestGarbage:
    @pytest.mark.parametrize("size", [1, 300, 5000])
    def test_the_collector_looks_at_none_of_them(self, size: int) -> None:
        """Else each full collection would take the longer, the more is kept."""
        ring = Ring(8 << 20)
        ring.extend([told(number) for number in range(size)])
        for generation in range(3):
            gc.collect(generation)
        assert not any(gc.is_tracked(one) or gc.is_tracked(one[2]) for one in every(ring))
